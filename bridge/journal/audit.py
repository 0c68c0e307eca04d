"""The audit: what was decided and done, append-only, each row chained to the one before by SHA-256.

A row's hash covers the hash before it and the row's fields in one canonical encoding; the first row stands on
`GENESIS`. One chain a data directory. Never pruned. What the chain can show and what not: docs/audit.md. Source:
guarantees.md 5.7.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Self

from bridge.errors import JournalUnavailable
from bridge.journal.record import AuditEntry

GENESIS = sha256(b"channel-bridge audit 1").digest()
"""Stands before the first row."""

FIELDS = ("at", "kind", "verdict", "author", "command_id", "channel", "round", "tx_hash", "code", "reference")
"""In the order they are hashed in. The number is not among them: a row's place is what it stands on."""
_COLUMNS = f"{', '.join(FIELDS)}, prev, hash"
_INSERT = f"INSERT INTO audit ({_COLUMNS}) VALUES ({', '.join('?' * (len(FIELDS) + 2))})"  # noqa: S608  # our own names

Values = tuple[int | str | None, ...]
"""What stands under `FIELDS`."""


def digest(prev: bytes, values: Values) -> bytes:
    """SHA-256 over the 32 bytes before and the values as one JSON array in ASCII without spaces."""
    return sha256(prev + json.dumps(values, separators=(",", ":")).encode("ascii")).digest()


def append(connection: sqlite3.Connection, entries: Iterable[AuditEntry]) -> None:
    """Behind the last row, inside the caller's transaction."""
    prev: bytes | None = None
    for entry in entries:
        prev = _last_hash(connection) if prev is None else prev
        values = _values(entry)
        hash_ = digest(prev, values)
        connection.execute(_INSERT, (*values, prev, hash_))
        prev = hash_


def _last_hash(connection: sqlite3.Connection) -> bytes:
    row = connection.execute("SELECT hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    return GENESIS if row is None else bytes(row[0])


def _values(entry: AuditEntry) -> Values:
    rest = (getattr(entry, name) for name in FIELDS[1:])
    return (round(entry.at * 1_000_000), *rest)


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A row as it stands in the journal or in an export: nothing about it is believed yet."""

    seq: int
    values: Values
    prev: bytes
    hash: bytes

    def as_json(self) -> Mapping[str, Any]:
        """One line of an export: `at` in microseconds since 1970, the hashes in hex."""
        fields = dict(zip(FIELDS, self.values, strict=True))
        return {"seq": self.seq} | fields | {"prev": self.prev.hex(), "hash": self.hash.hex()}

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Raises JournalUnavailable for a line that is none of an export."""
        try:
            read = json.loads(line)
            values = tuple(read[name] for name in FIELDS)
            return cls(int(read["seq"]), values, bytes.fromhex(read["prev"]), bytes.fromhex(read["hash"]))
        except (ValueError, KeyError, TypeError) as error:
            raise JournalUnavailable(f"not a line of an audit export: {line[:80]!r}") from error
