"""A way into a user's own queue that needs no right beyond the user's own: for events that are published again.

Who may create `<prefix>.client.<user>.…` may create an exchange of such a name too, and lead it into a queue of his:
so what is published again keeps its routing key, reaches nobody else, and `amq.default` stays closed to him.
The exchange is not durable and goes with its last binding; after a crash it goes with the broker's next start.
"""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiormq.abc

from bridge.broker.connection import AmqpChannel, Connection
from bridge.broker.inspection import see_queue
from bridge.broker.topology import Names, declare, reader


@asynccontextmanager
async def sideline(connection: Connection, prefix: str, label: str) -> AsyncIterator[tuple[str, str]]:
    """The exchange to publish to and the queue behind it, `<prefix>.client.<user>.<label>`.

    The queue is taken as it is; where there is none it is made, durable and bounded, and stays. Raises BrokerRefused
    where the name is not the user's.
    """
    names = Names(prefix)
    queue = names.reader_queue(connection.user, label)
    if await see_queue(connection, queue) is None:
        await declare(connection, reader(prefix, connection.user, label, ()))
    exchange = names.reader_queue(connection.user, f"replay-{uuid.uuid4().hex[:8]}")
    amqp_channel = await connection.amqp_channel()
    underlay = await _lead(connection, amqp_channel, exchange, queue)
    try:
        yield exchange, queue
    finally:
        if not amqp_channel.lost.done():
            async with connection.bounded("closing the side line", amqp_channel.generation):
                await underlay.queue_unbind(queue, exchange, "#")
                await amqp_channel.raw.close()


async def _lead(
    connection: Connection, amqp_channel: AmqpChannel, exchange: str, queue: str
) -> aiormq.abc.AbstractChannel:
    async with connection.bounded(f"leading {exchange} into {queue}", amqp_channel.generation):
        underlay = await amqp_channel.raw.get_underlay_channel()
        await underlay.exchange_declare(exchange, exchange_type="topic", durable=False, auto_delete=True)
        await underlay.queue_bind(queue, exchange, "#")
        return underlay
