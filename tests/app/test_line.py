"""A line of commands beside what else a channel's task has to do."""

import asyncio
import json
import time
from pathlib import Path

from bridge.app.contract import Contract, Names
from bridge.app.relay import Relay
from bridge.app.worker import AuditGrew, Text, Worker
from bridge.channel.identifier import ChannelName, CommandId
from bridge.channel.state import Attachment, State
from bridge.journal.journal import Journal
from bridge.journal.record import Batch, InboxRow
from bridge.wire.envelope import Envelope
from tests.broker.conftest import until
from tests.checks.desk import OWN, PEER, TERMS

LINE = 40
"""Commands."""
ROWS = 20


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


async def test_a_command_that_comes_while_the_line_is_looked_at_is_not_slept_over(tmp_path: Path) -> None:
    """The line was empty, and is not when that is known: seen on a real disk, where looking takes a moment."""
    journal = await Journal.open(tmp_path / "data", b"k" * 32, time.time)
    shelf = Shelf()
    relay = Relay(journal, shelf)
    contract = Contract(Names("channels", "channel-bridge"), TERMS, seq=0, prev="", epoch=journal.epoch)
    worker = Worker(TERMS, "ws://127.0.0.1:9", State(), contract, journal, relay, time.time)
    look = journal.next_command

    async def look_slowly(channel: ChannelName) -> InboxRow | None:
        found = await look(channel)
        if not given:
            given.append(expired(1))
            await journal.commit(Batch(add_inbox=tuple(given)))
            worker.line_grew()
        return found

    given: list[InboxRow] = []
    journal.next_command = look_slowly  # type: ignore[method-assign]
    worker.link._address = asyncio.Event().wait  # type: ignore[assignment]  # no socket, no failed try
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(worker.run()), group.create_task(relay.run())]
        await until(lambda: f"{TERMS.name}.transfer.failed" in shelf.keys, 5)
        for task in tasks:
            task.cancel()
    await relay.close()
    await journal.close()


class Gate:
    """Takes nothing until it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def publish(self, envelope: Envelope) -> None:
        await self.opened.wait()


async def test_what_waited_at_the_node_counts_from_when_it_can_have_been_sent(tmp_path: Path) -> None:
    """Deadlines run since then at the node and the peer: they must here."""
    journal = await Journal.open(tmp_path / "data", b"k" * 32, time.time)
    relay = Relay(journal, Gate())
    contract = Contract(Names("channels", "channel-bridge"), TERMS, seq=0, prev="", epoch=journal.epoch)
    worker = Worker(TERMS, "ws://127.0.0.1:9", State(), contract, journal, relay, lambda: 1000.0)
    worker.received("a frame", 7.5)
    assert worker._items.get_nowait() == Text("a frame", 992.5)
    await journal.close()


async def test_what_the_peer_says_fills_no_disk_while_the_broker_is_away(tmp_path: Path) -> None:
    """G6: his messages bind nobody. What is ours still passes."""
    journal = await Journal.open(tmp_path / "data", b"k" * 32, time.time)
    gate = Gate()
    relay = Relay(journal, gate, most_rows=ROWS)
    contract = Contract(Names("channels", "channel-bridge"), TERMS, seq=0, prev="", epoch=journal.epoch)
    state = State(attachment=Attachment.READY)
    worker = Worker(TERMS, "ws://127.0.0.1:9", state, contract, journal, relay, time.time)
    said = {"from": PEER, "to": OWN, "info": "hello"}
    message = json.dumps(
        {"jsonrpc": "2.0", "version": 1, "method": "channels.message", "params": {"data": {"message": said}}}
    )
    for _ in range(3 * ROWS):
        await worker._handle(Text(message, time.time()))
    assert relay.depth[0] == ROWS
    await worker._handle(AuditGrew("an anchor"))
    assert relay.depth[0] == ROWS + 1
    gate.opened.set()
    running = asyncio.create_task(relay.run())
    await until(lambda: relay.depth[0] == 0, 10)
    await worker._handle(Text(message, time.time()))
    assert worker._sieve.suppressed == 2 * ROWS
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await relay.close()
    await journal.close()
