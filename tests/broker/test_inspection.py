"""Rights and queues are asked for without moving a message, and a difference is read out of the broker's words."""

import pytest

from bridge.broker.connection import Connection
from bridge.broker.inspection import Difference, Seen, may_read, may_write, read_difference, see_queue
from bridge.broker.private import PrivateBroker
from bridge.broker.publisher import Publisher
from bridge.broker.topology import Topology
from tests.broker.conftest import MakeEnvelope
from tests.broker.people import PREFIX


@pytest.mark.parametrize(
    ("user", "written", "read"),
    [
        ("bridge", {"results", "sign-requests", "events", "dead-letters"}, {"commands", "sign-replies", "approvals"}),
        ("alice", {"commands"}, set()),
        ("otto", {"commands"}, {"dead-letters", "unrouted", "events.log"}),
        ("olga", set(), set()),
    ],
)
async def test_rights_are_found_as_they_were_given(
    private_broker: PrivateBroker, user: str, written: set[str], read: set[str]
) -> None:
    """Both ways: a right that is there is seen, one that is not is not."""
    exchanges = ("commands", "results", "sign-requests", "sign-replies", "approvals", "events", "dead-letters")
    queues = ("commands", "sign-replies", "approvals", "dead-letters", "unrouted", "events.log")
    async with Connection(private_broker.url(user), "inspection") as connection:
        assert {
            name for name in exchanges if await may_write(connection, f"{PREFIX}.{name}", "acme-7.query")
        } == written
        assert {name for name in queues if await may_read(connection, f"{PREFIX}.{name}")} == read
        assert await may_write(connection, "") is (user == "bridge")


async def test_asking_publishes_and_takes_nothing(
    connection: Connection, bus: Topology, envelope: MakeEnvelope
) -> None:
    """Not even a redelivery is left behind: on a queue of commands twenty of them are the end of a message."""
    name = bus.queues[0].name
    await Publisher(connection).publish(envelope())
    for _ in range(3):
        assert await may_write(connection, name, "thing.made")
        assert await may_read(connection, name)
    assert await see_queue(connection, name) == Seen(messages=1, consumers=0)
    amqp_channel = await connection.amqp_channel()
    message = await (await amqp_channel.raw.get_underlay_channel()).basic_get(name)
    assert (message.header.properties.headers or {})["x-delivery-count"] == 0


async def test_a_queue_that_is_not_there_is_seen_as_none(connection: Connection, prefix: str) -> None:
    assert await see_queue(connection, f"{prefix}.nothing") is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'c.commands' in vhost '/': "
            "received '100000' but current is '5'",
            Difference("queue", "c.commands", "x-max-length", "100000", "5"),
        ),
        (
            "PRECONDITION_FAILED - inequivalent arg 'x-overflow' for queue 'c.commands' in vhost '/': "
            "received the value 'reject-publish' of type 'longstr' but current is none",
            Difference("queue", "c.commands", "x-overflow", "reject-publish", "none"),
        ),
        (
            "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'c.events' in vhost 'v': "
            "received 'topic' but current is 'direct'",
            Difference("exchange", "c.events", "type", "topic", "direct"),
        ),
        ("ACCESS_REFUSED - access to queue 'c.commands' in vhost '/' refused for user 'bridge'", None),
    ],
)
def test_the_brokers_words_are_read(words: str, expected: Difference | None) -> None:
    """Three phrasings, all seen on RabbitMQ 3.10.8."""
    assert read_difference(f"asking for the topology: ChannelPreconditionFailed {words}") == expected
