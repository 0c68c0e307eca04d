"""The exchanges, queues and bindings of the bus as data, and the one-time step that creates them.

The running parts have no right to create anything: they find what this step left (guarantees.md 5.4).
Names and arguments: design.md section 4. The same plan is declared over AMQP and written as RabbitMQ
definitions (`permission.definitions`), so tests, compose and Helm share one source.

Never do here: delete or change what exists. What differs is reported; the repair is the operator's.
"""

import re
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from bridge.broker.connection import CALL_SECONDS, AmqpChannel, Connection
from bridge.errors import BrokerRefused, BrokerUnavailable

PREFIX = "channels"
DELIVERY_LIMIT = 20
UNLIMITED_DELIVERIES = 1_000_000
"""For queues people look into again and again. -1 would drop at the first redelivery on RabbitMQ 3.10, and
unset means 20 from 4.0 on."""

COMMANDS_LIMIT = 100_000
SIGN_LIMIT = 10_000
DEAD_LETTERS_LIMIT = 100_000
UNROUTED_LIMIT = 10_000
READER_LIMIT = 100_000
READER_EXPIRY_MILLISECONDS = 7 * 24 * 3600 * 1000
EVENTS_LOG_AGE = "7D"
EVENTS_LOG_BYTES = 2_000_000_000
EVENTS_LOG_SEGMENT_BYTES = 50_000_000

_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")

Arguments = Mapping[str, str | int | bool]


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable topic exchange. `alternate` takes what no queue wanted."""

    name: str
    alternate: str | None = None

    @property
    def arguments(self) -> Arguments:
        return {"alternate-exchange": self.alternate} if self.alternate else {}


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue, or with `is_temporary` one that lives as long as the connection that declared it."""

    name: str
    arguments: Arguments = field(default_factory=dict)
    is_temporary: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Binding:
    exchange: str
    queue: str
    key: str


@dataclass(frozen=True, slots=True)
class Topology:
    prefix: str
    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]


@dataclass(frozen=True, slots=True)
class Names:
    """What the things on the bus are called. An exchange and its queue share a name."""

    prefix: str = PREFIX

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise ValueError(f"a prefix is made of letters, digits, '.', '_' and '-', not {self.prefix!r}")

    def _name(self, word: str) -> str:
        return f"{self.prefix}.{word}"

    @property
    def commands(self) -> str:
        return self._name("commands")

    @property
    def results(self) -> str:
        return self._name("results")

    @property
    def sign_requests(self) -> str:
        return self._name("sign-requests")

    @property
    def sign_replies(self) -> str:
        return self._name("sign-replies")

    @property
    def approvals(self) -> str:
        return self._name("approvals")

    @property
    def events(self) -> str:
        return self._name("events")

    @property
    def events_log(self) -> str:
        return self._name("events.log")

    @property
    def dead_letters(self) -> str:
        return self._name("dead-letters")

    @property
    def unrouted(self) -> str:
        return self._name("unrouted")

    def sign_request_queue(self, account: str) -> str:
        return self._name(f"sign-requests.{account}")

    def reader_queue(self, user: str, label: str) -> str:
        return self._name(f"client.{user}.{label}")


def plan(prefix: str, accounts: Iterable[str]) -> Topology:
    """All that a deployment needs. Each account that signs has its own request queue."""
    names = Names(prefix)
    signing = sorted(set(accounts))
    return Topology(
        prefix=prefix,
        exchanges=_exchanges(names),
        queues=_queues(names, signing),
        bindings=_bindings(names, signing),
    )


def _exchanges(names: Names) -> tuple[Exchange, ...]:
    # No alternate exchange behind events and sign requests: it would turn "nobody listens" into an Ack.
    watched = (names.commands, names.sign_replies, names.approvals, names.results)
    plain = (names.sign_requests, names.events, names.dead_letters, names.unrouted)
    return (
        *(Exchange(name) for name in plain),
        *(Exchange(name, alternate=names.unrouted) for name in watched),
    )


def _queues(names: Names, accounts: Iterable[str]) -> tuple[Queue, ...]:
    return (
        Queue(names.commands, _work_queue(names, "commands", COMMANDS_LIMIT) | _IN_ORDER),
        Queue(names.sign_replies, _work_queue(names, "sign-replies", SIGN_LIMIT)),
        Queue(names.approvals, _work_queue(names, "approvals", SIGN_LIMIT)),
        *(
            Queue(names.sign_request_queue(account), _work_queue(names, "sign-requests", SIGN_LIMIT))
            for account in accounts
        ),
        Queue(names.dead_letters, _quorum(DEAD_LETTERS_LIMIT, UNLIMITED_DELIVERIES)),
        Queue(names.unrouted, _quorum(UNROUTED_LIMIT, UNLIMITED_DELIVERIES)),
        Queue(names.events_log, _STREAM),
    )


def _bindings(names: Names, accounts: Iterable[str]) -> tuple[Binding, ...]:
    same = (names.commands, names.sign_replies, names.approvals, names.dead_letters, names.unrouted)
    return (
        *(Binding(name, name, "#") for name in same),
        Binding(names.events, names.events_log, "#"),
        *(Binding(names.sign_requests, names.sign_request_queue(account), f"{account}.#") for account in accounts),
    )


def _quorum(limit: int, deliveries: int) -> dict[str, str | int | bool]:
    return {
        "x-queue-type": "quorum",
        "x-max-length": limit,
        "x-overflow": "reject-publish",
        "x-delivery-limit": deliveries,
    }


def _work_queue(names: Names, source: str, limit: int) -> dict[str, str | int | bool]:
    """A queue whose poison goes to the dead letters, under the routing key `source`, and is never lost."""
    return _quorum(limit, DELIVERY_LIMIT) | {
        "x-dead-letter-exchange": names.dead_letters,
        "x-dead-letter-routing-key": source,
        "x-dead-letter-strategy": "at-least-once",
    }


# Beside a connection that is half dead each reader would be given every other command. Replies and approvals have
# no order among themselves, and there a ghost would keep all of them until its heartbeats are missed.
_IN_ORDER: dict[str, str | int | bool] = {"x-single-active-consumer": True}
_STREAM: dict[str, str | int | bool] = {
    "x-queue-type": "stream",
    "x-max-age": EVENTS_LOG_AGE,
    "x-max-length-bytes": EVENTS_LOG_BYTES,
    "x-stream-max-segment-size-bytes": EVENTS_LOG_SEGMENT_BYTES,
}


def reader(
    prefix: str,
    user: str,
    label: str,
    bindings: Iterable[tuple[str, str]],
    *,
    limit: int = READER_LIMIT,
    is_temporary: bool = False,
) -> Topology:
    """A reader's own queue and its bindings, (exchange, key) each; its user may declare it.

    When full it drops its oldest: refusing would nack the event for every other reader (pitfalls.md row 30).
    """
    name = Names(prefix).reader_queue(user, label)
    arguments: dict[str, str | int | bool] = {"x-max-length": limit, "x-overflow": "drop-head"}
    if not is_temporary:
        arguments |= {
            "x-queue-type": "quorum",
            "x-delivery-limit": UNLIMITED_DELIVERIES,
            "x-expires": READER_EXPIRY_MILLISECONDS,
        }
    return Topology(
        prefix=prefix,
        exchanges=(),
        queues=(Queue(name, arguments, is_temporary),),
        bindings=tuple(Binding(exchange, name, key) for exchange, key in bindings),
    )


async def apply(
    url: str, topology: Topology, *, ssl_context: ssl.SSLContext | None = None, call_seconds: float = CALL_SECONDS
) -> None:
    """Creates what is missing. May be called twice.

    Raises `BrokerRefused` when something exists and differs, or the user has no right to create it.
    """
    async with Connection(url, "topology", ssl_context=ssl_context, call_seconds=call_seconds) as connection:
        await declare(connection, topology)


async def declare(connection: Connection, topology: Topology) -> None:
    """`apply` over a connection that is already there."""
    amqp_channel = await connection.amqp_channel()
    for what, act in _acts(topology):
        async with connection.bounded(what, amqp_channel.generation):
            await act(amqp_channel)
    async with connection.bounded("closing", amqp_channel.generation):
        await amqp_channel.raw.close()


async def check(connection: Connection, topology: Topology) -> list[str]:
    """One sentence for each exchange and queue that is missing. Needs no right to create."""
    return [sentence for sentence, find in _finds(topology) if not await _succeeds(connection, find)]


async def compare(connection: Connection, topology: Topology) -> list[str]:
    """One sentence for each thing that is missing or differs, in the broker's words.

    Needs the topology user's rights: only a declaration tells whether arguments differ. Creates nothing,
    unless somebody deletes a queue between our two questions.
    """
    findings = []
    declares = [_declare_exchange(exchange) for exchange in topology.exchanges]
    declares += [_declare_queue(queue) for queue in topology.queues]
    for (sentence, find), declare_it in zip(_finds(topology), declares, strict=True):
        if await _succeeds(connection, find):
            findings += await _differences(connection, declare_it)
        else:
            findings.append(sentence)
    return findings


_Act = Callable[[AmqpChannel], Awaitable[object]]


def _finds(topology: Topology) -> Iterable[tuple[str, _Act]]:
    """What to say if it is missing, and the act that fails then."""
    for exchange in topology.exchanges:
        yield f"the exchange {exchange.name} is missing", _find_exchange(exchange)
    for queue in topology.queues:
        yield f"the queue {queue.name} is missing", _find_queue(queue)


def _acts(topology: Topology) -> Iterable[tuple[str, _Act]]:
    for exchange in topology.exchanges:
        yield f"declaring the exchange {exchange.name}", _declare_exchange(exchange)
    for queue in topology.queues:
        yield f"declaring the queue {queue.name}", _declare_queue(queue)
    for binding in topology.bindings:
        yield f"binding {binding.queue} to {binding.exchange} by {binding.key}", _bind(binding)


async def _attempt(connection: Connection, act: _Act) -> None:
    """One act on an AMQP channel of its own: a refusal closes it."""
    amqp_channel = await connection.amqp_channel()
    async with connection.bounded("asking for the topology", amqp_channel.generation):
        await act(amqp_channel)
        await amqp_channel.raw.close()


async def _succeeds(connection: Connection, act: _Act) -> bool:
    try:
        await _attempt(connection, act)
    except BrokerUnavailable as error:
        if "NOT_FOUND" in str(error):
            return False
        raise
    return True


async def _differences(connection: Connection, act: _Act) -> list[str]:
    try:
        await _attempt(connection, act)
    except BrokerRefused as error:
        return [str(error)]
    return []


def _find_exchange(exchange: Exchange) -> _Act:
    async def act(amqp_channel: AmqpChannel) -> object:
        underlay = await amqp_channel.raw.get_underlay_channel()
        return await underlay.exchange_declare(exchange.name, passive=True)

    return act


def _find_queue(queue: Queue) -> _Act:
    async def act(amqp_channel: AmqpChannel) -> object:
        underlay = await amqp_channel.raw.get_underlay_channel()
        return await underlay.queue_declare(queue.name, passive=True)

    return act


def _declare_exchange(exchange: Exchange) -> _Act:
    async def act(amqp_channel: AmqpChannel) -> object:
        underlay = await amqp_channel.raw.get_underlay_channel()
        return await underlay.exchange_declare(
            exchange.name, exchange_type="topic", durable=True, arguments=dict(exchange.arguments)
        )

    return act


def _declare_queue(queue: Queue) -> _Act:
    async def act(amqp_channel: AmqpChannel) -> object:
        underlay = await amqp_channel.raw.get_underlay_channel()
        return await underlay.queue_declare(
            queue.name,
            durable=not queue.is_temporary,
            exclusive=queue.is_temporary,
            auto_delete=queue.is_temporary,
            arguments=dict(queue.arguments),
        )

    return act


def _bind(binding: Binding) -> _Act:
    async def act(amqp_channel: AmqpChannel) -> object:
        underlay = await amqp_channel.raw.get_underlay_channel()
        return await underlay.queue_bind(binding.queue, binding.exchange, binding.key)

    return act
