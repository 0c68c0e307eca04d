"""The heart: what a state channel is, what can happen to it, and what it then wants done.

Pure. No asyncio, clock, socket, file, logger, JSON-RPC or AMQP word below this line.
"""
