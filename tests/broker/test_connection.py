"""One connection, replaced whenever it is lost, and never silently dead."""

import asyncio
import logging
import socket

import pytest
from yarl import URL

from bridge.app.bus import RabbitBus
from bridge.broker.connection import CLOSE_SECONDS, Connection
from bridge.broker.consumer import Consumer
from bridge.broker.failure import named
from bridge.broker.private import PrivateBroker
from bridge.broker.publisher import Publisher
from bridge.broker.topology import Topology, apply, declare
from bridge.errors import BrokerRefused, BrokerUnavailable
from tests.broker.conftest import MakeEnvelope, until
from tests.broker.test_consumer import take


@pytest.fixture
def dead_url() -> str:
    """An address on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"amqp://admin:secret-word@127.0.0.1:{free.getsockname()[1]}/"


async def test_wrong_password_is_fatal(private_broker: PrivateBroker) -> None:
    """Repeating it would lock accounts and hide the mistake."""
    wrong = str(URL(private_broker.url("alice")).with_password("not hers"))
    with pytest.raises(BrokerRefused, match="403"):
        async with Connection(wrong, "test"):
            pass


async def test_unknown_vhost_is_fatal(private_broker: PrivateBroker) -> None:
    """The same for a vhost that is not there."""
    with pytest.raises(BrokerRefused, match="vhost nowhere not found"):
        async with Connection(private_broker.url(vhost="nowhere"), "test", call_seconds=5):
            pass


async def test_refusal_ends_the_supervisor_with_its_reason(private_broker: PrivateBroker) -> None:
    """The service runs it in a task group: a refusal must stop the service, not vanish."""
    refused = Connection(private_broker.url(vhost="nowhere"), "test")
    with pytest.raises(BrokerRefused):
        async with asyncio.timeout(10):
            await refused.run()
    with pytest.raises(BrokerRefused):
        await refused.amqp_channel()


@pytest.mark.parametrize("which", [0, 1], ids=["publishing", "consuming"])
async def test_refused_reconnect_of_either_connection_is_told(private_broker: PrivateBroker, which: int) -> None:
    """The publishing one has nobody who waits for it: nothing would be published any more, without a word."""
    async with RabbitBus(private_broker.url("alice"), call_seconds=20) as bus:
        refused = asyncio.create_task(bus.refused())
        bus.replace_urls(str(URL(private_broker.url("alice")).with_password("not hers")))
        connection = bus.connections[which]
        connection.discard("cut by the test", connection.generation)
        with pytest.raises(BrokerRefused, match="403"):
            async with asyncio.timeout(20):
                await refused


async def test_unreachable_broker_is_transient_and_waiting_is_bounded(dead_url: str) -> None:
    """A broker that is not there may come; a caller must not wait for it for ever."""
    absent = Connection(dead_url, "test", call_seconds=0.5)
    with pytest.raises(BrokerUnavailable) as caught:
        async with absent:
            pass
    assert not isinstance(caught.value, BrokerRefused)
    assert absent.failures >= 1
    assert not absent.is_up


async def test_second_host_is_tried(dead_url: str, amqp_url: str) -> None:
    """A cluster is a list of hosts, and one of them may be down."""
    async with Connection([dead_url, amqp_url], "test", call_seconds=10) as opened:
        assert opened.is_up
        assert opened.generation == 1


async def test_both_connections_are_closed_at_once(private_broker: PrivateBroker) -> None:
    """A frozen broker answers neither goodbye: one after the other they would take twice the time a stop has."""
    loop = asyncio.get_running_loop()
    async with RabbitBus(private_broker.url()):
        private_broker.freeze()
        began = loop.time()
    private_broker.thaw()
    assert loop.time() - began < 1.6 * CLOSE_SECONDS


async def test_cut_connection_is_replaced(connection: Connection, envelope: MakeEnvelope) -> None:
    """The generation tells what belongs to which connection."""
    connection.discard("the test cut it", connection.generation)
    await connection.wait_up()
    assert connection.generation == 2
    await Publisher(connection).publish(envelope())


async def test_discard_of_an_earlier_generation_does_nothing(connection: Connection) -> None:
    """A call that times out late must not take down the connection that replaced its own."""
    connection.discard("the test cut it", connection.generation)
    await connection.wait_up()
    connection.discard("too late", 1)
    assert connection.is_up
    assert connection.generation == 2


async def test_replaced_password_counts_from_the_next_connect(
    private_broker: PrivateBroker, envelope: MakeEnvelope
) -> None:
    """Secrets are exchanged without a restart."""
    async with Connection(private_broker.url("alice"), "test") as opened:
        assert opened.user == "alice"
        opened.replace_urls(private_broker.url("bob"))
        opened.discard("a new password", opened.generation)
        await opened.wait_up()
        assert opened.user == "bob"


async def test_uninvited_cancellation_becomes_a_connection_error() -> None:
    """On a frozen link the library ends a call with it; passed on it would kill the worker in silence."""
    pending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(pending.cancel)
    with pytest.raises(BrokerUnavailable, match="lost under the call"):
        async with named("waiting"):
            await pending


@pytest.mark.parametrize("error", [Exception(), asyncio.InvalidStateError("invalid state")], ids=repr)
async def test_what_the_library_ends_pending_calls_with_is_a_connection_error(error: Exception) -> None:
    """A connection that ends behind buffered frames gives them a bare `Exception()`: passed on it would end us."""
    with pytest.raises(BrokerUnavailable, match="publishing: ") as caught:
        async with named("publishing"):
            raise error
    assert not isinstance(caught.value, BrokerRefused)


async def test_a_bug_of_ours_is_no_connection_error() -> None:
    """Repeated for ever it would never be found."""
    with pytest.raises(KeyError):
        async with named("publishing"):
            raise KeyError("ours")


async def test_our_own_cancellation_passes_through() -> None:
    """A worker that is told to stop must stop."""

    async def work() -> None:
        async with named("waiting"):
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_our_own_cancellation_stays_one_when_the_connection_dies_with_it() -> None:
    """The library then raises what the connection died of: a task that took it for that would never end."""

    async def wait() -> None:
        async with named("waiting"):
            try:
                await asyncio.Event().wait()
            finally:
                raise ConnectionResetError("reset under the call")

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_password_is_never_logged(
    private_broker: PrivateBroker, dead_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Logs travel further than secrets may."""
    caplog.set_level(logging.DEBUG)
    absent = Connection(dead_url, "test", call_seconds=0.3)
    with pytest.raises(BrokerUnavailable) as caught:
        async with absent:
            pass
    async with Connection(private_broker.url("alice"), "test") as opened:
        opened.discard("the test cut it", opened.generation)
        await opened.wait_up()
    texts = [str(caught.value), *(repr(vars(record)) for record in caplog.records)]
    assert any("broker_connection" in text or "broker_unavailable" in text for text in texts)
    assert not [text for text in texts if "secret-word" in text or "wörd" in text or "w%C3%B6rd" in text]


async def test_all_comes_back_after_a_restart_of_the_broker(
    private_broker: PrivateBroker, bus: Topology, prefix: str, envelope: MakeEnvelope
) -> None:
    """What was confirmed before is delivered after, the consumer resumes, the publisher publishes.

    publish 1 ---> broker   X restart   consumer <--- 1      publish 2 ---> broker ---> consumer
    """
    url = private_broker.url()
    await apply(url, bus)
    async with (
        Connection(url, "publisher", call_seconds=30) as publishing,
        Connection(url, "consumer", call_seconds=30) as consuming,
    ):
        publisher = Publisher(publishing)
        consumer = Consumer(consuming, f"{prefix}.things")
        waiting = asyncio.create_task(take(consumer, 1))
        await publisher.publish(envelope(body=b"before"))
        assert (await waiting)[0].received.body == b"before"
        unsettled = asyncio.create_task(anext(consumer))
        await publisher.publish(envelope(body=b"kept"))
        held = await unsettled
        await private_broker.restart()
        await until(lambda: publishing.generation > 1, 30)
        await publisher.publish(envelope(body=b"after"))
        bodies = [delivery.received.body for delivery in await take(consumer, 2)]
        assert bodies == [b"kept", b"after"]
        assert not await held.ack()
        await consumer.close()


async def test_failed_act_names_the_thing(connection: Connection, bus: Topology) -> None:
    """An operator reads this sentence."""
    other = Topology(bus.prefix, (), tuple(type(queue)(queue.name, {"x-max-length": 5}) for queue in bus.queues), ())
    with pytest.raises(BrokerRefused, match=f"declaring the queue {bus.queues[0].name}.*inequivalent"):
        await declare(connection, other)
