"""Every act on the bus, tried by every role on a real RabbitMQ: what is not written down here is refused.

`test_permission.py` tries single rules and says why each exists. Here nothing is chosen: each exchange is written
and bound, each queue consumed, fetched from, emptied and deleted, names are declared, and things are bound to each
other, by every user. The right column is written by hand from guarantees.md 5.4, not from the code.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import aiormq.abc
import pytest

from bridge.broker.connection import Connection
from bridge.broker.permission import Role
from bridge.broker.private import PrivateBroker
from bridge.errors import BrokerRefused, BrokerUnavailable
from tests.broker.people import ALICE_ACCOUNT, BOB_ACCOUNT, PREFIX, USERS

ROLES = {user.name: user.role for user in USERS if user.role is not Role.TOPOLOGY and user.name != "signer-b"}
QUEUES = (
    "commands",
    "sign-replies",
    "approvals",
    f"sign-requests.{ALICE_ACCOUNT}",
    f"sign-requests.{BOB_ACCOUNT}",
    "dead-letters",
    "unrouted",
    "events.log",
)
WRITTEN = {
    "commands": (
        *("acme-7.transfer", "acme-7.query", "acme-9.transfer", "acme-9.query", "acme-7", "", "acme-7.transfer.x"),
        *("acme-7.transfer.replay", "acme-9.transfer.replay", "acme-7.replay", "acme-7.transfer.x.replay"),
        *(f"{name}.{kind}" for name in ("acme-7", "acme-9") for kind in ("attach", "checkpoint", "detach", "resolve")),
    ),
    "results": ("alice.acme-7.succeeded", "bob.acme-7.succeeded"),
    "sign-requests": (f"{ALICE_ACCOUNT}.update", f"{BOB_ACCOUNT}.update"),
    "sign-replies": (f"{ALICE_ACCOUNT}.acme-7", f"{BOB_ACCOUNT}.acme-7", "acme-7", f"{ALICE_ACCOUNT}.acme-7.x"),
    "approvals": ("acme-7", "acme-9", "acme-7.x", ""),
    "events": ("acme-7.transfer.succeeded", "acme-9.transfer.succeeded", "_.bridge.started"),
    "dead-letters": ("commands", "x"),
    "unrouted": ("x",),
}
READ = {
    "commands": ("acme-7.#", "#"),
    "results": (*(f"{user}.#" for user in ROLES), "#", "*.acme-7.succeeded"),
    "sign-requests": (f"{ALICE_ACCOUNT}.#", f"{BOB_ACCOUNT}.#", "#"),
    "sign-replies": (f"{ALICE_ACCOUNT}.#", "#"),
    "approvals": ("acme-7", "#"),
    "events": (
        *("acme-7.#", "acme-9.#", "#", "*.transfer.#", "_.#"),
        *("acme-7.command.approval_requested", "acme-9.command.approval_requested", "*.command.approval_requested"),
    ),
    "dead-letters": ("#",),
    "unrouted": ("#",),
}
_OPERATOR = (".attach", ".checkpoint", ".detach", ".resolve")
FOREIGN = ("amq.topic", "amq.direct", "amq.fanout", "amq.headers")


@dataclass(frozen=True, slots=True)
class Act:
    """One thing to try; names of the deployment stand without their prefix. `me` is whoever tries."""

    verb: str
    what: str
    key: str = ""


def acts() -> Iterator[Act]:
    for exchange, keys in WRITTEN.items():
        yield from (Act("write", exchange, key) for key in keys)
    for exchange, keys in READ.items():
        yield from (Act("bind", exchange, key) for key in keys)
    for exchange in FOREIGN:
        yield from (Act("write foreign", exchange, "x"), Act("bind foreign", exchange, "#"))
    for queue in (*QUEUES, "client.alice.x"):
        yield Act("write queue", queue)
    for queue in QUEUES:
        yield from (Act(verb, queue) for verb in ("consume", "get", "purge", "delete"))
        yield Act("bind queue", queue, "acme-7.#")
    for queue in ("client.me.x", "client.alice.x", "client.bob.x", "client.x", "commands.2", "", "mine"):
        yield Act("declare", queue)
    for exchange in ("more", "client.me.more"):
        yield Act("declare exchange", exchange)
    for exchange in WRITTEN:
        yield Act("delete exchange", exchange)
        yield from (Act("bind exchange", exchange, source) for source in WRITTEN if source != exchange)


def _writes(exchange: str, *keys: str) -> set[Act]:
    return {Act("write", exchange, key) for key in keys}


def _binds(exchange: str, *keys: str) -> set[Act]:
    return {Act("bind", exchange, key) for key in keys}


def _looks(*queues: str) -> set[Act]:
    """Who may consume may also empty: RabbitMQ has one right for both."""
    return {Act(verb, queue) for queue in queues for verb in ("consume", "get", "purge")}


OWN = {Act("declare", "client.me.x"), Act("declare exchange", "client.me.more")}
"""RabbitMQ has one right for queues and exchanges of a name."""


def _leads(into: tuple[str, ...], out_of: tuple[str, ...]) -> set[Act]:
    """Whoever writes one exchange and reads another can lead the second into the first: no right forbids it.

    What comes that way is told apart (ADR 0011,
    `test_permission.py::test_what_a_client_smuggles_into_the_commands_is_told_apart`).
    """
    return {Act("bind exchange", written, read) for written in into for read in out_of}


SMUGGLED = {*_leads(("commands",), ("events",)), Act("bind queue", "commands", "acme-7.#")}

ALLOWED: dict[str, set[Act]] = {
    "bridge": {
        *chain.from_iterable(
            _writes(exchange, *WRITTEN[exchange]) for exchange in ("results", "sign-requests", "events", "dead-letters")
        ),
        *(Act("write queue", queue) for queue in (*QUEUES, "client.alice.x")),
        *_looks("commands", "sign-replies", "approvals"),
        *_leads(("results", "sign-requests", "events", "dead-letters"), ("commands", "sign-replies", "approvals")),
    },
    "signer-a": {
        *_writes("sign-replies", f"{ALICE_ACCOUNT}.acme-7"),
        *_binds("results", "signer-a.#"),
        *_looks(f"sign-requests.{ALICE_ACCOUNT}"),
        *OWN,
    },
    "alice": {
        *_writes("commands", "acme-7.transfer", "acme-7.query", "acme-7.replay"),
        *_binds("results", "alice.#"),
        *_binds("events", "acme-7.#", "acme-7.command.approval_requested"),
        *OWN,
        Act("declare", "client.alice.x"),
        *SMUGGLED,
    },
    "bob": {
        *_writes("commands", "acme-7.transfer", "acme-7.query", "acme-9.transfer", "acme-9.query", "acme-7.replay"),
        *_binds("results", "bob.#"),
        *_binds("events", *(key for key in READ["events"] if key not in ("#", "_.#"))),
        *OWN,
        Act("declare", "client.bob.x"),
        *SMUGGLED,
    },
    "carol": {
        *_writes("approvals", "acme-7"),
        *_binds("results", "carol.#"),
        *_binds("events", "acme-7.command.approval_requested"),
        *OWN,
    },
    "otto": {
        *_writes("commands", *(key for key in WRITTEN["commands"] if key.endswith((".query", *_OPERATOR)))),
        *_writes("commands", "acme-7.transfer.replay", "acme-9.transfer.replay"),
        *_binds("results", "otto.#"),
        *_binds("events", *(key for key in READ["events"] if key not in ("#", "_.#"))),
        *_binds("dead-letters", "#"),
        *_binds("unrouted", "#"),
        *_looks("dead-letters", "unrouted", "events.log"),
        *_leads(("commands",), ("dead-letters", "unrouted")),
        *SMUGGLED,
        *OWN,
    },
    "olga": {
        *_binds("events", "acme-7.#", "acme-7.command.approval_requested"),
        *OWN,
    },
}


class Trier:
    """Tries acts as one user, each on a channel of AMQP of its own: a refusal closes it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._me = connection.user

    async def is_allowed(self, act: Act) -> bool:
        amqp_channel = await self._connection.amqp_channel()
        try:
            async with self._connection.bounded(str(act), amqp_channel.generation):
                await self._attempt(await amqp_channel.raw.get_underlay_channel(), act)
                await amqp_channel.raw.close()
        except BrokerRefused as error:
            assert "ACCESS_REFUSED" in str(error), act  # noqa: PT017
            return False
        except BrokerUnavailable as error:
            # Past the right, RabbitMQ answers that a stream cannot be emptied, or fetched from; nor can a queue with a
            # single active consumer be.
            assert any(word in str(error) for word in ("NOT_IMPLEMENTED", "RESOURCE_LOCKED")), (act, str(error))  # noqa: PT017
        return True

    def _name(self, word: str) -> str:
        return f"{PREFIX}.{word.replace('client.me.', f'client.{self._me}.')}"

    async def _own(self, underlay: aiormq.abc.AbstractChannel) -> str:
        queue = self._name("client.me.matrix")
        await underlay.queue_declare(queue, exclusive=True)
        return queue

    async def _attempt(self, underlay: aiormq.abc.AbstractChannel, act: Act) -> None:
        name = self._name(act.what)
        match act.verb:
            case "write":
                await underlay.basic_publish(b"{}", exchange=name, routing_key=act.key)
            case "write foreign":
                await underlay.basic_publish(b"{}", exchange=act.what, routing_key=act.key)
            case "write queue":
                await underlay.basic_publish(b"{}", exchange="", routing_key=name)
            case "bind":
                await underlay.queue_bind(await self._own(underlay), name, act.key)
            case "bind foreign":
                await underlay.queue_bind(await self._own(underlay), act.what, act.key)
            case "bind queue":
                await underlay.queue_bind(name, self._name("events"), act.key)
            case "bind exchange":
                await underlay.exchange_bind(name, self._name(act.key), "acme-7.never")
                await underlay.exchange_unbind(name, self._name(act.key), "acme-7.never")
            case "declare":
                await underlay.queue_declare(name if "." in act.what else act.what, exclusive=True)
            case "declare exchange":
                await underlay.exchange_declare(name, exchange_type="topic")
            case "delete exchange":
                await underlay.exchange_delete(name)
            case _:
                await self._touch(underlay, act.verb, name)

    async def _touch(self, underlay: aiormq.abc.AbstractChannel, verb: str, queue: str) -> None:
        match verb:
            case "consume":
                await underlay.basic_qos(prefetch_count=1)
                await underlay.basic_consume(queue, _ignore)
            case "get":
                await underlay.basic_get(queue)
            case "purge":
                await underlay.queue_purge(queue)
            case "delete":
                await underlay.queue_delete(queue)
            case _:
                raise AssertionError(verb)


async def _ignore(_: object) -> None:
    """What arrives goes back when the channel closes."""


@pytest.mark.parametrize("user", list(ROLES))
async def test_nothing_is_allowed_but_what_the_role_needs(private_broker: PrivateBroker, user: str) -> None:
    """The list of what is allowed is short and written by hand; the broker has to refuse all the rest."""
    tried = list(acts())
    async with Connection(private_broker.url(user), "matrix") as connection:
        trier = Trier(connection)
        reached = {act for act in tried if await trier.is_allowed(act)}
    assert reached == ALLOWED[user]
    assert len(tried) - len(reached) > 90
    await _empty(private_broker)


async def _empty(broker: PrivateBroker) -> None:
    """Other tests of this broker find its queues as they were."""
    async with Connection(broker.url(), "matrix") as connection:
        underlay = await (await connection.amqp_channel()).raw.get_underlay_channel()
        for queue in QUEUES:
            if queue != "events.log":
                await underlay.queue_purge(f"{PREFIX}.{queue}")
        await underlay.queue_unbind(f"{PREFIX}.commands", f"{PREFIX}.events", "acme-7.#")
        for user in ROLES:
            await underlay.exchange_delete(f"{PREFIX}.client.{user}.more")


def test_every_role_is_in_the_matrix() -> None:
    """A role that is added is tried too."""
    assert {ROLES[user] for user in ALLOWED} == set(Role) - {Role.TOPOLOGY}
    assert set(ALLOWED) == set(ROLES)
    assert set().union(*ALLOWED.values()) <= set(acts())
