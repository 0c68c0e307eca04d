"""Publishing: an Ack means routed and stored, and everything else is an error that says which."""

import asyncio
import time

import aiormq.channel
import pytest
from pamqp.commands import Basic
from pamqp.frame import marshal

from bridge.broker.connection import CLOSE_SECONDS, AmqpChannel, Connection
from bridge.broker.consumer import Consumer
from bridge.broker.private import PrivateBroker
from bridge.broker.publisher import Publisher
from bridge.broker.topology import Binding, Exchange, Queue, Topology, declare
from bridge.errors import BrokerRefused, BrokerUnavailable, Nacked, Unroutable
from bridge.wire.envelope import Envelope
from tests.broker.conftest import QUORUM, MakeEnvelope, until
from tests.broker.test_consumer import take
from tests.faults.broker.link import Unconfirmed
from tests.faults.proxy import Crossing, broker_link, proxied
from tests.faults.split import Direction

MORE_THAN_A_SOCKET_TAKES = 32 * 1024 * 1024
"""The kernels of both ends buffer some megabytes."""


async def test_envelope_arrives_as_it_was_sent(connection: Connection, prefix: str, envelope: MakeEnvelope) -> None:
    """Every property of the contract is one RabbitMQ's own tools show; none may get lost on the way."""
    sent = envelope(reply_to="somewhere")
    await Publisher(connection).publish(sent)
    consumer = Consumer(connection, f"{prefix}.things")
    (delivery,) = await take(consumer, 1)
    received = delivery.received
    assert (received.exchange, received.routing_key, received.body) == (sent.exchange, sent.routing_key, sent.body)
    assert received.headers == sent.headers
    assert (received.type, received.correlation_id, received.reply_to) == (sent.type, "correlation-1", "somewhere")
    assert received.queue == f"{prefix}.things"
    assert not received.redelivered
    assert received.user_id is not None
    await consumer.close()


async def test_unroutable_envelope_raises(connection: Connection, envelope: MakeEnvelope) -> None:
    """The library reports it as success unless told otherwise; an event would be lost in silence."""
    publisher = Publisher(connection)
    with pytest.raises(Unroutable):
        await publisher.publish(envelope(routing_key="nobody.listens"))
    await publisher.publish(envelope())
    assert connection.generation == 1, "a return is no confirmation of something unknown"


async def test_unroutable_is_no_failure_when_not_mandatory(connection: Connection, envelope: MakeEnvelope) -> None:
    """A copy to a reply address may find nobody: the asker has left."""
    await Publisher(connection).publish(envelope(routing_key="nobody.listens", mandatory=False))


async def test_full_queue_nacks(connection: Connection, prefix: str, envelope: MakeEnvelope) -> None:
    """What a full queue refuses must stay in the outbox."""
    full = f"{prefix}.full"
    arguments = QUORUM | {"x-max-length": 1, "x-overflow": "reject-publish"}
    await declare(
        connection,
        Topology(prefix, (Exchange(full),), (Queue(full, arguments),), (Binding(full, full, "#"),)),
    )
    publisher = Publisher(connection)

    async def fill() -> None:
        # A quorum queue tells its limit late: the refusal comes some messages after the last that fits.
        for _ in range(50):
            await publisher.publish(envelope(exchange=full))

    with pytest.raises(Nacked):
        await fill()
    assert connection.generation == 1


async def test_publishes_in_flight_have_distinct_message_ids(
    connection: Connection, prefix: str, envelope: MakeEnvelope
) -> None:
    """Two with one id in flight make the broker's return of one look like the Ack of the other."""
    publisher = Publisher(connection)
    same = envelope()
    lost = envelope(routing_key="nobody.listens")
    outcomes = await asyncio.gather(
        *(publisher.publish(one) for one in (same, lost, same, lost)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), Unroutable, type(None), Unroutable]
    consumer = Consumer(connection, f"{prefix}.things")
    first, second = await take(consumer, 2)
    assert first.received.headers["ce-id"] == second.received.headers["ce-id"]
    assert first.received.message_id != second.received.message_id
    assert connection.generation == 1
    await consumer.close()


class Watched(Publisher):
    """Sees how many confirms the library waits for at once."""

    most = 0

    async def _send(self, amqp_channel: AmqpChannel, envelope: Envelope) -> object:
        underlay = await amqp_channel.raw.get_underlay_channel()
        assert isinstance(underlay, aiormq.channel.Channel)
        sending = asyncio.ensure_future(super()._send(amqp_channel, envelope))
        while not sending.done():
            self.most = max(self.most, len(underlay.confirmations))
            await asyncio.sleep(0)
        return await sending


async def test_many_publishes_share_a_window(connection: Connection, prefix: str, envelope: MakeEnvelope) -> None:
    """A cumulative confirm walks through all that is outstanding; a window delays, and loses and deadlocks nothing."""
    publisher = Watched(connection, window=10)
    await asyncio.gather(*(publisher.publish(envelope(body=b"%d" % number)) for number in range(60)))
    assert 1 < publisher.most <= 10, "how many of them meet is the machine's matter, the bound is ours"
    consumer = Consumer(connection, f"{prefix}.things", prefetch=60)
    bodies = {delivery.received.body for delivery in await take(consumer, 60)}
    assert bodies == {b"%d" % number for number in range(60)}
    await consumer.close()


async def test_refused_publish_spares_the_others(private_broker: PrivateBroker) -> None:
    """The broker closes the channel under everybody; only the culprit may be told never to try again."""
    async with Connection(private_broker.url("alice"), "test") as opened:
        publisher = Publisher(opened)
        allowed = _command("channels.commands", "acme-7.transfer")
        with pytest.raises(BrokerRefused):
            await publisher.publish(_command("channels.events", "acme-7.transfer"))
        await publisher.publish(allowed)


async def test_missing_exchange_is_transient(connection: Connection, envelope: MakeEnvelope) -> None:
    """An exchange that is not there yet will be: the topology step may come late."""
    publisher = Publisher(connection)
    with pytest.raises(BrokerUnavailable) as caught:
        await publisher.publish(envelope(exchange="not.there"))
    assert not isinstance(caught.value, BrokerRefused)
    await publisher.publish(envelope())


async def test_publish_on_a_frozen_broker_ends_and_the_next_works(
    private_broker: PrivateBroker, bus: Topology, envelope: MakeEnvelope
) -> None:
    """Whoever waits inside the library is let go in time, and the connection whose writer is stuck is not kept.

    publisher ---32 MB---> [frozen broker]   X the socket takes no more: outcome unknown, connection thrown away
    """
    async with Connection(private_broker.url(), "test") as opened:
        await declare(opened, bus)
        publisher = Publisher(opened)
        await publisher.publish(envelope())
        opened.call_seconds = 0.5
        transport = _transport(opened)
        private_broker.freeze()
        try:
            async with asyncio.timeout(10):
                large = asyncio.create_task(publisher.publish(envelope(body=bytes(MORE_THAN_A_SOCKET_TAKES))))
                await until(lambda: transport.get_write_buffer_size() > transport.get_write_buffer_limits()[1])
                with pytest.raises(BrokerUnavailable, match="no answer within"):
                    await large
            assert transport.is_closing()
            assert transport.get_write_buffer_size() == 0, "what was not sent is not kept"
        finally:
            private_broker.thaw()
        opened.call_seconds = 20
        await publisher.publish(envelope())
        assert opened.generation == 2


async def test_stopping_does_not_wait_for_a_stuck_socket(
    private_broker: PrivateBroker, bus: Topology, envelope: MakeEnvelope
) -> None:
    """Closing waits for what cannot be written, and goes on waiting when it is cancelled: a stop has 25 seconds.

    stop ---close---> [frozen broker]   X the socket takes no more: cut
    """
    async with asyncio.timeout(20), Connection(private_broker.url(), "test") as opened:
        await declare(opened, bus)
        publisher = Publisher(opened)
        await publisher.publish(envelope())
        transport = _transport(opened)
        private_broker.freeze()
        large = asyncio.create_task(publisher.publish(envelope(body=bytes(MORE_THAN_A_SOCKET_TAKES))))
        try:
            await until(lambda: transport.get_write_buffer_size() > transport.get_write_buffer_limits()[1])
            began = time.monotonic()
            await opened._stop()
            assert time.monotonic() - began < 5 * CLOSE_SECONDS
            with pytest.raises(BrokerUnavailable):
                await large
        finally:
            private_broker.thaw()


def _transport(connection: Connection) -> asyncio.WriteTransport:
    assert connection._live is not None
    writer = connection._live.raw.socket._writer
    assert writer is not None
    return writer.transport


async def test_publish_that_timed_out_may_land_and_its_repeat_is_the_same(
    private_broker: PrivateBroker, bus: Topology, prefix: str, envelope: MakeEnvelope
) -> None:
    """A timeout means unknown: whoever repeats gives the same id and bytes, or readers take it for another message.

    publish ---> [broker]   X no confirm    publish again ---> both are there
    """
    watch = Unconfirmed()
    async with proxied(private_broker.port, broker_link, watch.see) as link:
        url = private_broker.url().replace(f":{private_broker.port}/", f":{link.port}/")
        async with Connection(url, "test") as opened:
            await declare(opened, bus)
            publisher = Publisher(opened)
            opened.call_seconds = 3
            watch.withhold()
            with pytest.raises(BrokerUnavailable, match="no answer within") as caught:
                await publisher.publish(envelope())
            watch.relent()
            assert not isinstance(caught.value, Nacked | Unroutable | BrokerRefused), "the outcome is unknown"
            opened.call_seconds = 20
            await publisher.publish(envelope())
            consumer = Consumer(opened, f"{prefix}.things")
            first, second = (delivery.received for delivery in await take(consumer, 2))
            assert (first.headers, first.body) == (second.headers, second.body)
            assert first.headers["ce-id"]
            assert first.message_id != second.message_id
            await consumer.close()


@pytest.mark.parametrize("is_multiple", [False, True])
async def test_a_confirmation_of_what_was_never_published_ends_the_connection(
    private_broker: PrivateBroker, bus: Topology, envelope: MakeEnvelope, is_multiple: bool
) -> None:
    """Broker and library no longer count alike: the library drops it, and whoever is in flight would wait in vain.

    publish ---> [broker]   ack of another number   X outcome unknown, counted anew on the next connection
    """
    forged = marshal(Basic.Ack(delivery_tag=4711, multiple=is_multiple), 1)
    lies = iter([forged])

    async def forge(crossing: Crossing) -> None:
        piece = crossing.piece
        is_ack = piece.word == "basic.ack" and crossing.direction is Direction.BACK
        lie = next(lies, None) if is_ack else None
        if lie is None:
            await crossing.forward()
        else:  # in place of the true one, on its channel
            await crossing.connection.write(Direction.BACK, lie[:1] + piece.data[1:3] + lie[3:])

    async with proxied(private_broker.port, broker_link, forge) as link:
        url = private_broker.url().replace(f":{private_broker.port}/", f":{link.port}/")
        async with Connection(url, "test", call_seconds=30) as opened:
            await declare(opened, bus)
            publisher = Publisher(opened)
            async with asyncio.timeout(10):
                with pytest.raises(BrokerUnavailable) as caught:
                    await publisher.publish(envelope())
                assert not isinstance(caught.value, Nacked | Unroutable | BrokerRefused), "the outcome is unknown"
                await publisher.publish(envelope())
            assert opened.generation == 2
        assert not link.errors


async def test_blocked_broker_is_noticed_and_nothing_is_sent(
    private_broker: PrivateBroker, bus: Topology, envelope: MakeEnvelope
) -> None:
    """The library goes on writing into a broker without memory; what it wrote lands later, unannounced."""
    async with Connection(private_broker.url(), "test") as opened:
        await declare(opened, bus)
        publisher = Publisher(opened)
        await private_broker.control("set_vm_memory_high_watermark", "0.00001")
        try:
            first = asyncio.create_task(publisher.publish(envelope()))
            await until(lambda: opened.is_blocked)
            with pytest.raises(BrokerUnavailable, match="not sent"):
                await publisher.publish(envelope())
        finally:
            await private_broker.control("set_vm_memory_high_watermark", "0.4")
        await first


def _command(exchange: str, key: str) -> Envelope:
    return Envelope(
        exchange=exchange,
        routing_key=key,
        body=b"{}",
        headers={},
        type="command",
        correlation_id=None,
        timestamp=1_700_000_000.0,
    )
