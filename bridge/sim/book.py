"""What each side of each channel really did, written down as it happens: what an oracle checks a bridge against.

Two lists a channel. States: every one that both signed, as each side took it up. Signatures: every sign request that
left for a client, with the moment it was answered and how. Both are kept over a stop and a kill of the node, because
they are a witness's notes and no part of it, and bounded: the oldest go first, and how many went is told.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from bridge.channel.request import Tag
from bridge.channel.terms import Role
from bridge.channel.transaction import Kind
from bridge.sim.event import AwaitingSignature
from bridge.sim.fsm import Fsm
from bridge.sim.request import Abort, Reply
from bridge.sim.skin import write_update
from bridge.wire import transaction

KEPT = 20_000
"""Entries of each list of each channel."""
UNNAMED = "unfunded"
"""Stands for a channel that has no transaction yet."""


@dataclass(slots=True)
class Signature:
    """One sign request on one side. Times in seconds of the event loop's clock."""

    role: Role
    tag: Tag
    round: int
    hash: str
    """Of the transaction to be signed."""
    asked_at: float
    answered_at: float | None = None
    answer: str | None = None
    """`signed`, or `refused` with its code."""
    reply_hash: str | None = None
    """Of the transaction that came back."""

    def write(self) -> dict[str, Any]:
        waited = None if self.answered_at is None else self.answered_at - self.asked_at
        return {
            "role": self.role.value,
            "tag": self.tag.value,
            "round": self.round,
            "tx_hash": self.hash,
            "asked_at": self.asked_at,
            "answered_at": self.answered_at,
            "seconds": waited,
            "answer": self.answer,
            "reply_tx_hash": self.reply_hash,
        }


@dataclass
class Page:
    """One channel."""

    states: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT))
    signatures: deque[Signature] = field(default_factory=lambda: deque(maxlen=KEPT))
    strays: int = 0
    """Signed replies that no open request of that side asked for."""
    probes: int = 0
    """Refusals of the same kind: harmless, and how a bridge asks what is open."""
    total: dict[str, int] = field(default_factory=lambda: {"states": 0, "signatures": 0})


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
        if entry is None:
            self._note_unasked(fsm, answer)
            return
        entry.answered_at = _clock()
        if isinstance(answer, Abort):
            entry.answer = f"refused {answer.code}"
        else:
            entry.answer = "signed"
            entry.reply_hash = None if answer.signed is None else transaction.tx_hash(answer.signed.inner)

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
    """The round a transaction leads to; 1 for a create, 0 for a close, which has none."""
    kind, values = transaction.fields(inner)
    found = values.get("round")
    if isinstance(found, int):
        return found
    return 1 if kind is Kind.CREATE else 0


def _clock() -> float:
    return asyncio.get_running_loop().time()
