"""Properties of a message byte by byte, as a client in another language may write them. No Python client does."""

import struct
from dataclasses import dataclass, field

from pamqp.commands import Basic

from bridge.broker.connection import Connection

_BITS = {"headers": 13, "correlation_id": 10, "message_id": 7, "timestamp": 6, "user_id": 4}
"""Of those used here: its bit among the flags. They follow each other in this order."""


class RawProperties(Basic.Properties):
    """The encoded fields, by name, as they go over the wire."""

    def __init__(self, **fields: bytes) -> None:
        super().__init__(message_id="not written unless given")
        flags = sum(1 << _BITS[name] for name in fields)
        self._bytes = struct.pack(">H", flags) + b"".join(fields[name] for name in _BITS if name in fields)

    def marshal(self) -> bytes:
        return self._bytes


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def table(*entries: bytes) -> bytes:
    """Each entry: a key with its value."""
    content = b"".join(entries)
    return struct.pack(">I", len(content)) + content


def entry(key: bytes, kind: bytes, value: bytes) -> bytes:
    return short(key) + kind + value


def text(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def nested(depth: int) -> bytes:
    """A table in a table in a table, so many."""
    made = table()
    for _ in range(depth):
        made = table(entry(b"a", b"F", made))
    return made


MICROSECONDS = struct.pack(">Q", 1_700_000_000_000_000)


@dataclass(frozen=True)
class Case:
    name: str
    fields: dict[str, bytes] = field(default_factory=dict)
    is_readable: bool = True
    """Whether the headers still say what they said."""


CASES = (
    Case("microseconds", {"timestamp": MICROSECONDS}),
    Case("nanoseconds", {"timestamp": struct.pack(">Q", 1_700_000_000_000_000_000)}),
    Case("before 1970", {"timestamp": struct.pack(">q", -1)}),
    Case("latin-1 correlation_id", {"correlation_id": short(b"caf\xe9")}),
    Case("latin-1 message_id", {"message_id": short(b"\xe9\xe9\xe9")}),
    Case("latin-1 text", {"headers": table(entry(b"name", b"S", text(b"caf\xe9")))}),
    Case("microseconds in the headers", {"headers": table(entry(b"at", b"T", MICROSECONDS))}),
    Case("latin-1 key", {"headers": table(entry(b"caf\xe9", b"S", text(b"x")))}, is_readable=False),
    Case("tables in tables", {"headers": nested(5000)}, is_readable=False),
)


async def publish_raw(connection: Connection, exchange: str, key: str, body: bytes, properties: RawProperties) -> None:
    """Waits for the confirm."""
    amqp_channel = await connection.amqp_channel()
    underlay = await amqp_channel.raw.get_underlay_channel()
    await underlay.basic_publish(body, exchange=exchange, routing_key=key, properties=properties, mandatory=True)
    await amqp_channel.raw.close()
