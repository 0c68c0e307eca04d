"""The writer's promises: groups share a transaction, order is kept, and after a failure nothing is written."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.channel.identifier import CommandId
from bridge.errors import InvariantViolation, JournalUnavailable
from bridge.journal.journal import Journal
from bridge.journal.record import Batch, NewOutbox
from bridge.journal.writer import GROUP
from tests.journal.given import ACME, BETA, command, envelope, open_journal

LIMIT_PAGES = 40


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with open_journal(tmp_path) as opened:
        yield opened


async def hold(journal: Journal) -> tuple[threading.Event, asyncio.Task[bool]]:
    """A job that keeps the writer busy until the event is set, so that others gather behind it."""
    began, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def job(_: sqlite3.Connection) -> bool:
        loop.call_soon_threadsafe(began.set)
        return release.wait(30)

    task = asyncio.create_task(journal.writer.do(job))
    async with asyncio.timeout(10):
        await began.wait()
    return release, task


async def test_commits_that_gather_share_one_transaction(journal: Journal) -> None:
    """Each durable transaction costs a disk flush: a hundred channels at once must not pay a hundred."""
    release, holder = await hold(journal)
    before = journal.writer.transactions
    commits = [asyncio.create_task(journal.commit(Batch(add_inbox=(command(str(n)),)))) for n in range(100)]
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(holder, *commits)
    assert journal.writer.transactions - before == 2  # the holder's own, and one for all hundred
    assert await journal.backlog() == {ACME: 100}


async def test_commits_of_one_turn_of_the_loop_share_one_transaction(journal: Journal) -> None:
    """Channels that are woken by the same thing need not wait for one another's flush."""
    before = journal.writer.transactions
    await asyncio.gather(*(journal.commit(Batch(add_inbox=(command(str(n)),))) for n in range(10)))
    assert journal.writer.transactions - before == 1


async def test_a_job_whose_every_caller_is_gone_is_written(tmp_path: Path) -> None:
    """A stop cancels all tasks: what was handed over before that is in the journal all the same."""
    async with open_journal(tmp_path) as journal:
        release, holder = await hold(journal)
        commit = asyncio.create_task(journal.commit(Batch(ACME, b"state")))
        await asyncio.sleep(0)
        for task in (holder, commit):
            task.cancel()
        await asyncio.wait((holder, commit))
        release.set()
    async with open_journal(tmp_path) as journal:
        assert await journal.load(ACME) is not None


async def test_a_group_is_bounded(journal: Journal) -> None:
    """The first of a flood does not wait until the flood is over."""
    release, holder = await hold(journal)
    before = journal.writer.transactions
    commits = [asyncio.create_task(journal.commit(Batch(add_inbox=(command(str(n)),)))) for n in range(GROUP + 1)]
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(holder, *commits)
    assert journal.writer.transactions - before == 3


async def test_commits_are_written_in_the_order_they_were_given(journal: Journal) -> None:
    """G1: journal order is the order in which the queue was read."""
    names = [str(n) for n in range(50)]
    await asyncio.gather(*(journal.commit(Batch(add_inbox=(command(name, status="running"),))) for name in names))
    assert [row.command_id for row in await journal.running(ACME)] == names


async def test_a_commit_is_seen_by_the_next_question(journal: Journal) -> None:
    """The worker asks for the head of the line right after the intake has journaled it."""
    for n in range(50):
        await journal.commit(Batch(add_inbox=(command(str(n)),)))
        assert await journal.find_command(CommandId(str(n))) is not None


async def test_what_is_not_committed_is_not_seen(journal: Journal) -> None:
    """No effect may rest on what a crash would take back."""
    loop = asyncio.get_running_loop()
    entered, release = asyncio.Event(), threading.Event()

    def job(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO channel (name) VALUES ('acme-7')")
        loop.call_soon_threadsafe(entered.set)
        release.wait(30)

    task = asyncio.create_task(journal.writer.do(job))
    async with asyncio.timeout(10):
        await entered.wait()
    assert await journal.load(ACME) is None
    release.set()
    await task
    assert await journal.load(ACME) is not None


async def test_a_cancelled_caller_harms_nobody(journal: Journal) -> None:
    """What was given is written all the same, and those who shared its transaction are told."""
    release, holder = await hold(journal)
    cancelled = asyncio.create_task(journal.commit(Batch(ACME, b"state")))
    await asyncio.sleep(0)
    beside = asyncio.create_task(journal.commit(Batch(BETA, b"state")))
    await asyncio.sleep(0)
    cancelled.cancel()
    release.set()
    await holder
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await asyncio.wait_for(beside, 10)
    assert await journal.load(ACME) is not None


async def test_closing_writes_what_was_given_first(tmp_path: Path) -> None:
    """A commit in flight at shutdown is neither lost nor left hanging."""
    async with open_journal(tmp_path) as journal:
        release, holder = await hold(journal)
        commit = asyncio.create_task(journal.commit(Batch(ACME, b"state")))
        await asyncio.sleep(0)
        closing = asyncio.create_task(journal.close())
        await asyncio.sleep(0)
        release.set()
        await asyncio.gather(holder, commit, closing)
    async with open_journal(tmp_path) as journal:
        assert await journal.load(ACME) is not None


# --- failures ---------------------------------------------------------------------------------------------


async def fill_the_disk(journal: Journal) -> None:
    """From here on the file cannot grow: what a full disk looks like to SQLite."""

    def job(connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count={LIMIT_PAGES}").close()

    await journal.writer.do(job)


async def test_a_full_disk_refuses_this_commit_and_all_later_calls(journal: Journal) -> None:
    """Going on from memory would let a payment outrun its record; a small batch that would fit counts too."""
    await journal.commit(Batch(ACME, b"before"))
    await fill_the_disk(journal)
    with pytest.raises(JournalUnavailable, match="full"):
        await journal.commit(Batch(ACME, b"x" * 1_000_000))
    calls = [
        journal.commit(Batch(ACME, b"small")),
        journal.mark_published([1]),
        journal.prune(0.0),
        journal.load(ACME),
        journal.find_command(CommandId("1")),
        journal.next_command(ACME),
        journal.running(ACME),
        journal.backlog(),
        journal.outbox(0, 1),
        journal.outbox_depth(),
        journal.events(ACME, 0, 1),
        journal.ledger(ACME),
    ]
    for call in calls:
        with pytest.raises(JournalUnavailable, match="full"):
            await call


async def test_all_of_a_failed_group_are_refused_and_none_is_kept(tmp_path: Path) -> None:
    """They shared the transaction: whoever was told "durable" by mistake would send a signature."""
    async with open_journal(tmp_path) as journal:
        await fill_the_disk(journal)
        release, holder = await hold(journal)
        batches = [
            Batch(ACME, b"small"),
            Batch(outbox=(NewOutbox("a", envelope(b"x" * 1_000_000)),)),
            Batch(BETA, b"s"),
        ]
        commits = [asyncio.create_task(journal.commit(batch)) for batch in batches]
        await asyncio.sleep(0)
        release.set()
        await holder
        endings = await asyncio.gather(*commits, return_exceptions=True)
        assert [type(ending) for ending in endings] == [JournalUnavailable] * 3
    async with open_journal(tmp_path) as journal:
        assert await journal.load(ACME) is None
        assert await journal.load(BETA) is None


async def test_a_connection_that_is_gone_refuses_everything(journal: Journal) -> None:
    """Any error of SQLite counts, not only those somebody thought of."""
    journal._connections.writing.close()
    for _ in range(2):
        with pytest.raises(JournalUnavailable, match="closed database"):
            await journal.commit(Batch(ACME, b"state"))


async def test_a_value_that_cannot_be_stored_fails_alone(journal: Journal) -> None:
    """Whatever happens on one channel, others continue; and half of the bad batch is not kept."""
    bad = Batch(ACME, b"state", add_inbox=(replace(command("1"), author="half a surrogate pair \ud800"),))
    release, holder = await hold(journal)
    commits = [asyncio.create_task(journal.commit(batch)) for batch in (Batch(BETA, b"1"), bad, Batch(BETA, b"2"))]
    await asyncio.sleep(0)
    release.set()
    await holder
    first, second, third = await asyncio.gather(*commits, return_exceptions=True)
    assert (first, third) == ((), ())
    assert isinstance(second, InvariantViolation)
    assert str(second) == "a batch that cannot be stored: UnicodeEncodeError"
    assert await journal.load(ACME) is None
    record = await journal.load(BETA)
    assert record is not None
    assert record.state == b"2"
