"""Every promise of the bus, held by the broker in memory and by a real RabbitMQ alike.

The simulation's verdicts are worth what its broker is worth: where the two differ, the fake is wrong.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from bridge.app.bus import Bus, Consumes, Delivery
from bridge.broker.consumer import Consumer
from bridge.broker.topology import Binding, Exchange, Queue, Topology
from bridge.errors import BrokerUnavailable, Nacked, Unroutable
from bridge.sim.broker_session import MemoryConsumer
from bridge.wire.envelope import Envelope, Received
from tests.broker.conftest import QUORUM, MakeEnvelope, until
from tests.broker.stand import MemoryStand, RabbitStand, Stand

LIMIT = 2
SECONDS = 30


@pytest.fixture(params=["memory", "rabbitmq"])
def empty(request: pytest.FixtureRequest) -> Stand:
    """One of the two brokers. Not async: the session's RabbitMQ starts outside of any event loop."""
    if request.param == "memory":
        return MemoryStand()
    url: str = request.getfixturevalue("amqp_url")
    return RabbitStand(url, None if "AMQP_URL" in os.environ else request.getfixturevalue("private_broker"))


@pytest.fixture
async def stand(empty: Stand, prefix: str) -> AsyncIterator[Stand]:
    """With `topology` on it."""
    await empty.declare(topology(prefix))
    yield empty
    await empty.clear()


def topology(prefix: str) -> Topology:
    """`things` with a queue and dead letters, `side` that feeds the same queue, `spare` that catches what is lost."""
    things, side, letters, spare, small, single = (
        f"{prefix}.{word}" for word in ("things", "side", "letters", "spare", "small", "single")
    )
    arguments = QUORUM | {
        "x-delivery-limit": LIMIT,
        "x-dead-letter-exchange": letters,
        "x-dead-letter-routing-key": "things",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    return Topology(
        prefix,
        (Exchange(things), Exchange(letters), Exchange(spare), Exchange(side, alternate=spare), Exchange(small)),
        (
            Queue(things, arguments),
            Queue(letters, QUORUM),
            Queue(spare, QUORUM),
            Queue(small, QUORUM | {"x-max-length": 1, "x-overflow": "reject-publish"}),
            Queue(single, QUORUM | {"x-single-active-consumer": True}),
        ),
        (
            Binding(things, things, "thing.#"),
            Binding(side, things, "thing.*"),
            Binding(letters, letters, "#"),
            Binding(spare, spare, "#"),
            Binding(small, small, "small"),
            Binding(small, spare, "#"),
            Binding(things, single, "single"),
        ),
    )


@pytest.fixture
async def bus(stand: Stand) -> AsyncIterator[Bus]:
    async with stand.session() as session:
        yield session


@pytest.fixture
def things(prefix: str) -> str:
    return f"{prefix}.things"


async def next_of(consumer: Consumes) -> Delivery:
    async with asyncio.timeout(SECONDS):
        return await anext(consumer)


async def drain(consumer: Consumes, count: int) -> list[Received]:
    """So many, each acknowledged."""
    taken = []
    for _ in range(count):
        delivery = await next_of(consumer)
        assert await delivery.ack()
        taken.append(delivery.received)
    return taken


async def look(bus: Bus, queue: str, count: int) -> list[Received]:
    """So many of a queue, and its consumer closed."""
    consumer = bus.consumer(queue)
    taken = await drain(consumer, count)
    await consumer.close()
    return taken


async def publish(bus: Bus, envelope: MakeEnvelope, *bodies: bytes, **changes: Any) -> None:
    """One after the other, so that the broker's order is ours."""
    publisher = bus.publisher()
    for body in bodies:
        await publisher.publish(envelope(body=body, **changes))


def bodies(taken: list[Received]) -> list[bytes]:
    return [received.body for received in taken]


async def test_envelope_arrives_as_it_was_sent(stand: Stand, bus: Bus, things: str, envelope: MakeEnvelope) -> None:
    """Headers, body and properties are the contract; the author is whom the broker vouches for."""
    sent = envelope(reply_to="somewhere")
    await bus.publisher().publish(sent)
    (received,) = await look(bus, things, 1)
    assert (received.exchange, received.routing_key, received.body) == (sent.exchange, sent.routing_key, sent.body)
    assert (received.headers, received.type) == (sent.headers, sent.type)
    assert (received.correlation_id, received.reply_to) == (sent.correlation_id, "somewhere")
    assert received.content_type == sent.content_type
    assert (received.user_id, received.queue, received.redelivered) == (stand.user, things, False)


async def test_each_attempt_has_a_message_id_of_its_own(bus: Bus, things: str, envelope: MakeEnvelope) -> None:
    """One id twice in flight lets an unroutable publish look like success (pitfalls.md row 3)."""
    await publish(bus, envelope, b"same", b"same")
    taken = await look(bus, things, 2)
    assert taken[0].message_id != taken[1].message_id
    assert taken[0].headers == taken[1].headers


async def test_a_queue_keeps_its_order(bus: Bus, things: str, envelope: MakeEnvelope) -> None:
    """Commands of one channel run in the order of their queue."""
    sent = [b"%d" % number for number in range(20)]
    await publish(bus, envelope, *sent)
    assert bodies(await look(bus, things, 20)) == sent


async def test_what_was_acked_does_not_come_again(stand: Stand, bus: Bus, things: str, envelope: MakeEnvelope) -> None:
    """An accepted command is taken off the bus."""
    await publish(bus, envelope, b"1", b"2")
    consumer = bus.consumer(things)
    await drain(consumer, 1)
    await consumer.close()
    assert bodies(await look(bus, things, 1)) == [b"2"]


async def test_lost_session_brings_the_unsettled_again_in_order(
    stand: Stand, bus: Bus, things: str, envelope: MakeEnvelope
) -> None:
    """A crash between delivery and commit loses nothing and reorders nothing.

    broker --- 1, 2, 3 ---> consumer -X-   then 4 is published:   1, 2, 3 again, marked, before 4
    """
    await publish(bus, envelope, b"1", b"2", b"3")
    consumer = bus.consumer(things)
    held = [await next_of(consumer) for _ in range(2)]
    stand.cut(bus)
    assert not await held[0].ack(), "it belongs to a connection that is gone"
    async with stand.session() as other:
        await publish(other, envelope, b"4")
    again = await drain(consumer, 4)
    assert bodies(again) == [b"1", b"2", b"3", b"4"]
    assert [received.redelivered for received in again] == [True, True, True, False]
    assert again[0].headers["x-delivery-count"] == 1
    await consumer.close()


async def test_closing_returns_what_is_unsettled(bus: Bus, things: str, envelope: MakeEnvelope) -> None:
    """A hand-over gives the next owner everything in its order."""
    await publish(bus, envelope, b"1", b"2", b"3")
    consumer = bus.consumer(things)
    await next_of(consumer)
    await next_of(consumer)
    await consumer.close()
    with pytest.raises(StopAsyncIteration):
        await anext(consumer)
    assert bodies(await look(bus, things, 3)) == [b"1", b"2", b"3"]


async def test_closing_waits_for_what_was_handed_out(bus: Bus, things: str, envelope: MakeEnvelope) -> None:
    """A command that is being journaled may still be acked."""
    await publish(bus, envelope, b"1")
    consumer = bus.consumer(things)
    held = await next_of(consumer)
    closing = asyncio.create_task(consumer.close(settle_seconds=SECONDS))
    await asyncio.sleep(0)
    assert not closing.done()
    assert await held.ack()
    async with asyncio.timeout(SECONDS):
        await closing
    await publish(bus, envelope, b"2")
    assert bodies(await look(bus, things, 1)) == [b"2"]


async def test_stopping_ends_a_waiting_iteration(bus: Bus, things: str) -> None:
    """SIGTERM must not wait for one more message."""
    consumer = bus.consumer(things)
    waiting = asyncio.create_task(_take_all(consumer))
    await asyncio.sleep(0)
    consumer.stop()
    async with asyncio.timeout(SECONDS):
        assert await waiting == []
    await consumer.close()


async def _take_all(consumer: Consumes) -> list[Delivery]:
    return [delivery async for delivery in consumer]


async def test_prefetch_bounds_what_is_unsettled(bus: Bus, things: str, envelope: MakeEnvelope) -> None:
    """A reader that settles nothing is not flooded; the rest stays for others."""
    await publish(bus, envelope, *(b"%d" % number for number in range(5)))
    slow = bus.consumer(things, prefetch=2)
    held = [await next_of(slow), await next_of(slow)]
    assert bodies(await look(bus, things, 3)) == [b"2", b"3", b"4"]
    third = asyncio.create_task(next_of(slow))
    assert await held[0].ack()
    await publish(bus, envelope, b"5")
    assert (await third).received.body == b"5"
    await slow.close()


async def test_two_consumers_never_get_the_same_message(bus: Bus, things: str, envelope: MakeEnvelope) -> None:
    """Two signers of one account share its work."""
    one, two = bus.consumer(things, prefetch=1), bus.consumer(things, prefetch=1)
    first = [asyncio.create_task(next_of(one)), asyncio.create_task(next_of(two))]
    await publish(bus, envelope, b"1", b"2")
    taken = await asyncio.gather(*first)
    assert sorted(bodies([delivery.received for delivery in taken])) == [b"1", b"2"]
    await one.close()
    await two.close()


@pytest.mark.parametrize("end", ["closed", "cut"])
async def test_one_consumer_is_active_and_the_next_takes_over_in_order(
    stand: Stand, bus: Bus, prefix: str, envelope: MakeEnvelope, end: str
) -> None:
    """Two readers of the commands, one perhaps a ghost of the other: in turn they would get them out of order.

    1, 2, 3, 4 ---> first (1 acked)   X   second: 2, 3, 4, and nothing before
    """
    await publish(bus, envelope, b"1", b"2", b"3", b"4", routing_key="single")
    async with stand.session() as other:
        first = other.consumer(f"{prefix}.single", prefetch=2)
        held = [await next_of(first), await next_of(first)]
        second = bus.consumer(f"{prefix}.single")
        waiting = asyncio.create_task(next_of(second))
        assert isinstance(second, Consumer | MemoryConsumer)
        await until(lambda: second.is_consuming)
        assert await held[0].ack()
        assert (await next_of(first)).received.body == b"3", "room for one more, and the first has it"
        assert not waiting.done()
        if end == "closed":
            await first.close()
        else:
            stand.cut(other)
        delivery = await waiting
        assert (delivery.received.body, delivery.received.redelivered) == (b"2", True)
        assert await delivery.ack()
        assert bodies(await drain(second, 2)) == [b"3", b"4"]
        await second.close()


async def test_unroutable_raises_and_the_next_goes_through(bus: Bus, things: str, envelope: MakeEnvelope) -> None:
    """ "Nobody listens" must never look like success: an event would be lost in silence."""
    publisher = bus.publisher()
    with pytest.raises(Unroutable):
        await publisher.publish(envelope(routing_key="nobody.listens"))
    await publisher.publish(envelope())
    assert len(await look(bus, things, 1)) == 1


async def test_unroutable_is_no_failure_where_nobody_need_listen(bus: Bus, envelope: MakeEnvelope) -> None:
    """Copies to reply addresses: the asker may have left (pitfalls.md row 24)."""
    publisher = bus.publisher()
    await publisher.publish(envelope(routing_key="nobody.listens", mandatory=False))
    await publisher.publish(envelope(exchange="", routing_key="amq.rabbitmq.reply-to.g1h2", mandatory=False))


async def test_an_exchange_that_is_missing_is_an_error_and_passes(
    bus: Bus, things: str, prefix: str, envelope: MakeEnvelope
) -> None:
    """Somebody deleted it: the publish fails, and later ones do not suffer."""
    publisher = bus.publisher()
    with pytest.raises(BrokerUnavailable):
        await publisher.publish(envelope(exchange=f"{prefix}.gone"))
    await publisher.publish(envelope())
    assert len(await look(bus, things, 1)) == 1


async def test_alternate_exchange_takes_what_nobody_wants(bus: Bus, prefix: str, envelope: MakeEnvelope) -> None:
    """And the publish counts as routed (pitfalls.md row 27): so there is none behind events."""
    await publish(bus, envelope, b"lost", exchange=f"{prefix}.side", routing_key="some.where.else")
    (received,) = await look(bus, f"{prefix}.spare", 1)
    assert (received.exchange, received.routing_key) == (f"{prefix}.side", "some.where.else")


async def test_full_queue_nacks_and_its_neighbour_keeps_the_message(
    bus: Bus, prefix: str, envelope: MakeEnvelope
) -> None:
    """One reader's full queue refuses the publish for all (pitfalls.md row 30)."""
    to_small = envelope(exchange=f"{prefix}.small", routing_key="small")
    confirmed = await _fill(bus, to_small)
    # The refused one is there as well: whoever repeats it sends it twice.
    assert len(await look(bus, f"{prefix}.spare", confirmed + 1)) == confirmed + 1


async def _fill(bus: Bus, envelope: Envelope) -> int:
    """How many were confirmed before the first nack. A quorum queue tells its limit late."""
    publisher = bus.publisher()
    for count in range(100):
        try:
            await publisher.publish(envelope)
        except Nacked:
            return count
    raise AssertionError("the queue has no limit")


async def test_full_queue_takes_again_when_it_was_read(bus: Bus, prefix: str, envelope: MakeEnvelope) -> None:
    """A nack passes with its cause."""
    to_small = envelope(exchange=f"{prefix}.small", routing_key="small")
    confirmed = await _fill(bus, to_small)
    await look(bus, f"{prefix}.small", confirmed)
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                await bus.publisher().publish(to_small)
            except Nacked:
                await asyncio.sleep(0.05)
            else:
                break


async def test_topic_words_and_wildcards(bus: Bus, prefix: str, things: str, envelope: MakeEnvelope) -> None:
    """`*` is one word, `#` any number of words."""
    for exchange, key, is_taken in (
        ("things", "thing", True),
        ("things", "thing.a.b", True),
        ("side", "thing.a", True),
        ("side", "thing", False),
        ("side", "thing.a.b", False),
    ):
        await publish(bus, envelope, key.encode(), exchange=f"{prefix}.{exchange}", routing_key=key)
        (received,) = await look(bus, things if is_taken else f"{prefix}.spare", 1)
        assert received.routing_key == key


async def test_stray_is_refused_to_the_dead_letters(bus: Bus, prefix: str, things: str, envelope: MakeEnvelope) -> None:
    """What came by another exchange was judged by no permission on routing keys."""
    await publish(bus, envelope, b"stray", exchange=f"{prefix}.side")
    await publish(bus, envelope, b"straight")
    consumer = bus.consumer(things, source=things)
    assert bodies(await drain(consumer, 1)) == [b"straight"]
    await consumer.close()
    (letter,) = await look(bus, f"{prefix}.letters", 1)
    assert letter.body == b"stray"


async def test_dead_letter_sent_back_is_a_stray(bus: Bus, prefix: str, things: str, envelope: MakeEnvelope) -> None:
    """Dead-lettering into a queue of commands is a way in that nobody has judged."""
    death = [{"reason": "rejected", "queue": "elsewhere", "count": 1}]
    await publish(bus, envelope, b"died", headers={"x-death": death})
    consumer = bus.consumer(things, source=things)
    waiting = asyncio.create_task(drain(consumer, 1))
    (letter,) = await look(bus, f"{prefix}.letters", 1)
    assert letter.body == b"died"
    await publish(bus, envelope, b"straight")
    assert bodies(await waiting) == [b"straight"]
    await consumer.close()


async def test_rejected_message_is_a_dead_letter_with_its_history(
    stand: Stand, bus: Bus, prefix: str, things: str, envelope: MakeEnvelope
) -> None:
    """Operators repair and re-submit from what stands there."""
    await publish(bus, envelope, b"poison")
    consumer = bus.consumer(things)
    delivery = await next_of(consumer)
    assert await delivery.reject()
    await consumer.close()
    (letter,) = await look(bus, f"{prefix}.letters", 1)
    assert (letter.body, letter.exchange, letter.routing_key) == (b"poison", f"{prefix}.letters", "things")
    assert (letter.user_id, letter.headers["ce-id"]) == (stand.user, "event-1")
    first = {name: value for name, value in letter.headers.items() if str(name).startswith("x-first-death")}
    assert first == {
        "x-first-death-reason": "rejected",
        "x-first-death-queue": things,
        "x-first-death-exchange": things,
    }
    (death,) = _deaths(letter)
    assert death.pop("time") is not None
    assert death == {
        "count": 1,
        "reason": "rejected",
        "queue": things,
        "exchange": things,
        "routing-keys": ["thing.made"],
    }


def _deaths(letter: Received) -> list[dict[str, Any]]:
    deaths = letter.headers["x-death"]
    assert isinstance(deaths, list)
    return deaths


async def test_delivery_limit_ends_a_crash_loop(
    bus: Bus, prefix: str, things: str, stand: Stand, envelope: MakeEnvelope
) -> None:
    """A message that kills its reader each time comes out of its way."""
    await publish(bus, envelope, b"poison")
    for _ in range(LIMIT + 1):
        consumer = bus.consumer(things)
        assert (await next_of(consumer)).received.body == b"poison"
        await consumer.close()
    (letter,) = await look(bus, f"{prefix}.letters", 1)
    assert letter.headers["x-first-death-reason"] == "delivery_limit"


async def test_deleted_queue_is_consumed_again_once_it_is_back(
    stand: Stand, bus: Bus, prefix: str, things: str, envelope: MakeEnvelope
) -> None:
    """The broker cancels the consumer and leaves all else open (pitfalls.md row 1)."""
    await publish(bus, envelope, b"before")
    consumer = bus.consumer(things)
    await drain(consumer, 1)
    waiting = asyncio.create_task(drain(consumer, 1))
    await stand.delete(things)
    with pytest.raises(Unroutable):
        await bus.publisher().publish(envelope())
    await asyncio.sleep(0.5)  # RabbitMQ 3.10 sends no cancel when the queue is back within some 100 ms
    await stand.declare(replace(topology(prefix), exchanges=()))
    await publish(bus, envelope, b"after")
    assert bodies(await waiting) == [b"after"]
    await consumer.close()


async def test_confirmed_messages_survive_a_restart(
    stand: Stand, bus: Bus, things: str, envelope: MakeEnvelope
) -> None:
    """Confirmed means safe on disk; sessions come back by themselves."""
    if isinstance(stand, RabbitStand) and stand.private is None:
        pytest.skip("this RabbitMQ is not ours to restart")
    await publish(bus, envelope, b"1", b"2")
    consumer = bus.consumer(things)
    held = await next_of(consumer)
    await stand.restart()
    assert not await held.ack()
    await publish(bus, envelope, b"3")
    assert bodies(await drain(consumer, 3)) == [b"1", b"2", b"3"]
    await consumer.close()
