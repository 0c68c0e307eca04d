"""What a channel wants done. Performed only after the state that asked for it is committed.

What a crash does to each is said with it: `Send` may be lost (the state knows and asks the node), everything
published is in the outbox first and may be repeated, never lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.channel.command import Command, Direct
from bridge.channel.identifier import (
    Account,
    ApprovalRequestId,
    ChannelId,
    CommandId,
    FsmId,
    SignRequestId,
    TransactionHash,
)
from bridge.channel.request import NodeRequest, Tag
from bridge.channel.transaction import Transaction, Update
from bridge.errors import Code, Outcome


@dataclass(frozen=True, slots=True)
class Send:
    """Write a frame to the node. A crash before it loses it; the state says what to ask afterwards."""

    request: NodeRequest
    not_after: float | None = None
    """An acknowledgement given late splits the channel for ever: past this instant `Withheld` is the input instead.

    The step was in time; the disk may not have been.
    """


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Drop the socket and connect again with the newest credential. Lost in a crash, which does the same."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rest:
    """Stop connecting: the channel is closed, or only an operator can bring it back. Derived again at start."""


@dataclass(frozen=True, slots=True)
class KeepFsmId:
    """F6: store the node's credential, encrypted, the previous one kept, before anything else is sent."""

    fsm_id: FsmId = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeepState:
    """Store the latest co-signed state: the rescue kit, and what a late legacy node wants for a reestablish."""

    transaction: Transaction


@dataclass(frozen=True, slots=True)
class RecordForward:
    """F4: the ledger row of a signature about to be handed to the node. Once per command and attempt."""

    tag: Tag
    round: int | None
    hash: TransactionHash
    signed_tx: str
    command_id: CommandId | None
    """None: the peer's proposal, or the opening."""
    attempt: int = 0
    """Of the command; 0 for what is not ours."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """The evidence that a forwarded signature comes to nothing here: only then may its round be signed again (I4)."""

    round: int | None
    hash: TransactionHash
    command_id: CommandId | None
    evidence: str
    is_exposed: bool
    """False only if the peer is known never to have had it."""


@dataclass(frozen=True, slots=True)
class SignRequest:
    """A question to a signer. Published at least once; repeats have the same id and body."""

    sign_request_id: SignRequestId
    account: Account
    tag: Tag
    transaction: Transaction
    cause: str
    """`command`, `peer_proposal` or `opening`."""
    command_id: CommandId | None
    opened_at: float
    deadline: float
    """Seconds since the epoch, both."""
    updates: tuple[Update, ...] | None = None
    balances_before: Mapping[str, int] | None = None
    """Account to aettos, as far as known."""
    balances_after: Mapping[str, int] | None = None
    channel_id: ChannelId | None = None
    abandoned: tuple[TransactionHash, ...] = ()
    """Other transactions of this round that a signer may have signed and whose signature comes to nothing here."""


@dataclass(frozen=True, slots=True)
class AskSignature:
    """F3: publish the sign request."""

    request: SignRequest


@dataclass(frozen=True, slots=True)
class RefuseReply:
    """Tell a signer that his reply was not used. At least once."""

    sign_request_id: SignRequestId
    author: str
    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class RefuseApproval:
    """Tell an approver that his answer was not counted. At least once."""

    approval_request_id: ApprovalRequestId
    author: str
    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class Publish:
    """A fact for everyone entitled. At least once, in order, with a gap-free number per channel.

    `family` and `name` make the routing key `<channel>.<family>.<name>`; `data` is JSON-ready except that
    amounts are integers (the envelope turns those under the names it knows into strings).
    """

    family: str
    name: str
    data: Mapping[str, Any] = field(default_factory=dict)
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Conclude:
    """F5: a command's outcome (or `in_doubt`, later its verdict). Exactly one terminal outcome a command."""

    command_id: CommandId
    command: Command | Direct
    outcome: Outcome
    code: Code | None = None
    sentence: str = ""
    round: int | None = None
    hash: TransactionHash | None = None
    exposure: Mapping[str, Any] | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


Effect = (
    Send
    | Reconnect
    | Rest
    | KeepFsmId
    | KeepState
    | RecordForward
    | Abandon
    | AskSignature
    | RefuseReply
    | RefuseApproval
    | Publish
    | Conclude
)
