"""The audit's chain: what is written verifies, and whatever is done to it afterwards is found where it was done."""

import dataclasses
import hashlib
import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.errors import InvariantViolation, JournalUnavailable
from bridge.journal.audit import FIELDS, GENESIS, AuditRow
from bridge.journal.auditcheck import MOST_FINDINGS, Anchor, Verdict, verify
from bridge.journal.journal import FILE
from bridge.journal.peekaudit import read_audit
from bridge.journal.record import AuditEntry, Batch
from bridge.journal.schema import TABLES, VERSION
from tests.journal.given import ACME, audit_entry, command, ledger_row, open_journal

ROWS = 6


async def write(directory: Path, rows: int = ROWS) -> None:
    """So many rows, by commits of one and of two."""
    async with open_journal(directory) as journal:
        for number in range(1, rows, 3):
            pair = (audit_entry(f"command {number + 1}"), audit_entry(f"command {number + 2}"))
            await journal.commit(Batch(audit=(audit_entry(f"command {number}"),)))
            await journal.commit(Batch(audit=pair))


def look(directory: Path, anchor: Anchor | None = None) -> Verdict:
    with read_audit(directory / FILE) as audit:
        return verify(audit.rows(), audit.count(), anchor)


def rows_of(directory: Path) -> list[AuditRow]:
    with read_audit(directory / FILE) as audit:
        return list(audit.rows())


def tamper(directory: Path, *statements: str) -> None:
    """As somebody with the file and the sqlite3 program does it."""
    with sqlite3.connect(directory / FILE) as connection:
        connection.executescript("DROP TRIGGER audit_unchanged; DROP TRIGGER audit_kept;" + ";".join(statements))
    connection.close()


def found(verdict: Verdict) -> list[tuple[str, int]]:
    return [(one.kind, one.seq) for one in verdict.told]


async def test_what_was_written_verifies_and_reads_back(tmp_path: Path) -> None:
    await write(tmp_path)
    verdict = look(tmp_path)
    assert (verdict.is_whole, verdict.rows, verdict.head.seq) == (True, ROWS, ROWS)
    written = rows_of(tmp_path)[3].as_json()
    expected = dataclasses.asdict(audit_entry("command 4")) | {"at": 1_000_000_000_000_001, "seq": 4}
    assert {name: written[name] for name in expected} == expected


async def test_the_hash_is_the_one_the_document_gives(tmp_path: Path) -> None:
    """An auditor checks it with a few lines of his own: so it is worked out here without ours."""
    await write(tmp_path, 3)
    prev = hashlib.sha256(b"channel-bridge audit 1").digest()
    names = ["at", "kind", "verdict", "author", "command_id", "channel", "round", "tx_hash", "code", "reference"]
    for row in rows_of(tmp_path):
        line = json.loads(json.dumps(row.as_json()))
        text = json.dumps([line[name] for name in names], separators=(",", ":"))
        prev = hashlib.sha256(prev + text.encode("ascii")).digest()
        assert line["hash"] == prev.hex()


async def test_the_chain_goes_on_over_a_restart(tmp_path: Path) -> None:
    """One chain a data directory, whoever owns it."""
    await write(tmp_path)
    await write(tmp_path)
    assert (look(tmp_path).told, look(tmp_path).rows) == ((), 2 * ROWS)


async def test_a_new_journal_has_an_audit_without_rows(tmp_path: Path) -> None:
    async with open_journal(tmp_path):
        verdict = look(tmp_path)
    assert (verdict.is_whole, verdict.rows, verdict.head) == (True, 0, Anchor(0, GENESIS))


async def test_it_is_read_while_the_bridge_writes(tmp_path: Path) -> None:
    """In one view: what comes meanwhile is neither in the rows nor in the count."""
    async with open_journal(tmp_path) as journal:
        await journal.commit(Batch(audit=(audit_entry("first"),)))
        with read_audit(tmp_path / FILE) as audit:
            assert audit.count() == 1
            await journal.commit(Batch(audit=(audit_entry("second"),)))
            verdict = verify(audit.rows(), audit.count())
        assert (verdict.told, verdict.rows) == ((), 1)
        assert look(tmp_path).rows == 2


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(AuditEntry)])
async def test_an_edit_of_any_field_is_found_at_its_row(tmp_path: Path, field: str) -> None:
    await write(tmp_path)
    value = "999" if field in ("at", "round") else "'somebody else'"
    tamper(tmp_path, f"UPDATE audit SET {field}={value} WHERE seq=3")  # noqa: S608  # our own words
    assert found(look(tmp_path)) == [("edit", 3)]


async def test_a_field_that_was_emptied_is_an_edit(tmp_path: Path) -> None:
    await write(tmp_path)
    tamper(tmp_path, "UPDATE audit SET author=NULL WHERE seq=1")
    assert found(look(tmp_path)) == [("edit", 1)]


async def test_a_value_of_another_type_is_an_edit(tmp_path: Path) -> None:
    """A file can hold what no program of ours writes; looking at it must not end in a traceback."""
    await write(tmp_path)
    tamper(tmp_path, "UPDATE audit SET author=x'00ff', round=1.5 WHERE seq=2", "UPDATE audit SET hash='x' WHERE seq=5")
    assert found(look(tmp_path)) == [("edit", 2), ("edit", 5), ("order", 6)]


async def test_an_edit_with_its_own_hash_mended_is_found_at_the_next_row(tmp_path: Path) -> None:
    await write(tmp_path)
    row = rows_of(tmp_path)[2]
    forged = replace(row, values=(*row.values[:3], "mallory", *row.values[4:]))
    text = json.dumps(forged.values, separators=(",", ":"))
    mended = hashlib.sha256(row.prev + text.encode()).hexdigest()
    tamper(tmp_path, f"UPDATE audit SET author='mallory', hash=x'{mended}' WHERE seq=3")  # noqa: S608  # our own words
    assert found(look(tmp_path)) == [("order", 4)]


@pytest.mark.parametrize(("removed", "at"), [((1,), 1), ((3,), 3), ((3, 4), 3), ((1, 2, 3, 4, 5), 1)])
async def test_removed_rows_are_a_gap_at_the_first_of_them(tmp_path: Path, removed: tuple[int, ...], at: int) -> None:
    await write(tmp_path)
    tamper(tmp_path, f"DELETE FROM audit WHERE seq IN ({','.join(map(str, removed))})")  # noqa: S608  # our own words
    assert found(look(tmp_path)) == [("gap", at)]


async def test_a_gap_that_was_numbered_over_is_found(tmp_path: Path) -> None:
    """Rows closed up behind a removed one: their numbers fit, what they stand on does not."""
    await write(tmp_path)
    moved = [f"UPDATE audit SET seq={number - 1} WHERE seq={number}" for number in range(4, ROWS + 1)]  # noqa: S608  # our own words
    tamper(tmp_path, "DELETE FROM audit WHERE seq=3", *moved, "UPDATE sqlite_sequence SET seq=5 WHERE name='audit'")
    assert found(look(tmp_path)) == [("order", 3)]


async def test_two_rows_exchanged_are_found_where_the_order_breaks(tmp_path: Path) -> None:
    await write(tmp_path)
    swap = (("99", 3), ("3", 4), ("4", 99))
    tamper(tmp_path, *(f"UPDATE audit SET seq={to} WHERE seq={number}" for to, number in swap))  # noqa: S608  # our own words
    assert found(look(tmp_path)) == [("order", 3), ("order", 4), ("order", 5)]


async def test_rows_cut_off_at_the_end_are_found_by_the_count(tmp_path: Path) -> None:
    """SQLite counts what was ever written beside the rows themselves."""
    await write(tmp_path)
    tamper(tmp_path, "DELETE FROM audit WHERE seq > 4")
    assert found(look(tmp_path)) == [("truncation", 5)]


async def test_rows_cut_off_stay_found_when_the_bridge_goes_on(tmp_path: Path) -> None:
    """The next number is not used twice, so the cut becomes a gap."""
    await write(tmp_path)
    tamper(tmp_path, "DELETE FROM audit WHERE seq > 4")
    await write(tmp_path, 3)
    assert found(look(tmp_path)) == [("gap", 5)]


async def test_a_cut_with_the_count_mended_is_found_by_an_anchor_only(tmp_path: Path) -> None:
    """Said honestly: who may write the file may cut its end, unless somebody else keeps a head."""
    await write(tmp_path)
    anchor = look(tmp_path).head
    tamper(tmp_path, "DELETE FROM audit WHERE seq > 4", "UPDATE sqlite_sequence SET seq=4 WHERE name='audit'")
    assert look(tmp_path).is_whole
    assert found(look(tmp_path, anchor)) == [("anchor", 5)]


async def test_an_audit_written_anew_is_found_by_an_anchor(tmp_path: Path) -> None:
    """A chain that fits together in itself, another than the one that was seen."""
    await write(tmp_path / "seen")
    anchor = look(tmp_path / "seen").head
    async with open_journal(tmp_path / "shown") as journal:
        await journal.commit(Batch(audit=tuple(audit_entry(f"forged {number}") for number in range(ROWS + 1))))
    assert look(tmp_path / "shown").is_whole
    assert found(look(tmp_path / "shown", anchor)) == [("anchor", ROWS)]


async def test_an_anchor_fits_whatever_was_written_since(tmp_path: Path) -> None:
    await write(tmp_path)
    anchor = look(tmp_path).head
    await write(tmp_path)
    verdict = look(tmp_path, anchor)
    assert (verdict.is_whole, verdict.is_anchored) == (True, True)


async def test_a_count_that_is_too_small_is_found(tmp_path: Path) -> None:
    await write(tmp_path)
    tamper(tmp_path, "DELETE FROM sqlite_sequence WHERE name='audit'")
    assert found(look(tmp_path)) == [("truncation", ROWS)]


async def test_many_breaks_are_counted_and_not_all_told(tmp_path: Path) -> None:
    """A wholly rewritten audit must not fill the memory of who looks at it."""
    await write(tmp_path, 3 * MOST_FINDINGS)
    tamper(tmp_path, "UPDATE audit SET author='mallory'")
    verdict = look(tmp_path)
    assert (verdict.breaks, len(verdict.told)) == (3 * MOST_FINDINGS, MOST_FINDINGS)


@pytest.mark.parametrize("statement", ["UPDATE audit SET author='x' WHERE seq=1", "DELETE FROM audit WHERE seq=1"])
async def test_our_own_connection_changes_no_row(tmp_path: Path, statement: str) -> None:
    """A bug of ours that would rewrite the record is stopped by the file itself."""
    await write(tmp_path)
    with sqlite3.connect(tmp_path / FILE) as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()


async def test_what_is_not_committed_is_not_audited(tmp_path: Path) -> None:
    """A batch that cannot be stored leaves nothing behind, and the next one stands on the row before it."""
    async with open_journal(tmp_path) as journal:
        await journal.commit(Batch(ACME, ledger=(ledger_row("one"),), audit=(audit_entry("one"),)))
        with pytest.raises(InvariantViolation):
            await journal.commit(Batch(ACME, ledger=(ledger_row("two"),), audit=(audit_entry("two"),)))
        await journal.commit(Batch(audit=(audit_entry("three"),)))
    assert [row.as_json()["command_id"] for row in rows_of(tmp_path)] == ["one", "three"]
    assert look(tmp_path).is_whole


async def test_pruning_leaves_the_audit_alone(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal:
        row = command("old", status="succeeded", at=1.0)
        new = command("new", at=1_000_000_000.0)
        await journal.commit(Batch(add_inbox=(row, new), audit=(replace(audit_entry("old"), at=1.0),)))
        assert await journal.prune(10**9) == 1
    assert look(tmp_path).rows == 1


def make_first_version(directory: Path) -> None:
    """A journal as the version before the audit left it."""
    with sqlite3.connect(directory / FILE) as connection:
        connection.executescript(f"{TABLES} PRAGMA user_version=1;")
        connection.execute("INSERT INTO channel (name, state, seq) VALUES ('acme-7', x'01', 5)")
    connection.close()


async def test_a_journal_from_before_the_audit_is_brought_up_and_keeps_what_it_holds(tmp_path: Path) -> None:
    make_first_version(tmp_path)
    async with open_journal(tmp_path) as journal:
        record = await journal.load(ACME)
        assert record is not None
        assert (record.state, record.seq) == (b"\x01", 5)
        await journal.commit(Batch(audit=(audit_entry("first"),)))
    assert (look(tmp_path).told, look(tmp_path).rows) == ((), 1)
    with sqlite3.connect(tmp_path / FILE) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    connection.close()


def test_looking_at_a_journal_from_before_the_audit_says_so(tmp_path: Path) -> None:
    """And changes nothing in it."""
    make_first_version(tmp_path)
    with pytest.raises(JournalUnavailable, match="from before the audit"):
        look(tmp_path)


def test_looking_where_no_journal_is_says_so_and_makes_none(tmp_path: Path) -> None:
    with pytest.raises(JournalUnavailable, match=FILE):
        look(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_field_of_an_entry_is_hashed() -> None:
    assert set(FIELDS) == {field.name for field in dataclasses.fields(AuditEntry)}
