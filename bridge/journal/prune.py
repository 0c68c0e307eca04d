"""Forgetting what nobody may ask for any more, a little at a time.

Never forgets: a command that has not ended, an id within the dedupe memory, an outbox row, a co-signed state,
a signature whose round is not long co-signed (ledger.py).
Source: guarantees.md sections 1 (G3, replay) and 6 (dedupe memory).
"""

import sqlite3

DEDUPE_SECONDS = 7 * 24 * 3600
"""A command is accepted up to 24 h after it was issued; its id is remembered far longer."""
PAGE = 1000
"""Rows per transaction, so that commits in between do not wait long."""


def prune_events(connection: sqlite3.Connection, before: float) -> int:
    """At most one page of events older than that; how many."""
    return connection.execute(
        "DELETE FROM event WHERE rowid IN (SELECT rowid FROM event WHERE at < ? LIMIT ?)", (before, PAGE)
    ).rowcount


def prune_inbox(connection: sqlite3.Connection, before: float) -> int:
    """At most one page of ended commands received before that; how many.

    An id stays as long as a signature of it does: given again, it would look like a second signature of one attempt.
    """
    return connection.execute(
        "DELETE FROM inbox WHERE position IN (SELECT position FROM inbox WHERE received_at < ?"
        " AND status NOT IN ('journaled', 'running', 'in_doubt')"
        " AND NOT EXISTS (SELECT 1 FROM ledger WHERE ledger.command_id = inbox.command_id) LIMIT ?)",
        (before, PAGE),
    ).rowcount
