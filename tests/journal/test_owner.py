"""The data directory belongs to one process, and to nobody else's eyes."""

import asyncio
import signal
import sqlite3
import stat
import sys
import threading
from pathlib import Path

import pytest

from bridge.directory import LOCK, mark_made
from bridge.errors import JournalUnavailable, OwnerConflict
from bridge.journal import connection
from bridge.journal import journal as journal_module
from bridge.journal.journal import FILE, Journal
from bridge.journal.owner import take
from bridge.journal.record import Batch
from tests.journal.given import ACME, KEY, Clock, open_journal

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


class Slow:
    """Stands for the check of a journal's pages: begins, and goes on for a while, in SQLite or outside of it."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.leave = threading.Event()
        self.is_over = self.is_whole = False

    def in_sqlite(self, _: Path, connection: sqlite3.Connection) -> None:
        self.loop.call_soon_threadsafe(self.begun.set)
        try:
            connection.execute(COUNT).fetchone()
            self.is_whole = True
        finally:
            self.is_over = True

    def outside(self, _: Path, __: sqlite3.Connection) -> None:
        self.loop.call_soon_threadsafe(self.begun.set)
        self.leave.wait(30)
        self.is_over = True


COUNT = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 30000000) SELECT count(*) FROM n"
"""Many seconds of it."""


@pytest.mark.parametrize("where", ["in_sqlite", "outside"])
async def test_a_start_that_is_given_up_ends_before_the_lock_goes(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM while pages are checked: the thread went on, migrated and counted an owner, beside the next one."""
    async with open_journal(tmp_path):
        pass
    slow = Slow()
    with monkeypatch.context() as patched:
        patched.setattr(connection, "_check_pages", getattr(slow, where))
        start = asyncio.create_task(Journal.open(tmp_path, KEY, Clock()))
        async with asyncio.timeout(30):
            await slow.begun.wait()
            start.cancel()
            slow.loop.call_later(0.05, slow.leave.set)
            with pytest.raises(asyncio.CancelledError):
                await start
        assert slow.is_over
        assert not slow.is_whole, "SQLite is told to end"
    async with open_journal(tmp_path) as journal:
        assert journal.epoch == 2, "the start that was given up is none"


async def test_a_start_that_is_given_up_too_late_lets_the_directory_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has all it wanted, and nobody waits for it: the lock must not stay with the process."""
    slow, mark = Slow(), mark_made

    def mark_slowly(lock: int, sentence: bytes) -> None:
        slow.loop.call_soon_threadsafe(slow.begun.set)
        slow.leave.wait(30)
        mark(lock, sentence)

    with monkeypatch.context() as patched:
        patched.setattr(journal_module, "mark_made", mark_slowly)
        start = asyncio.create_task(Journal.open(tmp_path, KEY, Clock()))
        async with asyncio.timeout(30):
            await slow.begun.wait()
            start.cancel()
            start.cancel()
            slow.loop.call_later(0.05, slow.leave.set)
            with pytest.raises(asyncio.CancelledError):
                await start
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
