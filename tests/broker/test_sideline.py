"""Events are led into a user's own queue with that user's own rights, and nothing is left behind."""

import pytest

from bridge.broker.connection import Connection
from bridge.broker.consumer import Consumer
from bridge.broker.private import PrivateBroker
from bridge.broker.publisher import Publisher
from bridge.broker.sideline import sideline
from bridge.errors import BrokerRefused
from bridge.wire.envelope import Envelope
from tests.broker.people import PREFIX


async def test_an_observer_needs_no_further_right(private_broker: PrivateBroker) -> None:
    """Routing key kept, in order; afterwards the exchange is gone and the queue is there."""
    async with Connection(private_broker.url("olga"), "sideline") as connection:
        publisher = Publisher(connection)
        async with sideline(connection, PREFIX, "ledger") as (exchange, queue):
            for number in range(3):
                key = f"acme-7.transfer.{number}"
                await publisher.publish(Envelope(exchange, key, b"{}", {"ce-id": str(number)}, "t", None, 1.0))
        consumer = Consumer(connection, queue)
        keys = []
        for _ in range(3):
            delivery = await anext(consumer)
            keys.append(delivery.received.routing_key)
            await delivery.ack()
        await consumer.close()
        assert (queue, keys) == (f"{PREFIX}.client.olga.ledger", [f"acme-7.transfer.{number}" for number in range(3)])
        amqp_channel = await connection.amqp_channel()
        underlay = await amqp_channel.raw.get_underlay_channel()
        await underlay.queue_delete(queue)
        with pytest.raises(Exception, match="NOT_FOUND"):
            await underlay.exchange_declare(exchange, passive=True)


async def test_another_users_queue_is_refused(private_broker: PrivateBroker) -> None:
    async with Connection(private_broker.url("olga"), "sideline") as connection:
        with pytest.raises(BrokerRefused):
            async with sideline(connection, PREFIX, "../alice"):
                pytest.fail("a queue that is not olga's was opened")
