"""One entry of each list of the book: a sign request, a signed reply, a fact about what was signed, a message.

Plain records with the JSON form the control interface shows. Times are seconds of the event loop's clock.
"""

from dataclasses import asdict, dataclass
from typing import Any

from bridge.channel.request import Tag
from bridge.channel.terms import Role

TEXT_KEPT = 200
"""Characters of a message that are kept: enough to know it by."""


@dataclass(slots=True)
class Signature:
    """One sign request on one side."""

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


@dataclass(frozen=True, slots=True)
class Receipt:
    """A signed reply that came, asked for or not."""

    role: Role
    tag: Tag
    round: int
    """0 for a close, which has none."""
    tx_hash: str
    signed_hash: str
    """Over the transaction with its signatures: the same whichever spelling it came in."""
    is_stray: bool
    at: float

    def write(self) -> dict[str, Any]:
        return _write(self)


@dataclass(frozen=True, slots=True)
class Fact:
    """What the FSM of a side said or answered, from which its client may conclude that a signature came to nothing."""

    role: Role
    what: str
    """`conflict`, the name of an `info`, `state` for an answer to a state query; `admitted` or `refused` when a client
    came back; `reused` when an earlier signature of an absent one counted.
    """
    round: int
    """Of the latest co-signed state of that side at that moment; 0 of one that came back."""
    at: float
    code: int | None = None
    """Of a conflict."""
    raised_at: int | None = None
    """The round a conflict names: that of the side which raised it."""
    half_hash: str | None = None
    """Of a state answer: the half-signed transaction it shows, if any."""
    reused_hash: str | None = None
    """Of a signature that counts although its client was told that it came to nothing: the transaction."""

    def write(self) -> dict[str, Any]:
        return _write(self)


@dataclass(frozen=True, slots=True)
class Said:
    """A message: taken from its sender's client, or on its way to the other one."""

    role: Role
    """The sender's."""
    text: str
    is_delivery: bool
    at: float

    def write(self) -> dict[str, Any]:
        return _write(self)


def _write(entry: Receipt | Fact | Said) -> dict[str, Any]:
    """Enums are texts to JSON."""
    return asdict(entry)
