"""An event loop in virtual time: one thread, no selector, no waiting. When nothing is ready the clock jumps.

Everything asyncio offers the bridge and the simulated node works unchanged: tasks, timers, futures, sockets (in
memory, see `network`) and executors, whose work is done inline and whose answer comes after a drawn latency. The
order of all that happens follows from the seed alone: tasks even hash by their number, because sets of tasks are
walked in the order of the hashes.
"""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context
from random import Random
from typing import Any, Protocol

from bridge.journal.journal import take_over
from bridge.journal.writer import Writer
from bridge.signing.guard import Guard
from tests.simulation.process import CURRENT, Process

WORK_SECONDS = (0.00005, 0.0005)
COMMIT_SECONDS = (0.0002, 0.004)
"""How long a commit may take: the shortest and the longest."""


class Stalled(RuntimeError):
    """Nothing is ready and no timer runs: in real time this would hang for ever."""


class Commits(Protocol):
    """Who is told of each group of journal transactions. Both may kill the process that commits."""

    def before(self) -> None: ...

    def after(self) -> None: ...


class NumberedTask(asyncio.Task[Any]):
    """A task that hashes by its number: equal runs walk sets of tasks in equal order."""

    _numbers = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        NumberedTask._numbers += 1
        self._number = NumberedTask._numbers
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Selector:
    """Where asyncio would wait for sockets: here the clock moves on instead."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stalled("nobody will ever wake anybody")
        if timeout > 0:
            self._loop.jump()
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """Create one per world; `run_until_complete` as ever. `time()` starts at 0."""

    def __init__(self, random: Random, commits: Commits) -> None:
        super().__init__()
        self._selector = _Selector(self)
        self._now = 0.0
        self._random = random
        self._commits = commits
        self.errors: list[dict[str, Any]] = []
        """What nobody caught: bugs, of the product or of the simulation."""
        NumberedTask._numbers = 0
        self.set_task_factory(_make_task)
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def time(self) -> float:
        return self._now

    def jump(self) -> None:
        """To the next timer."""
        self._now = max(self._now, self._scheduled[0]._when)  # type: ignore[attr-defined]

    def skip(self, seconds: float) -> None:
        """Everything stands still for so long, as when a machine is suspended: overdue timers then fire at once."""
        self._now += seconds

    def _process_events(self, events: list[Any]) -> None:
        """No sockets, no events."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector that would have to be woken."""

    # --- executors ----------------------------------------------------------------------------------------

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Inline, after half the latency; the answer comes after the other half. Nothing works for the dead."""
        future: asyncio.Future[Any] = self.create_future()
        is_commit = getattr(func, "__func__", None) in (Writer._commit, Guard._commit)
        process = CURRENT.get()
        if func is take_over and process is not None:
            process.at_death(future.cancel)  # who gives up its start waits for the thread: this one went with it
        half = self._random.uniform(*(COMMIT_SECONDS if is_commit else WORK_SECONDS)) / 2
        self.call_later(half, self._work, future, functools.partial(func, *args), is_commit, half)
        return future

    def _work(self, future: asyncio.Future[Any], func: functools.partial[Any], is_commit: bool, half: float) -> None:
        process = CURRENT.get()
        if is_commit:
            self._commits.before()
        if process is not None and process.is_dead:
            return
        try:
            tell, value = future.set_result, func()
        except Exception as error:  # handed over, as an executor does
            tell, value = future.set_exception, error
        if process is not None:
            _note_opened(process, func, value)
        if is_commit:
            self._commits.after()
        self.call_later(half, _answer, future, tell, value)

    # --- sockets: see network -----------------------------------------------------------------------------

    connect: Callable[..., Any]
    listen: Callable[..., Any]

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        return await self.connect(protocol_factory, port)

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        return self.listen(protocol_factory, port)


def _answer(future: asyncio.Future[Any], tell: Callable[[Any], None], value: Any) -> None:
    process = CURRENT.get()
    if not future.done() and (process is None or not process.is_dead):
        tell(value)


def _note_opened(process: Process, func: functools.partial[Any], value: object) -> None:
    """What a killed process would leave open."""
    if func.func is take_over and isinstance(value, tuple):
        process.hold(*value)


def _make_task(loop: asyncio.AbstractEventLoop, work: Any, context: Context | None = None) -> NumberedTask:
    task = NumberedTask(work, loop=loop, context=context)
    process = CURRENT.get() if context is None else context.get(CURRENT)
    if process is not None:
        process.own(task)
    return task
