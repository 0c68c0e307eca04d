"""Consuming: nothing is acknowledged by accident, and no loss of anything leaves a silent dead consumer."""

import asyncio

import pytest

from bridge.broker.connection import Connection
from bridge.broker.consumer import Consumer, Delivery
from bridge.broker.private import PrivateBroker
from bridge.broker.publisher import Publisher
from bridge.broker.topology import Topology, declare
from bridge.errors import BrokerRefused
from tests.broker.conftest import MakeEnvelope, until


async def take(consumer: Consumer, count: int) -> list[Delivery]:
    """So many deliveries, each acknowledged."""
    taken: list[Delivery] = []
    async with asyncio.timeout(30):
        async for delivery in consumer:
            assert await delivery.ack()
            taken.append(delivery)
            if len(taken) == count:
                break
    return taken


async def next_delivery(consumer: Consumer) -> Delivery:
    async with asyncio.timeout(30):
        return await anext(consumer)


async def test_unacknowledged_delivery_comes_again(connection: Connection, prefix: str, envelope: MakeEnvelope) -> None:
    """A crash between delivery and commit must lose nothing."""
    await Publisher(connection).publish(envelope())
    crashing = Consumer(connection, f"{prefix}.things")
    assert not (await next_delivery(crashing)).received.redelivered
    await crashing.close()
    consumer = Consumer(connection, f"{prefix}.things")
    again = await next_delivery(consumer)
    assert again.received.redelivered
    assert await again.ack()
    await consumer.close()


async def test_prefetch_bounds_what_is_unsettled(connection: Connection, prefix: str, envelope: MakeEnvelope) -> None:
    """Back-pressure: a caller that settles nothing must not be flooded."""
    publisher = Publisher(connection)
    await asyncio.gather(*(publisher.publish(envelope(body=b"%d" % number)) for number in range(5)))
    consumer = Consumer(connection, f"{prefix}.things", prefetch=2)
    held = [await next_delivery(consumer), await next_delivery(consumer)]
    third = asyncio.create_task(anext(consumer))
    await publisher.publish(envelope())
    assert not third.done()
    await held[0].ack()
    async with asyncio.timeout(10):
        assert (await third).received.body == b"2"
    await consumer.close()


async def test_deleted_queue_is_noticed_and_consumed_again(
    connection: Connection, bus: Topology, prefix: str, envelope: MakeEnvelope
) -> None:
    """The broker cancels the consumer and leaves channel and connection open: nobody else would notice.

    consumer <--- basic.cancel --- broker   (queue deleted)   then the queue is declared again

    The notice is waited for: RabbitMQ 3.10 sends none if the queue is there again within some 100 ms.
    """
    publisher = Publisher(connection)
    consumer = Consumer(connection, f"{prefix}.things")
    await publisher.publish(envelope())
    assert len(await take(consumer, 1)) == 1
    amqp_channel = await connection.amqp_channel()
    await amqp_channel.raw.queue_delete(f"{prefix}.things")
    await until(lambda: not consumer.is_consuming)
    waiting = asyncio.create_task(take(consumer, 1))
    await until(lambda: consumer.failures > 0)
    await declare(connection, bus)
    await publisher.publish(envelope(body=b"after"))
    (delivery,) = await waiting
    assert delivery.received.body == b"after"
    assert consumer.generation >= 2
    await consumer.close()


async def test_acknowledgement_of_an_earlier_generation_is_dropped(
    connection: Connection, prefix: str, envelope: MakeEnvelope
) -> None:
    """On a later channel the tag belongs to another message: acknowledging it would lose that one."""
    publisher = Publisher(connection)
    await publisher.publish(envelope(body=b"first"))
    consumer = Consumer(connection, f"{prefix}.things")
    early = await next_delivery(consumer)
    connection.discard("the test cut it", connection.generation)
    again = await next_delivery(consumer)
    assert again.generation > early.generation
    assert again.received.redelivered
    assert not await early.ack()
    assert consumer.dropped_acks == 1
    assert await again.ack()
    await publisher.publish(envelope(body=b"second"))
    (second,) = await take(consumer, 1)
    assert second.received.body == b"second"
    await consumer.close()


async def test_delivery_acknowledged_twice_does_not_stop_the_consumer(
    connection: Connection, prefix: str, envelope: MakeEnvelope
) -> None:
    """The broker closes the channel for it; the consumer comes back by itself."""
    publisher = Publisher(connection)
    consumer = Consumer(connection, f"{prefix}.things")
    await publisher.publish(envelope())
    (delivery,) = await take(consumer, 1)
    await delivery.ack()
    await publisher.publish(envelope(body=b"next"))
    async with asyncio.timeout(20):
        following = await anext(consumer)
    assert following.received.body == b"next"
    await consumer.close()


async def test_message_from_elsewhere_is_rejected_as_stray(
    connection: Connection, prefix: str, bus: Topology, envelope: MakeEnvelope
) -> None:
    """Whoever may write an exchange may bind it to another; what comes that way was never judged."""
    await declare(connection, Topology(prefix, (), bus.queues, ()))
    side = f"{prefix}.side"
    amqp_channel = await connection.amqp_channel()
    underlay = await amqp_channel.raw.get_underlay_channel()
    await underlay.exchange_declare(side, exchange_type="topic", durable=True)
    await underlay.exchange_bind(f"{prefix}.things", side, "#")
    publisher = Publisher(connection)
    await publisher.publish(envelope(exchange=side, routing_key="thing.smuggled"))
    await publisher.publish(envelope(body=b"straight"))
    consumer = Consumer(connection, f"{prefix}.things", source=f"{prefix}.things")
    (delivery,) = await take(consumer, 1)
    assert delivery.received.body == b"straight"
    assert consumer.strays == 1
    await consumer.close()
    await underlay.exchange_delete(side)


async def test_stop_ends_the_iteration_and_close_returns_the_rest(
    connection: Connection, prefix: str, envelope: MakeEnvelope
) -> None:
    """At shutdown what was prefetched goes back in its order, and what is in work may still be settled."""
    publisher = Publisher(connection)
    for number in range(4):
        await publisher.publish(envelope(body=b"%d" % number))
    consumer = Consumer(connection, f"{prefix}.things")
    in_work = await next_delivery(consumer)
    consumer.stop()
    async with asyncio.timeout(5):
        assert [delivery async for delivery in consumer] == []
    assert await in_work.ack()
    await consumer.close(settle_seconds=5)
    heir = Consumer(connection, f"{prefix}.things")
    bodies = [delivery.received.body for delivery in await take(heir, 3)]
    assert bodies == [b"1", b"2", b"3"]
    await heir.close()


async def test_close_waits_for_what_is_in_work(connection: Connection, prefix: str, envelope: MakeEnvelope) -> None:
    """Closing under a delivery in work would have its work done twice."""
    await Publisher(connection).publish(envelope())
    consumer = Consumer(connection, f"{prefix}.things")
    delivery = await next_delivery(consumer)
    closing = asyncio.create_task(consumer.close(settle_seconds=10))
    await asyncio.sleep(0)
    assert not closing.done()
    assert await delivery.ack()
    async with asyncio.timeout(5):
        await closing


async def test_queue_without_right_to_read_is_fatal(private_broker: PrivateBroker) -> None:
    """Trying for ever would hide a missing permission."""
    async with Connection(private_broker.url("alice"), "test") as opened:
        with pytest.raises(BrokerRefused, match="ACCESS_REFUSED"):
            await next_delivery(Consumer(opened, "channels.commands"))
