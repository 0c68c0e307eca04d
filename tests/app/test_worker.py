"""One channel's task between a node that talks and a disk or a broker that does not keep up."""

import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from websockets.asyncio.server import ServerConnection

from bridge.app.contract import Contract, Names
from bridge.app.relay import Relay
from bridge.app.worker import Worker
from bridge.channel.state import State
from bridge.journal.journal import FILE, Journal
from bridge.wire.envelope import Envelope
from tests.broker.conftest import until
from tests.checks.desk import TERMS
from tests.node.server import QUICK, run_node

FRAMES = 1000
FRAME = "x" * 8000


class Broker:
    async def publish(self, envelope: Envelope) -> None:
        """Takes nothing."""
        await asyncio.Event().wait()


async def test_the_socket_is_read_while_nothing_is_decided(tmp_path: Path) -> None:
    """A node whose frames and pings nobody reads closes the socket: our own back-pressure would tear the channel down.

    node ---8 MB in 1,000 frames, pings---> reader ---> the worker's list   X the disk takes no commit
    """
    ended = asyncio.Event()

    async def talk(socket: ServerConnection) -> None:
        for _ in range(FRAMES):
            await socket.send(FRAME)
        ended.set()

    journal = await Journal.open(tmp_path / "data", b"k" * 32, time.time)
    relay = Relay(journal, Broker())
    contract = Contract(Names("channels", "channel-bridge"), TERMS, seq=0, prev="", epoch=journal.epoch)
    async with run_node() as node:
        node.greet = talk
        worker = Worker(TERMS, node.url, State(), contract, journal, relay, time.time)
        worker.link._timing = replace(QUICK, short_life=60.0)
        await worker._take_over()
        with closing(sqlite3.connect(tmp_path / "data" / FILE, isolation_level=None)) as disk:
            disk.execute("BEGIN IMMEDIATE")
            running = asyncio.create_task(worker.run())
            await until(ended.is_set, 10)
            await until(lambda: worker._items.qsize() >= FRAMES, 10)
            await asyncio.sleep(3 * (QUICK.ping + QUICK.pong))  # so long a socket lives that nobody reads
            assert worker.link.is_up
            assert len(node.sockets) == 1
            disk.execute("ROLLBACK")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await relay.close()
    await journal.close()
