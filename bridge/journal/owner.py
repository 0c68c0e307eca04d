"""One owner per data directory: an OS lock on a file in it, held for life and gone with the process.

What is written in it says that there is a journal: one that is gone is never begun anew.

Also makes directory and files readable by nobody else. Local file systems only: on a network one the lock may
hold nothing, which the epoch in the journal then finds out. Source: guarantees.md sections 4 and 5.6.
"""

import fcntl
import os
from pathlib import Path

from bridge.errors import JournalUnavailable, OwnerConflict

LOCK = "owner.lock"
MADE = b"A journal is kept here. One that is missing is not begun anew: see docs/operations.md.\n"
KEEP_IT = "change nothing in the directory and follow docs/operations.md"
GONE = f"a journal was kept here before: {KEEP_IT}, 'A journal that is gone'"


def take(directory: Path, file: str) -> int:
    """The lock on the directory, which is made if need be, with an empty `file` in it; both ours alone.

    The lock lives as long as the returned descriptor is open. Raises OwnerConflict if another has it,
    JournalUnavailable if the directory cannot be used, or the journal is gone that was in it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _narrow(directory)
        descriptor = _open(directory / LOCK)
    except OSError as error:
        raise JournalUnavailable(f"{directory}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _check_kept(directory / file, is_made(descriptor))
        # SQLite gives its two further files the mode of this one.
        os.close(_open(directory / file))
        _sync(directory)
    except BlockingIOError as error:
        os.close(descriptor)
        raise OwnerConflict(
            f"another process owns {directory}: end that one first, also if it only stands still"
        ) from error
    except OSError as error:
        os.close(descriptor)
        raise JournalUnavailable(f"{directory}: {error.strerror}") from error
    except JournalUnavailable:
        os.close(descriptor)
        raise
    return descriptor


def is_made(lock: int) -> bool:
    """Whether a journal was in the directory before."""
    return os.fstat(lock).st_size > 0


def mark_made(lock: int) -> None:
    """From now on there is a journal in the directory. Call it once that is durable."""
    if not is_made(lock):
        os.pwrite(lock, MADE, 0)
        os.fsync(lock)


def _check_kept(file: Path, is_made: bool) -> None:
    """Before anything is made: beside an empty file SQLite removes the log, which may hold all that was committed.

    The log is evidence by itself: the file has its first page before the log its first byte.
    """
    if _size(file) == 0 and (is_made or _size(file.with_name(f"{file.name}-wal")) > 0):
        raise JournalUnavailable(f"{file} is missing or empty, and {GONE}")


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except FileNotFoundError:
        return 0


def _narrow(directory: Path) -> None:
    """Mode 0700, if it is ours to change: a mounted volume belongs to somebody else, and its files are 0600."""
    if directory.stat().st_uid == os.geteuid():
        directory.chmod(0o700)


def _open(file: Path) -> int:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def _sync(directory: Path) -> None:
    """A file whose name is not durable is lost with all that is durable in it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
