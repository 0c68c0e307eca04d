"""Every channel of a journal at a glance, read without owning it: while the bridge runs, or after it.

One view, as `peek` opens it. Needs no key: credentials stay sealed and are not read.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bridge.channel.identifier import ChannelName
from bridge.errors import JournalUnavailable
from bridge.journal.lookup import FIND, events
from bridge.journal.peek import reading
from bridge.journal.record import EventRow, InboxRow

OLDEST_READ = 1
"""The journal's version from which these tables are as they are."""


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """What is kept of one channel. `backlog`: commands that wait; `outbox`: envelopes of its own without a confirm."""

    name: ChannelName
    state: bytes | None
    seq: int
    backlog: int
    outbox: int
    in_doubt: tuple[str, ...]
    """The ids of the commands whose outcome is open."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Valid inside its `with` block."""

    connection: sqlite3.Connection

    def channels(self) -> tuple[ChannelRow, ...]:
        """By name: those of which anything was ever kept."""
        rows = self.connection.execute("SELECT name, state, seq FROM channel ORDER BY name").fetchall()
        waiting = dict(
            self.connection.execute("SELECT channel, count(*) FROM inbox WHERE status = 'journaled' GROUP BY channel")
        )
        lanes = dict(self.connection.execute("SELECT lane, count(*) FROM outbox GROUP BY lane"))
        return tuple(
            ChannelRow(
                ChannelName(name),
                state,
                seq,
                backlog=waiting.get(name, 0),
                outbox=lanes.get(f"events/{name}", 0) + lanes.get(f"sign/{name}", 0),
                in_doubt=self._in_doubt(name),
            )
            for name, state, seq in rows
        )

    def _in_doubt(self, name: str) -> tuple[str, ...]:
        rows = self.connection.execute(
            "SELECT command_id FROM inbox WHERE channel=? AND status = 'in_doubt' ORDER BY position", (name,)
        )
        return tuple(row[0] for row in rows)

    def latest_events(self, channel: ChannelName, count: int) -> tuple[EventRow, ...]:
        """The last so many, in order."""
        (last,) = self.connection.execute("SELECT max(seq) FROM event WHERE channel=?", (channel,)).fetchone()
        return () if last is None else events(self.connection, channel, last - count + 1, last)

    def command(self, command_id: str) -> InboxRow | None:
        """A command that was accepted under this id and is not forgotten."""
        row = self.connection.execute(FIND, (command_id,)).fetchone()
        return None if row is None else InboxRow(*row)

    def newest_instant(self) -> float:
        """Of whatever was written last, seconds since 1970; 0 of an empty journal."""
        (at,) = self.connection.execute("SELECT coalesce(max(at), 0) FROM event").fetchone()
        return float(at)

    def span(self, channel: ChannelName) -> tuple[int, int, int]:
        """The first and the last event kept, and the last ever numbered; 0 where there is none."""
        first, last = self.connection.execute(
            "SELECT coalesce(min(seq), 0), coalesce(max(seq), 0) FROM event WHERE channel=?", (channel,)
        ).fetchone()
        row = self.connection.execute("SELECT seq FROM channel WHERE name=?", (channel,)).fetchone()
        return first, last, 0 if row is None else row[0]

    def events(
        self, channel: ChannelName, first: int, last: int, since: float | None, until: float | None
    ) -> Iterator[EventRow]:
        """By `seq`, both ends included, and by instant; those no longer kept are absent."""
        rows = self.connection.execute(
            "SELECT seq, event_id, routing_key, type, body, headers, at FROM event WHERE channel=?"
            " AND seq BETWEEN ? AND ? AND (? IS NULL OR at >= ?) AND (? IS NULL OR at < ?) ORDER BY seq",
            (channel, first, last, since, since, until, until),
        )
        for seq, event_id, routing_key, type_, body, headers, at in rows:
            yield EventRow(channel, seq, event_id, routing_key, type_, body, json.loads(headers), at)


@contextmanager
def survey(file: Path) -> Iterator[Survey]:
    """Raises JournalUnavailable, also from within the block."""
    with reading(file) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < OLDEST_READ:
            raise JournalUnavailable(f"{file} holds no journal: its version is {version}")
        yield Survey(connection)
