"""Recursive length prefix: lists of byte strings as bytes, one form only.

Strict: a length written longer than needed, a single byte written with a prefix, and bytes behind the value
are refused, so that what is decoded and encoded again is what came. Source: the encoding the node calls RLP.
"""

from collections.abc import Sequence
from typing import Union

from bridge.errors import TransactionError

Item = Union[bytes, Sequence["Item"]]  # noqa: UP007  # the alias refers to itself
MAX_DEPTH = 64
"""Nested lists. Transactions nest three; deeper ones are somebody's attempt at our stack."""

_BYTES, _LIST = 0x80, 0xC0
_SHORT = 55
"""A content of up to this many bytes has its length in the first byte."""


def encode(item: Item) -> bytes:
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < _BYTES:
            return item
        return _head(_BYTES, len(item)) + item
    body = b"".join(encode(part) for part in item)
    return _head(_LIST, len(body)) + body


def decode(data: bytes) -> Item:
    """One value and nothing behind it. Raises TransactionError with reason `encoding`, and nothing else."""
    item, end = _read(data, 0, 0)
    if end != len(data):
        raise _wrong("bytes behind the value")
    return item


def _wrong(sentence: str) -> TransactionError:
    return TransactionError("encoding", sentence)


def _head(base: int, length: int) -> bytes:
    if length <= _SHORT:
        return bytes([base + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([base + _SHORT + len(size)]) + size


def _read(data: bytes, at: int, depth: int) -> tuple[Item, int]:
    """The value at this place, and where it ends."""
    if at >= len(data):
        raise _wrong("the bytes end too early")
    first = data[at]
    if first < _BYTES:
        return data[at : at + 1], at + 1
    if first >= _LIST:
        return _read_list(data, *_span(data, at, first - _LIST), depth + 1)
    start, end = _span(data, at, first - _BYTES)
    if end - start == 1 and data[start] < _BYTES:
        raise _wrong("a single byte written with a length")
    return data[start:end], end


def _read_list(data: bytes, start: int, end: int, depth: int) -> tuple[Item, int]:
    if depth > MAX_DEPTH:
        raise _wrong("nested too deeply")
    items: list[Item] = []
    while start < end:
        item, start = _read(data, start, depth)
        items.append(item)
    if start != end:
        raise _wrong("a value reaches beyond the list it is in")
    return items, end


def _span(data: bytes, at: int, code: int) -> tuple[int, int]:
    """Where the content begins and ends. `code` is the first byte less its base."""
    start, length = at + 1, code
    if code > _SHORT:
        start += code - _SHORT
        written = data[at + 1 : start]
        length = int.from_bytes(written, "big")
        if written[:1] == b"\0" or length <= _SHORT:
            raise _wrong("a length not in its shortest form")
    if start + length > len(data):
        raise _wrong("the bytes end too early")
    return start, start + length
