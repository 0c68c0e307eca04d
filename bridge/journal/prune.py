"""Forgetting what nobody may ask for any more, a little at a time.

Never forgets: a command that has not ended, an id within the dedupe memory, an outbox row, a co-signed state,
a signature whose round is not long co-signed (ledger.py).
A clock is not believed alone: one that stands far ahead would make ids forgotten that are acceptable again once it is
set right. So an id stays until a command has come that is so much newer; and with the first one that goes it is kept,
for ever, up to when ids may be forgotten.
Source: guarantees.md sections 1 (G3, replay) and 6 (dedupe memory).
"""

import sqlite3
from collections.abc import Iterable

DEDUPE_SECONDS = 7 * 24 * 3600
"""A command is accepted up to 24 h after it was issued; its id is remembered far longer."""
PAGE = 1000
"""Rows per transaction, so that commits in between do not wait long."""


def prune_events(connection: sqlite3.Connection, before: float) -> int:
    """At most one page of events older than that; how many."""
    return connection.execute(
        "DELETE FROM event WHERE rowid IN (SELECT rowid FROM event WHERE at < ? LIMIT ?)", (before, PAGE)
    ).rowcount


def forgotten_until(connection: sqlite3.Connection) -> float:
    """When the newest command was received whose id is forgotten; 0 before the first."""
    row = connection.execute("SELECT value FROM meta WHERE name='forgotten_until'").fetchone()
    return 0.0 if row is None else float(row[0])


def find_prunable(connection: sqlite3.Connection, before: float) -> list[tuple[int, float]]:
    """At most one page of ended commands received before that: position and instant.

    An id stays as long as a signature of it does: given again, it would look like a second signature of one attempt.
    """
    return connection.execute(
        "SELECT position, received_at FROM inbox"
        " WHERE received_at < min(?, (SELECT max(received_at) FROM inbox) - ?)"
        " AND status NOT IN ('journaled', 'running', 'in_doubt')"
        " AND NOT EXISTS (SELECT 1 FROM ledger WHERE ledger.command_id = inbox.command_id) LIMIT ?",
        (before, DEDUPE_SECONDS, PAGE),
    ).fetchall()


def forget(connection: sqlite3.Connection, positions: Iterable[int], until: float) -> None:
    """Those commands, and in the same transaction up to when ids are forgotten now."""
    connection.executemany("DELETE FROM inbox WHERE position=?", ((position,) for position in positions))
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('forgotten_until', ?)", (repr(until),))
