"""Commits into a file that has no name any more are lost with the process: they must not pass for durable."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.errors import JournalUnavailable
from bridge.journal.journal import FILE
from bridge.journal.record import Batch
from tests.journal.given import ACME, open_journal


def remove_directory(directory: Path) -> None:
    shutil.rmtree(directory)


def remove_log(directory: Path) -> None:
    (directory / f"{FILE}-wal").unlink()


def put_back_yesterday(directory: Path) -> None:
    """A backup copied over a running bridge, as a person in haste does it."""
    shutil.copy(directory / FILE, directory / "copy")
    (directory / "copy").replace(directory / FILE)


@pytest.mark.parametrize("harm", [remove_directory, remove_log, put_back_yesterday])
async def test_a_commit_into_files_that_are_gone_is_refused(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """SQLite itself says all is well: the effect would happen and its record be gone at the next start."""
    directory = tmp_path / "data"
    async with open_journal(directory) as journal:
        await journal.commit(Batch(ACME, state=b"before"))
        harm(directory)
        with pytest.raises(JournalUnavailable, match="while it was in use"):
            await journal.commit(Batch(ACME, state=b"after"))
        with pytest.raises(JournalUnavailable):
            await journal.load(ACME)


async def test_other_files_in_the_directory_do_no_harm(tmp_path: Path) -> None:
    """A backup beside the journal is nobody's business."""
    async with open_journal(tmp_path) as journal:
        (tmp_path / "backup").write_text("")
        await journal.commit(Batch(ACME, state=b"state"))
        (tmp_path / "backup").unlink()
        await journal.commit(Batch(ACME, state=b"state 2"))
