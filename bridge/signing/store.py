"""The signer's own durable record: one SQLite file, one owner, and every statement that reads or writes it.

What is committed here survives a kill and a power cut; what is not may be lost and was told to nobody. The directory is
held as long as it is open, so a second signer on it ends at its start, and a record that is gone is never begun anew
(bridge.directory). Belongs to one thread at a time. Holds no key and no secret; mode 0600 all the same.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from bridge.channel.identifier import Account, ChannelId, TransactionHash
from bridge.directory import is_gone, is_made, lock, make, mark_made
from bridge.errors import BridgeError, GuardUnavailable, OwnerConflict
from bridge.signing.slot import Place, Slot

FILE = "signer.db"
MADE = b"A signer's record is kept here. One that is missing is not begun anew: see docs/signer.md.\n"
VERSION = 1
PAGE = 1000
"""Most rows one transaction forgets, so that nobody waits long for it."""
_FULL = 2
_BUSY_SECONDS = 1.0
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

# A row of `signed` is written before the key is touched. `is_signed` tells whether a signature may have left us; a
# row without it is taken back if its request ends in a refusal.
_TABLES = """
CREATE TABLE signed (
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, channel TEXT NOT NULL, place TEXT NOT NULL,
    number INTEGER NOT NULL, hash TEXT NOT NULL, request TEXT NOT NULL, is_signed INTEGER NOT NULL, at REAL NOT NULL,
    UNIQUE (account, channel, place, number, hash)
);
CREATE INDEX signed_request ON signed (account, request) WHERE is_signed = 0;
CREATE TABLE reply (
    account TEXT NOT NULL, request TEXT NOT NULL, asked TEXT NOT NULL, body BLOB NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (account, request)
) WITHOUT ROWID;
CREATE INDEX reply_age ON reply (at);
"""


class Store:
    """Raises OwnerConflict while another has the directory open, GuardUnavailable where it cannot be used."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / FILE
        with _told(self._file), contextlib.ExitStack() as stack:
            held = _lock(directory)
            stack.callback(os.close, held)
            if is_gone(self._file, is_made=is_made(held)):
                raise GuardUnavailable(f"{self._file} is missing or empty, and {_GONE}")
            make(self._file)
            self._connection = stack.enter_context(contextlib.closing(_open(self._file)))
            _migrate(self._connection, is_made=is_made(held))
            mark_made(held, MADE)
            self._found = _identify(self._file)
            self._closing = stack.pop_all()

    def close(self) -> None:
        """May be called twice. The lock is free afterwards."""
        self._closing.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing, durable when it is left. Raises GuardUnavailable; then nobody may be told anything."""
        with _told(self._file):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            if _identify(self._file) != self._found:
                raise GuardUnavailable(f"{self._file} was replaced while it was in use")

    # --- what was signed ------------------------------------------------------------------------------------

    def find_signed(self, account: Account, slot: Slot) -> tuple[TransactionHash, ...]:
        """Oldest first."""
        rows = self._connection.execute(
            "SELECT hash FROM signed WHERE (account, channel, place, number) = (?, ?, ?, ?) ORDER BY id",
            (account, slot.channel, slot.place.value, slot.number),
        )
        return tuple(TransactionHash(text) for (text,) in rows)

    def highest_round(self, account: Account, channel: ChannelId) -> int | None:
        row = self._connection.execute(
            "SELECT max(number) FROM signed WHERE (account, channel, place) = (?, ?, ?)",
            (account, channel, Place.ROUND.value),
        ).fetchone()
        found: int | None = row[0]
        return found

    def add_signed(self, account: Account, slot: Slot, transaction: TransactionHash, request: str, at: float) -> None:
        """It is about to be signed. One that is there already stays as it is."""
        self._connection.execute(
            "INSERT OR IGNORE INTO signed (account, channel, place, number, hash, request, is_signed, at)"
            " VALUES (?, ?, ?, ?, ?, ?, 0, ?)",
            (account, slot.channel, slot.place.value, slot.number, transaction, request, at),
        )

    def confirm_signed(self, account: Account, slot: Slot, transaction: TransactionHash) -> None:
        """Its signature is about to leave."""
        self._connection.execute(
            "UPDATE signed SET is_signed=1 WHERE (account, channel, place, number, hash) = (?, ?, ?, ?, ?)",
            (account, slot.channel, slot.place.value, slot.number, transaction),
        )

    def take_back(self, account: Account, request: str) -> None:
        """That request is refused: no signature of it left, and none will."""
        self._connection.execute(
            "DELETE FROM signed WHERE (account, request) = (?, ?) AND is_signed = 0", (account, request)
        )

    def forget_rounds(self, account: Account, channel: ChannelId, through: int) -> None:
        self._connection.execute(
            "DELETE FROM signed WHERE (account, channel, place) = (?, ?, ?) AND number <= ?",
            (account, channel, Place.ROUND.value, through),
        )

    # --- what was answered ----------------------------------------------------------------------------------

    def find_reply(self, account: Account, request: str) -> tuple[str, bytes] | None:
        """What was asked, as a digest, and the body that answered it."""
        found: tuple[str, bytes] | None = self._connection.execute(
            "SELECT asked, body FROM reply WHERE (account, request) = (?, ?)", (account, request)
        ).fetchone()
        return found

    def add_reply(self, account: Account, request: str, asked: str, body: bytes, at: float) -> None:
        self._connection.execute("INSERT INTO reply VALUES (?, ?, ?, ?, ?)", (account, request, asked, body, at))

    def forget_replies(self, before: float) -> int:
        """At most one page of those given before that instant; how many."""
        return self._connection.execute(
            "DELETE FROM reply WHERE (account, request) IN"
            " (SELECT account, request FROM reply WHERE at < ? ORDER BY at LIMIT ?)",
            (before, PAGE),
        ).rowcount


def _lock(directory: Path) -> int:
    try:
        return lock(directory)
    except BlockingIOError as error:
        sentence = f"another signer has {directory} open: end that one first, also if it only stands still"
        raise OwnerConflict(sentence) from error


def _open(file: Path) -> sqlite3.Connection:
    """What makes commits durable is read back: some builds take a setting and ignore it."""
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS)
    try:
        # Nobody else reads it: the log then needs no memory shared between processes.
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.execute("PRAGMA synchronous=FULL")
        (level,) = connection.execute("PRAGMA synchronous").fetchone()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        _check(file, (mode, level), found)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(file: Path, durability: tuple[str, int], pages: str) -> None:
    if durability != ("wal", _FULL):
        raise GuardUnavailable(f"{file}: commits would not be durable: journal_mode, synchronous = {durability}")
    if pages != "ok":
        raise GuardUnavailable(f"{file} is damaged: {' '.join(pages.split())}; {_KEEP_IT}")


def _migrate(connection: sqlite3.Connection, *, is_made: bool) -> None:
    """A file of another version is refused, never guessed at. 0 is one nobody has written yet."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found == 0 and is_made:
        raise GuardUnavailable(f"{FILE} is empty without its log, and {_GONE}")
    if found == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version={VERSION}; COMMIT")
    elif found != VERSION:
        raise GuardUnavailable(
            f"the guard has version {found}, this program knows {VERSION}: start the program that wrote it"
        )


_KEEP_IT = "change nothing in the directory and follow docs/signer.md, 'When the guard is lost'"
_GONE = f"a signer's record was kept here before: {_KEEP_IT}"


@contextlib.contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise _unfit(file, error) from error


def _unfit(file: Path, error: sqlite3.Error | OSError) -> BridgeError:
    if isinstance(error, OSError):
        return GuardUnavailable(f"{file}: {error.strerror}")
    code = error.sqlite_errorcode & 0xFF if hasattr(error, "sqlite_errorcode") else 0
    if code == sqlite3.SQLITE_BUSY:
        return OwnerConflict(f"another program has {file} open: end that one first")
    if code in _DAMAGED:
        return GuardUnavailable(f"{file} is damaged: {error}; {_KEEP_IT}")
    return GuardUnavailable(f"{file} cannot be used: {error}; mend the disk or the file's rights, then start again")


def _identify(file: Path) -> tuple[int, int]:
    """Which file stands under that name. One that was removed takes every commit and keeps none."""
    status = file.stat()
    return status.st_dev, status.st_ino
