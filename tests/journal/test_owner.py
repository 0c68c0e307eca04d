"""The data directory belongs to one process, and to nobody else's eyes."""

import asyncio
import signal
import stat
import sys
from pathlib import Path

import pytest

from bridge.errors import JournalUnavailable, OwnerConflict
from bridge.journal.journal import FILE
from bridge.journal.owner import LOCK, take
from bridge.journal.record import Batch
from tests.journal.given import ACME, open_journal

ROOT = Path(__file__).parents[2]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_directory_and_files_are_ours_alone(tmp_path: Path) -> None:
    """5.6: also the two files SQLite makes beside the first, and also when somebody had loosened them."""
    directory = tmp_path / "deep" / "data"
    for _ in range(2):
        async with open_journal(directory) as journal:
            await journal.commit(Batch(ACME, b"state"))
            files = {file.name: mode(file) for file in directory.iterdir()}
        assert files == dict.fromkeys((FILE, FILE + "-shm", FILE + "-wal", LOCK), 0o600)
        assert mode(directory) == 0o700
        directory.chmod(0o755)
        (directory / FILE).chmod(0o644)


async def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    """The lock goes with the process, however it ends: no stale file keeps the next one out."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.journal.committer", str(tmp_path), "1"), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    async with asyncio.timeout(30):
        await child.stdout.readline()
        with pytest.raises(OwnerConflict):
            await open_journal(tmp_path).__aenter__()
        child.send_signal(signal.SIGKILL)
        await child.communicate()
    async with open_journal(tmp_path) as journal:
        assert journal.epoch == 2


def test_a_place_that_is_no_directory_is_named(tmp_path: Path) -> None:
    """The person at the keyboard needs the path and the reason, not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnavailable, match=r"file.*: File exists"):
        take(tmp_path / "file", FILE)


def test_a_link_in_place_of_the_journal_is_refused(tmp_path: Path) -> None:
    """Otherwise the mode of any file of ours could be changed, and it be written over, through the link."""
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalUnavailable, match="symbolic link"):
        take(tmp_path, FILE)
