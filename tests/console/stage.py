"""Something to look at: a real console on a real port over a real journal, with channels in every state there is.

Only the channels are made up: their states are real `State`s, and what happens to them is told to the console as a
worker tells it, each event committed first.
"""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bridge.app.console import Console
from bridge.app.health import Health, Stage
from bridge.app.http import HttpServer, Site
from bridge.app.observer import Decided
from bridge.app.relay import Relay
from bridge.app.settings import Http
from bridge.channel.identifier import ApprovalRequestId, ChannelId, ChannelName, CommandId, FsmId, SignRequestId
from bridge.channel.input import Ticked
from bridge.channel.request import Tag
from bridge.channel.state import Approval, Attachment, Exposure, OpenRequest, Operation, Phase, State
from bridge.channel.state import Stage as CommandStage
from bridge.channel.terms import Role, Terms
from bridge.errors import Code
from bridge.journal.journal import Journal
from bridge.journal.record import Batch, EventRow, InboxRow
from tests.channel.given import offchain, terms, transfer

SECRET = FsmId("ba_" + "c2VjcmV0" * 6)
AE = 10**18
MARKUP = "<img src=x onerror=\"document.title='owned'\">"
"""A peer's text that would be run if it were put in as markup."""


@dataclass
class Seat:
    """What the console sees of a worker."""

    terms: Terms
    state: State


@dataclass
class Show:
    """The scene the console looks at, and the strings to pull."""

    journal: Journal | None
    console: Console = field(init=False)
    health: Health = field(init=False)
    workers: dict[ChannelName, Seat] = field(default_factory=dict)
    halted: set[ChannelName] = field(default_factory=set)
    relay: Relay | None = None
    missing: dict[str, str] = field(default_factory=dict)
    seq: dict[ChannelName, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.health = Health(lambda: Stage.RUNNING, {"node": lambda: self.missing.get("node", "")})
        self.console = Console(self, NODES, time.time)

    def seat(self, number: int, **changes: Any) -> ChannelName:
        name = ChannelName(f"shop-{number:03}")
        role = Role.INITIATOR if number % 2 == 0 else Role.RESPONDER
        state = replace(READY, round=100 + number, initiator_balance=(70 + number) * AE + number * 10**11)
        self.workers[name] = Seat(terms(role=role, name=name), replace(state, **changes))
        NODES[name] = "main"
        return name

    async def happen(self, name: ChannelName, event: str, **data: Any) -> None:
        """An event of a channel: committed, then told."""
        assert self.journal is not None
        seat = self.workers[name]
        seq = self.seq[name] = self.seq.get(name, 0) + 1
        body = json.dumps({"data": data}).encode()
        row = EventRow(name, seq, f"{name}:{seq}", f"{name}.{event}", "t", body, {}, time.time())
        await self.journal.commit(Batch(channel=name, seq=seq, events=(row,)))
        self.console.take(Decided(seat.terms, Ticked(), seat.state, seat.state, (), (row,), None, time.time()))

    async def pay(self, name: ChannelName) -> None:
        """A round later."""
        seat = self.workers[name]
        state = seat.state
        assert state.initiator_balance is not None
        assert state.responder_balance is not None
        seat.state = replace(
            state,
            round=state.round + 1,
            initiator_balance=state.initiator_balance - 10**15,
            responder_balance=state.responder_balance + 10**15,
        )
        await self.happen(name, "transfer.succeeded", amount=str(10**15), round=seat.state.round)


NODES: dict[ChannelName, str] = {}
READY = State(
    phase=Phase.OPEN,
    attachment=Attachment.READY,
    channel_id=ChannelId("ch_3in8B" + "c" * 45),
    cosigned=offchain(2, "a", 2),
    responder_balance=40 * AE,
    presented=str(SECRET),
)


def _asked(tag: Tag, left: float, of: float, name: str) -> OpenRequest:
    now = time.time()
    identifier = SignRequestId(f"{name}-sign")
    return OpenRequest(identifier, tag, offchain(3), None, "command", now - of + left, now + left)


async def people(show: Show) -> None:
    """Channels in every state a page has to show, and some history."""
    now = time.time()
    busy = Operation(transfer(), CommandStage.SIGNED_SENT, since=now - 2)
    doubt = Operation(transfer(), CommandStage.IN_DOUBT, since=now - 400, doubt=Code.CONNECTION_LOST)
    approval = Approval(ApprovalRequestId("a-1"), "h", "shop", now + 60)
    names = [
        show.seat(0, operation=busy, open_request=_asked(Tag.UPDATE, 280, 300, "0")),
        show.seat(1, open_request=_asked(Tag.UPDATE_ACK, 8, 60, "1")),
        show.seat(2, operation=doubt, exposures=(_exposure(),)),
        show.seat(3, attachment=Attachment.DOWN),
        show.seat(4, peer_is_away=True),
        show.seat(5, phase=Phase.CLOSED, attachment=Attachment.DOWN),
        show.seat(6, phase=Phase.LOST, attachment=Attachment.DOWN),
        show.seat(7, operation=replace(busy, stage=CommandStage.JOURNALED, approval=approval)),
        show.seat(8, initiator_balance=1, responder_balance=7 * 10**27),
        show.seat(9, phase=Phase.NEW, attachment=Attachment.DOWN, cosigned=None, initiator_balance=None),
        *(show.seat(number) for number in range(10, 24)),
    ]
    show.halted.add(show.seat(24))
    assert show.journal is not None
    waiting = InboxRow(CommandId("w-1"), names[2], "transfer", "shop", "h", b"{}", now)
    await show.journal.commit(Batch(add_inbox=(waiting,)))
    await show.happen(names[2], "command.in_doubt", code="connection_lost", sentence="the outcome is open")
    await show.happen(names[6], "alarm.recovery_required", code="recovery_required", sentence="attaching failed")
    await show.happen(names[1], "message.received", info=MARKUP, sentence=MARKUP)
    for _ in range(60):
        await show.pay(names[10])


def _exposure() -> Exposure:
    return Exposure(CommandId("t-1"), 3, offchain(3).hash)


@asynccontextmanager
async def shown(directory: Path) -> AsyncIterator[tuple[Show, HttpServer]]:
    journal = await Journal.open(directory, bytes(32), time.time)
    try:
        show = Show(journal)
        async with HttpServer(Http(port=0), Site({}, show.console.pages(), show.console.serve)) as server:
            yield show, server
    finally:
        await journal.close()
