"""What each side of each channel really did, written down as it happens: what an oracle checks a bridge against.

Five lists a channel. States: every one that both signed, as each side took it up. Signatures: every sign request that
left for a client, with the moment it was answered and how. Replies: every signed reply that came, whether asked for or
not. Facts: what a side said or answered of what had been signed. Messages: taken, and on their way to the other side.
All are kept over a stop and a kill of the node, because they are a witness's notes and no part of it, and bounded: the
oldest go first, and how many went is told.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.channel.request import Tag
from bridge.channel.terms import Role
from bridge.channel.transaction import Kind
from bridge.errors import TransactionError
from bridge.sim.draft import Operation
from bridge.sim.event import AwaitingSignature
from bridge.sim.fsm import Fsm
from bridge.sim.note import TEXT_KEPT, Fact, Receipt, Said, Signature
from bridge.sim.report import Conflict, Delivered, Info, Report
from bridge.sim.request import Abort, Reply
from bridge.sim.skin import write_update
from bridge.wire import encoding, transaction

KEPT = 20_000
"""Entries of each list of each channel."""
UNNAMED = "unfunded"
"""Stands for a channel that has no transaction yet."""
TELLING = frozenset({"aborted_update", "peer_disconnected", "channel_reestablished", "closed_confirmed"})
"""What an `info` says of an operation under way: that it is void, or that it closed the channel."""


def _bounded() -> deque[Any]:
    return deque(maxlen=KEPT)


@dataclass
class Page:
    """One channel."""

    states: deque[dict[str, Any]] = field(default_factory=_bounded)
    signatures: deque[Signature] = field(default_factory=_bounded)
    replies: deque[Receipt] = field(default_factory=_bounded)
    facts: deque[Fact] = field(default_factory=_bounded)
    messages: deque[Said] = field(default_factory=_bounded)
    strays: int = 0
    """Signed replies that no open request of that side asked for."""
    probes: int = 0
    """Refusals of the same kind: harmless, and how a bridge asks what is open."""
    total: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("states", "signatures", "replies", "facts", "messages"), 0)
    )

    def write(self) -> dict[str, Any]:
        """All of it, as JSON shows it."""
        return {
            "states": list(self.states),
            "signatures": [entry.write() for entry in self.signatures],
            "replies": [entry.write() for entry in self.replies],
            "facts": [entry.write() for entry in self.facts],
            "messages": [entry.write() for entry in self.messages],
        }


class Book:
    """Every channel of the node by its id."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}

    def page(self, fsm: Fsm) -> Page:
        return self.pages.setdefault(_name(fsm), Page())

    def note_state(self, fsm: Fsm) -> None:
        """Both signed, and this side knows."""
        if fsm.cosigned is None:
            return
        operation = fsm.cosigned.operation
        page = self.page(fsm)
        page.total["states"] += 1
        page.states.append(
            {
                "role": fsm.role.value,
                "round": fsm.cosigned.round,
                "kind": operation.kind.value,
                "tx_hash": transaction.tx_hash(operation.inner),
                "updates": [write_update(update) for update in operation.updates],
                "balances": balances(fsm),
                "at": _clock(),
            }
        )

    def note_asked(self, fsm: Fsm, tag: Tag, inner: bytes) -> None:
        """A sign request is on its way to the client."""
        page = self.page(fsm)
        page.total["signatures"] += 1
        page.signatures.append(Signature(fsm.role, tag, _round(inner), transaction.tx_hash(inner), _clock()))

    def note_answered(self, fsm: Fsm, answer: Reply | Abort) -> None:
        """The client answered, to an open request or to none."""
        entry = self._find_open(fsm, answer.tag)
        if isinstance(answer, Reply):
            self._note_reply(fsm, answer, is_stray=entry is None)
        if entry is None:
            self._note_unasked(fsm, answer)
            return
        entry.answered_at = _clock()
        if isinstance(answer, Abort):
            entry.answer = f"refused {answer.code}"
        else:
            entry.answer = "signed"
            entry.reply_hash = None if answer.signed is None else transaction.tx_hash(answer.signed.inner)

    def _note_reply(self, fsm: Fsm, reply: Reply, *, is_stray: bool) -> None:
        if reply.signed is None:
            return  # no transaction, so nobody's signature
        inner = reply.signed.inner
        signed_hash = transaction.signed_tx_hash(transaction.wrap(reply.signed.signatures, inner))
        page = self.page(fsm)
        page.total["replies"] += 1
        page.replies.append(
            Receipt(fsm.role, reply.tag, _round(inner), transaction.tx_hash(inner), signed_hash, is_stray, _clock())
        )

    def note_report(self, fsm: Fsm, report: Report) -> None:
        """An FSM tells its client something, whether or not there is one."""
        match report:
            case Conflict(raised_at, code):
                self._note_fact(fsm, Fact(fsm.role, "conflict", fsm.round, _clock(), code, raised_at))
            case Info(event, _) if event in TELLING:
                self._note_fact(fsm, Fact(fsm.role, event, fsm.round, _clock()))
            case Delivered(_, _, text) if fsm.client is not None:
                sender = Role.RESPONDER if fsm.role is Role.INITIATOR else Role.INITIATOR
                self._note_message(fsm, Said(sender, text[:TEXT_KEPT], is_delivery=True, at=_clock()))
            case _:
                pass

    def note_reused(self, fsm: Fsm, operation: Operation) -> None:
        """What this side's client signed earlier counts now, and nobody asked it again."""
        hash_ = transaction.tx_hash(operation.inner)
        self._note_fact(fsm, Fact(fsm.role, "reused", fsm.round, _clock(), reused_hash=hash_))

    def note_state_answer(self, fsm: Fsm, value: Mapping[str, str]) -> None:
        """A client asked where its channel stands, and this is the answer."""
        half = value["half_signed_tx"]
        inner = transaction.unwrap(encoding.decode(value["signed_tx"], "tx")).inner
        half_hash = transaction.tx_hash(transaction.unwrap(encoding.decode(half, "tx")).inner) if half else None
        self._note_fact(fsm, Fact(fsm.role, "state", _round(inner), _clock(), half_hash=half_hash))

    def note_return(self, channel_id: str, role: Role, *, is_admitted: bool) -> None:
        """A client came back to a channel, and was let in or not."""
        page = self.pages.get(channel_id)
        if page is not None:  # else it named a channel nobody knows
            page.total["facts"] += 1
            page.facts.append(Fact(role, "admitted" if is_admitted else "refused", 0, _clock()))

    def note_taken(self, fsm: Fsm, text: str) -> None:
        """A message of this side's client was taken; whether the other one is there is another question."""
        self._note_message(fsm, Said(fsm.role, text[:TEXT_KEPT], is_delivery=False, at=_clock()))

    def _note_fact(self, fsm: Fsm, fact: Fact) -> None:
        page = self.page(fsm)
        page.total["facts"] += 1
        page.facts.append(fact)

    def _note_message(self, fsm: Fsm, said: Said) -> None:
        page = self.page(fsm)
        page.total["messages"] += 1
        page.messages.append(said)

    def _note_unasked(self, fsm: Fsm, answer: Reply | Abort) -> None:
        page = self.page(fsm)
        if isinstance(answer, Abort):
            page.probes += 1
        else:
            page.strays += 1

    def _find_open(self, fsm: Fsm, tag: Tag) -> Signature | None:
        """The request of that tag on that side, if it still waits. Replies are matched by tag only."""
        state = fsm.state
        if not isinstance(state, AwaitingSignature):
            return None
        awaited = tag, transaction.tx_hash(state.operation.inner)
        for entry in reversed(self.page(fsm).signatures):
            if entry.role is fsm.role and entry.answered_at is None:
                return entry if (entry.tag, entry.hash) == awaited else None
        return None


def balances(fsm: Fsm) -> dict[str, int]:
    """Off chain, by account, in aettos."""
    if fsm.cosigned is None or fsm.parties is None:
        return {}
    held = fsm.cosigned.balances
    return {fsm.parties.account(role): held.of(role) for role in Role}


def _name(fsm: Fsm) -> str:
    """The channel's id; before anybody signed it follows from the create transaction."""
    if fsm.channel_id is not None:
        return fsm.channel_id
    if not isinstance(fsm.state, AwaitingSignature) or fsm.parties is None:
        return UNNAMED
    nonce = int(str(transaction.fields(fsm.state.operation.inner)[1]["nonce"]))
    return transaction.channel_id(fsm.parties.initiator, nonce, fsm.parties.responder)


def _round(inner: bytes) -> int:
    """The round a transaction leads to; 1 for a create, 0 for a close, which has none, and for what cannot be read."""
    try:
        kind, values = transaction.fields(inner)
    except TransactionError:
        return 0
    found = values.get("round")
    if isinstance(found, int):
        return found
    return 1 if kind is Kind.CREATE else 0


def _clock() -> float:
    return asyncio.get_running_loop().time()
