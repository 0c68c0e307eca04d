"""One thread that writes, and the grouping that comes of it by itself.

While one transaction is being made durable the next jobs gather in the event loop; all of them share the next
one. So a lone commit waits for nobody, and a hundred at once cost little more than one.

After the first failed transaction nothing more is written: going on from memory would let an effect outrun its
record. Only a job that is itself at fault (a value SQLite cannot hold) fails alone: one bad batch must not stop
the other channels.
"""

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from bridge.errors import BridgeError, InvariantViolation, JournalUnavailable

GROUP = 256
"""Most jobs that share a transaction: bounds how long the first of them waits."""

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]


@dataclass(slots=True, eq=False)
class _Waiting:
    job: Job[Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BridgeError | None = None

    def tell(self) -> None:
        if self.future.done():
            return  # whoever waited was cancelled; what he asked for is durable all the same
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Writer:
    """Runs jobs in the order given, each wholly inside one durable transaction.

    `guard` runs first in each transaction; if it raises, nobody writes. `confirm` runs after it; if that raises, it
    counts as failed. Belongs to the event loop it is made in.
    """

    def __init__(
        self, connection: sqlite3.Connection, guard: Job[None], confirm: Callable[[], None] = lambda: None
    ) -> None:
        self._connection = connection
        self._guard = guard
        self._confirm = confirm
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "journal-writer")
        self._jobs: deque[_Waiting] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closed = False
        self._failure: Exception | None = None
        self.transactions = 0
        """Durable transactions so far: fewer than jobs, when they gather."""
        self.jobs = 0
        """Jobs in them."""

    def check(self) -> None:
        """Raises JournalUnavailable once a transaction has failed, and after `close`."""
        if self._failure is not None:
            raise self._unavailable()
        if self._is_closed:
            raise JournalUnavailable("the journal is closed")

    async def do(self, job: Job[T]) -> T:
        """The job's result once it is durable. The job runs in the writer's thread and must not block.

        Raises JournalUnavailable; whether the job is found done at the next start is then unknown. Raises
        InvariantViolation if the job itself was at fault; then nothing of it has happened. If the caller is
        cancelled the job is done all the same.
        """
        self.check()
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.append(_Waiting(job, future))
        if self._idle.is_set():
            self._idle.clear()
            self._loop.call_soon(self._begin)  # whoever gives a job in this same turn of the loop shares it
        return await future

    async def close(self) -> None:
        """Ends after the jobs that were given. May be called twice."""
        self._is_closed = True
        await self._idle.wait()
        await asyncio.to_thread(self._thread.shutdown)

    # Callbacks and no task: what was given is written even when every task around it is cancelled.

    def _begin(self) -> None:
        group = [self._jobs.popleft() for _ in range(min(GROUP, len(self._jobs)))]
        committed = self._loop.run_in_executor(self._thread, self._commit, group)
        committed.add_done_callback(partial(self._told, group))

    def _told(self, group: list[_Waiting], committed: asyncio.Future[None]) -> None:
        committed.result()
        for waiting in group:
            waiting.tell()
        if self._jobs:
            self._begin()
        else:
            self._idle.set()

    # --- in the writer's thread ---------------------------------------------------------------------------

    def _commit(self, group: list[_Waiting]) -> None:
        if self._failure is None:
            try:
                self._transact(group)
            except Exception as error:  # the outermost frame of the thread: whoever waits is told
                self._failure = error
                with contextlib.suppress(sqlite3.Error):
                    self._connection.rollback()
        if self._failure is not None:
            for waiting in group:
                waiting.error = self._unavailable()

    def _transact(self, group: list[_Waiting]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._guard(self._connection)
        for waiting in group:
            self._do(waiting)
        self._connection.execute("COMMIT")
        self._confirm()
        self.transactions += 1
        self.jobs += len(group)

    def _do(self, waiting: _Waiting) -> None:
        self._connection.execute("SAVEPOINT job")
        try:
            waiting.result = waiting.job(self._connection)
        except (sqlite3.Error, JournalUnavailable):
            raise
        except Exception as error:  # the fault of this job alone
            self._connection.execute("ROLLBACK TO job")
            waiting.error = _at_fault(error)
        self._connection.execute("RELEASE job")

    def _unavailable(self) -> JournalUnavailable:
        error = JournalUnavailable(
            f"the journal could not be written: {self._failure}; nothing further is done: mend that, then start again"
        )
        error.__cause__ = self._failure
        return error


def _at_fault(error: Exception) -> InvariantViolation:
    """Names the kind only: the text of such an error may hold the value."""
    if isinstance(error, InvariantViolation):
        return error
    violation = InvariantViolation(f"a batch that cannot be stored: {type(error).__name__}")
    violation.__cause__ = error
    return violation
