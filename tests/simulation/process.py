"""What `kill -9` can meet: a named process, its tasks, its sockets and its files, all inside one event loop.

A context variable says whose code is running; tasks and callbacks inherit it. A dead process may still unwind,
because Python has to; nothing it does then leaves it: its sockets take no bytes, its files are closed, its bus
session is gone, and no executor works for it.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from typing import Any

from bridge.journal.connection import Connections

TURNS = 200
"""Most times a task is cancelled before it counts as one that swallows its cancellation."""


@dataclass(eq=False)
class Process:
    """One incarnation: whoever starts again is another process with the same name."""

    name: str
    is_dead: bool = False
    deaths: list[Callable[[], object]] = field(default_factory=list)
    """What of it ends at once when it is killed: sockets, bus sessions."""
    _tasks: dict[asyncio.Task[Any], None] = field(default_factory=dict)
    _most: int = 64
    _connections: list[Connections] = field(default_factory=list)
    _locks: list[int] = field(default_factory=list)

    def own(self, task: asyncio.Task[Any]) -> None:
        self._tasks[task] = None
        if len(self._tasks) > self._most and not self.is_dead:
            self._tasks = {kept: None for kept in self._tasks if not kept.done()}
            self._most = 64 + 2 * len(self._tasks)

    def hold(self, lock: int, connections: Connections) -> None:
        """What an executor opened for it: the operating system would close it with the process."""
        self._locks.append(lock)
        self._connections.append(connections)

    def at_death(self, end: Callable[[], object]) -> None:
        """What of it ends at once when it is killed; at once if it is: code that had begun runs on into nothing."""
        if self.is_dead:
            end()
        else:
            self.deaths.append(end)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """A task of this process. To be called from any other."""
        context = Context()
        context.run(CURRENT.set, self)
        return asyncio.get_running_loop().create_task(work, name=name, context=context)

    def kill(self) -> None:
        """At this very instant. May be called from the process's own code, which then runs on into nothing."""
        if self.is_dead:
            return
        self.is_dead = True
        for death in self.deaths:
            death()
        for connections in self._connections:
            connections.close()
        for descriptor in self._locks:
            os.close(descriptor)

    def forget(self) -> None:
        """It ended in order and has closed everything itself."""
        self._connections.clear()
        self._locks.clear()
        self.deaths.clear()

    async def reap(self) -> None:
        """Drive what is left of a dead process to its end. Nothing of it is worth anything; it must only be over."""
        for _ in range(TURNS):
            left = [task for task in self._tasks if not task.done()]
            if not left:
                return self._bury()
            for task in left:
                task.cancel()
            await asyncio.sleep(0)
        raise RuntimeError(f"{self.name} does not end: {left}")

    def _bury(self) -> None:
        """Its tasks failed because it was killed: nobody need look at their errors."""
        for task in self._tasks:
            if not task.cancelled():
                task.exception()
        self._tasks.clear()

    def let_go(self) -> None:
        """The world is over. A task that failed, and at whose error nobody looked, is told of once nobody holds it."""
        self._tasks.clear()


CURRENT: ContextVar[Process | None] = ContextVar("process", default=None)


def is_dead() -> bool:
    """Whether the code that runs belongs to a process that was killed."""
    process = CURRENT.get()
    return process is not None and process.is_dead
