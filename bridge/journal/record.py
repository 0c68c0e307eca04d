"""What the journal keeps, row by row. All of it is ours; nothing here comes from outside unchecked.

Frozen data without behaviour: the other rooms speak to the journal in these. Secrets never show in a `repr`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.channel.identifier import ChannelName, CommandId, FsmId
from bridge.wire.envelope import Envelope

JOURNALED, RUNNING, IN_DOUBT = "journaled", "running", "in_doubt"
"""The states in which a command has not ended; every other status is how it ended."""


@dataclass(frozen=True, slots=True)
class InboxRow:
    """A command that was accepted. `status` is `journaled`, `running`, or how it ended (or stands in doubt)."""

    command_id: CommandId
    channel: ChannelName
    kind: str
    author: str
    body_hash: str
    body: bytes
    received_at: float
    reply_to: str | None = None
    correlation_id: str | None = None
    status: str = JOURNALED
    outcome: bytes | None = None
    """The result's body as published, so that a repeated id gets the stored one."""
    position: int = 0
    """Its place in journal order, given by the journal; what is given here is not looked at."""
    traceparent: str | None = None
    """The trace it came with (W3C), carried on by all it causes."""
    tracestate: str | None = None


@dataclass(frozen=True, slots=True)
class NewOutbox:
    """Something to publish. Rows of one lane go out strictly in order."""

    lane: str
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """Something to publish, durable. Ids grow in journal order and are never used twice."""

    id: int
    lane: str
    envelope: Envelope
    created_at: float


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event as published, kept for replay."""

    channel: ChannelName
    seq: int
    event_id: str
    routing_key: str
    type: str
    body: bytes
    headers: Mapping[str, str]
    at: float


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A signature that was handed to the node: what the peer may hold.

    It lives until the node's evidence that it was abandoned is kept: so long no other may stand at its round.
    """

    channel: ChannelName
    round: int | None
    """None: a transaction without one, a shutdown."""
    hash: str
    command_id: str | None
    """None: the peer's proposal, or the opening."""
    tag: str
    signed_tx: str
    epoch: int
    at: float
    attempt: int = 0
    """Which attempt of the command."""
    abandoned_by: str | None = None
    """The evidence, given by `Batch.abandon`; what is given here is not looked at."""
    is_exposed: bool = False
    """Whether the peer may still use it after that; as above."""


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The node has said, or shown, that a signature we handed over comes to nothing at its side."""

    round: int | None
    hash: str
    command_id: str | None
    evidence: str
    """What was seen, in words for whoever reads the ledger later: `conflict 2`, `probe: was pending`."""
    is_exposed: bool
    """False only if it is known that the peer never had it."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that was decided or done, for the auditor. Holds no amount, key or body: it points at them."""

    kind: str
    """What it is about: `command`, `policy`, `check`, `approval`, `sign_request`, `sign_reply`, `forward`,
    `abandonment`, `outcome`, `operator`."""
    verdict: str
    at: float
    """Seconds since 1970; kept in microseconds."""
    author: str | None = None
    """The broker's user whose word it is, or who asked."""
    command_id: str | None = None
    channel: str | None = None
    round: int | None = None
    tx_hash: str | None = None
    code: str | None = None
    reference: str | None = None
    """The sign request or the request for approval it belongs to."""


@dataclass(frozen=True, slots=True)
class PostingRow:
    """One entry of a channel's books, kept for good. What is in `body`: docs/accounting.md."""

    channel: ChannelName
    entry: int
    """Gap-free per channel, from 1."""
    seq: int
    """Of the event that told of it, with its id."""
    event_id: str
    at: float
    """Seconds since 1970."""
    body: bytes
    """The event's data: UTF-8 JSON."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything one step wants kept. Committed whole or not at all. Fields left None are not touched.

    The fields from `state` to `abandon` belong to `channel` and need it.
    """

    channel: ChannelName | None = None
    state: bytes | None = None
    seq: int | None = None
    prev: str | None = None
    fsm_id: FsmId | None = field(default=None, repr=False)
    reestablished: bool | None = None
    cosigned: tuple[int, str] | None = None
    """Round and signed transaction."""
    abandon: tuple[Abandoned, ...] = ()
    """Entered before `ledger`: it makes room for the signature that follows."""
    add_inbox: tuple[InboxRow, ...] = ()
    mark_inbox: tuple[tuple[CommandId, str, bytes | None], ...] = ()
    """Command, status, and the result's body if there is one; a body stored before is kept."""
    outbox: tuple[NewOutbox, ...] = ()
    events: tuple[EventRow, ...] = ()
    ledger: tuple[LedgerRow, ...] = ()
    postings: tuple[PostingRow, ...] = ()
    audit: tuple[AuditEntry, ...] = ()
    """Chained in this order behind everything before."""


@dataclass(frozen=True, slots=True)
class ChannelRecord:
    """What is kept of one channel."""

    name: ChannelName
    state: bytes | None
    seq: int
    prev: str
    fsm_id: FsmId | None = field(default=None, repr=False)
    previous_fsm_id: FsmId | None = field(default=None, repr=False)
    """The one before, for the case that the newest was never taken by the node (S1)."""
    reestablished: bool = False
    cosigned: str | None = None
