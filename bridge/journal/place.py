"""Whether the journal's files are still the ones we opened.

A file that is removed or replaced while it is open takes every commit and keeps none: SQLite writes on into what
no longer has a name. So names are compared with what was opened, after each commit and before anybody is told.
Never opens or touches a file.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from bridge.errors import JournalUnavailable

SUFFIXES = ("", "-wal", "-shm")


class Place:
    """Made when all files exist, so after the first commit. Raises JournalUnavailable if one does not."""

    def __init__(self, file: Path) -> None:
        self._found: Mapping[str, tuple[int, int]] = {name: _identify(name) for name in _names(file)}

    def check(self) -> None:
        """Raises JournalUnavailable once a file is gone, or is another."""
        for name, found in self._found.items():
            if _identify(name) != found:
                raise JournalUnavailable(f"{name} was replaced while it was in use")


def _names(file: Path) -> tuple[str, ...]:
    return tuple(f"{file}{suffix}" for suffix in SUFFIXES)


def _identify(name: str) -> tuple[int, int]:
    try:
        status = os.stat(name)  # noqa: PTH116  # called at every commit
    except OSError as error:
        raise JournalUnavailable(f"{name} is gone while it was in use: {error.strerror}") from error
    return status.st_dev, status.st_ino
