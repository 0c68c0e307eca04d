"""Traps of the libraries that no other file of this room covers: docs/pitfalls.md says which row is where."""

import asyncio
import logging
import re
import socket
from pathlib import Path

import pytest

import bridge.broker
from bridge.broker.connection import HEARTBEAT_SECONDS, Connection
from bridge.broker.consumer import Consumer
from bridge.broker.private import PrivateBroker
from bridge.broker.publisher import Publisher
from bridge.broker.topology import Topology, declare
from bridge.broker.transport import SILENCE_SECONDS
from tests.broker.conftest import MakeEnvelope, until
from tests.broker.test_consumer import next_delivery, take


async def test_consumer_the_broker_forgot_without_a_word_is_missed(
    connection: Connection, bus: Topology, prefix: str, envelope: MakeEnvelope
) -> None:
    """Row 1: RabbitMQ sends no cancel when the queue is back within some 100 ms, and the channel looks open.

    consumer -X- (no notice) -X- broker   the consumer asks now and then whether it is still listed
    """
    consumer = Consumer(connection, f"{prefix}.things", check_seconds=0.3)
    waiting = asyncio.create_task(take(consumer, 1))
    await until(lambda: consumer.is_consuming)
    subscription = consumer._subscription
    assert subscription is not None
    subscription.underlay.on_consumer_cancel_callbacks.clear()
    amqp_channel = await connection.amqp_channel()
    await amqp_channel.raw.queue_delete(f"{prefix}.things")
    await asyncio.sleep(0.2)  # one that is back within 20 ms keeps its old consumers listed: nothing can be seen then
    await declare(connection, bus)
    await Publisher(connection).publish(envelope(body=b"after"))
    async with asyncio.timeout(30):
        assert (await waiting)[0].received.body == b"after"
    await consumer.close()


async def test_silent_broker_is_noticed_by_its_heartbeats(private_broker: PrivateBroker) -> None:
    """Row 7: the library gives up after (heartbeat + 1) * 3 seconds, so the heartbeat is what bounds it."""
    assert (HEARTBEAT_SECONDS + 1) * 3 <= 33
    async with Connection(private_broker.url(), "silent", heartbeat_seconds=1) as connection:
        private_broker.freeze()
        try:
            await until(lambda: not connection.is_up, seconds=12)
        finally:
            private_broker.thaw()
        await until(lambda: connection.is_up, seconds=30)
        assert connection.generation == 2


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="an option of Linux")
async def test_written_bytes_do_not_wait_for_a_dead_machine(connection: Connection) -> None:
    """Row 7: heartbeats that cannot be written notice nothing; the kernel would try for a quarter of an hour."""
    assert connection._live is not None
    writer = connection._live.raw.socket._writer
    assert writer is not None
    raw = writer.get_extra_info("socket")
    assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == SILENCE_SECONDS * 1000 <= 33_000


async def test_cancelled_work_drops_no_message(connection: Connection, prefix: str, envelope: MakeEnvelope) -> None:
    """Row 11: the library's own context manager rejects for good what a cancelled task had in hand."""
    await Publisher(connection).publish(envelope(body=b"kept"))
    consumer = Consumer(connection, f"{prefix}.things")
    has_it = asyncio.Event()

    async def work() -> None:
        async for _ in consumer:
            has_it.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await has_it.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await consumer.close()
    other = Consumer(connection, f"{prefix}.things")
    assert (await next_delivery(other)).received.body == b"kept"
    await other.close()


async def test_amqp_channels_do_not_pile_up(connection: Connection, prefix: str, envelope: MakeEnvelope) -> None:
    """Row 13: each publish, subscription and loss that left a channel behind would end at the broker's limit."""
    publisher = Publisher(connection)
    await publisher.publish(envelope())
    before = _open_channels(connection)
    for _ in range(20):
        await publisher.publish(envelope())
        consumer = Consumer(connection, f"{prefix}.things")
        await take(consumer, 1)
        await consumer.close()
    assert _open_channels(connection) == before


def _open_channels(connection: Connection) -> int:
    live = connection._live
    assert live is not None
    assert live.raw.transport is not None
    channels = live.raw.transport.connection.channels
    return sum(channel is not None for channel in channels.values())


def test_what_has_traps_in_the_library_is_not_used() -> None:
    """Rows 8, 11, 14, 15, 16: robust connections, `process()`, queue iterators, pools and the RPC pattern."""
    traps = re.compile(r"connect_robust|Robust\w+|\.process\(|\.iterator\(|aio_pika\.(pool|patterns)")
    for path in Path(bridge.broker.__file__).parent.glob("*.py"):
        assert not traps.search(path.read_text(encoding="utf-8")), path.name


async def test_frames_are_never_logged(
    connection: Connection, prefix: str, envelope: MakeEnvelope, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 18: at DEBUG the library prints whole frames, signed transactions among them."""
    caplog.set_level(logging.DEBUG)
    body = b"tx_very+secret+transaction"
    await Publisher(connection).publish(envelope(body=body))
    consumer = Consumer(connection, f"{prefix}.things")
    await take(consumer, 1)
    await consumer.close()
    assert body.decode() not in caplog.text
    assert not [record for record in caplog.records if record.name.split(".")[0] in ("aiormq", "aio_pika")]
