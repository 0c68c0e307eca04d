"""Bytes and the channel's words, both ways: the two node dialects, the bus envelope, transactions.

Pure, like `channel`: the same bytes always give the same result.
"""
