"""One role of one channel inside the node: its inbox, timer, client, peer and co-signed state.

The mechanics only: what an event means in a state is decided in `opening`, `operation`, `closing` and `reestablish`,
picked by `behaviour`. Facts: protocol.md F.1 and observed.md. Everything runs in the event loop's thread; nothing
here waits.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from bridge.channel.identifier import ChannelId
from bridge.channel.terms import Role
from bridge.channel.transaction import Kind
from bridge.sim.balance import Balances, Parties
from bridge.sim.chain import Chain, plain_depth
from bridge.sim.draft import ERAS, GAS_PRICE, Draft, Era, Operation
from bridge.sim.event import (
    AwaitingPeer,
    Call,
    Client,
    ClientGone,
    Ended,
    Event,
    HalfSigned,
    Open,
    PeerGone,
    PeerRefused,
    PeerReturned,
    PeerUnattended,
    State,
    TimedOut,
    TransactionDeep,
    TransactionSeen,
)
from bridge.sim.history import History
from bridge.sim.ledger import read_close, read_payment
from bridge.sim.parameter import Opening
from bridge.sim.report import Conflict, Info, Report, Updated
from bridge.sim.request import OK, ClientDropped, RequestRefused
from bridge.sim.timer import timer_of

CONFLICT_VALIDATION, CONFLICT, CONFLICT_TIMEOUT = 1, 2, 3
FINISHED, CRASHED = 1000, 1011
NOT_READY = 108


class Verdict(Enum):
    """What became of an event."""

    DONE = "done"
    POSTPONED = "postponed"


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The latest state both parties signed."""

    operation: Operation
    balances: Balances
    round: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an FSM reaches outside itself."""

    chain: Chain
    take: Callable[["Fsm", Event], Verdict]
    """The behaviour: what an event means in the FSM's state."""
    ended: Callable[["Fsm"], None]
    """Called once, after everything was said."""
    saved: Callable[["Fsm"], None]
    """Called for each new co-signed state."""
    told: Callable[["Fsm", Report], None]
    """Called for each report, whether or not a client is there to hear it."""
    reused: Callable[["Fsm", Operation], None]
    """Called when an earlier signature of an absent client counts for an operation."""


@dataclass(eq=False)
class Fsm:
    """One role of one channel."""

    opening: Opening
    around: Surroundings
    fsm_id: str = field(repr=False)
    is_returned: bool = False
    """Born of a reestablish: dies with its client."""
    state: State = field(default_factory=AwaitingPeer)
    client: Client | None = None
    peer: "Fsm | None" = None
    parties: Parties | None = None
    channel_id: ChannelId | None = None
    cosigned: Cosigned | None = None
    seen: bytes | None = None
    """The channel's latest transaction in a block that this FSM knows of."""
    is_bound: bool = False
    """Our client signed the create transaction: from then on it may go away."""
    is_blocked: bool = False
    """The way to the peer is dead, after an update too large for it; the way back is not (observed.md, Errors)."""
    kept: Operation | None = None
    """What our client signed and said to have refused, with both signatures: see `reuse`."""
    _inbox: deque[Event] = field(default_factory=deque)
    _postponed: list[Event] = field(default_factory=list)
    _is_due: bool = False
    _timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self.history = History(self.opening.log_keep)
        self.era: Era = ERAS[self.opening.dialect]

    @property
    def role(self) -> Role:
        return self.opening.role

    @property
    def is_initiator(self) -> bool:
        return self.role is Role.INITIATOR

    @property
    def chain(self) -> Chain:
        return self.around.chain

    @property
    def round(self) -> int:
        return 0 if self.cosigned is None else self.cosigned.round

    @property
    def half_signed(self) -> Operation | None:
        return self.state.operation if isinstance(self.state, HalfSigned) else None

    # --- events -------------------------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """Into the inbox; handled in order, later. May be called by anybody at any time."""
        self._inbox.append(event)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._drain)

    def _drain(self) -> None:
        self._is_due = False
        while self._inbox:
            self._take(self._inbox.popleft())

    def _take(self, event: Event) -> None:
        before = self.state
        if isinstance(before, Ended):
            return _fail(event, ClientDropped())
        try:
            verdict = self.around.take(self, event)
        except RequestRefused as refusal:
            _fail(event, refusal)
            verdict = Verdict.DONE
        if verdict is Verdict.POSTPONED:
            self._postponed.append(event)
        elif not isinstance(event, TimedOut):
            self._arm()
        if self.state is not before:
            self._inbox.extendleft(reversed(self._postponed))
            self._postponed.clear()
        return None

    def go(self, state: State) -> None:
        """Change the state: its timer starts, and what was postponed is looked at again."""
        self.state = state
        self._arm()

    def _arm(self) -> None:
        """Each event starts the state's timer anew."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        name = timer_of(self.state, self.opening)
        if name is not None:
            seconds = self.opening.seconds(name)
            self._timer = asyncio.get_running_loop().call_later(seconds, self.post, TimedOut(self.state))

    # --- to the outside -----------------------------------------------------------------------------------

    def report(self, report: Report) -> None:
        """To the client if there is one; an absent one never learns of it but from the history."""
        self.history.note_report(report, self.channel_id)
        self.around.told(self, report)
        if self.client is not None:
            self.client.deliver(report, self.channel_id)

    def inform(self, event: str, *, fsm_id: bool = False) -> None:
        self.report(Info(event, self.fsm_id if fsm_id else None))

    def tell(self, event: Event) -> None:
        """To the peer's FSM; into nothing if there is none, or if the way there is blocked."""
        if self.peer is not None and not self.is_blocked:
            self.peer.post(event)

    def answer(self, event: Event, value: Any = OK) -> None:
        """Release the handler that waits in this call."""
        if isinstance(event, Call) and not event.answer.done():
            event.answer.set_result(value)

    # --- the life of the channel --------------------------------------------------------------------------

    def open_up(self, *, announce: bool) -> None:
        """Ready for work; `announce` after an opening or a reestablish."""
        self.go(Open())
        if announce:
            self.inform("open")
            self.show_state()
        if self.kept is not None:
            self.post(PeerUnattended())

    def adopt(self, operation: Operation) -> None:
        """Both signed: this is the state from here on."""
        self.cosigned = Cosigned(operation, operation.balances, operation.round)
        self.around.saved(self)

    def show_state(self) -> None:
        if self.cosigned is not None:
            self.report(Updated(self.cosigned.operation.signed))

    def fall_back(self, code: int, *, tell_peer: bool = False, raised_at: int | None = None) -> None:
        """The running operation is void; `raised_at` is the round of the side which raised it.

        Where the era knows no falling back, only a conflict leaves the channel alive.
        """
        if tell_peer:
            self.tell(PeerRefused(code, self.round))
        self.report(Conflict(self.round if raised_at is None else raised_at, code))
        if code != CONFLICT and not self.era.outlives_client:
            self.end()
        else:
            self.open_up(announce=False)

    def draft(self) -> Draft:
        """Proposes the next transaction. Only in a funded channel."""
        if self.cosigned is None or self.parties is None or self.channel_id is None:
            raise RequestRefused(NOT_READY)
        return Draft(self.channel_id, self.parties, self.era, self.round, self.cosigned.balances, self.opening.ttl)

    def push(self, operation: Operation) -> None:
        """Into the mempool."""
        if operation.kind is Kind.CLOSE_MUTUAL and self.parties is not None:
            payment = read_close(operation.inner, self.parties.initiator, self.parties.responder)
        else:
            payment = read_payment(operation.inner)
        self.chain.push(operation.signed, payment)

    def watch(self, operation: Operation) -> None:
        """Hear of the transaction when it is deep enough."""
        depth = plain_depth(self.opening.depth, self.opening.strategy, operation.fee, GAS_PRICE)
        self.chain.watch(operation.signed, depth, lambda: self.post(TransactionDeep()))

    def find_channel(self, channel_id: ChannelId) -> None:
        """The channel's id is known: hear of its transactions."""
        self.channel_id = channel_id
        self.chain.listen(channel_id, self._see)

    def _see(self, signed: bytes) -> None:
        self.post(TransactionSeen(signed))

    def end(self, *reasons: str, code: int = FINISHED) -> None:
        """Stop. The reasons, `died` and the closed socket are the last the client hears; a crash says nothing."""
        if isinstance(self.state, Ended):
            return
        for reason in () if code == CRASHED else (*reasons, "died"):
            self.inform(reason)
        self.go(Ended())
        for event in (*self._postponed, *self._inbox):
            _fail(event, ClientDropped(code))
        self._postponed.clear()
        self._inbox.clear()
        if self.channel_id is not None:
            self.chain.unlisten(self.channel_id, self._see)
        if self.client is not None:
            self.client.finish(code)
        self.client = None
        peer, self.peer = self.peer, None
        if peer is not None and peer.peer is self:
            peer.post(PeerGone())
        self.around.ended(self)

    def turn_away(self) -> None:
        """An initiator who came back in the middle of our operation times out with it, and must come once more."""
        for event in self._postponed:
            if isinstance(event, PeerReturned):
                event.peer.post(TimedOut(event.peer.state))
        self._postponed = [event for event in self._postponed if not isinstance(event, PeerReturned)]

    def attach(self, client: Client) -> None:
        self.client = client

    def detach(self, client: Client) -> None:
        """The client's socket ended, or is about to."""
        self.post(ClientGone(client))


def _fail(event: Event, error: Exception) -> None:
    if isinstance(event, Call) and not event.answer.done():
        event.answer.set_exception(error)
