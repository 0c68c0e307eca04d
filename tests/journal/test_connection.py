"""What is checked before the first command is taken."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bridge.errors import JournalUnavailable
from bridge.journal.connection import KEY_MARK, LOG_BYTES, connect
from bridge.journal.journal import FILE
from bridge.journal.peek import reading
from bridge.journal.record import Batch
from bridge.journal.schema import MIGRATIONS, VERSION
from bridge.journal.seal import Seal
from tests.journal.given import ACME, KEY, open_journal


def test_commits_are_durable_and_readers_only_read(tmp_path: Path) -> None:
    """A commit that is confirmed before it is on the disk is a payment lost at the next power cut."""
    connections = connect(tmp_path / FILE, Seal(KEY))
    try:
        assert connections.writing.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connections.writing.execute("PRAGMA synchronous").fetchone() == (2,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connections.reading.execute("INSERT INTO channel (name) VALUES ('acme-7')")
    finally:
        connections.close()


def test_each_connection_holds_few_pages(tmp_path: Path) -> None:
    """SQLite's own 2 MB fill up over the first minutes of each process, and look like a leak to whoever watches it."""
    connections = connect(tmp_path / FILE, Seal(KEY))
    try:
        for connection in (connections.writing, connections.reading):
            assert connection.execute("PRAGMA cache_size").fetchone() == (-512,)
    finally:
        connections.close()


async def test_a_log_that_grew_while_somebody_looked_shrinks(tmp_path: Path) -> None:
    """A pager left open for a night, and the disk stayed as full as it had become until the bridge was stopped."""
    log, large = tmp_path / f"{FILE}-wal", 2**20
    async with open_journal(tmp_path) as journal:
        with reading(tmp_path / FILE) as view:
            view.execute("SELECT count(*) FROM channel").fetchone()
            for number in range(LOG_BYTES // large + 1):
                await journal.commit(Batch(ACME, state=bytes([number]) * large))
            assert log.stat().st_size > LOG_BYTES, "what is looked at cannot be written back"
        for number in range(3):
            await journal.commit(Batch(ACME, state=bytes([number]) * large))
        assert log.stat().st_size <= LOG_BYTES


def test_a_place_without_durable_commits_is_refused() -> None:
    """SQLite answers a setting it cannot follow with what it does instead, and no error."""
    with pytest.raises(JournalUnavailable, match="would not be durable: journal_mode=memory"):
        connect(Path(":memory:"), Seal(KEY))


@pytest.mark.parametrize("version", [VERSION + 1, -1])
async def test_an_unknown_version_is_refused_and_left_alone(tmp_path: Path, version: int) -> None:
    """A journal of a later program, after a roll-back: guessing at it could run a command twice."""
    async with open_journal(tmp_path) as journal:
        await journal.commit(Batch(ACME, b"state"))
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute(f"PRAGMA user_version={version}")
    connection.close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(JournalUnavailable, match=f"version {version}, this program knows {VERSION}"):
        await open_journal(tmp_path).__aenter__()
    assert (tmp_path / FILE).read_bytes() == before


async def test_another_key_migrates_nothing(tmp_path: Path) -> None:
    """The earlier program would refuse the file then: a slip with the secret must not cost the way back."""
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as connection:
        connection.executescript(f"{MIGRATIONS[0]} PRAGMA user_version=1;")
        connection.execute("INSERT INTO meta VALUES ('key', ?)", (Seal(KEY).close(KEY_MARK).hex(),))
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(JournalUnavailable, match="key is not the one"):
        await open_journal(tmp_path, key=b"x" * 32).__aenter__()
    assert (tmp_path / FILE).read_bytes() == before
    async with open_journal(tmp_path) as journal:
        assert journal.epoch == 1


async def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    """Also one whose first page was damaged: named as what it is."""
    (tmp_path / FILE).write_bytes(b"not a database" * 1000)
    with pytest.raises(JournalUnavailable, match="not a database"):
        await open_journal(tmp_path).__aenter__()


async def test_a_refused_start_lets_the_directory_go(tmp_path: Path) -> None:
    """The person mends the key and starts again: the lock of the failed start must not be in the way."""
    async with open_journal(tmp_path):
        pass
    with pytest.raises(JournalUnavailable):
        await open_journal(tmp_path, key=b"x" * 32).__aenter__()
    async with open_journal(tmp_path) as journal:
        await journal.commit(Batch(ACME, b"state"))
