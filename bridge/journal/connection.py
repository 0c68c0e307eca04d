"""The two SQLite connections of a journal: one that writes, durably, and one that only reads.

Everything is checked before the first command is taken: that no page is damaged, that commits will be durable,
that the version is known, that the key fits. Nothing is changed unless all of it holds. Source: guarantees.md
sections 2 and 5.6.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import BridgeError, JournalUnavailable, OwnerConflict
from bridge.journal.owner import GONE, KEEP_IT
from bridge.journal.place import Place
from bridge.journal.prune import forgotten_until
from bridge.journal.schema import check_version, migrate, read_version
from bridge.journal.seal import Seal

BUSY_SECONDS = 5.0
"""How long a lock of somebody who only looks, a backup, is waited for."""
CACHE_KIBIBYTES = 512
"""Pages each connection holds in memory. Rows are written once and seldom read again: more would only fill up."""
LOG_BYTES = 16 * 2**20
"""The log grows for as long as somebody holds a view; when nobody does, it is cut to this. Else it has some 4 MB."""
FULL = 2
STEPS = 10_000
"""Of SQLite's machine, between two looks whether a start was given up: some tenths of a millisecond."""
KEY_MARK = "channel-bridge"
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@dataclass(frozen=True, slots=True)
class Connections:
    """Each belongs to one thread at a time. `epoch` is the number of this owner; the last is as `prune` has it."""

    writing: sqlite3.Connection
    reading: sqlite3.Connection
    place: Place
    epoch: int
    forgotten_until: float

    def close(self) -> None:
        self.reading.close()
        self.writing.close()


def connect(file: Path, seal: Seal, *, is_made: bool = False, stop: threading.Event | None = None) -> Connections:
    """Open both and count one more owner. Raises JournalUnavailable; OwnerConflict if somebody else is writing.

    `is_made`: there are tables in it, or it is not the file it was. Once `stop` is set it raises: nobody waits for it.
    """
    with contextlib.ExitStack() as stack:
        try:
            writing = stack.enter_context(contextlib.closing(_open(file)))
            with _heeding(writing, stop or threading.Event()):
                _check_pages(file, writing)
                _check_made(file, writing, is_made)
                _check_key(writing, seal)
            _make_durable(writing)
            migrate(writing)
            epoch = _count_owner(writing, seal)
            reading = stack.enter_context(contextlib.closing(_open(file)))
            reading.execute("PRAGMA query_only=ON")
            forgotten = forgotten_until(reading)
            place = Place(file)
        except sqlite3.Error as error:
            raise _unfit(file, error) from error
        stack.pop_all()
        return Connections(writing, reading, place, epoch, forgotten)


@contextlib.contextmanager
def _heeding(connection: sqlite3.Connection, stop: threading.Event) -> Iterator[None]:
    """What takes long ends when nobody waits for it any more, and nothing is changed after it."""
    connection.set_progress_handler(stop.is_set, STEPS)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)
    if stop.is_set():
        raise JournalUnavailable("the start was given up")


def _open(file: Path) -> sqlite3.Connection:
    """Without the module's own transactions: they begin and end where we say."""
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIBIBYTES}")
    connection.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
    return connection


def _unfit(file: Path, error: sqlite3.Error) -> BridgeError:
    code = error.sqlite_errorcode & 0xFF
    if code == sqlite3.SQLITE_BUSY:
        return OwnerConflict(f"another process is writing to {file}: end that one first, also if it only stands still")
    if code in DAMAGED:
        return JournalUnavailable(f"{file} is damaged: {error}; {AS_DAMAGED}")
    return JournalUnavailable(f"{file} cannot be used: {error}; mend the disk or the file's rights, then start again")


AS_DAMAGED = f"{KEEP_IT}, 'A damaged journal'"


def _check_pages(file: Path, connection: sqlite3.Connection) -> None:
    """Every page, once a start: 0.2 s for 100 MB (measured). A damaged one would be met in the middle of a payment."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise JournalUnavailable(f"{file} is damaged: {' '.join(found.split())}; {AS_DAMAGED}")


def _check_made(file: Path, connection: sqlite3.Connection, is_made: bool) -> None:
    """Tables may be in the log alone, before the first checkpoint: without it the file is as one never used."""
    if is_made and read_version(connection) == 0:
        raise JournalUnavailable(f"{file} is empty without its log, and {GONE}")


def _make_durable(connection: sqlite3.Connection) -> None:
    """Some file systems and builds take these settings without following them: so they are read back."""
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    connection.execute("PRAGMA synchronous=FULL")
    (level,) = connection.execute("PRAGMA synchronous").fetchone()
    if (mode, level) != ("wal", FULL):
        raise JournalUnavailable(f"commits would not be durable: journal_mode={mode}, synchronous={level}")


def _count_owner(connection: sqlite3.Connection, seal: Seal) -> int:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('key', ?)", (seal.close(KEY_MARK).hex(),))
    connection.execute(
        "INSERT INTO meta VALUES ('epoch', '1') ON CONFLICT (name) DO UPDATE SET value = CAST(value AS INTEGER) + 1"
    )
    epoch = read_epoch(connection)
    connection.execute("COMMIT")
    return epoch


def read_epoch(connection: sqlite3.Connection) -> int:
    (value,) = connection.execute("SELECT value FROM meta WHERE name='epoch'").fetchone()
    return int(value)


def _check_key(connection: sqlite3.Connection, seal: Seal) -> None:
    """A wrong key is found at the start, before anything is changed, not when a channel has to be attached again."""
    if check_version(connection) == 0:
        return
    row = connection.execute("SELECT value FROM meta WHERE name='key'").fetchone()
    if row is not None:
        seal.open(bytes.fromhex(row[0]))
