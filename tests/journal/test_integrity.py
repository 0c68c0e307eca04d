"""A journal that does not hold together is told so, each kind of fault by a sentence; a whole one is told whole."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.channel.identifier import CommandId
from bridge.channel.state import State, encode
from bridge.errors import JournalUnavailable
from bridge.journal.integrity import examine, export
from bridge.journal.journal import FILE
from bridge.journal.record import AuditEntry, Batch, EventRow, NewOutbox
from bridge.wire.envelope import Envelope, body_digest
from tests.journal.given import ACME, FSM_ID, command, open_journal

EVENTS = 5


def body(seq: int, prev: str) -> bytes:
    return json.dumps({"channel": ACME, "seq": seq, "prev": prev}).encode()


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """A journal as a bridge leaves it: a channel with five events, one of them not published, and two commands."""
    async with open_journal(tmp_path) as journal:
        prev, rows = "", []
        for seq in range(1, EVENTS + 1):
            rows.append(EventRow(ACME, seq, f"event:{ACME}:{seq}", f"{ACME}.a.b", "t", body(seq, prev), {}, float(seq)))
            prev = body_digest(rows[-1].body)
        last = Envelope("x", "y", rows[-1].body, {"ce-id": rows[-1].event_id}, "t", None, 1.0)
        await journal.commit(
            Batch(
                channel=ACME,
                state=encode(State(round=3)),
                seq=EVENTS,
                prev=prev,
                fsm_id=FSM_ID,
                events=tuple(rows),
                add_inbox=(command("ended"), command("waiting")),
                outbox=(NewOutbox(f"events/{ACME}", last),),
                audit=(AuditEntry("command", "accepted", 1.0), AuditEntry("command", "accepted", 2.0)),
            )
        )
        await journal.commit(
            Batch(mark_inbox=((CommandId("ended"), "succeeded", json.dumps({"outcome": "succeeded"}).encode()),))
        )
    return tmp_path / FILE


def edit(file: Path, *statements: str) -> None:
    with sqlite3.connect(file) as connection:
        connection.executescript("DROP TRIGGER audit_unchanged; DROP TRIGGER audit_kept;")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_whole_journal_is_told_whole(file: Path) -> None:
    report = examine(file, thorough=True)
    assert (report.is_whole, report.counts["event"], report.counts["inbox"]) == (True, EVENTS, 2)
    assert report.audit_head.startswith("2:")


FAULTS: list[tuple[str, str, str]] = [
    ("UPDATE event SET body='{}' WHERE seq=3", "event", "the event 3 of acme-7 says of itself"),
    ("DELETE FROM event WHERE seq=3", "event", "the events 3 to 3 of acme-7 are missing"),
    ("DELETE FROM event WHERE seq=5", "event", "acme-7 has counted 5 events, and the last one kept, 4, is another"),
    (
        "UPDATE event SET body=replace(body, ' ', '') WHERE seq=3",
        "event",
        "the event 4 of acme-7 was not written",
    ),
    ("UPDATE channel SET name='other'", "event", "there are events of acme-7, and no such channel"),
    ("UPDATE channel SET state=x'07'", "channel", "the state of acme-7 cannot be read: JournalUnavailable"),
    ("UPDATE channel SET state=x'027b'", "channel", "the state of acme-7 cannot be read: ValidationError"),
    ("UPDATE inbox SET outcome=NULL", "inbox", "the command ended has ended as succeeded, and its result is not kept"),
    ("UPDATE inbox SET status='failed' WHERE command_id='ended'", "inbox", "is failed, and its result says succeeded"),
    ("UPDATE outbox SET properties='{'", "outbox", "cannot be read"),
    ("UPDATE outbox SET body='{}'", "outbox", "would publish another event:acme-7:5"),
    ("UPDATE audit SET verdict='refused' WHERE seq=1", "audit", "row 1 is not what was written"),
    ("DELETE FROM audit WHERE seq=2", "audit", "2 rows were written, the last one here is 1"),
    ("PRAGMA user_version=99", "version", "the journal has version 99"),
]


@pytest.mark.parametrize(("statement", "table", "sentence"), FAULTS)
def test_each_fault_is_named(file: Path, statement: str, table: str, sentence: str) -> None:
    edit(file, statement)
    report = examine(file)
    assert not report.is_whole
    assert [fault for fault in report.faults if fault.table == table and sentence in fault.sentence], report.faults


def test_a_command_a_channel_works_at_must_have_been_accepted(file: Path) -> None:
    """I1, as the journal has it: the head of the line stands in the inbox and has not ended."""
    state = (
        b'\x02{"operation": {"command": {"kind": "shutdown", "body": '
        b'{"command_id": "%s", "issued_at": "2026-01-02T03:04:05Z"}}}}'
    )
    for command_id, sentence in ((b"nobody", "which was never accepted"), (b"ended", "which has ended as succeeded")):
        with sqlite3.connect(file) as connection:
            connection.execute("UPDATE channel SET state=?", (state % command_id,))
        connection.close()
        assert [fault for fault in examine(file).faults if sentence in fault.sentence]


def test_a_damaged_page_is_told_and_nothing_after_it_is_believed(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name='event'").fetchone()
    connection.close()
    data = bytearray(file.read_bytes())
    data[(page - 1) * 4096 + 8 : page * 4096 - 2000] = b"\xff" * (4096 - 2008)
    file.write_bytes(data)
    report = examine(file)
    assert {fault.table for fault in report.faults} == {"pages"}
    assert report.counts == {}


def test_what_is_no_database_is_an_error_with_a_sentence(file: Path) -> None:
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(JournalUnavailable, match="not a database"):
        examine(file)


def test_what_is_looked_at_is_told_in_order(file: Path) -> None:
    told: list[str] = []
    say: Callable[[str], None] = told.append
    examine(file, tell=say)
    assert told == ["version", "pages", "states", "inbox", "events", "outbox", "audit"]


def test_an_export_holds_every_row_and_no_secret(file: Path) -> None:
    """Credentials stay sealed, and what they are sealed with is not shown either."""
    lines = [json.loads(line) for line in export(file)]
    assert [line["table"] for line in lines].count("event") == EVENTS
    [channel] = [line for line in lines if line["table"] == "channel"]
    assert (channel["fsm_id"], channel["previous_fsm_id"], channel["state"]["round"]) == ("sealed", None, 3)
    assert FSM_ID not in json.dumps(lines)
    [meta] = [line for line in lines if line["table"] == "meta"]
    assert set(meta) == {"table", "version"}


async def test_a_journal_in_use_is_read_beside_its_owner(tmp_path: Path, file: Path) -> None:
    async with open_journal(tmp_path) as journal:
        await journal.commit(Batch(add_inbox=(command("later"),)))
        assert examine(file).counts["inbox"] == 3
