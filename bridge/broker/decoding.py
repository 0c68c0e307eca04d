"""Makes the library read whatever a client wrote into the properties of a message.

The broker passes properties on as it got them: an instant in microseconds, a text in Latin-1, tables nested a thousand
times. What the library cannot decode ends its reader, and with it the connection; the message comes again on the next
one, takes its neighbours in the prefetch to their delivery limit, and meanwhile nothing is taken in (pitfalls.md 31).

Never do here: guess what was meant, judge a message. Headers that cannot be read are replaced as a whole by a mark;
who reads the message refuses it for that.
"""

import struct
from datetime import datetime

from pamqp import common, decode

from bridge.wire.envelope import UNREADABLE_HEADERS

LONGEST_HEADERS_BYTES = 32 * 1024
"""The library's time grows with the square of the length: a table as large as a frame stops everything for a second."""

_HEAD = struct.Struct(">I")
_BROKEN = (ValueError, ArithmeticError, LookupError, OSError, RecursionError, struct.error)


def install() -> None:
    """From here on every connection of the process reads so. May be called twice."""
    decode.METHODS.update(shortstr=_short_text, timestamp=_instant, table=_headers)
    decode.TABLE_MAPPING[b"T"] = _instant


def _short_text(value: bytes) -> tuple[int, str]:
    """What is no UTF-8 becomes `?`: one byte, because a text that is sent on must not have grown beyond 255."""
    try:
        return decode.short_str(value)
    except UnicodeDecodeError:
        end = 1 + value[0]
        return end, value[1:end].decode("utf-8", "replace").replace("\N{REPLACEMENT CHARACTER}", "?")


def _instant(value: bytes) -> tuple[int, datetime | None]:
    """None for one no calendar has. We use none of them."""
    try:
        return decode.timestamp(value)
    except _BROKEN:
        return 8, None


def _headers(value: bytes) -> tuple[int, common.FieldTable]:
    """Its length stands in front: what follows is found whatever is in it."""
    end = _HEAD.size + _HEAD.unpack_from(value)[0]
    if end <= LONGEST_HEADERS_BYTES:
        try:
            return decode.field_table(value)
        except _BROKEN:
            pass
    return end, {UNREADABLE_HEADERS: True}
