"""The bus's side doors: what an intake answers, and from where it knows it. No broker: deliveries are made here."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from bridge.app.contract import Names
from bridge.app.intake import Backlog, CommandIntake, Desk, ReplyIntake
from bridge.app.relay import Relay
from bridge.app.worker import Replied, Worker
from bridge.channel.identifier import Account, ChannelName, CommandId, SignRequestId
from bridge.channel.request import Tag
from bridge.channel.state import OpenRequest, State
from bridge.channel.transaction import Transaction
from bridge.errors import Nacked
from bridge.journal.journal import Journal
from bridge.journal.record import Batch, InboxRow, NewOutbox
from bridge.wire.envelope import Envelope, Received
from tests.broker.conftest import until
from tests.checks.desk import TERMS
from tests.system.house import Pair

PAIR = Pair("today")
CHANNEL = ChannelName(PAIR.initiator)


@dataclass
class Broker:
    """Takes everything while it is `reading`, except what goes to the exchanges named in `full`."""

    taken: list[Envelope] = field(default_factory=list)
    full: tuple[str, ...] = ()
    reading: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(self, envelope: Envelope) -> None:
        await self.reading.wait()
        if envelope.exchange in self.full:
            raise Nacked("full")
        self.taken.append(envelope)


class Deaf:
    """The part of a worker that commands meet: it is told, and does nothing."""

    def line_grew(self) -> None:
        return


class Delivery:
    def __init__(self, received: Received) -> None:
        self.received = received
        self.acks = 0

    async def ack(self) -> bool:
        self.acks += 1
        return True

    async def reject(self) -> bool:
        raise AssertionError("an intake leaves nothing to the broker")


class Clock:
    """The machine's, and by how much it is set wrong."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Door:
    """A desk with a journal and a clock of its own, and the command intake at it."""

    def __init__(self, journal: Journal, broker: Broker, clock: Clock) -> None:
        self.clock = clock
        self.broker = broker
        self.journal = journal
        self.relay = Relay(journal, broker, most_rows=10)
        self.workers: dict[ChannelName, Worker] = {CHANNEL: cast("Worker", Deaf())}
        self.halted: set[ChannelName] = set()
        names = Names("channels", "channel-bridge")
        self.desk = Desk(names, self.workers, self.halted, journal, self.relay, clock)
        self.commands = CommandIntake(self.desk, Backlog())

    async def give(
        self, body: bytes, *, user: str = "alice", kind: str = "transfer", seconds: float = 5
    ) -> list[dict[str, Any]]:
        """One command; the results it brought."""
        self.broker.taken.clear()
        delivery = Delivery(Received("channels.commands", f"{CHANNEL}.{kind}", body, user_id=user))
        await self.commands.handle(delivery)
        assert delivery.acks == 1
        await self.relay.flush(seconds)
        return [json.loads(one.body) for one in self.broker.taken if one.exchange == "channels.results"]

    async def fill(self) -> None:
        """The broker takes nothing, and the outbox has no room any more."""
        self.broker.reading.clear()
        envelope = Envelope("channels.events", "k", b"{}", {}, "t", None, 1.0)
        rows = tuple(NewOutbox("events/other", envelope) for _ in range(8))
        self.relay.add(await self.journal.commit(Batch(outbox=rows)))
        assert not self.relay.has_room

    @property
    def letters(self) -> list[Envelope]:
        return [one for one in self.broker.taken if one.exchange == "channels.dead-letters"]


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    clock = Clock()
    journal = await Journal.open(tmp_path / "data", b"k" * 32, clock)
    made = Door(journal, Broker(), clock)
    made.broker.reading.set()
    yield made
    await made.relay.close()
    await journal.close()


def transfer(**changes: Any) -> bytes:
    body = {
        "command_id": "c-1",
        "issued_at": datetime.now(UTC).isoformat(),
        "from": PAIR.account("initiator"),
        "to": PAIR.account("responder"),
        "amount": "5",
    }
    return json.dumps(body | changes).encode()


async def row_of(door: Door, command_id: str) -> InboxRow:
    row = await door.journal.find_command(CommandId(command_id))
    assert row is not None
    return row


def halt(door: Door) -> None:
    door.halted.add(CHANNEL)


def remove(door: Door) -> None:
    del door.workers[CHANNEL]


def wait_a_day(door: Door) -> None:
    door.clock.ahead = 25 * 3600.0


CHANGES = {"the channel is halted": halt, "the channel is no longer configured": remove, "it is stale": wait_a_day}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_a_repeat_is_known_whatever_has_become_of_its_channel(door: Door, change: Any) -> None:
    """The ack of an accepted command may get lost: called `rejected`, not executed, it would be paid again."""
    body = transfer()
    assert await door.give(body) == []
    change(door)
    (told,) = await door.give(body)
    assert (told["outcome"], told["status"], told["duplicate"]) == ("accepted", "journaled", True)
    assert told["executed"] == "unknown"
    assert door.letters == [], "what may be executed is no dead letter"


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_an_unknown_command_is_judged_by_what_is_there(door: Door, change: Any) -> None:
    """Only what was accepted before is spared the rules for what is to be accepted."""
    body = transfer()
    change(door)
    (told,) = await door.give(body)
    assert (told["outcome"], told["executed"]) == ("rejected", False)
    assert await door.journal.find_command(CommandId("c-1")) is None
    assert len(door.letters) == 1


async def test_what_may_have_been_forgotten_is_not_accepted_again(door: Door) -> None:
    """A clock that was far ahead, with commands that came meanwhile, can make a fresh id forgotten: it paid twice."""
    body = transfer(issued_at=datetime.fromtimestamp(time.time() + 59, UTC).isoformat())
    await door.give(body)
    await door.journal.commit(Batch(mark_inbox=((CommandId("c-1"), "succeeded", b"{}"),)))
    door.clock.ahead = 31 * 24 * 3600.0
    future = replace(await row_of(door, "c-1"), command_id=CommandId("c-2"), received_at=door.clock())
    await door.journal.commit(Batch(add_inbox=(future,)))
    assert await door.journal.prune(door.clock()) == 1
    door.clock.ahead = 0
    (told,) = await door.give(body)
    assert (told["outcome"], told["code"], told["executed"]) == ("rejected", "stale_command", "unknown")
    assert "may have been executed" in told["sentence"]
    assert door.letters == [], "what may have been executed is no dead letter"
    later = transfer(command_id="c-3", issued_at=datetime.fromtimestamp(time.time() + 120, UTC).isoformat())
    door.clock.ahead = 120
    assert await door.give(later) == [], "issued since: that no such id was forgotten is certain"


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_a_known_id_is_nobody_elses_and_no_other_commands(door: Door, change: Any) -> None:
    """The first command is untouched, and another author learns nothing of it."""
    await door.give(transfer())
    change(door)
    (told,) = await door.give(transfer(), user="mallory")
    assert (told["code"], told["executed"]) == ("forbidden", False)
    (told,) = await door.give(transfer(amount="6"))
    assert (told["code"], told["executed"]) == ("idempotency_conflict", False)
    (told,) = await door.give(transfer(), kind="deposit")
    assert told["code"] == "idempotency_conflict"


async def test_full_dead_letters_hold_up_no_result(door: Door) -> None:
    """The queue of dead letters refuses when it is full: its author's later results would wait behind for ever."""
    door.broker.full = ("channels.dead-letters",)
    for number in range(2):
        (told,) = await door.give(b"@@%d" % number, seconds=0.2)
        assert told["code"] == "malformed"
    assert door.letters == []
    assert door.relay.depth[0] == 2, "both letters wait"
    door.broker.full = ()
    await door.relay.flush(5)
    assert [letter.body for letter in door.letters] == [b"@@0", b"@@1"]


# --- sign replies -----------------------------------------------------------------------------------------


class Signing:
    """The part of a worker that replies meet, with one request open."""

    def __init__(self, opened: str) -> None:
        request = OpenRequest(
            SignRequestId(opened), Tag.UPDATE, cast("Transaction", None), None, "own", 0.0, 300.0, is_asked=True
        )
        self.state = replace(State(), open_request=request)
        self.terms = replace(TERMS, name=CHANNEL, initiator=Account(PAIR.account("initiator")))
        self.replies: list[str] = []

    def reply(self, replied: Replied) -> None:
        self.replies.append(replied.reply.sign_request_id)


class Queue:
    """A consumer over a list, which stays open behind its end."""

    def __init__(self, *deliveries: Delivery) -> None:
        self._waiting = list(deliveries)

    def __aiter__(self) -> "Queue":
        return self

    async def __anext__(self) -> Delivery:
        if not self._waiting:
            await asyncio.Event().wait()
        return self._waiting.pop(0)

    def stop(self) -> None:
        return

    async def close(self, settle_seconds: float = 0.0) -> None:
        return


def reply_for(sign_request_id: str, channel: str = CHANNEL) -> Delivery:
    body = json.dumps({"sign_request_id": sign_request_id, "refusal": {"reason": "no"}}).encode()
    return Delivery(Received("channels.sign-replies", f"{PAIR.account('initiator')}.{channel}", body, user_id="s"))


async def test_a_full_outbox_takes_no_refusals_of_replies_and_holds_up_no_answer(door: Door) -> None:
    """Each refused reply adds rows: they wait for room as commands do, and the answer behind them does not."""
    worker = Signing("today-i.2.bb")
    door.workers[CHANNEL] = cast("Worker", worker)
    garbage = Delivery(Received("channels.sign-replies", f"{PAIR.account('initiator')}.{CHANNEL}", b"@@", user_id="s"))
    stray, late, answer = reply_for("x.1.aa", "nobody"), reply_for("today-i.1.aa"), reply_for("today-i.2.bb")
    await door.fill()
    rows = door.relay.depth[0]
    running = asyncio.create_task(ReplyIntake(door.desk).run(Queue(garbage, stray, late, answer)))
    await until(lambda: bool(worker.replies))
    await door.journal.commit(Batch())  # whatever was to be committed before is
    assert worker.replies == ["today-i.2.bb"], "what a channel waits for passes at once"
    assert (door.relay.depth[0], garbage.acks, stray.acks) == (rows, 0, 0)
    door.broker.reading.set()
    await until(lambda: bool(garbage.acks and stray.acks) and len(worker.replies) == 2)
    assert worker.replies[1] == "today-i.1.aa", "its channel says that it is not open"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
