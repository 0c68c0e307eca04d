"""The audit of a journal, read without owning it: while the bridge runs, or after it.

Everything is read in one view, as `peek` opens it: what is written meanwhile is not in it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import JournalUnavailable
from bridge.journal.audit import FIELDS, AuditRow
from bridge.journal.auditcheck import Anchor
from bridge.journal.peek import reading

SINCE = 2
"""The journal's version that brought the audit."""
_SELECT = f"SELECT seq, {', '.join(FIELDS)}, prev, hash FROM audit"  # noqa: S608  # our own names


@dataclass(frozen=True, slots=True)
class Audit:
    """One view of it, open for as long as its `with` block."""

    connection: sqlite3.Connection

    def count(self) -> int:
        """How many rows were ever written, by SQLite's own count."""
        row = self.connection.execute("SELECT seq FROM sqlite_sequence WHERE name='audit'").fetchone()
        return 0 if row is None else int(row[0])

    def rows(self, after: int = 0) -> Iterator[AuditRow]:
        """By number, those behind `after`."""
        found = self.connection.execute(f"{_SELECT} WHERE seq > ? ORDER BY seq", (after,))
        return (_row(columns) for columns in found)

    def head(self) -> Anchor | None:
        """The last row; None of an empty audit."""
        found = self.connection.execute(f"{_SELECT} ORDER BY seq DESC LIMIT 1").fetchone()
        return None if found is None else Anchor(found[0], _bytes(found[-1]))


@contextmanager
def read_audit(file: Path) -> Iterator[Audit]:
    """Raises JournalUnavailable, also from within the block: a file that cannot be read, or is of an older version."""
    with reading(file) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < SINCE:
            raise JournalUnavailable(
                f"{file} has version {version}, from before the audit: it begins when the bridge is next started"
            )
        yield Audit(connection)


def _row(columns: tuple[object, ...]) -> AuditRow:
    seq, *values, prev, hash_ = columns
    return AuditRow(int(str(seq)), tuple(_value(value) for value in values), _bytes(prev), _bytes(hash_))


def _value(value: object) -> int | str | None:
    """Whoever edited the file may have put anything there; the hash will not fit it."""
    return value if value is None or isinstance(value, int | str) else repr(value)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else repr(value).encode()
