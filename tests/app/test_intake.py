"""The bus's side doors: what an intake answers, and from where it knows it. No broker: deliveries are made here."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from bridge.app.contract import Names
from bridge.app.intake import Backlog, CommandIntake, Desk
from bridge.app.relay import Relay
from bridge.app.worker import Worker
from bridge.channel.identifier import ChannelName, CommandId
from bridge.errors import Nacked
from bridge.journal.journal import Journal
from bridge.wire.envelope import Envelope, Received
from tests.system.house import Pair

PAIR = Pair("today")
CHANNEL = ChannelName(PAIR.initiator)


@dataclass
class Broker:
    """Takes everything, except what goes to the exchanges named in `full`."""

    taken: list[Envelope] = field(default_factory=list)
    full: tuple[str, ...] = ()

    async def publish(self, envelope: Envelope) -> None:
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


class Door:
    """A desk with a journal and a clock of its own, and the command intake at it."""

    def __init__(self, journal: Journal, broker: Broker) -> None:
        self.ahead = 0.0
        self.broker = broker
        self.journal = journal
        self.relay = Relay(journal, broker)
        self.workers: dict[ChannelName, Worker] = {CHANNEL: cast("Worker", Deaf())}
        self.halted: set[ChannelName] = set()
        names = Names("channels", "channel-bridge")
        self.desk = Desk(names, self.workers, self.halted, journal, self.relay, self._clock)
        self.commands = CommandIntake(self.desk, Backlog())

    def _clock(self) -> float:
        return time.time() + self.ahead

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

    @property
    def letters(self) -> list[Envelope]:
        return [one for one in self.broker.taken if one.exchange == "channels.dead-letters"]


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    journal = await Journal.open(tmp_path / "data", b"k" * 32, time.time)
    made = Door(journal, Broker())
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


def halt(door: Door) -> None:
    door.halted.add(CHANNEL)


def remove(door: Door) -> None:
    del door.workers[CHANNEL]


def wait_a_day(door: Door) -> None:
    door.ahead = 25 * 3600.0


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
