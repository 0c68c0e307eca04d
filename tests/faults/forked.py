"""Bridges forked from a server that has imported everything: a second of processor less for each of a thousand starts.

A child is a process of its own in every other way: own memory, files and signals, killed by `kill -9`. What is measured
or traced, and every other test, starts `python -m bridge` as a user does.
"""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Protocol

from bridge.app import cli

STDOUT, STDERR = 1, 2
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["bridge.app.cli", "tests.faults.killed", "tests.faults.journal_home"])


class Process(Protocol):
    """What a house needs of a bridge's process; `asyncio.subprocess.Process` is one."""

    @property
    def pid(self) -> int: ...
    @property
    def stderr(self) -> asyncio.StreamReader | None: ...
    @property
    def returncode(self) -> int | None: ...
    def send_signal(self, signal: int, /) -> None: ...
    def kill(self) -> None: ...
    async def wait(self) -> int: ...


class Forked:
    """One child, its standard error a stream."""

    def __init__(self, process: "multiprocessing.context.ForkServerProcess", stderr: asyncio.StreamReader) -> None:
        self._process = process
        self._ended = asyncio.Event()
        self.stderr = stderr
        asyncio.get_running_loop().add_reader(process.sentinel, self._note)

    def _note(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._process.join()
        self._ended.set()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit code, negative for the signal that ended it."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode


async def bridge(*words: str) -> Forked:
    """`channel-bridge WORDS`."""
    return await fork(_run, *words)


async def fork(program: Callable[[list[str]], None], *words: str) -> Forked:
    """Calls the program, a module's own function, with the words in a child."""
    reading, writing = _context.Pipe(duplex=False)
    process = _context.Process(target=_live, args=(writing, program, words), daemon=True)
    process.start()
    writing.close()
    stream = asyncio.StreamReader()
    pipe = os.fdopen(os.dup(reading.fileno()), "rb")
    reading.close()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), pipe)
    return Forked(process, stream)


def _live(stderr: Connection, program: Callable[[list[str]], None], words: tuple[str, ...]) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    os.dup2(stderr.fileno(), STDERR)
    stderr.close()
    program(list(words))


def _run(words: list[str]) -> None:
    cli.app(words, prog_name="channel-bridge")
