"""Whatever a client wrote into the properties of its message, the next one is read, and over the same connection."""

import struct

import pytest
from pamqp import decode

from bridge.broker.connection import Connection
from bridge.broker.consumer import Consumer
from bridge.broker.decoding import LONGEST_HEADERS_BYTES
from bridge.broker.publisher import Publisher
from bridge.wire.envelope import UNREADABLE_HEADERS
from tests.broker.conftest import MakeEnvelope
from tests.broker.raw import CASES, MICROSECONDS, Case, RawProperties, entry, publish_raw, short, table, text
from tests.broker.test_consumer import take


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_no_decoder_understands_costs_no_connection(
    connection: Connection, prefix: str, envelope: MakeEnvelope, case: Case
) -> None:
    """The library would lose the connection, get the message again, and so its neighbours to their delivery limit.

    good, poison, good ---> consumer   each once, over the first connection
    """
    publisher = Publisher(connection)
    await publisher.publish(envelope(body=b"before"))
    await publish_raw(connection, f"{prefix}.things", "thing.raw", b"poison", RawProperties(**case.fields))
    await publisher.publish(envelope(body=b"after"))
    consumer = Consumer(connection, f"{prefix}.things")
    taken = [delivery.received for delivery in await take(consumer, 3)]
    assert [received.body for received in taken] == [b"before", b"poison", b"after"]
    assert [received.redelivered for received in taken] == [False] * 3
    assert (connection.generation, consumer.generation) == (1, 1)
    assert (UNREADABLE_HEADERS in taken[1].headers) is not case.is_readable
    await consumer.close()


def test_a_short_text_never_grows() -> None:
    """It goes out again, as the correlation id of the result: with more than 255 bytes it could not be published."""
    consumed, told = decode.by_type(short(b"\xe9" * 255), "shortstr")
    assert (consumed, told) == (256, "?" * 255)
    assert decode.by_type(short("é".encode()), "shortstr") == (3, "é")


def test_what_follows_an_unreadable_table_is_read() -> None:
    """Its length stands in front of it; the message id comes later than the headers."""
    unreadable = table(entry(b"\xe9", b"T", MICROSECONDS))
    assert decode.by_type(unreadable + short(b"next"), "table") == (len(unreadable), {UNREADABLE_HEADERS: True})
    broken = table(entry(b"a", b"?", b""))
    assert decode.by_type(broken, "table") == (len(broken), {UNREADABLE_HEADERS: True})


def test_headers_of_any_length_cost_little_time() -> None:
    """The library copies what is left for each value: a frame full of them would stop every channel for a second."""
    small = table(entry(b"a", b"S", text(b"x" * 20_000)))
    assert decode.by_type(small, "table") == (len(small), {"a": "x" * 20_000})
    values = b"V" * (LONGEST_HEADERS_BYTES - 10)
    large = table(entry(b"a", b"A", struct.pack(">I", len(values)) + values))
    assert len(large) == LONGEST_HEADERS_BYTES + 1
    assert decode.by_type(large, "table") == (len(large), {UNREADABLE_HEADERS: True})


def test_an_instant_that_can_be_read_is() -> None:
    consumed, told = decode.by_type(struct.pack(">Q", 1_700_000_000), "timestamp")
    assert (consumed, str(told)) == (8, "2023-11-14 22:13:20+00:00")
