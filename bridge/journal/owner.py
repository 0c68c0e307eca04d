"""One owner per data directory, and a journal that is gone is never begun anew (bridge.directory).

A lock that holds nothing, as on a network file system, is found out by the epoch in the journal.
"""

import os
from pathlib import Path

from bridge.directory import is_gone, is_made, lock, make
from bridge.errors import JournalUnavailable, OwnerConflict

MADE = b"A journal is kept here. One that is missing is not begun anew: see docs/operations.md.\n"
KEEP_IT = "change nothing in the directory and follow docs/operations.md"
GONE = f"a journal was kept here before: {KEEP_IT}, 'A journal that is gone'"


def take(directory: Path, file: str) -> int:
    """The lock on the directory, which is made if need be, with an empty `file` in it; both ours alone.

    The lock lives as long as the returned descriptor is open. Raises OwnerConflict if another has it,
    JournalUnavailable if the directory cannot be used, or the journal is gone that was in it.
    """
    try:
        descriptor = lock(directory)
    except BlockingIOError as error:
        raise OwnerConflict(
            f"another process owns {directory}: end that one first, also if it only stands still"
        ) from error
    except OSError as error:
        raise JournalUnavailable(f"{directory}: {error.strerror}") from error
    try:
        _make(directory / file, descriptor)
    except OSError as error:
        os.close(descriptor)
        raise JournalUnavailable(f"{directory}: {error.strerror}") from error
    except JournalUnavailable:
        os.close(descriptor)
        raise
    return descriptor


def _make(file: Path, lock: int) -> None:
    if is_gone(file, is_made=is_made(lock)):
        raise JournalUnavailable(f"{file} is missing or empty, and {GONE}")
    make(file)
