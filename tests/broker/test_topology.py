"""The bus as data: what is declared, what is found, and what differs."""

from dataclasses import replace

import pytest

from bridge.broker.connection import Connection
from bridge.broker.consumer import Consumer
from bridge.broker.private import PrivateBroker
from bridge.broker.publisher import Publisher
from bridge.broker.topology import (
    Names,
    Queue,
    Topology,
    apply,
    check,
    compare,
    declare,
    plan,
    reader,
)
from bridge.errors import Unroutable
from bridge.wire.envelope import Envelope
from tests.broker.conftest import MakeEnvelope
from tests.broker.people import ALICE_ACCOUNT, BOB_ACCOUNT, PREFIX, USERS
from tests.broker.test_consumer import take


def _envelope(exchange: str, key: str, body: bytes = b"{}") -> Envelope:
    return Envelope(exchange, key, body, {}, "probe", None, 1_700_000_000.0)


def test_every_work_queue_is_bounded_and_loses_nothing() -> None:
    """Poison goes to the dead letters, a full queue refuses, and nothing expires (design.md section 4)."""
    names = Names("channels")
    work = [names.commands, names.sign_replies, names.approvals, names.sign_request_queue(ALICE_ACCOUNT)]
    queues = {queue.name: queue.arguments for queue in plan("channels", [ALICE_ACCOUNT]).queues}
    for name in work:
        arguments = queues[name]
        assert arguments["x-queue-type"] == "quorum"
        assert arguments["x-delivery-limit"] == 20
        assert arguments["x-overflow"] == "reject-publish"
        assert arguments["x-dead-letter-strategy"] == "at-least-once"
        assert arguments["x-dead-letter-exchange"] == "channels.dead-letters"
        assert arguments["x-max-length"]
        assert "x-message-ttl" not in arguments


def test_commands_have_one_active_consumer_and_nothing_else_has() -> None:
    """Their order is promised; a ghost that alone is given replies or approvals would hold up every signature."""
    alone = [q.name for q in plan("p", [ALICE_ACCOUNT]).queues if q.arguments.get("x-single-active-consumer")]
    assert alone == ["p.commands"]


def test_alternate_exchange_stands_behind_four_exchanges_only() -> None:
    """Behind events or sign requests it would turn "nobody listens" into an Ack (pitfalls.md row 27)."""
    with_alternate = {exchange.name for exchange in plan("p", []).exchanges if exchange.alternate}
    assert with_alternate == {"p.commands", "p.sign-replies", "p.approvals", "p.results"}


@pytest.mark.parametrize("prefix", ["", "a b", "#", "*", "x" * 70, ".x"])
def test_prefix_that_is_no_name_is_refused(prefix: str) -> None:
    """It becomes part of routing and permission expressions."""
    with pytest.raises(ValueError, match="a prefix"):
        plan(prefix, [])


async def test_applied_plan_is_complete_and_may_be_applied_again(amqp_url: str, prefix: str) -> None:
    """The topology step is run at each deployment."""
    wanted = plan(prefix, [ALICE_ACCOUNT])
    async with Connection(amqp_url, "test") as opened:
        missing = await check(opened, wanted)
        assert len(missing) == len(wanted.exchanges) + len(wanted.queues)
        await apply(amqp_url, wanted)
        await apply(amqp_url, wanted)
        assert await check(opened, wanted) == []
        assert await compare(opened, wanted) == []


async def test_loaded_definitions_equal_what_apply_declares(private_broker: PrivateBroker) -> None:
    """One source of truth: a broker set up from the file and one set up over AMQP may not differ."""
    wanted = plan(PREFIX, [account for user in USERS for account in user.accounts])
    async with Connection(private_broker.url("builder"), "test") as opened:
        assert await check(opened, wanted) == []
        assert await compare(opened, wanted) == []
    listed = await private_broker.control("-q", "list_bindings", "source_name", "destination_name", "routing_key")
    lines = {tuple(line.split("\t")) for line in listed.splitlines()}
    assert {(binding.exchange, binding.queue, binding.key) for binding in wanted.bindings} <= lines


async def test_difference_is_found_and_named(connection: Connection, bus: Topology) -> None:
    """A queue declared by hand with other arguments works until the day its limit matters."""
    other = replace(bus, queues=(Queue(bus.queues[0].name, {"x-queue-type": "quorum", "x-max-length": 7}),))
    (finding,) = await compare(connection, other)
    assert bus.queues[0].name in finding
    assert "inequivalent" in finding


async def test_plain_user_can_check_but_not_compare(private_broker: PrivateBroker) -> None:
    """The bridge declares nothing; it can still see at its start that something is missing."""
    wanted = plan(PREFIX, [ALICE_ACCOUNT, BOB_ACCOUNT])
    async with Connection(private_broker.url("bridge"), "test") as opened:
        assert await check(opened, wanted) == []
        absent = Topology(PREFIX, (), (Queue("channels.absent"),), ())
        assert await check(opened, absent) == ["the queue channels.absent is missing"]
        assert all("ACCESS_REFUSED" in finding for finding in await compare(opened, wanted))


async def test_unknown_routing_keys_are_kept_or_reported(amqp_url: str, prefix: str) -> None:
    """Results nobody reads are kept for operators; a sign request nobody can take is an error."""
    await apply(amqp_url, plan(prefix, [ALICE_ACCOUNT]))
    names = Names(prefix)
    async with Connection(amqp_url, "test") as opened:
        publisher = Publisher(opened)
        await publisher.publish(_envelope(names.results, "dave.acme-7.failed", b"kept"))
        await publisher.publish(_envelope(names.sign_requests, f"{ALICE_ACCOUNT}.update"))
        with pytest.raises(Unroutable):
            await publisher.publish(_envelope(names.sign_requests, f"{BOB_ACCOUNT}.update"))
        consumer = Consumer(opened, names.unrouted)
        (delivery,) = await take(consumer, 1)
        assert delivery.received.routing_key == "dave.acme-7.failed"
        await consumer.close()


async def test_rejected_command_lies_in_the_dead_letters_under_its_source(amqp_url: str, prefix: str) -> None:
    """Operators look there, by the name of the queue it came from."""
    await apply(amqp_url, plan(prefix, []))
    names = Names(prefix)
    async with Connection(amqp_url, "test") as opened:
        await Publisher(opened).publish(_envelope(names.commands, "acme-7.transfer", b"poison"))
        poisoned = Consumer(opened, names.commands)
        assert await (await anext(poisoned)).reject()
        letters = Consumer(opened, names.dead_letters)
        (letter,) = await take(letters, 1)
        assert (letter.received.routing_key, letter.received.body) == ("commands", b"poison")
        await poisoned.close()
        await letters.close()


async def test_event_log_can_be_read_from_its_beginning(amqp_url: str, prefix: str) -> None:
    """An event always has a place, and `events tail` a source."""
    await apply(amqp_url, plan(prefix, []))
    names = Names(prefix)
    async with Connection(amqp_url, "test") as opened:
        publisher = Publisher(opened)
        for number in range(3):
            await publisher.publish(_envelope(names.events, "acme-7.info.open", b"%d" % number))
        for _ in range(2):
            log = Consumer(opened, names.events_log, arguments={"x-stream-offset": "first"})
            bodies = [delivery.received.body for delivery in await take(log, 3)]
            assert bodies == [b"0", b"1", b"2"]
            await log.close()


async def test_full_reader_queue_drops_its_oldest(
    connection: Connection, prefix: str, bus: Topology, envelope: MakeEnvelope
) -> None:
    """Refusing would nack the event for every other reader (pitfalls.md row 30)."""
    wanted = reader(prefix, "dave", "all", [(bus.exchanges[0].name, "thing.#")], limit=2)
    await declare(connection, wanted)
    publisher = Publisher(connection)
    for number in range(6):
        await publisher.publish(envelope(body=b"%d" % number))
    consumer = Consumer(connection, f"{prefix}.client.dave.all")
    last = (await take(consumer, 2))[-1]
    assert last.received.body == b"5"
    await consumer.close()
