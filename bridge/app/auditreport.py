"""`channel-bridge audit`: the audit read, checked and written out, without owning the journal.

Prints nothing itself. An export is a snapshot: rows written meanwhile are not in it. Format and limits: docs/audit.md.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from bridge.errors import JournalUnavailable
from bridge.journal.audit import AuditRow
from bridge.journal.auditcheck import Anchor, Verdict, verify
from bridge.journal.journal import FILE
from bridge.journal.peekaudit import read_audit

HASH_BYTES = 32


def journal_file(directory: Path) -> Path:
    return directory / FILE


def read_anchor(text: str) -> Anchor:
    """`SEQ:HASH` as `head` prints it. Raises typer.BadParameter."""
    number, _, digits = text.strip().partition(":")
    try:
        found = Anchor(int(number), bytes.fromhex(digits))
    except ValueError:
        found = Anchor(0, b"")
    if found.seq < 1 or len(found.hash) != HASH_BYTES:
        raise typer.BadParameter("an anchor is a row's number, a colon, and 64 hex digits", param_hint="--anchor")
    return found


def check(journal: Path | None, export: Path | None, anchor: Anchor | None) -> Verdict:
    """Of the journal's file, or of an export. Raises JournalUnavailable if it cannot be read."""
    if journal is not None:
        with read_audit(journal) as audit:
            return verify(audit.rows(), audit.count(), anchor)
    assert export is not None  # noqa: S101  # the caller gives one of the two
    with _lines(export) as lines:
        return verify((AuditRow.from_json(line) for line in lines), None, anchor)


@contextmanager
def _lines(path: Path) -> Iterator[Iterator[str]]:
    try:
        with path.open(encoding="utf-8") as file:
            yield iter(file)
    except (OSError, UnicodeDecodeError) as error:
        raise JournalUnavailable(f"{path}: {error}") from error


def describe(verdict: Verdict, *, as_json: bool) -> Iterator[str]:
    """The lines to print, the last one the whole in a sentence."""
    if as_json:
        yield json.dumps(
            {
                "whole": verdict.is_whole,
                "rows": verdict.rows,
                "head": str(verdict.head),
                "anchored": verdict.is_anchored,
                "breaks": verdict.breaks,
                "found": [{"seq": one.seq, "kind": one.kind, "sentence": one.sentence} for one in verdict.told],
            }
        )
        return
    yield from (f"{one.kind}: {one.sentence}" for one in verdict.told)
    if verdict.is_whole:
        anchored = ", the anchor fits" if verdict.is_anchored else ""
        yield f"ok: {verdict.rows} rows, each in its place{anchored}; head {verdict.head}"
    else:
        yield f"broken: {verdict.breaks} places in {verdict.rows} rows"


def export(journal: Path, after: int) -> Iterator[str]:
    """One JSON object a row."""
    with read_audit(journal) as audit:
        for row in audit.rows(after):
            yield json.dumps(row.as_json(), separators=(",", ":"))


def head(journal: Path) -> str:
    """The newest row as an anchor. Raises JournalUnavailable for an audit without a row."""
    with read_audit(journal) as audit:
        found = audit.head()
    if found is None:
        raise JournalUnavailable(f"the audit in {journal} has no row yet")
    return str(found)
