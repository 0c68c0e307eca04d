"""Looks into a queue without taking anything out of it, and takes out one message when told to.

One consumer holds what it is shown and settles nothing; when it ends, by will or by a crash, the broker puts all of
it back where it was (measured on quorum queues: the order stays, also with 60 held of 100; what single `basic.get`s
hold may come back in any order). Each look counts as one delivery, so the queue needs a delivery limit that looks do
not reach (`topology.UNLIMITED_DELIVERIES`). What is held is hidden from others meanwhile.

Never do here: acknowledge without being told, look into a queue that a service works from.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiormq.abc

from bridge.broker.connection import AmqpChannel, Connection
from bridge.broker.consumer import as_received
from bridge.broker.inspection import see_queue
from bridge.errors import BrokerUnavailable
from bridge.wire.envelope import Received

MOST = 1_000
"""Held at once: they stay in memory."""
SHOWN_SECONDS = 5.0
"""What has not come by then is held by somebody else who looks."""
PAUSE_SECONDS, TRIES = 0.01, 200


@dataclass(frozen=True, slots=True)
class Held:
    """One message. It goes back when the look ends, unless it is taken."""

    received: Received
    tag: int


@dataclass(frozen=True, slots=True)
class Look:
    """Valid inside its `with` block. `total`: how many lay in the queue when it began."""

    held: tuple[Held, ...]
    total: int
    _connection: Connection
    _amqp_channel: AmqpChannel
    _taken: list[Held]

    async def take(self, held: Held) -> None:
        """Out of the queue for good. When it is told to be gone but the answer is lost it may come again."""
        async with self._connection.bounded("taking a message", self._amqp_channel.generation):
            underlay = await self._amqp_channel.raw.get_underlay_channel()
            await underlay.basic_ack(held.tag)
        self._taken.append(held)


@asynccontextmanager
async def look(connection: Connection, queue: str, most: int = MOST) -> AsyncIterator[Look]:
    """The oldest messages, in order. Raises BrokerUnavailable, BrokerRefused."""
    amqp_channel = await connection.amqp_channel(confirms=False)
    underlay = await _underlay(connection, amqp_channel)
    async with connection.bounded(f"looking into {queue}", amqp_channel.generation):
        total = (await underlay.queue_declare(queue, passive=True)).message_count or 0
    async with connection.bounded(f"reading {queue}", amqp_channel.generation):
        held = await _hold(underlay, amqp_channel, queue, min(total, most))
    taken: list[Held] = []
    try:
        yield Look(tuple(held), total, connection, amqp_channel, taken)
    finally:
        if not amqp_channel.lost.done() and not amqp_channel.raw.is_closed:
            await _put_back(connection, amqp_channel, queue, len(held) - len(taken))


async def _put_back(connection: Connection, amqp_channel: AmqpChannel, queue: str, count: int) -> None:
    """Returns when whoever looks next can see them: the broker puts them back some moments after the channel closed.

    Closing it keeps the order; a `nack` of more than 32 does not (measured on RabbitMQ 3.10.8).
    """
    async with connection.bounded("closing", amqp_channel.generation):
        await amqp_channel.raw.close()
    for _ in range(TRIES if count else 0):
        seen = await see_queue(connection, queue)
        if seen is None or seen.messages >= count:
            return
        await asyncio.sleep(PAUSE_SECONDS)


async def _underlay(connection: Connection, amqp_channel: AmqpChannel) -> aiormq.abc.AbstractChannel:
    async with connection.bounded("opening an AMQP channel", amqp_channel.generation):
        return await amqp_channel.raw.get_underlay_channel()


async def _hold(underlay: aiormq.abc.AbstractChannel, amqp_channel: AmqpChannel, queue: str, count: int) -> list[Held]:
    """Exactly so many, unless somebody else takes them first: then as many as come."""
    held: list[Held] = []
    if count == 0:
        return held
    is_full = asyncio.Event()

    async def take(message: aiormq.abc.DeliveredMessage) -> None:
        assert message.delivery_tag is not None  # noqa: S101
        held.append(Held(as_received(message, queue), message.delivery_tag))
        if len(held) >= count:
            is_full.set()

    await underlay.basic_qos(prefetch_count=count)
    await underlay.basic_consume(queue, take)
    amqp_channel.lost.add_done_callback(lambda _: is_full.set())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SHOWN_SECONDS):
            await is_full.wait()
    if amqp_channel.lost.done():
        raise BrokerUnavailable(amqp_channel.lost.result())
    return held
