"""`channel-bridge events replay`: events published again, out of the journal, into a queue of the caller's own.

The journal has each event once, in order, with the bytes and the `ce-id` it was published with (G3), as long as the
retention; the stream of events on the bus has repeats, ends sooner, and knows no channel (docs/adr/0024). What is
published again says so in headers; a reader that drops what it has seen by `ce-id` or `seq` may get it twice and
count it once. One event is out at a time, so order is kept; after a crash begin again where it ended.
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import typer

from bridge.broker.connection import Connection
from bridge.broker.publisher import Publisher
from bridge.broker.sideline import sideline
from bridge.channel.identifier import ChannelName
from bridge.journal.journal import FILE
from bridge.journal.record import EventRow
from bridge.journal.survey import Survey, survey
from bridge.wire.envelope import Envelope, write_instant
from bridge.wire.letter import REPLAYED

ALL = 2**62
PAGE = 500
LABEL = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Range:
    """Which events. Numbers are `seq`, both ends included; instants are seconds since 1970, the end excluded."""

    channels: tuple[str, ...] = ()
    """Empty: every channel of the journal."""
    first: int = 1
    last: int = ALL
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a range holds of one channel."""

    channel: str
    count: int
    first: int
    last: int
    forgotten: int
    """Asked for by number, and no longer kept."""


def read_seq(text: str) -> tuple[int, int]:
    """`12`, `12-40`, `12-` or `-40`. Raises typer.BadParameter."""
    match = re.fullmatch(r"(\d{1,15})?(-)?(\d{1,15})?", text)
    if match is None or not (match[1] or match[3]):
        raise typer.BadParameter("a number or a range like 12-40, 12- or -40", param_hint="--seq")
    if match[2] is None:
        return int(text), int(text)
    return int(match[1] or 1), int(match[3] or ALL)


def read_instant(text: str | None, option: str) -> float | None:
    """RFC 3339 with its offset. Raises typer.BadParameter."""
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter("an instant like 2026-01-02T03:04:05Z", param_hint=option) from error
    if instant.tzinfo is None:
        raise typer.BadParameter("an instant with its offset, like …Z", param_hint=option)
    return instant.timestamp()


def check_label(text: str) -> str:
    if not LABEL.fullmatch(text):
        raise typer.BadParameter("1 to 64 letters, digits, '.', '_' and '-'", param_hint="--queue")
    return text


@contextmanager
def opened(data_dir: Path) -> Iterator[Survey]:
    with survey(data_dir / FILE) as found:
        yield found


def find(journal: Survey, wanted: Range) -> tuple[Found, ...]:
    """What is there, channel by channel; a channel with nothing is left out unless it was asked for."""
    names = wanted.channels or tuple(row.name for row in journal.channels())
    found = (_count(journal, ChannelName(name), wanted) for name in names)
    return tuple(one for one in found if one.count or wanted.channels)


def _count(journal: Survey, name: ChannelName, wanted: Range) -> Found:
    numbers = [row.seq for row in _events(journal, name, wanted)]
    kept, _, ever = journal.span(name)
    gone = max(0, min(wanted.last, (kept or ever + 1) - 1) - wanted.first + 1)
    first, last = (numbers[0], numbers[-1]) if numbers else (0, 0)
    return Found(name, len(numbers), first, last, gone)


def _events(journal: Survey, name: ChannelName, wanted: Range) -> Iterator[EventRow]:
    return journal.events(name, wanted.first, wanted.last, wanted.since, wanted.until)


def envelope(row: EventRow, exchange: str, now: float) -> Envelope:
    """The event as it was published, but for where it goes, whose it is, and that it says it comes again."""
    return Envelope(
        exchange=exchange,
        routing_key=row.routing_key,
        body=row.body,
        headers={**row.headers, REPLAYED: write_instant(now)},
        type=row.type,
        correlation_id=_correlation(row.body),
        timestamp=row.at,
    )


def _correlation(body: bytes) -> str | None:
    command_id = json.loads(body)["data"].get("command_id")
    return command_id if isinstance(command_id, str) else None


def _pages(data_dir: Path, found: Found, wanted: Range) -> Iterator[EventRow]:
    """What was found, a page at a time: one long view would keep the bridge's journal from tidying up."""
    after = found.first - 1
    while after < found.last:
        page = replace(wanted, first=after + 1, last=found.last)
        with opened(data_dir) as journal:
            rows = tuple(islice(_events(journal, ChannelName(found.channel), page), PAGE))
        yield from rows
        after = rows[-1].seq if rows else found.last


async def replay(
    connection: Connection,
    prefix: str,
    label: str,
    data_dir: Path,
    wanted: Range,
    channels: Sequence[Found],
    per_second: float,
    tell: Callable[[EventRow], None],
) -> str:
    """Every event found, each confirmed before the next. Returns the queue. `per_second` 0: as fast as it goes."""
    publisher = Publisher(connection)
    async with sideline(connection, prefix, label) as (exchange, queue):
        for found in channels:
            for row in _pages(data_dir, found, wanted):
                began = asyncio.get_running_loop().time()
                await publisher.publish(envelope(row, exchange, datetime.now(UTC).timestamp()))
                tell(row)
                if per_second > 0:
                    spent = asyncio.get_running_loop().time() - began
                    await asyncio.sleep(max(0.0, 1 / per_second - spent))
    return queue
