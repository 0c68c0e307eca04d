"""How rows become records: one function per question, each a single statement and so a single snapshot.

Runs in the reader's thread on a connection of its own, which sees what is committed and nothing else.
"""

import json
import sqlite3
from collections.abc import Mapping

from bridge.channel.identifier import ChannelName, CommandId, FsmId
from bridge.journal.auditcheck import Anchor
from bridge.journal.entry import read_properties
from bridge.journal.record import ChannelRecord, EventRow, InboxRow, OutboxRow
from bridge.journal.seal import Seal

_COLUMNS = (
    "SELECT command_id, channel, kind, author, body_hash, body, received_at, reply_to, correlation_id, status,"
    " outcome, position, traceparent, tracestate FROM inbox "
)
FIND = _COLUMNS + "WHERE command_id=?"
# The status stands in these as in the partial indexes: as a parameter it would not match them.
NEXT = _COLUMNS + "WHERE channel=? AND status = 'journaled' ORDER BY kind = 'checkpoint' DESC, position LIMIT 1"
RUNNING = _COLUMNS + "WHERE channel=? AND status IN ('running', 'in_doubt') ORDER BY position"
BACKLOG = "SELECT channel, count(*) FROM inbox WHERE status = 'journaled' GROUP BY channel"


def load(connection: sqlite3.Connection, channel: ChannelName, seal: Seal) -> ChannelRecord | None:
    """Raises JournalUnavailable if a sealed column was changed."""
    row = connection.execute(
        "SELECT state, seq, prev, fsm_id, previous_fsm_id, reestablished, cosigned FROM channel WHERE name=?",
        (channel,),
    ).fetchone()
    if row is None:
        return None
    state, seq, prev, fsm_id, previous, reestablished, cosigned = row
    return ChannelRecord(
        channel, state, seq, prev, _open(seal, fsm_id), _open(seal, previous), bool(reestablished), cosigned
    )


def _open(seal: Seal, sealed: bytes | None) -> FsmId | None:
    return None if sealed is None else FsmId(seal.open(sealed))


def find_command(connection: sqlite3.Connection, command_id: CommandId) -> InboxRow | None:
    row = connection.execute(FIND, (command_id,)).fetchone()
    return None if row is None else InboxRow(*row)


def next_command(connection: sqlite3.Connection, channel: ChannelName) -> InboxRow | None:
    row = connection.execute(NEXT, (channel,)).fetchone()
    return None if row is None else InboxRow(*row)


def running(connection: sqlite3.Connection, channel: ChannelName) -> tuple[InboxRow, ...]:
    return tuple(InboxRow(*row) for row in connection.execute(RUNNING, (channel,)))


def backlog(connection: sqlite3.Connection) -> Mapping[ChannelName, int]:
    return {ChannelName(name): count for name, count in connection.execute(BACKLOG)}


def outbox(connection: sqlite3.Connection, after: int, limit: int) -> tuple[OutboxRow, ...]:
    rows = connection.execute(
        "SELECT id, lane, properties, body, created_at FROM outbox WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
    )
    return tuple(OutboxRow(id_, lane, read_properties(text, body), at) for id_, lane, text, body, at in rows)


def outbox_depth(connection: sqlite3.Connection) -> tuple[int, int]:
    count, size = connection.execute("SELECT count(*), coalesce(sum(length(body)), 0) FROM outbox").fetchone()
    return count, size


def events(connection: sqlite3.Connection, channel: ChannelName, first: int, last: int) -> tuple[EventRow, ...]:
    rows = connection.execute(
        "SELECT seq, event_id, routing_key, type, body, headers, at FROM event"
        " WHERE channel=? AND seq BETWEEN ? AND ? ORDER BY seq",
        (channel, first, last),
    )
    return tuple(
        EventRow(channel, seq, event_id, routing_key, type_, body, json.loads(headers), at)
        for seq, event_id, routing_key, type_, body, headers, at in rows
    )


def audit_head(connection: sqlite3.Connection) -> str:
    row = connection.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    return "" if row is None else str(Anchor(*row))
