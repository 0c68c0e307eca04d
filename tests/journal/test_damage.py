"""A journal that was damaged, cut or made unusable is refused at the start, in a sentence that says what to do."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.directory import LOCK
from bridge.errors import JournalUnavailable
from bridge.journal.journal import FILE
from bridge.journal.owner import take
from bridge.journal.record import Batch
from tests.journal.given import ACME, command, event, open_journal

PAGE = 4096


def flip_in_the_middle(file: Path) -> None:
    content = bytearray(file.read_bytes())
    middle = len(content) // PAGE // 2 * PAGE
    content[middle : middle + 64] = bytes(byte ^ 0xFF for byte in content[middle : middle + 64])
    file.write_bytes(content)


def flip_the_head(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[:16] = bytes(16)
    file.write_bytes(content)


def cut_half(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // PAGE // 2 * PAGE])


@pytest.mark.parametrize("harm", [flip_in_the_middle, flip_the_head, cut_half])
async def test_a_damaged_journal_is_refused_and_left_alone(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """Met later it would be met in the middle of a payment; changed, nobody could mend it."""
    async with open_journal(tmp_path) as journal:
        numbers = range(1, 300)
        commands, events = (command(f"c{number}") for number in numbers), (event(number) for number in numbers)
        await journal.commit(Batch(ACME, add_inbox=tuple(commands), events=tuple(events)))
    file = tmp_path / FILE
    harm(file)
    before = file.read_bytes()
    with pytest.raises(JournalUnavailable, match=r"is damaged: .*operations\.md"):
        await open_journal(tmp_path).__aenter__()
    assert file.read_bytes() == before


async def leave(directory: Path, killed: Path) -> None:
    """A journal that was stopped, and beside it what a kill would have left of it."""
    async with open_journal(directory) as journal:
        await journal.commit(Batch(ACME, state=b"state"))
        shutil.copytree(directory, killed)


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def remove(directory: Path) -> None:
    (directory / FILE).unlink()


def empty(directory: Path) -> None:
    (directory / FILE).write_bytes(b"")


def remove_with_its_lock(directory: Path) -> None:
    remove(directory)
    (directory / LOCK).unlink()


def remove_the_log(directory: Path) -> None:
    """Before the first checkpoint it holds all there is."""
    (directory / f"{FILE}-wal").unlink()


@pytest.mark.parametrize("harm", [remove, empty, remove_with_its_lock, remove_the_log])
async def test_a_journal_that_is_gone_is_not_begun_anew(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """It would open channels that exist, know of no signature, and SQLite remove the log, all that was left."""
    killed = tmp_path / "killed"
    await leave(tmp_path / "data", killed)
    harm(killed)
    before = contents(killed)
    for _ in range(2):
        with pytest.raises(JournalUnavailable, match=r"was kept here before.*operations\.md"):
            await open_journal(killed).__aenter__()
    kept = contents(killed)
    assert {name: kept[name] for name in before if not name.endswith("-shm")} == {
        name: content for name, content in before.items() if not name.endswith("-shm")
    }
    assert (killed / FILE).exists() == (FILE in before)


@pytest.mark.parametrize("harm", [remove, empty])
async def test_one_that_was_stopped_is_missed_too(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """No log tells of it then."""
    directory = tmp_path / "data"
    await leave(directory, tmp_path / "killed")
    harm(directory)
    with pytest.raises(JournalUnavailable, match="was kept here before"):
        await open_journal(directory).__aenter__()


async def test_a_backup_and_an_emptied_directory_are_taken(tmp_path: Path) -> None:
    """What operations.md says: the old directory is put away as a whole."""
    directory = tmp_path / "data"
    await leave(directory, tmp_path / "killed")
    backup = (directory / FILE).read_bytes()
    shutil.rmtree(directory)
    async with open_journal(directory) as journal:
        assert journal.epoch == 1
    shutil.rmtree(directory)
    directory.mkdir()
    (directory / FILE).write_bytes(backup)
    async with open_journal(directory) as journal:
        assert await journal.load(ACME) is not None


async def test_a_start_that_was_killed_before_there_was_a_journal_is_begun_again(tmp_path: Path) -> None:
    """Nothing was kept yet: the next start must not ask a person."""
    os.close(take(tmp_path, FILE))
    async with open_journal(tmp_path) as journal:
        assert journal.epoch == 1


async def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """Named with the path: it is mended outside of the bridge."""
    (tmp_path / FILE).mkdir()
    with pytest.raises(JournalUnavailable, match=str(tmp_path)):
        await open_journal(tmp_path).__aenter__()
