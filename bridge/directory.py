"""A directory of one owner with a durable record in it: a lock of the operating system, and a mark.

The lock is on a file in it, held for life and gone with the process. What is written in that file says that there is a
record: one that is gone is never begun anew. Directory and files are readable by nobody else. Local file systems only:
on a network one the lock may hold nothing. Raises OSError; what that means is said by who keeps the record. Source:
guarantees.md sections 4 and 5.6.
"""

import fcntl
import os
from pathlib import Path

LOCK = "owner.lock"


def lock(directory: Path) -> int:
    """The descriptor that holds the directory, which is made if need be. BlockingIOError: another has it.

    On a file of its own: closing any descriptor of a database would drop the locks SQLite has on it (POSIX).
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_uid == os.geteuid():
        directory.chmod(0o700)  # a mounted volume belongs to somebody else, and its files are 0600
    descriptor = _open(directory / LOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def is_made(lock: int) -> bool:
    """Whether a record was in the directory before."""
    return os.fstat(lock).st_size > 0


def mark_made(lock: int, sentence: bytes) -> None:
    """From now on there is a record in the directory. Call it once that is durable."""
    if not is_made(lock):
        os.pwrite(lock, sentence, 0)
        os.fsync(lock)


def is_gone(file: Path, *, is_made: bool) -> bool:
    """To be asked before anything is made: beside an empty file SQLite removes the log, which may hold all there was.

    The log is evidence by itself: the file has its first page before the log its first byte.
    """
    return _size(file) == 0 and (is_made or _size(file.with_name(f"{file.name}-wal")) > 0)


def make(file: Path) -> None:
    """Its name durable: without that all that is durable in it is lost. SQLite gives its log the same mode."""
    os.close(_open(file))
    descriptor = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except FileNotFoundError:
        return 0


def _open(file: Path) -> int:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor
