"""The books of each channel as they were posted: append-only, never pruned, read also while a bridge runs.

An entry is committed with the state that holds its totals, so the last entry of a channel and its state always say
the same, whatever crashed. Written by the owner's connection; read in one view, as `peek` opens it. ADR 0023.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bridge.channel.identifier import ChannelName
from bridge.errors import InvariantViolation, JournalUnavailable
from bridge.journal.peek import reading
from bridge.journal.record import PostingRow

SINCE = 3
"""The journal's version that brought the books."""
_INSERT = "INSERT INTO posting (channel, entry, seq, event_id, at, body) VALUES (?, ?, ?, ?, ?, ?)"
_SELECT = (
    "SELECT channel, entry, seq, event_id, at, body FROM posting WHERE ? IS NULL OR channel = ? ORDER BY channel, entry"
)


def enter_postings(connection: sqlite3.Connection, rows: Iterable[PostingRow]) -> None:
    """Raises InvariantViolation if an entry's number is taken."""
    for row in rows:
        try:
            connection.execute(_INSERT, (row.channel, row.entry, row.seq, row.event_id, row.at, row.body))
        except sqlite3.IntegrityError as error:
            raise InvariantViolation(f"entry {row.entry} of {row.channel} is posted already") from error


@dataclass(frozen=True, slots=True)
class Posted:
    """One view of the books, open for as long as its `with` block."""

    connection: sqlite3.Connection

    def rows(self, channel: ChannelName | None = None) -> Iterator[PostingRow]:
        """Of one channel or of all, by channel and number."""
        return (PostingRow(*columns) for columns in self.connection.execute(_SELECT, (channel, channel)))

    def states(self) -> Iterator[tuple[ChannelName, bytes]]:
        """Each channel with its stored state, as `channel.state.decode` reads it."""
        found = self.connection.execute("SELECT name, state FROM channel WHERE state IS NOT NULL ORDER BY name")
        return ((ChannelName(name), state) for name, state in found)


@contextmanager
def read_books(file: Path) -> Iterator[Posted]:
    """Raises JournalUnavailable, also from within the block: a file that cannot be read, or is of an older version."""
    with reading(file) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < SINCE:
            raise JournalUnavailable(
                f"{file} has version {version}, from before the books: they begin when the bridge is next started"
            )
        yield Posted(connection)
