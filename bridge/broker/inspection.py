"""Asks the broker what a user may do and what is there, and moves nothing: no message is published, shown or taken.

A right is found out by a call that the broker refuses in any case, after it has judged the right: a publish with an
expiration that is none, a consumer with a priority that is none. `ACCESS_REFUSED` then means no right, and
`PRECONDITION_FAILED` that it was there (measured on RabbitMQ 3.10.8; it judges rights first). Passive declarations
need no right at all; only a declaration by who may create things shows arguments, by being refused.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiormq.abc
from pamqp.commands import Basic

from bridge.broker.connection import Connection
from bridge.errors import BrokerRefused, BrokerUnavailable

_REFUSED, _MISSING = "ACCESS_REFUSED", "NOT_FOUND"
_DIFFERS = re.compile(
    r"inequivalent arg '(?P<argument>[^']+)' for (?P<kind>queue|exchange) '(?P<name>[^']+)' in vhost '[^']*': "
    r"(?P<rest>.+)"
)
_VALUES = re.compile(r"received (?:the value )?(?P<planned>.+?)(?: of type '[^']*')? but current is (?P<found>.+)")
_QUOTED = re.compile(r"(?:the value )?'?(?P<value>[^']*?)'?(?: of type '[^']*')?")


@dataclass(frozen=True, slots=True)
class Seen:
    """A queue as anybody sees it. `messages`: ready for delivery; of a stream not told."""

    messages: int
    consumers: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One argument that is not as planned. The broker tells the first only."""

    kind: str
    name: str
    argument: str
    planned: str
    found: str


async def see_queue(connection: Connection, queue: str) -> Seen | None:
    """None if there is none."""
    seen: list[Seen] = []

    async def act(underlay: aiormq.abc.AbstractChannel) -> None:
        answer = await underlay.queue_declare(queue, passive=True)
        seen.append(Seen(answer.message_count or 0, answer.consumer_count or 0))

    error = await _try(connection, act)
    if error is not None and _MISSING in str(error):
        return None
    if error is not None:
        raise error
    return seen[0]


async def may_write(connection: Connection, exchange: str, key: str = "") -> bool:
    """Whether this user may publish there under that key; `""` is the default exchange. True if there is none, too."""

    async def act(underlay: aiormq.abc.AbstractChannel) -> None:
        properties = Basic.Properties(expiration="none")
        await underlay.basic_publish(b"", exchange=exchange, routing_key=key, properties=properties)

    return await _may(connection, act)


async def may_read(connection: Connection, queue: str) -> bool:
    """Whether this user may consume it. True as well if there is none."""

    async def act(underlay: aiormq.abc.AbstractChannel) -> None:
        await underlay.basic_consume(queue, _ignore, arguments={"x-priority": "none"})

    return await _may(connection, act)


async def _ignore(_: aiormq.abc.DeliveredMessage) -> None:
    """Nothing is ever delivered to it."""


async def _may(connection: Connection, act: Callable[[aiormq.abc.AbstractChannel], Awaitable[None]]) -> bool:
    error = await _try(connection, act)
    if error is None or isinstance(error, BrokerRefused) or _MISSING in str(error):
        return error is None or _REFUSED not in str(error)
    raise error


async def _try(
    connection: Connection, act: Callable[[aiormq.abc.AbstractChannel], Awaitable[None]]
) -> BrokerUnavailable | None:
    """On an AMQP channel of its own: a refusal closes it."""
    amqp_channel = await connection.amqp_channel()
    try:
        async with connection.bounded("inspecting", amqp_channel.generation):
            await act(await amqp_channel.raw.get_underlay_channel())
            await amqp_channel.raw.close()
    except BrokerUnavailable as error:
        return error
    return None


def read_difference(sentence: str) -> Difference | None:
    """What the broker says when a declaration differs; None of any other refusal."""
    found = _DIFFERS.search(sentence)
    if found is None:
        return None
    values = _VALUES.search(found["rest"])
    planned, present = (values["planned"], values["found"]) if values else ("", found["rest"])
    return Difference(found["kind"], found["name"], found["argument"], _bare(planned), _bare(present))


def _bare(text: str) -> str:
    """`the value '5' of type 'signedint'` as `5`; `none` as it is."""
    match = _QUOTED.fullmatch(text.strip())
    return match["value"] if match else text.strip()
