"""One channel's task between a node that talks and a disk or a broker that does not keep up."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from pathlib import Path

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from bridge.app.contract import Contract, Names
from bridge.app.relay import Relay
from bridge.app.worker import Text, Worker
from bridge.channel.state import State
from bridge.journal.journal import FILE, Journal
from bridge.node.link import Timing
from bridge.node.pace import MAX_WAITING_BYTES, Pace
from bridge.wire.envelope import Envelope
from tests.broker.conftest import until
from tests.checks.desk import TERMS
from tests.node.server import QUICK, Node, run_node

FRAMES = 1000
FRAME = "x" * 8000
MEBIBYTE = 1024 * 1024
Disk = Callable[[], object]


class Broker:
    async def publish(self, envelope: Envelope) -> None:
        """Takes nothing."""
        await asyncio.Event().wait()


@asynccontextmanager
async def stalled(
    tmp_path: Path, node: Node, timing: Timing, most: int = MAX_WAITING_BYTES
) -> AsyncIterator[tuple[Worker, Disk]]:
    """A worker whose disk takes no commit until `free` is called."""
    journal = await Journal.open(tmp_path / "data", b"k" * 32, time.time)
    relay = Relay(journal, Broker())
    contract = Contract(Names("channels", "channel-bridge"), TERMS, seq=0, prev="", epoch=journal.epoch)
    worker = Worker(TERMS, node.url, State(), contract, journal, relay, time.time, max_waiting_bytes=most)
    worker.link._timing, worker.link._pace = timing, Pace(longest=timing.pong / 2)
    await worker._take_over()
    with closing(sqlite3.connect(tmp_path / "data" / FILE, isolation_level=None)) as disk:
        disk.execute("BEGIN IMMEDIATE")
        running = asyncio.create_task(worker.run())
        yield worker, lambda: disk.execute("ROLLBACK")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await relay.close()
    await journal.close()


async def test_the_socket_is_read_while_nothing_is_decided(tmp_path: Path) -> None:
    """A node whose frames and pings nobody reads closes the socket: our own back-pressure would tear the channel down.

    node ---8 MB in 1,000 frames, pings---> reader ---> the worker's list   X the disk takes no commit
    """
    ended = asyncio.Event()

    async def talk(socket: ServerConnection) -> None:
        for _ in range(FRAMES):
            await socket.send(FRAME)
        ended.set()

    async with run_node() as node:
        node.greet = talk
        async with stalled(tmp_path, node, replace(QUICK, short_life=60.0)) as (worker, free):
            await until(ended.is_set, 10)
            await until(lambda: worker._items.qsize() >= FRAMES, 10)
            await asyncio.sleep(3 * (QUICK.ping + QUICK.pong))  # so long a socket lives that nobody reads
            assert worker.link.is_up
            assert len(node.sockets) == 1
            free()


async def test_a_flood_while_the_disk_stalls_is_bounded_and_its_link_comes_back_when_all_is_stored(
    tmp_path: Path,
) -> None:
    """Memory must not be what a node and a disk decide on: no socket begins before what the last one left is stored.

    node ---frames without end---> reader ---> 1 MiB that waits   X the disk takes no commit
    """

    async def talk(socket: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while len(node.sockets) == 1:
                await socket.send(FRAME)

    async with run_node() as node:
        node.greet = talk
        timing = replace(QUICK, ping=15.0, pong=0.2)
        async with stalled(tmp_path, node, timing, MEBIBYTE) as (worker, free):
            await until(lambda: worker._is_losing, 20)
            await asyncio.sleep(20 * QUICK.longest_delay)  # so long a link needs to be there again
            assert len(node.sockets) == 1
            texts = [item for item in worker._items._queue if isinstance(item, Text)]  # type: ignore[attr-defined]
            assert MEBIBYTE / 2 < sum(len(item.text) for item in texts) <= worker.room.held <= MEBIBYTE
            free()
            await until(lambda: len(node.sockets) == 2 and worker.link.is_up, 20)
            assert worker.room.held == 0
