"""Looking into a queue takes nothing away, keeps the order, and survives its own end; taking takes one."""

import asyncio

import pytest

from bridge.broker.connection import Connection
from bridge.broker.publisher import Publisher
from bridge.broker.shelf import look
from bridge.broker.topology import UNLIMITED_DELIVERIES, Binding, Exchange, Queue, Topology
from bridge.errors import BrokerUnavailable
from tests.broker.conftest import MakeEnvelope

COUNT = 50


@pytest.fixture
def bus(prefix: str) -> Topology:
    """The queue of people who look: no delivery limit that looking reaches."""
    name = f"{prefix}.things"
    limited: dict[str, str | int | bool] = {"x-queue-type": "quorum", "x-delivery-limit": UNLIMITED_DELIVERIES}
    return Topology(prefix, (Exchange(name),), (Queue(name, limited),), (Binding(name, name, "thing.#"),))


@pytest.fixture
async def queue(connection: Connection, prefix: str, envelope: MakeEnvelope) -> str:
    """With fifty messages in it, numbered."""
    publisher = Publisher(connection)
    for number in range(COUNT):
        await publisher.publish(envelope(body=b"%d" % number))
    return f"{prefix}.things"


async def bodies(connection: Connection, queue: str, most: int = 1000) -> list[int]:
    async with look(connection, queue, most) as seen:
        assert seen.total <= COUNT
        return [int(held.received.body) for held in seen.held]


async def test_a_look_takes_nothing_and_keeps_the_order(connection: Connection, queue: str) -> None:
    """Also one that sees only the first thirty, again and again."""
    for _ in range(3):
        assert await bodies(connection, queue, 30) == list(range(30))
    assert await bodies(connection, queue) == list(range(COUNT))


async def crash(other: Connection, queue: str) -> None:
    """In the middle of a look, before what was to be taken is."""
    async with look(other, queue) as seen:
        other.discard("crashed by the test", other.generation)
        await seen.take(seen.held[0])


async def test_a_look_that_ends_with_its_connection_takes_nothing(
    amqp_url: str, connection: Connection, queue: str
) -> None:
    """A crash in the middle: the broker puts back what was held."""
    async with Connection(amqp_url, "crash", call_seconds=20) as other:
        with pytest.raises(BrokerUnavailable):
            await crash(other, queue)
    async with asyncio.timeout(20):
        while len(found := await bodies(connection, queue)) < COUNT:  # noqa: ASYNC110  # the broker's own time
            await asyncio.sleep(0.1)
    assert found == list(range(COUNT))


async def test_what_is_taken_is_gone_and_the_rest_stays_in_order(connection: Connection, queue: str) -> None:
    async with look(connection, queue) as seen:
        await seen.take(seen.held[7])
    assert await bodies(connection, queue) == [number for number in range(COUNT) if number != 7]


async def test_an_empty_queue_is_seen_at_once(connection: Connection, prefix: str) -> None:
    assert await bodies(connection, f"{prefix}.things") == []
