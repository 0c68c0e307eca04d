"""Whether an audit is the one that was written: each place where it is not, named.

Pure. A row is found edited when its own hash does not fit it, moved or behind a removed one when it stands on another
hash than the row before has. What is missing at the end shows only against something kept elsewhere: the journal's
count of rows, or an anchor. Limits: docs/audit.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bridge.journal.audit import GENESIS, AuditRow, digest

MOST_FINDINGS = 100
"""More are counted and not told one by one."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A row's number and hash, kept where the journal's holder cannot change it."""

    seq: int
    hash: bytes

    def __str__(self) -> str:
        """`SEQ:HASH`, the hash in hex."""
        return f"{self.seq}:{self.hash.hex()}"


@dataclass(frozen=True, slots=True)
class Break:
    """`seq`: the row it was found at; for what is missing, the first missing one."""

    seq: int
    kind: str
    """`edit`, `gap`, `order`, `truncation` or `anchor`."""
    sentence: str


@dataclass(slots=True)
class Verdict:
    """Of the whole audit. `head` is its last row's number and hash, of an empty one 0 and the genesis."""

    rows: int = 0
    head: Anchor = Anchor(0, GENESIS)
    is_anchored: bool = False
    """Whether the anchor's row was met with the anchor's hash."""
    breaks: int = 0
    told: tuple[Break, ...] = ()

    @property
    def is_whole(self) -> bool:
        return self.breaks == 0

    def add(self, seq: int, kind: str, sentence: str) -> None:
        self.breaks += 1
        if len(self.told) < MOST_FINDINGS:
            self.told = (*self.told, Break(seq, kind, sentence))


def verify(rows: Iterable[AuditRow], count: int | None = None, anchor: Anchor | None = None) -> Verdict:
    """Rows in the order they are held in. `count`: how many were ever written, where that is known."""
    verdict = Verdict()
    for row in rows:
        _check_place(verdict, row)
        if digest(row.prev, row.values) != row.hash:
            verdict.add(row.seq, "edit", f"row {row.seq} is not what was written: its hash does not fit it")
        if anchor is not None and row.seq == anchor.seq:
            _check_anchor(verdict, row, anchor)
        verdict.rows += 1
        verdict.head = Anchor(row.seq, row.hash)
    _check_end(verdict, count, anchor)
    return verdict


def _check_place(verdict: Verdict, row: AuditRow) -> None:
    """Where it stands, against the row before. After a break the next rows are measured from here."""
    before = verdict.head
    if row.seq > before.seq + 1:
        first, last = before.seq + 1, row.seq - 1
        missing = f"row {first} is" if first == last else f"rows {first} to {last} are"
        verdict.add(first, "gap", f"{missing} missing before row {row.seq}")
    elif row.seq <= before.seq:
        verdict.add(row.seq, "order", f"row {row.seq} stands behind row {before.seq}")
    elif row.prev != before.hash:
        verdict.add(row.seq, "order", f"row {row.seq} was not written behind the row that stands before it")


def _check_anchor(verdict: Verdict, row: AuditRow, anchor: Anchor) -> None:
    if row.hash == anchor.hash:
        verdict.is_anchored = True
    else:
        verdict.add(row.seq, "anchor", f"row {row.seq} has another hash than the anchor: the audit was written anew")


def _check_end(verdict: Verdict, count: int | None, anchor: Anchor | None) -> None:
    last = verdict.head.seq
    if count is not None and count > last:
        verdict.add(last + 1, "truncation", f"{count} rows were written, the last one here is {last}")
    elif count is not None and count < last:
        verdict.add(last, "truncation", f"the journal has counted {count} rows, here are {last}: its count was changed")
    if anchor is not None and anchor.seq > last:
        verdict.add(last + 1, "anchor", f"the anchor is row {anchor.seq}, the last one here is {last}")
