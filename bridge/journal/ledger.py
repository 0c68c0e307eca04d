"""Every signature that was handed to the node, and what is known of it since: the store's share of I3 and I4.

At most one for an attempt of a command (I3), at most one live for a round of a channel (I4): a second needs the
node's evidence against the first, kept before it or with it. What would break this is not stored: two signatures
for one round are how a payment is made twice. Source: guarantees.md section 2.
"""

import sqlite3
from collections.abc import Iterable

from bridge.channel.identifier import ChannelName
from bridge.errors import InvariantViolation
from bridge.journal.record import Abandoned, LedgerRow

ROUNDS_KEPT = 2
"""Behind the latest co-signed round; what is above it may still be used and is never forgotten."""

_INSERT = (
    "INSERT INTO ledger (channel, round, hash, command_id, tag, signed_tx, epoch, at, attempt)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ABANDON = (
    "UPDATE ledger SET abandoned_by=coalesce(abandoned_by, ?),"
    " is_exposed=CASE WHEN abandoned_by IS NULL THEN ? ELSE is_exposed END"
    " WHERE id=(SELECT max(id) FROM ledger WHERE channel=? AND round IS ? AND hash=? AND command_id IS ?)"
)
_PRUNE = (
    "DELETE FROM ledger WHERE id IN (SELECT l.id FROM ledger l JOIN channel c ON c.name = l.channel"
    " WHERE l.at < ? AND l.round < c.cosigned_round - ? LIMIT ?)"
)
_SELECT = (
    "SELECT round, hash, command_id, tag, signed_tx, epoch, at, attempt, abandoned_by, is_exposed"
    " FROM ledger WHERE channel=? ORDER BY id"
)


def enter_signatures(connection: sqlite3.Connection, rows: Iterable[LedgerRow]) -> None:
    """Before the node gets them. Raises InvariantViolation if one is a second of its attempt or its round."""
    for row in rows:
        values = (row.channel, row.round, row.hash, row.command_id, row.tag, row.signed_tx, row.epoch, row.at)
        try:
            connection.execute(_INSERT, (*values, row.attempt))
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                raise
            raise InvariantViolation(
                f"a second signature: {row.tag} at round {row.round} of {row.channel}, attempt {row.attempt}"
                f" of command {row.command_id} ({error})"
            ) from error


def abandon(connection: sqlite3.Connection, channel: ChannelName, rows: Iterable[Abandoned]) -> None:
    """The first evidence stays. Raises InvariantViolation if it is about a signature that was never handed over."""
    for row in rows:
        cursor = connection.execute(
            _ABANDON, (row.evidence, row.is_exposed, channel, row.round, row.hash, row.command_id)
        )
        if cursor.rowcount != 1:
            raise InvariantViolation(f"evidence about a signature nobody gave: round {row.round} of {channel}")


def prune_ledger(connection: sqlite3.Connection, before: float, most: int) -> int:
    """At most so many rows older than that and of rounds long co-signed; how many."""
    return connection.execute(_PRUNE, (before, ROUNDS_KEPT, most)).rowcount


def signatures(connection: sqlite3.Connection, channel: ChannelName) -> tuple[LedgerRow, ...]:
    """In journal order."""
    rows = connection.execute(_SELECT, (channel,))
    return tuple(
        LedgerRow(channel, round_, hash_, command_id, tag, signed_tx, epoch, at, attempt, by, bool(is_exposed))
        for round_, hash_, command_id, tag, signed_tx, epoch, at, attempt, by, is_exposed in rows
    )
