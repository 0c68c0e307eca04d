"""A channel at a chosen point of its life, and the inputs that move it, for tables of (given, input, expect)."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from bridge.channel.command import Checkpoint, Command, Deposit, Message, Query, Shutdown, Transfer, Withdraw
from bridge.channel.effect import AskSignature, Conclude, Effect, Publish, Send
from bridge.channel.identifier import Account, ChannelId, ChannelName, FsmId, TransactionHash
from bridge.channel.input import (
    Answer,
    CommandDue,
    History,
    InfoReported,
    Input,
    LinkUp,
    OffchainState,
    RequestAnswered,
    RequestRefused,
    Signed,
    SignReplied,
    SignRequested,
    StateUpdated,
    Ticked,
)
from bridge.channel.request import AskState, NodeRequest, SendSignature, Tag
from bridge.channel.state import Purpose, State
from bridge.channel.step import step
from bridge.channel.terms import Dialect, Role, Terms
from bridge.channel.transaction import Kind, Transaction, Update
from bridge.channel.wake import next_wake
from tests.permissive import OPEN

INITIATOR = Account("ak_25n12" + "i" * 45)
RESPONDER = Account("ak_26vaW" + "r" * 45)
CHANNEL = ChannelId("ch_3in8B" + "c" * 45)
FSM = FsmId("ba_" + "Zm9v" * 10)
START = 1_800_000_000.0
ISSUED = datetime.fromtimestamp(START, UTC)


def terms(role: Role = Role.INITIATOR, dialect: Dialect = Dialect.JSON_RPC, **changes: Any) -> Terms:
    made = Terms(
        name=ChannelName("acme-7"),
        role=role,
        initiator=INITIATOR,
        responder=RESPONDER,
        initiator_amount=1000,
        responder_amount=500,
        network_id="ae_test",
        dialect=dialect,
        policy=OPEN,
    )
    return replace(made, **changes)


def transaction(kind: Kind, hash_: str, **changes: Any) -> Transaction:
    fields: dict[str, Any] = {"channel_id": CHANNEL, "wrapped": True, "text": f"tx_{hash_}"} | changes
    return Transaction(kind=kind, hash=TransactionHash(hash_.ljust(64, "0")), **fields)


def create(signatures: int = 2) -> Transaction:
    return transaction(
        Kind.CREATE,
        "c0",
        round=1,
        signatures=("s",) * signatures,
        initiator=INITIATOR,
        responder=RESPONDER,
        initiator_amount=1000,
        responder_amount=500,
        channel_reserve=2,
        lock_period=10,
        fee=20_000,
        nonce=1,
    )


def offchain(round_: int, mark: str = "a", signatures: int = 0) -> Transaction:
    return transaction(Kind.OFFCHAIN, f"{mark}{round_}", round=round_, signatures=("s",) * signatures)


def moved(amount: int, *, back: bool = False) -> tuple[Update, ...]:
    pair = (RESPONDER, INITIATOR) if back else (INITIATOR, RESPONDER)
    return (Update("OffChainTransfer", amount, *pair),)


def transfer(amount: int = 5, command_id: str = "t-1", **changes: Any) -> Transfer:
    body = {"command_id": command_id, "issued_at": ISSUED, "from": INITIATOR, "to": RESPONDER, "amount": amount}
    return Transfer.model_validate(body | changes)


def deposit(amount: int = 100, name: str = "d-1", **changes: Any) -> Deposit:
    return Deposit(command_id=name, issued_at=ISSUED, amount=amount, **changes)


def withdraw(amount: int = 100) -> Withdraw:
    return Withdraw(command_id="w-1", issued_at=ISSUED, amount=amount)


def message(info: str = "hello") -> Message:
    return Message.model_validate({"command_id": "m-1", "issued_at": ISSUED, "to": RESPONDER, "info": info})


def shutdown(name: str = "s-1") -> Shutdown:
    return Shutdown(command_id=name, issued_at=ISSUED)


def checkpoint(name: str = "c-1") -> Checkpoint:
    return Checkpoint(command_id=name, issued_at=ISSUED)


def query(what: str = "balances") -> Query:
    return Query.model_validate({"command_id": "q-1", "issued_at": ISSUED, "what": what})


_BY_THE_WAY = (Purpose.PROBE_ACK, Purpose.COUNT, Purpose.CROSSED)


@dataclass
class Channel:
    """Drives `step` by hand and keeps what it wanted done. `last` holds the effects of the latest input."""

    terms: Terms
    state: State = field(default_factory=State)
    now: float = START
    last: tuple[Effect, ...] = ()
    all: list[Effect] = field(default_factory=list)

    def give(self, *inputs: Input) -> "Channel":
        self.last = ()
        for input_ in inputs:
            self.state, effects = step(self.terms, self.state, input_, self.now)
            self.last += effects
            self.all += effects
        return self

    def wait(self, seconds: float) -> "Channel":
        """Move the clock, waking the channel at each instant it asked for."""
        end = self.now + seconds
        effects: tuple[Effect, ...] = ()
        while (wake := next_wake(self.terms, self.state, self.now)) is not None and wake <= end:
            self.now = wake
            effects += self.give(Ticked()).last
        self.now = end
        self.give(Ticked())
        self.last = effects + self.last
        return self

    def sent(self, kind: type[NodeRequest] | None = None) -> list[Any]:
        requests = [effect.request for effect in self.last if isinstance(effect, Send)]
        return [request for request in requests if kind is None or isinstance(request, kind)]

    def events(self) -> list[str]:
        return [f"{e.family}.{e.name}" for e in self.last if isinstance(e, Publish)]

    def event(self, name: str) -> Publish:
        return next(e for e in self.last if isinstance(e, Publish) and f"{e.family}.{e.name}" == name)

    def outcomes(self) -> list[Conclude]:
        return [effect for effect in self.last if isinstance(effect, Conclude)]

    def questions(self) -> list[AskSignature]:
        return [effect for effect in self.last if isinstance(effect, AskSignature)]

    # --- short ways to a point of life ------------------------------------------------------------------

    def sign(self, signed_tx: str = "tx_signed") -> "Channel":
        """The signer answers the open request."""
        opened = self.state.open_request
        assert opened is not None
        return self.give(SignReplied(opened.sign_request_id, "signer", Signed(signed_tx, opened.transaction.hash)))

    def answer(self, kind: type[NodeRequest], answer: Answer) -> "Channel":
        """The node answers the latest request of that kind."""
        request_id = next(
            e.request.request_id for e in reversed(self.all) if isinstance(e, Send) and isinstance(e.request, kind)
        )
        return self.give(RequestAnswered(request_id=request_id, answer=answer))

    def calm(self) -> "Channel":
        """The node answers what it is asked by the way: nothing is pending, nothing is remembered, nothing moved."""
        before = self.last
        while (asked := next((a for a in self.state.asked if a.purpose in _BY_THE_WAY), None)) is not None:
            request_id = asked.request_id
            match asked.purpose:
                case Purpose.PROBE_ACK:
                    self.give(RequestRefused(request_id=request_id, codes=(1018,), reasons=("not_allowed",)))
                case Purpose.COUNT:
                    self.give(RequestAnswered(request_id=request_id, answer=History(())))
                case _:
                    state = OffchainState(self.state.cosigned, None)
                    self.give(RequestAnswered(request_id=request_id, answer=state))
            before += self.last
        self.last = before
        return self

    def rest(self, seconds: float) -> "Channel":
        """Time passes; asked where it stands, the node says that it stands where it stood."""
        before, end = self.last, self.now + seconds
        while self.now < end:
            before += self.wait(1).calm().last
            if self.state.has_asked(Purpose.RECHECK):
                before += self.answer(AskState, OffchainState(self.state.cosigned, None)).last
        self.last = before
        return self

    def requested(
        self, tag: Tag, tx: Transaction, updates: Iterable[Update] | None = (), arrived_at: float | None = None
    ) -> "Channel":
        told = None if updates is None else tuple(updates)
        signers = (self.terms.peer,) * len(tx.signatures)
        asked = SignRequested(channel_id=CHANNEL, tag=tag, transaction=tx, updates=told, signers=signers)
        return self.give(replace(asked, arrived_at=arrived_at))

    def cosigned(self, tx: Transaction) -> "Channel":
        return self.give(StateUpdated(channel_id=CHANNEL, transaction=replace(tx, signatures=("s", "t"))))

    def info(self, event: str, **changes: Any) -> "Channel":
        return self.give(InfoReported(**({"event": event, "channel_id": CHANNEL} | changes)))


def opened(role: Role = Role.INITIATOR, dialect: Dialect = Dialect.JSON_RPC, **changes: Any) -> Channel:
    """A channel that went through its opening: round 1, 1000 and 500 aettos."""
    channel = Channel(terms(role, dialect, **changes))
    channel.give(LinkUp(resumed=False))
    if dialect is Dialect.JSON_RPC:
        channel.info("fsm_up", fsm_id=FSM, channel_id=None)
    tag = Tag.INITIATOR_SIGN if role is Role.INITIATOR else Tag.RESPONDER_SIGN
    bare = dialect.is_legacy
    channel.requested(tag, replace(create(0 if role is Role.INITIATOR or bare else 1), wrapped=not bare))
    channel.sign()
    channel.info("open").cosigned(create())
    assert channel.state.round == 1, channel.state
    assert channel.state.is_ready, channel.state
    return channel


def proposed(channel: Channel, command: Command, tag: Tag, tx: Transaction, updates: Any = ()) -> Channel:
    """Our command was triggered, signed and handed to the node."""
    channel.give(CommandDue(command))
    channel.requested(tag, tx, updates)
    channel.sign()
    assert channel.sent(SendSignature), channel.last
    return channel
