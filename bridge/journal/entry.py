"""How a batch becomes rows. Runs in the writer's thread, inside its transaction.

Each function does one table. What is at fault in a batch raises InvariantViolation; an error of SQLite passes
through and stops the journal.
"""

import dataclasses
import json
import sqlite3
from collections.abc import Iterable, Mapping

from bridge.channel.identifier import ChannelName, CommandId, FsmId
from bridge.errors import InvariantViolation
from bridge.journal.audit import append
from bridge.journal.ledger import abandon, enter_signatures
from bridge.journal.posting import enter_postings
from bridge.journal.record import Batch, EventRow, InboxRow, NewOutbox, OutboxRow
from bridge.journal.seal import Seal
from bridge.wire.envelope import Envelope


def enter(connection: sqlite3.Connection, batch: Batch, seal: Seal, now: float) -> tuple[OutboxRow, ...]:
    """The whole batch. Returns its outbox rows with their ids."""
    if batch.channel is not None:
        _enter_channel(connection, batch.channel, batch, seal)
        abandon(connection, batch.channel, batch.abandon)
    _enter_inbox(connection, batch.add_inbox)
    _mark_inbox(connection, batch.mark_inbox)
    _enter_events(connection, batch.events)
    enter_signatures(connection, batch.ledger)
    enter_postings(connection, batch.postings)
    append(connection, batch.audit)
    return tuple(_enter_outbox(connection, new, now) for new in batch.outbox)


def _enter_channel(connection: sqlite3.Connection, name: ChannelName, batch: Batch, seal: Seal) -> None:
    connection.execute("INSERT OR IGNORE INTO channel (name) VALUES (?)", (name,))
    round_, cosigned = batch.cosigned or (None, None)
    connection.execute(
        "UPDATE channel SET state=coalesce(?, state), seq=coalesce(?, seq), prev=coalesce(?, prev),"
        " reestablished=coalesce(?, reestablished), cosigned_round=coalesce(?, cosigned_round),"
        " cosigned=coalesce(?, cosigned) WHERE name=?",
        (batch.state, batch.seq, batch.prev, batch.reestablished, round_, cosigned, name),
    )
    if batch.fsm_id is not None:
        _enter_fsm_id(connection, name, batch.fsm_id, seal)


def _enter_fsm_id(connection: sqlite3.Connection, name: ChannelName, fsm_id: FsmId, seal: Seal) -> None:
    """F6: the newest, and the one before it. The same again changes nothing: it would displace the other."""
    (held,) = connection.execute("SELECT fsm_id FROM channel WHERE name=?", (name,)).fetchone()
    if held is not None and seal.open(held) == fsm_id:
        return
    connection.execute("UPDATE channel SET previous_fsm_id=fsm_id, fsm_id=? WHERE name=?", (seal.close(fsm_id), name))


def _enter_inbox(connection: sqlite3.Connection, rows: Iterable[InboxRow]) -> None:
    connection.executemany(
        "INSERT INTO inbox (command_id, channel, kind, author, body_hash, body, received_at, reply_to,"
        " correlation_id, status, outcome, traceparent, tracestate)"
        " VALUES (:command_id, :channel, :kind, :author, :body_hash, :body,"
        " :received_at, :reply_to, :correlation_id, :status, :outcome, :traceparent, :tracestate)",
        [dataclasses.asdict(row) for row in rows],
    )


def _mark_inbox(connection: sqlite3.Connection, marks: Iterable[tuple[CommandId, str, bytes | None]]) -> None:
    for command_id, status, outcome in marks:
        cursor = connection.execute(
            "UPDATE inbox SET status=?, outcome=coalesce(?, outcome) WHERE command_id=?", (status, outcome, command_id)
        )
        if cursor.rowcount != 1:
            raise InvariantViolation(f"a status for a command nobody gave: {command_id}")


def _enter_events(connection: sqlite3.Connection, rows: Iterable[EventRow]) -> None:
    connection.executemany(
        "INSERT INTO event (channel, seq, event_id, routing_key, type, body, headers, at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (row.channel, row.seq, row.event_id, row.routing_key, row.type, row.body, _write(row.headers), row.at)
            for row in rows
        ],
    )


def _enter_outbox(connection: sqlite3.Connection, new: NewOutbox, now: float) -> OutboxRow:
    cursor = connection.execute(
        "INSERT INTO outbox (lane, properties, body, created_at) VALUES (?, ?, ?, ?)",
        (new.lane, write_properties(new.envelope), new.envelope.body, now),
    )
    assert cursor.lastrowid is not None  # noqa: S101  # an INSERT has one
    return OutboxRow(cursor.lastrowid, new.lane, new.envelope, now)


def erase_outbox(connection: sqlite3.Connection, ids: Iterable[int]) -> None:
    """F7: what the broker has confirmed."""
    connection.executemany("DELETE FROM outbox WHERE id=?", [(row_id,) for row_id in ids])


def write_properties(envelope: Envelope) -> str:
    """Everything of an envelope but its body, as JSON."""
    names = [field.name for field in dataclasses.fields(envelope) if field.name not in ("body", "headers")]
    return _write({name: getattr(envelope, name) for name in names} | {"headers": dict(envelope.headers)})


def read_properties(text: str, body: bytes) -> Envelope:
    """The envelope `write_properties` was given: equal in every field."""
    return Envelope(body=body, **json.loads(text))


def _write(value: Mapping[str, object]) -> str:
    return json.dumps(dict(value))
