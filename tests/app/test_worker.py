"""One channel's task between a node that talks and a disk or a broker that does not keep up."""

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from websockets.asyncio.server import ServerConnection

from bridge.app.contract import Contract, Names
from bridge.app.relay import Relay
from bridge.app.worker import Worker
from bridge.channel.identifier import CommandId
from bridge.channel.state import State
from bridge.journal.journal import FILE, Journal
from bridge.journal.record import Batch, InboxRow
from bridge.wire.envelope import Envelope
from tests.broker.conftest import until
from tests.checks.desk import OWN, PEER, TERMS
from tests.node.server import QUICK, run_node

FRAMES = 1000
FRAME = "x" * 8000
LINE = 40
"""Commands."""


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


class Shelf:
    """Takes everything, and keeps it in order."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    async def publish(self, envelope: Envelope) -> None:
        self.keys.append(envelope.routing_key)


def expired(number: int) -> InboxRow:
    past = "2026-01-01T00:00:00Z"
    body = {"command_id": f"c-{number}", "issued_at": past, "expires_at": past, "from": OWN, "to": PEER, "amount": 1}
    return InboxRow(
        CommandId(f"c-{number}"), TERMS.name, "transfer", "alice", "hash", json.dumps(body).encode(), time.time()
    )


async def test_commands_that_end_at_once_do_not_hold_up_what_else_waits(tmp_path: Path) -> None:
    """A client without money, rights or time could otherwise make us late for what the peer proposes."""
    journal = await Journal.open(tmp_path / "data", b"k" * 32, time.time)
    shelf = Shelf()
    relay = Relay(journal, shelf)
    contract = Contract(Names("channels", "channel-bridge"), TERMS, seq=0, prev="", epoch=journal.epoch)
    worker = Worker(TERMS, "ws://127.0.0.1:9", State(), contract, journal, relay, time.time)
    await journal.commit(Batch(add_inbox=tuple(expired(number) for number in range(LINE))))
    for _ in range(LINE):
        worker.line_grew()
    worker.audit_grew("an anchor")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(worker.run()), group.create_task(relay.run())]
        ended, heard = f"{TERMS.name}.transfer.failed", f"{TERMS.name}.audit.head"
        await until(lambda: shelf.keys.count(ended) == LINE, 20)
        for task in tasks:
            task.cancel()
    assert shelf.keys[: shelf.keys.index(heard)].count(ended) <= 1
    await relay.close()
    await journal.close()
