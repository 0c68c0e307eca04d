"""What a client may ask of a channel's FSM, in words both dialects share, and why it may be refused.

The mirror of `bridge.channel.request`, seen from the node. A skin makes these from frames; an FSM answers them.
"""

from dataclasses import dataclass

from bridge.channel.identifier import Account
from bridge.channel.request import Tag
from bridge.channel.transaction import Update
from bridge.wire.transaction import Signed

INTERNAL_ERROR, METHOD_NOT_FOUND, INVALID_REQUEST = -32603, -32601, -32000
OK = "ok"
"""The answer that means no more than "accepted for work"."""


class RequestRefused(Exception):
    """A request error, as protocol.md C.8 numbers them: one top code below zero, or codes under "Rejected"."""

    def __init__(self, *codes: int) -> None:
        super().__init__(f"refused with {codes}")
        self.codes = codes


class ClientDropped(Exception):
    """The socket is closed without a frame. 1000 is a polite no; 1011 a handler that crashed."""

    def __init__(self, code: int = 1000) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Transfer:
    sender: Account
    receiver: Account
    amount: int
    meta: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """A deposit or a withdrawal of the asking party."""

    op: str
    """`OffChainDeposit` or `OffChainWithdrawal`."""
    amount: int
    fee: int | None = None
    nonce: int | None = None
    meta: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shutdown:
    fee: int | None = None
    nonce: int | None = None


@dataclass(frozen=True, slots=True)
class Leave:
    """The client goes; the state is kept for a reestablish."""


@dataclass(frozen=True, slots=True)
class Message:
    receiver: Account
    text: str


@dataclass(frozen=True, slots=True)
class AskState:
    """Trees, latest co-signed and half-signed transaction."""


@dataclass(frozen=True, slots=True)
class AskBalances:
    accounts: tuple[Account, ...]


@dataclass(frozen=True, slots=True)
class AskProof:
    accounts: tuple[Account, ...]


@dataclass(frozen=True, slots=True)
class AskHistory:
    count: int | None = None
    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Abort:
    """A refusal of the sign request with this tag: also the probe."""

    tag: Tag
    code: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A signed reply. `signed` is None for a text whose checksum holds and which is yet no transaction."""

    tag: Tag
    signed: Signed | None


@dataclass(frozen=True, slots=True)
class Ping:
    """The data-frame ping: answered by the handler, never seen by the FSM."""


Trigger = Transfer | Move | Shutdown
Question = AskState | AskBalances | AskProof | AskHistory
Request = Trigger | Leave | Message | Question | Abort | Reply | Ping

__all__ = [
    "OK",
    "Abort",
    "AskBalances",
    "AskHistory",
    "AskProof",
    "AskState",
    "ClientDropped",
    "Leave",
    "Message",
    "Move",
    "Ping",
    "Question",
    "Reply",
    "Request",
    "RequestRefused",
    "Shutdown",
    "Transfer",
    "Trigger",
    "Update",
]
