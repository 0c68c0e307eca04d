"""The broker in memory: each fault it can show. What it shares with a real one is in `tests/broker/test_suite.py`."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from bridge.errors import BrokerRefused, BrokerUnavailable, Nacked
from bridge.sim.broker import MemoryBroker
from bridge.sim.broker_queue import Arguments
from bridge.sim.broker_session import MemoryConsumer, MemoryDelivery
from bridge.sim.topic import fits
from bridge.wire.envelope import Envelope, Received


@dataclass(frozen=True)
class Exchange:
    name: str
    alternate: str | None = None


@dataclass(frozen=True)
class Queue:
    name: str
    arguments: Arguments = field(default_factory=dict)
    is_temporary: bool = False


@dataclass(frozen=True)
class Binding:
    exchange: str
    queue: str
    key: str = "#"


@dataclass(frozen=True)
class Topology:
    exchanges: tuple[Exchange, ...] = (Exchange("things"), Exchange("letters"))
    queues: tuple[Queue, ...] = (
        Queue("things", {"x-dead-letter-exchange": "letters", "x-dead-letter-strategy": "at-least-once"}),
        Queue("brief", {}, is_temporary=True),
    )
    bindings: tuple[Binding, ...] = (Binding("things", "things"),)


@pytest.fixture
def broker() -> MemoryBroker:
    made = MemoryBroker()
    made.declare(Topology())
    return made


def envelope(body: bytes = b"{}", **changes: Any) -> Envelope:
    fields: dict[str, Any] = {"exchange": "things", "routing_key": "thing", "headers": {}, "type": ""} | changes
    return Envelope(body=body, correlation_id=None, timestamp=0.0, **fields)


async def take(consumer: MemoryConsumer, count: int) -> list[Received]:
    taken: list[Received] = []
    async with asyncio.timeout(10):
        while len(taken) < count:
            delivery = await anext(consumer)
            assert await delivery.ack()
            taken.append(delivery.received)
    return taken


async def next_of(consumer: MemoryConsumer) -> MemoryDelivery:
    async with asyncio.timeout(10):
        return await anext(consumer)


async def _stored(broker: MemoryBroker, count: int) -> bool:
    """Whether so many lie in the queue after some turns of the loop."""
    for _ in range(10):
        await asyncio.sleep(0)
    return len(broker.queue("things").ready) == count


async def test_unconfirmed_publish_is_lost_by_a_restart(broker: MemoryBroker) -> None:
    """publisher --- 1 ---> broker (stored, confirm withheld) -X- restart: the publisher must send it again."""
    async with broker.session("alice") as bus:
        await bus.publisher().publish(envelope(b"0"))
        broker.hold_confirms()
        publishing = asyncio.create_task(bus.publisher().publish(envelope(b"1")))
        assert await _stored(broker, 2)
        broker.restart()
        with pytest.raises(BrokerUnavailable):
            await publishing
        assert [received.body for received in broker.queue("things").ready] == [b"0"]


async def test_withheld_confirm_is_unknown_and_the_message_landed(broker: MemoryBroker) -> None:
    """A timeout is no refusal (pitfalls.md row 5): repeating it doubles the message."""
    async with broker.session("alice", call_seconds=0.3) as bus:
        broker.hold_confirms()
        with pytest.raises(BrokerUnavailable):
            await bus.publisher().publish(envelope(b"1"))
        broker.release_confirms()
        await bus.publisher().publish(envelope(b"1"))
    assert [received.body for received in broker.queue("things").ready] == [b"1", b"1"]


async def test_withheld_confirm_costs_the_consumers_nothing(broker: MemoryBroker) -> None:
    """Publishing and consuming have a connection each."""
    async with broker.session("alice", call_seconds=0.3) as bus:
        await bus.publisher().publish(envelope(b"1"))
        consumer = bus.consumer("things")
        delivery = await next_of(consumer)
        broker.hold_confirms()
        with pytest.raises(BrokerUnavailable):
            await bus.publisher().publish(envelope(b"2"))
        assert await delivery.ack()


async def test_released_confirm_ends_the_wait(broker: MemoryBroker) -> None:
    """A slow broker is not a dead one."""
    async with broker.session("alice") as bus:
        broker.hold_confirms()
        publishing = asyncio.create_task(bus.publisher().publish(envelope()))
        assert await _stored(broker, 1)
        assert not publishing.done()
        broker.release_confirms()
        async with asyncio.timeout(1):
            await publishing


async def test_blocked_broker_takes_nothing_and_goes_on_delivering(broker: MemoryBroker) -> None:
    """A memory alarm blocks publishers, not consumers."""
    async with broker.session("alice") as bus:
        await bus.publisher().publish(envelope(b"1"))
        broker.block()
        with pytest.raises(BrokerUnavailable):
            await bus.publisher().publish(envelope(b"2"))
        assert [received.body for received in await take(bus.consumer("things"), 1)] == [b"1"]
        broker.unblock()
        await bus.publisher().publish(envelope(b"3"))
    assert [received.body for received in broker.queue("things").ready] == [b"3"]


async def test_nacks_are_counted_down(broker: MemoryBroker) -> None:
    """So many refusals and no more, each leaving nothing behind."""
    broker.nack(2)
    async with broker.session("alice") as bus:
        for _ in range(2):
            with pytest.raises(Nacked):
                await bus.publisher().publish(envelope())
        await bus.publisher().publish(envelope())
    assert len(broker.queue("things").ready) == 1


async def test_cancelled_consumer_comes_back_by_itself(broker: MemoryBroker) -> None:
    """consumer <--- basic.cancel --- broker: what it held comes again, and its late ack is void."""
    async with broker.session("alice") as bus:
        await bus.publisher().publish(envelope(b"1"))
        consumer = bus.consumer("things")
        held = await next_of(consumer)
        broker.cancel("things")
        assert not await held.ack()
        (again,) = await take(consumer, 1)
        assert (again.body, again.redelivered) == (b"1", True)
        assert consumer.dropped_acks == 1


async def test_doubled_message_comes_twice(broker: MemoryBroker) -> None:
    """A publisher that heard no confirm repeats itself; whoever reads must drop the second."""
    broker.double("things")
    async with broker.session("alice") as bus:
        for body in (b"1", b"2"):
            await bus.publisher().publish(envelope(body))
        assert [received.body for received in await take(bus.consumer("things"), 3)] == [b"1", b"1", b"2"]


async def test_only_the_named_user_is_dropped(broker: MemoryBroker) -> None:
    """A fault of one process is not everybody's."""
    async with broker.session("alice") as alice, broker.session("bob") as bob:
        for _ in range(2):
            await alice.publisher().publish(envelope())
        one, two = alice.consumer("things", prefetch=1), bob.consumer("things", prefetch=1)
        held = [await next_of(one), await next_of(two)]
        broker.drop("alice")
        assert [await delivery.ack() for delivery in held] == [False, True]


async def test_nothing_is_delivered_to_a_stopped_broker_s_sessions(broker: MemoryBroker) -> None:
    """Away means away: no publish, no delivery, until it starts."""
    async with broker.session("alice", call_seconds=0.3) as bus:
        await bus.publisher().publish(envelope(b"1"))
        consumer = bus.consumer("things")
        broker.stop()
        with pytest.raises(BrokerUnavailable):
            await bus.publisher().publish(envelope(b"2"))
        waiting = asyncio.create_task(take(consumer, 1))
        await asyncio.sleep(0)
        assert not waiting.done()
        broker.start()
        assert [received.body for received in await waiting] == [b"1"]


async def test_temporary_queue_ends_with_the_broker(broker: MemoryBroker) -> None:
    """And a durable one does not."""
    broker.restart()
    assert broker.find("brief") is None
    assert broker.find("things") is not None


async def test_forged_author_is_refused(broker: MemoryBroker) -> None:
    """`user_id` is what the bridge trusts in a message (pitfalls.md row 26)."""
    forged = Received("things", "thing", b"{}", user_id="bob")
    with pytest.raises(BrokerRefused):
        broker.accept("alice", forged, mandatory=True)
    assert not broker.queue("things").ready


async def test_what_differs_is_refused(broker: MemoryBroker) -> None:
    """As a real one answers 406: a topology that is not ours must be seen."""
    with pytest.raises(BrokerRefused):
        broker.declare(Topology(queues=(Queue("things", {"x-max-length": 1}),), bindings=()))
    with pytest.raises(BrokerRefused):
        broker.declare(Topology(exchanges=(Exchange("things", "letters"),), queues=(), bindings=()))


async def test_dead_letter_waits_until_somebody_takes_it(broker: MemoryBroker) -> None:
    """`at-least-once`: poison is never lost because its queue was missing for a while."""
    async with broker.session("alice") as bus:
        await bus.publisher().publish(envelope(b"poison"))
        assert await (await next_of(bus.consumer("things"))).reject()
    queue = broker.reader("p", "otto", "letters", [("letters", "#")])
    (letter,) = broker.queue(queue).ready
    assert (letter.body, letter.headers["x-first-death-reason"]) == (b"poison", "rejected")


async def test_reader_that_is_full_drops_its_oldest(broker: MemoryBroker) -> None:
    """A reader that sleeps must not stop the others (pitfalls.md row 30)."""
    lazy = Topology(queues=(Queue("lazy", {"x-max-length": 2, "x-overflow": "drop-head"}),), bindings=())
    broker.declare(lazy)
    broker.bind("things", "lazy", "#")
    async with broker.session("alice") as bus:
        for body in (b"1", b"2", b"3"):
            await bus.publisher().publish(envelope(body))
    assert [received.body for received in broker.queue("lazy").ready] == [b"2", b"3"]


async def test_dropped_session_of_a_dead_process_takes_nothing_more(broker: MemoryBroker) -> None:
    """Killed and cancelled: its deliveries are there for the next one at once."""
    bus = broker.session("alice")
    await bus.__aenter__()
    await bus.publisher().publish(envelope(b"1"))
    consumer = bus.consumer("things")
    await next_of(consumer)
    waiting = asyncio.create_task(next_of(consumer))
    await asyncio.sleep(0)
    bus.drop()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert broker.queue("things").consumers == 0
    async with broker.session("alice") as again:
        assert [received.body for received in await take(again.consumer("things"), 1)] == [b"1"]


@pytest.mark.parametrize(
    ("pattern", "key", "is_taken"),
    [
        ("#", "", True),
        ("#", "a.b", True),
        ("*", "", False),
        ("*", "a", True),
        ("a.#", "a", True),
        ("a.#.z", "a.b.c.z", True),
        ("a.#.z", "a.b.c", False),
        ("*.b", "a.b", True),
        ("a", "a.b", False),
        ("a..b", "a..b", True),
    ],
)
def test_binding_keys_match_whole_words(pattern: str, key: str, is_taken: bool) -> None:
    """A key too many in a queue is a message in the wrong hands."""
    assert fits(pattern, key) is is_taken
