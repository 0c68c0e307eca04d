"""`channel-bridge audit`: what an auditor sees, and the exit codes his scripts rely on."""

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.app.cli import app
from bridge.app.cli.terminal import JOURNAL_FAILED
from bridge.journal.journal import FILE, Journal
from bridge.journal.record import AuditEntry, Batch

run = CliRunner().invoke
WRONG_USAGE = 2


@pytest.fixture
async def journal(tmp_path: Path) -> Path:
    """A data directory with three rows, and no bridge."""
    opened = await Journal.open(tmp_path, b"k" * 32, lambda: 1.0)
    for number in range(3):
        await opened.commit(Batch(audit=(AuditEntry("command", "accepted", float(number), author="alice"),)))
    await opened.close()
    return tmp_path


def edit(journal: Path, statement: str) -> None:
    with sqlite3.connect(journal / FILE) as connection:
        connection.executescript(f"DROP TRIGGER audit_unchanged; DROP TRIGGER audit_kept; {statement}")
    connection.close()


def test_a_whole_audit_is_told_with_its_head(journal: Path) -> None:
    result = run(app, ["audit", "verify", "--journal", str(journal)])
    head = run(app, ["audit", "head", "--journal", str(journal)]).output.strip()
    assert (result.exit_code, result.output.strip()) == (0, f"ok: 3 rows, each in its place; head {head}")
    assert head.startswith("3:")


def test_an_edit_is_told_with_its_row_and_exits_1(journal: Path) -> None:
    edit(journal, "UPDATE audit SET author='mallory' WHERE seq=2")
    result = run(app, ["audit", "verify", "--journal", str(journal)])
    assert result.exit_code == 1
    assert "edit: row 2 is not what was written" in result.output
    assert result.output.strip().endswith("broken: 1 places in 3 rows")


def test_json_says_the_same(journal: Path) -> None:
    edit(journal, "DELETE FROM audit WHERE seq=3")
    result = run(app, ["audit", "verify", "--json", "--journal", str(journal)])
    told = json.loads(result.output)
    assert (result.exit_code, told["whole"], told["rows"], told["breaks"]) == (1, False, 2, 1)
    assert (told["found"][0]["kind"], told["found"][0]["seq"]) == ("truncation", 3)


def test_a_kept_head_is_an_anchor(journal: Path) -> None:
    head = run(app, ["audit", "head", "--journal", str(journal)]).output.strip()
    fits = run(app, ["audit", "verify", "--anchor", head, "--journal", str(journal)])
    assert (fits.exit_code, "the anchor fits" in fits.output) == (0, True)
    edit(journal, "DELETE FROM audit WHERE seq=3; UPDATE sqlite_sequence SET seq=2 WHERE name='audit'")
    cut = run(app, ["audit", "verify", "--anchor", head, "--journal", str(journal)])
    assert (cut.exit_code, "anchor: the anchor is row 3" in cut.output) == (1, True)


@pytest.mark.parametrize("anchor", ["3", "x:00", "3:zz", "3:abcd", f"0:{'0' * 64}", f"-1:{'0' * 64}"])
def test_an_anchor_that_is_none_is_wrong_usage(journal: Path, anchor: str) -> None:
    assert run(app, ["audit", "verify", f"--anchor={anchor}", "--journal", str(journal)]).exit_code == WRONG_USAGE


def test_an_export_is_one_object_a_line_and_verifies_elsewhere(journal: Path, tmp_path: Path) -> None:
    exported = run(app, ["audit", "export", "--journal", str(journal)]).output
    lines = [json.loads(line) for line in exported.splitlines()]
    assert [(line["seq"], line["at"], line["author"]) for line in lines] == [
        (1, 0, "alice"),
        (2, 1_000_000, "alice"),
        (3, 2_000_000, "alice"),
    ]
    file = tmp_path / "export.jsonl"
    file.write_text(exported)
    assert run(app, ["audit", "verify", "--file", str(file)]).exit_code == 0
    file.write_text("".join(sorted(exported.splitlines(keepends=True), reverse=True)))
    assert "order: row 2 stands behind row 3" in run(app, ["audit", "verify", "--file", str(file)]).output
    file.write_text(exported.replace("alice", "mallory", 1))
    assert "edit: row 1" in run(app, ["audit", "verify", "--file", str(file)]).output


def test_only_what_is_new_is_exported(journal: Path) -> None:
    exported = run(app, ["audit", "export", "--after", "2", "--journal", str(journal)]).output
    assert [json.loads(line)["seq"] for line in exported.splitlines()] == [3]


@pytest.mark.parametrize("text", ["no json", "{}", "[1]", '{"seq": 1, "prev": "zz"}', "\xff"])
def test_a_file_that_is_no_export_is_told_so(tmp_path: Path, text: str) -> None:
    file = tmp_path / "export.jsonl"
    file.write_bytes(text.encode("latin-1"))
    assert run(app, ["audit", "verify", "--file", str(file)]).exit_code == JOURNAL_FAILED


@pytest.mark.parametrize("word", ["verify", "export", "head"])
def test_no_journal_is_told_so(tmp_path: Path, word: str) -> None:
    result = run(app, ["audit", word, "--journal", str(tmp_path / "nowhere")])
    assert (result.exit_code, FILE in result.output) == (JOURNAL_FAILED, True)


async def test_an_empty_audit_has_no_head(tmp_path: Path) -> None:
    await (await Journal.open(tmp_path, b"k" * 32, lambda: 1.0)).close()
    assert run(app, ["audit", "head", "--journal", str(tmp_path)]).exit_code == JOURNAL_FAILED
    assert run(app, ["audit", "verify", "--journal", str(tmp_path)]).exit_code == 0
