"""Least privilege, asked of the real broker: who may do what, and what is refused."""

import asyncio
import base64
import hashlib
import re
from dataclasses import dataclass

import aiormq.abc
import pytest
from pamqp.commands import Basic
from pamqp.common import FieldValue

from bridge.broker.connection import AmqpChannel, Connection
from bridge.broker.consumer import Consumer
from bridge.broker.permission import Role, User, definitions, hash_password, rights
from bridge.broker.private import PrivateBroker
from bridge.broker.publisher import Publisher
from bridge.broker.topology import declare, reader
from bridge.errors import BrokerRefused, Unroutable
from bridge.wire.envelope import Envelope
from tests.broker.people import ALICE_ACCOUNT, BOB_ACCOUNT, PREFIX, USERS


@dataclass(frozen=True, slots=True)
class Write:
    """Publishing `key` to an exchange, named without its prefix."""

    exchange: str
    key: str

    async def attempt(self, connection: Connection) -> None:
        exchange = f"{PREFIX}.{self.exchange}" if self.exchange else ""
        envelope = Envelope(exchange, self.key, b"{}", {}, "probe", None, 1_700_000_000.0)
        try:
            await Publisher(connection).publish(envelope)
        except Unroutable:
            return  # allowed: only nobody listens


@dataclass(frozen=True, slots=True)
class Bind:
    """Binding the user's own queue to an exchange by `key`."""

    exchange: str
    key: str

    async def attempt(self, connection: Connection) -> None:
        wanted = [(f"{PREFIX}.{self.exchange}", self.key)]
        await declare(connection, reader(PREFIX, connection.user, "probe", wanted, is_temporary=True))


@dataclass(frozen=True, slots=True)
class Read:
    """Consuming a queue."""

    queue: str

    async def attempt(self, connection: Connection) -> None:
        amqp_channel = await connection.amqp_channel(confirms=False)

        async def ignore(_: object) -> None:
            """What arrives goes back when the channel closes."""

        async with connection.bounded("probing", amqp_channel.generation):
            underlay = await amqp_channel.raw.get_underlay_channel()
            await underlay.basic_qos(prefetch_count=1)
            await underlay.basic_consume(f"{PREFIX}.{self.queue}", ignore)
            await amqp_channel.raw.close()


@dataclass(frozen=True, slots=True)
class Declare:
    """Creating a queue of any name."""

    queue: str

    async def attempt(self, connection: Connection) -> None:
        amqp_channel = await connection.amqp_channel()
        async with connection.bounded("probing", amqp_channel.generation):
            underlay = await amqp_channel.raw.get_underlay_channel()
            await underlay.queue_declare(self.queue, exclusive=True)
            await amqp_channel.raw.close()


Probe = Write | Bind | Read | Declare

ALLOWED: tuple[tuple[str, Probe], ...] = (
    ("alice", Write("commands", "acme-7.transfer")),
    ("alice", Write("commands", "acme-8.query")),
    ("alice", Write("commands", "acme-7.no_such_command")),
    ("alice", Bind("results", "alice.#")),
    ("alice", Bind("events", "acme-7.#")),
    ("alice", Bind("events", "acme-7.transfer.*")),
    ("bob", Write("commands", "any-channel.transfer")),
    ("bob", Bind("events", "*.transfer.#")),
    ("signer-a", Read(f"sign-requests.{ALICE_ACCOUNT}")),
    ("signer-a", Write("sign-replies", f"{ALICE_ACCOUNT}.acme-7")),
    ("signer-a", Bind("results", "signer-a.#")),
    ("carol", Write("approvals", "acme-7")),
    ("carol", Bind("events", "acme-7.command.approval_requested")),
    ("otto", Write("commands", "acme-7.resolve")),
    ("otto", Write("commands", "acme-7.checkpoint")),
    ("otto", Read("dead-letters")),
    ("otto", Read("unrouted")),
    ("otto", Read("events.log")),
    ("olga", Bind("events", "acme-7.#")),
    ("bridge", Write("results", "alice.acme-7.succeeded")),
    ("bridge", Write("sign-requests", f"{ALICE_ACCOUNT}.update")),
    ("bridge", Write("events", "acme-7.transfer.succeeded")),
    ("bridge", Write("dead-letters", "commands")),
    ("bridge", Write("", "channels.client.alice.replies")),
    ("bridge", Read("commands")),
    ("bridge", Read("sign-replies")),
    ("bridge", Read("approvals")),
    ("builder", Declare("channels.something")),
)

REFUSED: tuple[tuple[str, Probe], ...] = (
    ("alice", Write("commands", "acme-9.transfer")),
    ("alice", Write("commands", "acme-70.transfer")),
    ("alice", Write("commands", "x.acme-7.transfer")),
    ("alice", Write("commands", "acme-7.transfer.x")),
    ("alice", Write("commands", "acme-7.resolve")),
    ("alice", Write("commands", "acme-7.detach")),
    ("alice", Write("events", "acme-7.transfer.succeeded")),
    ("alice", Write("results", "alice.acme-7.succeeded")),
    ("alice", Write("sign-replies", f"{ALICE_ACCOUNT}.acme-7")),
    ("alice", Write("approvals", "acme-7")),
    ("alice", Write("", "channels.commands")),
    ("alice", Bind("results", "bob.#")),
    ("alice", Bind("results", "#")),
    ("alice", Bind("events", "acme-9.#")),
    ("alice", Bind("events", "#")),
    ("alice", Bind("events", "*.transfer.succeeded")),
    ("alice", Bind("sign-requests", f"{ALICE_ACCOUNT}.#")),
    ("alice", Bind("commands", "acme-7.#")),
    ("alice", Read("commands")),
    ("alice", Read("dead-letters")),
    ("alice", Read("events.log")),
    ("alice", Read(f"sign-requests.{ALICE_ACCOUNT}")),
    ("alice", Declare("channels.client.bob.results")),
    ("alice", Declare("channels.commands.2")),
    ("bob", Bind("results", "alice.#")),
    ("bob", Write("commands", "any-channel.resolve")),
    ("signer-a", Read(f"sign-requests.{BOB_ACCOUNT}")),
    ("signer-a", Write("sign-replies", f"{BOB_ACCOUNT}.acme-7")),
    ("signer-a", Write("commands", "acme-7.transfer")),
    ("signer-a", Write("events", "acme-7.transfer.succeeded")),
    ("signer-a", Bind("sign-requests", f"{BOB_ACCOUNT}.#")),
    ("signer-a", Bind("events", "acme-7.#")),
    ("signer-a", Read("sign-replies")),
    ("carol", Write("approvals", "acme-8")),
    ("carol", Write("commands", "acme-7.transfer")),
    ("carol", Bind("events", "acme-7.#")),
    ("carol", Bind("events", "acme-8.command.approval_requested")),
    ("otto", Write("commands", "acme-7.transfer")),
    ("otto", Write("approvals", "acme-7")),
    ("otto", Write("dead-letters", "commands")),
    ("olga", Write("commands", "acme-7.query")),
    ("olga", Bind("results", "olga.#")),
    ("olga", Bind("events", "acme-8.#")),
    ("olga", Read("events.log")),
    ("bridge", Write("commands", "acme-7.transfer")),
    ("bridge", Write("sign-replies", f"{ALICE_ACCOUNT}.acme-7")),
    ("bridge", Write("approvals", "acme-7")),
    ("bridge", Read("dead-letters")),
    ("bridge", Read(f"sign-requests.{ALICE_ACCOUNT}")),
    ("bridge", Declare("channels.anything")),
    ("builder", Declare("other.anything")),
)


async def _refused(url: str, probes: list[Probe]) -> list[Probe]:
    """Those of the probes that the broker refuses for want of a right."""
    refused: list[Probe] = []
    async with Connection(url, "probe") as connection:
        for probe in probes:
            try:
                await probe.attempt(connection)
            except BrokerRefused as error:
                assert "ACCESS_REFUSED" in str(error)  # noqa: PT017
                refused.append(probe)
    return refused


@pytest.mark.parametrize("user", [user.name for user in USERS])
async def test_user_may_do_what_its_role_needs_and_nothing_more(private_broker: PrivateBroker, user: str) -> None:
    """A stolen password must open only the doors of its role (guarantees.md 5.4)."""
    allowed = [probe for name, probe in ALLOWED if name == user]
    forbidden = [probe for name, probe in REFUSED if name == user]
    refused = await _refused(private_broker.url(user), allowed + forbidden)
    assert refused == forbidden


def test_every_role_is_probed_both_ways() -> None:
    """A role without a probe would be trusted without being tried."""
    roles = {user.name: user.role for user in USERS}
    for table in (ALLOWED, REFUSED):
        assert {roles[name] for name, _ in table} | {Role.SIGNER} == set(Role)


async def test_author_is_vouched_for_by_the_broker(private_broker: PrivateBroker) -> None:
    """Authors count only because nobody can write another user's name on a message."""
    async with Connection(private_broker.url("alice"), "test") as opened:
        amqp_channel = await opened.amqp_channel()
        with pytest.raises(BrokerRefused, match="user_id"):
            await _publish_as(opened, amqp_channel, "bob")
    async with Connection(private_broker.url("alice"), "test") as opened:
        await _publish_as(opened, await opened.amqp_channel(), "alice")


async def _publish_as(connection: Connection, amqp_channel: AmqpChannel, user: str) -> None:
    async with connection.bounded("probing", amqp_channel.generation):
        underlay = await amqp_channel.raw.get_underlay_channel()
        await underlay.basic_publish(
            b"{}",
            exchange="channels.commands",
            routing_key="acme-7.transfer",
            properties=Basic.Properties(user_id=user),
        )


async def test_answer_reaches_the_asker_through_its_reply_address(private_broker: PrivateBroker) -> None:
    """Direct reply-to needs no right of the asker's; the bridge answers over the default exchange."""
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(message: aiormq.abc.DeliveredMessage) -> None:
        answers.put_nowait(bytes(message.body))

    async with (
        Connection(private_broker.url("bob"), "asker") as asker,
        Connection(private_broker.url("bridge"), "bridge") as bridge,
    ):
        amqp_channel = await asker.amqp_channel()
        underlay = await amqp_channel.raw.get_underlay_channel()
        await underlay.basic_consume("amq.rabbitmq.reply-to", take, no_ack=True)
        await underlay.basic_publish(
            b"ask",
            exchange="channels.commands",
            routing_key="reply-test.query",
            properties=Basic.Properties(reply_to="amq.rabbitmq.reply-to", user_id="bob"),
        )
        consumer = Consumer(bridge, "channels.commands")
        async with asyncio.timeout(20):
            async for delivery in consumer:
                await delivery.ack()
                if delivery.received.routing_key == "reply-test.query":
                    break
        address = delivery.received.reply_to
        assert address is not None
        assert address.startswith("amq.rabbitmq.reply-to.")
        answer = Envelope("", address, b"answer", {}, "result", None, 1_700_000_000.0, mandatory=False)
        await Publisher(bridge).publish(answer)
        async with asyncio.timeout(10):
            assert await answers.get() == b"answer"
        await consumer.close()


async def test_what_a_client_smuggles_into_the_commands_is_told_apart(private_broker: PrivateBroker) -> None:
    """Who may write the command exchange may bind it to the events, or dead-letter events into it.

    RabbitMQ has no right that forbids it, and no routing key was judged on that way:

    bridge ---event---> events ---(alice's binding)---> commands
                        events ---> alice's queue ---(full: dead letter)---> commands
    """
    async with (
        Connection(private_broker.url("alice"), "alice") as alice,
        Connection(private_broker.url("bridge"), "bridge") as bridge,
        Connection(private_broker.url(), "admin") as admin,
    ):
        amqp_channel = await alice.amqp_channel()
        underlay = await amqp_channel.raw.get_underlay_channel()
        await underlay.exchange_bind("channels.commands", "channels.events", "acme-7.smuggled.#")
        trap: dict[str, FieldValue] = {
            "x-max-length": 0,
            "x-dead-letter-exchange": "channels.commands",
            "x-dead-letter-routing-key": "acme-9.transfer",
        }
        await underlay.queue_declare("channels.client.alice.trap", exclusive=True, arguments=trap)
        await underlay.queue_bind("channels.client.alice.trap", "channels.events", "acme-7.smuggled.#")
        await Publisher(bridge).publish(
            Envelope("channels.events", "acme-7.smuggled.x", b"{}", {}, "event", None, 1_700_000_000.0)
        )
        await Publisher(alice).publish(
            Envelope("channels.commands", "acme-7.honest", b"{}", {}, "command", None, 1_700_000_000.0)
        )
        consumer = Consumer(bridge, "channels.commands", source="channels.commands")
        keys = []
        async with asyncio.timeout(20):
            async for delivery in consumer:
                await delivery.ack()
                keys.append(delivery.received.routing_key)
                if delivery.received.routing_key == "acme-7.honest" and consumer.strays == 2:
                    break
                if delivery.received.routing_key == "acme-7.honest":
                    await Publisher(alice).publish(
                        Envelope("channels.commands", "acme-7.honest", b"{}", {}, "c", None, 1_700_000_000.0)
                    )
        assert "acme-7.smuggled.x" not in keys
        assert "acme-9.transfer" not in keys
        await consumer.close()
        undo = await (await admin.amqp_channel()).raw.get_underlay_channel()
        await undo.exchange_unbind("channels.commands", "channels.events", "acme-7.smuggled.#")


def test_password_is_kept_as_a_salted_hash_only() -> None:
    """The definitions file lies on disks and in images."""
    user = User("dave", Role.CLIENT, ("acme-7",), password="very secret")
    document = definitions(PREFIX, None, [user])
    assert "very secret" not in repr(document)
    assert "very secret" not in repr(user)
    raw = base64.b64decode(document["users"][0]["password_hash"])
    assert raw[4:] == hashlib.sha256(raw[:4] + b"very secret").digest()
    assert hash_password("very secret") != hash_password("very secret")


@pytest.mark.parametrize("name", ["alice.x", "", "guest", "a b", "-alice", "a" * 65, "al/ice", "alice\n"])
def test_user_name_that_tears_a_routing_key_is_refused(name: str) -> None:
    """With a dot in it, `alice` could bind `alice.#` and read what is for `alice.x` (tried)."""
    with pytest.raises(ValueError, match="a user name"):
        User(name, Role.CLIENT)


def test_wild_channel_or_account_is_refused() -> None:
    """They become part of an expression; nothing in them may be one."""
    with pytest.raises(ValueError, match="a channel name"):
        User("dave", Role.CLIENT, channels=("acme.*",))
    with pytest.raises(ValueError, match="is no account"):
        User("dave", Role.SIGNER, accounts=("ak_.*",))


def test_user_without_channels_may_touch_none() -> None:
    """An empty list must not become an expression that matches everything."""
    granted = rights(PREFIX, User("dave", Role.CLIENT))
    for topic in granted.topics[:2]:
        for key in ("acme-7.transfer", ".transfer", "transfer", ""):
            assert not re.search(topic.write, key) or topic.write == "^$"
            assert not re.search(topic.read, key) or topic.read == "^$"
