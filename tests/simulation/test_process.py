"""A killed process can do nothing more: neither commit, nor hold its directory, nor go on for ever."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from bridge.journal.journal import Journal
from bridge.journal.record import Batch
from tests.journal.given import ACME, KEY
from tests.simulation.process import Process
from tests.simulation.test_loop import make_loop


def live(work: Coroutine[Any, Any, None]) -> None:
    loop = make_loop()
    loop.run_until_complete(work)
    loop.close()


async def open_journal(directory: Path) -> Journal:
    return await Journal.open(directory, KEY, lambda: 1.0)


def test_a_dead_process_commits_nothing_and_lets_its_directory_go(tmp_path: Path) -> None:
    """As the operating system would have it: what was durable stays, the lock is free at once."""

    async def work() -> None:
        first = Process("bridge")

        async def begin() -> None:
            journal = await open_journal(tmp_path)
            await journal.commit(Batch(ACME, b"before"))
            first.kill()
            await journal.commit(Batch(ACME, b"after"))
            raise AssertionError("a dead process was told that its commit is durable")

        task = first.spawn(begin(), "bridge")
        await asyncio.sleep(10)
        assert not task.done()
        await first.reap()
        second = Process("bridge")

        async def go_on() -> None:
            journal = await open_journal(tmp_path)
            record = await journal.load(ACME)
            assert record is not None
            assert record.state == b"before"
            await journal.close()

        await second.spawn(go_on(), "bridge")

    live(work())


def test_a_task_that_catches_its_cancellation_is_driven_to_its_end() -> None:
    """Cleaning up takes several waits; a dead process must be over before the next one starts."""

    async def work() -> None:
        process = Process("bridge")

        async def clean() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(1000)

        task = process.spawn(clean(), "bridge")
        await asyncio.sleep(1)
        process.kill()
        await process.reap()
        assert task.done()
        assert asyncio.get_running_loop().time() < 2

    live(work())


def test_a_task_that_swallows_every_cancellation_is_told_of() -> None:
    """Otherwise two bridges of one name would run at once."""

    async def work() -> None:
        process, enough = Process("bridge"), asyncio.Event()

        async def stay() -> None:
            while not enough.is_set():
                try:
                    await asyncio.sleep(1)
                except asyncio.CancelledError:
                    continue

        process.spawn(stay(), "stubborn")
        await asyncio.sleep(0)
        process.kill()
        with pytest.raises(RuntimeError, match="does not end"):
            await process.reap()
        enough.set()
        await asyncio.sleep(2)

    live(work())


def test_what_a_dead_process_still_opens_is_closed_at_once() -> None:
    """A start may be killed in its own instant: its first step comes after that, and its lock would stay."""
    process, ended = Process("signer"), list[str]()
    process.at_death(lambda: ended.append("before"))
    process.kill()
    process.at_death(lambda: ended.append("after"))
    assert ended == ["before", "after"]
