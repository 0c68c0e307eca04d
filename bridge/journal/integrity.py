"""Whether a journal holds together: pages, states, the chain of events, inbox, outbox, audit - each fault named.

Reads in one view without owning the journal, so it may run beside a bridge. Judges what the tables say of each
other; whether that is also what happened at the node is for the bridge to find out when it takes over.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from bridge.channel.state import State, decode
from bridge.errors import BridgeError
from bridge.journal.auditcheck import verify
from bridge.journal.entry import read_properties
from bridge.journal.peek import reading
from bridge.journal.peekaudit import SINCE, Audit
from bridge.journal.record import IN_DOUBT, JOURNALED, RUNNING
from bridge.journal.schema import VERSION
from bridge.wire.envelope import body_digest

OPEN = (JOURNALED, RUNNING, IN_DOUBT)
MOST = 100
"""Faults told; a file that is all wrong needs no more."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`table`: where it was found; `pages` and `version` are of the whole file."""

    table: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Report:
    faults: tuple[Fault, ...]
    counts: dict[str, int]
    """Rows of each table."""
    audit_head: str

    @property
    def is_whole(self) -> bool:
        return not self.faults


TABLES = ("channel", "inbox", "outbox", "event", "ledger", "audit", "posting")


def examine(file: Path, *, thorough: bool = False, tell: Callable[[str], None] = lambda _: None) -> Report:
    """`thorough` compares every index with its table as well. `tell` hears what is looked at next.

    Raises JournalUnavailable for a file that cannot be read at all.
    """
    with reading(file) as connection:
        faults: list[Fault] = []
        for name, look in _LOOKS:
            tell(name)
            faults += _first(look(connection, thorough), MOST - len(faults))
            if faults and name in ("version", "pages"):  # what is read next could mean anything
                return Report(tuple(faults), {}, "")
        counts = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608  # our own names
            for table in TABLES
            if _exists(connection, table)
        }
        head = Audit(connection).head()
        return Report(tuple(faults), counts, "" if head is None else str(head))


def _exists(connection: sqlite3.Connection, table: str) -> bool:
    """A journal of an earlier version lacks the newest tables."""
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name=?", (table,)).fetchone() is not None


def _first(found: Iterator[Fault], most: int) -> list[Fault]:
    return [fault for fault, _ in zip(found, range(most), strict=False)]


def _version(connection: sqlite3.Connection, _: bool) -> Iterator[Fault]:  # all looks are alike
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not SINCE <= version <= VERSION:
        yield Fault("version", f"the journal has version {version}, this program knows {VERSION}")


def _pages(connection: sqlite3.Connection, thorough: bool) -> Iterator[Fault]:
    """SQLite tells what it finds, or gives up in the middle where nothing can be read any more."""
    try:
        rows = connection.execute(f"PRAGMA {'integrity_check' if thorough else 'quick_check'}({MOST})").fetchall()
    except sqlite3.DatabaseError as error:
        yield Fault("pages", str(error))
        return
    yield from (Fault("pages", " ".join(text.split())) for (text,) in rows if text != "ok")


def _states(connection: sqlite3.Connection, _: bool) -> Iterator[Fault]:
    for name, data in connection.execute("SELECT name, state FROM channel WHERE state IS NOT NULL ORDER BY name"):
        try:
            state = decode(data)
        except (BridgeError, ValueError, KeyError) as error:
            yield Fault("channel", f"the state of {name} cannot be read: {type(error).__name__}")
            continue
        yield from _running(connection, name, state)


def _running(connection: sqlite3.Connection, name: str, state: State) -> Iterator[Fault]:
    """The one command that left the line stands in the inbox and has not ended (I1)."""
    for operation in state.operations:
        command_id = operation.command.command_id
        row = connection.execute("SELECT status FROM inbox WHERE command_id=?", (command_id,)).fetchone()
        if row is None:
            yield Fault("inbox", f"{name} works at the command {command_id}, which was never accepted")
        elif row[0] not in OPEN:
            yield Fault("inbox", f"{name} works at the command {command_id}, which has ended as {row[0]}")


def _inbox(connection: sqlite3.Connection, _: bool) -> Iterator[Fault]:
    for command_id, status, outcome in connection.execute("SELECT command_id, status, outcome FROM inbox"):
        if status not in OPEN and outcome is None:
            yield Fault("inbox", f"the command {command_id} has ended as {status}, and its result is not kept")
        elif status not in OPEN and _outcome(outcome) != status:
            yield Fault("inbox", f"the command {command_id} is {status}, and its result says {_outcome(outcome)}")


def _outcome(body: bytes) -> str:
    try:
        return str(json.loads(body)["outcome"])
    except (ValueError, KeyError, TypeError):
        return "nothing that can be read"


def _events(connection: sqlite3.Connection, _: bool) -> Iterator[Fault]:
    """Gap-free numbers, each body naming the digest of the one before, the channel's counters at the end."""
    ends = {name: (seq, prev) for name, seq, prev in connection.execute("SELECT name, seq, prev FROM channel")}
    at: tuple[str, int, str] | None = None
    for name, seq, event_id, body in connection.execute(
        "SELECT channel, seq, event_id, body FROM event ORDER BY channel, seq"
    ):
        data = body.encode() if isinstance(body, str) else bytes(body)  # an editor may have put a text there
        if at is not None and at[0] != name:
            yield from _end(at, ends)
            at = None
        yield from _link(at, name, seq, event_id, data)
        at = (name, seq, body_digest(data))
    if at is not None:
        yield from _end(at, ends)


def _link(at: tuple[str, int, str] | None, name: str, seq: int, event_id: str, body: bytes) -> Iterator[Fault]:
    told = _fields(body)
    if (told.get("channel"), told.get("seq"), event_id) != (name, seq, f"event:{name}:{seq}"):
        yield Fault("event", f"the event {seq} of {name} says of itself that it is {event_id}, {told.get('seq')}")
    if at is None:
        return
    if seq != at[1] + 1:
        yield Fault("event", f"the events {at[1] + 1} to {seq - 1} of {name} are missing")
    elif told.get("prev") != at[2]:
        yield Fault("event", f"the event {seq} of {name} was not written behind the one that stands before it")


def _end(at: tuple[str, int, str], ends: dict[str, tuple[int, str]]) -> Iterator[Fault]:
    name, seq, digest = at
    if name not in ends:
        yield Fault("event", f"there are events of {name}, and no such channel")
    elif ends[name] != (seq, digest):
        yield Fault("event", f"{name} has counted {ends[name][0]} events, and the last one kept, {seq}, is another")


def _fields(body: bytes) -> dict[str, object]:
    try:
        fields = json.loads(body)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _outbox(connection: sqlite3.Connection, _: bool) -> Iterator[Fault]:
    """What waits can be published, and an event that waits is the event that is kept."""
    for row_id, lane, properties, body in connection.execute("SELECT id, lane, properties, body FROM outbox"):
        try:
            envelope = read_properties(properties, body)
        except (ValueError, TypeError):
            yield Fault("outbox", f"row {row_id} of {lane} cannot be read")
            continue
        if not lane.startswith("events/"):
            continue
        kept = connection.execute(
            "SELECT body FROM event WHERE channel=? AND event_id=?",
            (lane.removeprefix("events/"), envelope.event_id),
        ).fetchone()
        if kept is not None and kept[0] != body:
            yield Fault("outbox", f"row {row_id} would publish another {envelope.event_id} than the one kept")


def _audit(connection: sqlite3.Connection, _: bool) -> Iterator[Fault]:
    audit = Audit(connection)
    verdict = verify(audit.rows(), audit.count())
    yield from (Fault("audit", one.sentence) for one in verdict.told)


_LOOKS: tuple[tuple[str, Callable[[sqlite3.Connection, bool], Iterator[Fault]]], ...] = (
    ("version", _version),
    ("pages", _pages),
    ("states", _states),
    ("inbox", _inbox),
    ("events", _events),
    ("outbox", _outbox),
    ("audit", _audit),
)
"""In this order: what cannot be read at all is told before what does not fit."""


def export(file: Path) -> Iterator[str]:
    """Everything in one view, one JSON object a line: `table`, and its columns. Bytes are text where they are one.

    Sealed credentials are not in it. Raises JournalUnavailable, also between lines.
    """
    with reading(file) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        yield _line({"table": "meta", "version": version})
        for table in (table for table in TABLES if _exists(connection, table)):
            order = ORDERS.get(table, "rowid")
            cursor = connection.execute(f"SELECT * FROM {table} ORDER BY {order}")  # noqa: S608  # our own names
            names = [column[0] for column in cursor.description]
            for row in cursor:
                values = chain([("table", table)], zip(names, row, strict=True))
                yield _line({name: _show(name, value) for name, value in values})


ORDERS = {"posting": "channel, entry"}
"""Of the tables without a row id."""
SEALED = ("fsm_id", "previous_fsm_id")
HASHES = ("prev", "hash")


def _show(name: str, value: object) -> object:
    if name in SEALED:
        return None if value is None else "sealed"
    if not isinstance(value, bytes):
        return value
    if name == "state":
        return json.loads(value[1:])
    if name in HASHES:
        return value.hex()
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"hex": value.hex()}


def _line(value: dict[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
