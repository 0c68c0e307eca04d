"""What the bridge knows of one channel: one immutable value, stored whole at every step.

It holds the head of the channel's line and nothing of the backlog (that is the journal's inbox), so it stays
small. `encode` and `decode` are its stored form; the version in it is checked at every start.
"""

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, TypeAdapter

from bridge.channel.books import EMPTY, Books
from bridge.channel.command import COMMANDS, Command, Direct, Query
from bridge.channel.identifier import (
    Account,
    ApprovalRequestId,
    ChannelId,
    CommandId,
    RequestId,
    SignRequestId,
    TransactionHash,
)
from bridge.channel.input import SignReplied
from bridge.channel.outflow import NOTHING, Outflow
from bridge.channel.request import Tag
from bridge.channel.transaction import Transaction, Update
from bridge.errors import Code, JournalUnavailable

VERSION = 2


def _dump_command(command: Command | Direct) -> dict[str, Any]:
    return {"kind": command.kind, "body": command.model_dump(mode="json", by_alias=True)}


def _load_command(value: Any) -> Command | Direct:
    if isinstance(value, dict):
        return COMMANDS[value["kind"]].model_validate(value["body"], strict=False)
    command: Command | Direct = value
    return command


StoredCommand = Annotated[Command, PlainValidator(_load_command), PlainSerializer(_dump_command)]
StoredQuery = Annotated[Query, PlainValidator(_load_command), PlainSerializer(_dump_command)]


class Phase(StrEnum):
    """How far the channel is. `LOST`: only an operator, or a close on chain, can help."""

    NEW = "new"
    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    LOST = "lost"


class Attachment(StrEnum):
    """How far the link is: a socket is not yet a channel that answers."""

    DOWN = "down"
    CONNECTED = "connected"
    REESTABLISHING = "reestablishing"
    """The node has restarted the FSM; nothing counts before it reports `open` again."""
    ASKING = "asking"
    """The state query of a take-over is on its way."""
    READY = "ready"


class Stage(StrEnum):
    """A command's place on its way (guarantees.md section 2)."""

    JOURNALED = "journaled"
    SENT = "sent"
    AWAITING_SIGN = "awaiting_sign"
    SIGNED_SENT = "signed_sent"
    IN_DOUBT = "in_doubt"


class Purpose(StrEnum):
    """Why a question was put to the node, and so what its answer settles."""

    TAKE_OVER = "take_over"
    REESTABLISH = "reestablish"
    """As `TAKE_OVER`, and both sides have just agreed on the state: what is not in it did not happen."""
    RECHECK = "recheck"
    PROBE = "probe"
    BALANCES = "balances"
    HISTORY = "history"
    COUNT = "count"
    """Which conflicts the node remembers: later ones are then told from these."""
    PROBE_ACK = "probe_ack"
    """A proposal of the peer that was asked for before the gap is refused rather than left to block the channel."""
    LOOK = "look"
    """A probe while nothing is known to be lost: a report that does not come may have been."""
    LOOK_ACK = "look_ack"
    CROSSED = "crossed"
    """A signed reply of ours crossed a conflict: where does the node stand (rule 4)?"""
    PROOF = "proof"
    RECEIPT = "receipt"
    QUERY = "query"


UNSETTLED = (
    *(Purpose.PROBE, Purpose.TAKE_OVER, Purpose.REESTABLISH, Purpose.RECHECK, Purpose.HISTORY),
    *(Purpose.COUNT, Purpose.PROBE_ACK, Purpose.LOOK, Purpose.LOOK_ACK, Purpose.CROSSED),
)
"""Questions whose answer may settle something: until then nothing is proposed, signed or triggered."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A question to the approvers: may this be done? Answered by people the channel's policy names."""

    approval_request_id: ApprovalRequestId
    body_hash: str
    """Of the command, or the hash of the peer's transaction: what an approval must name."""
    requester: str
    """Whose own approval does not count. Empty: the peer, who is no user of our broker."""
    deadline: float
    approved_by: tuple[str, ...] = ()
    denied_by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """The one command of ours that left the line. At most one a channel (I1)."""

    command: StoredCommand
    stage: Stage = Stage.JOURNALED
    attempt: int = 0
    collisions: int = 0
    """Attempts that met another operation. Those a lost link voided are not among them."""
    base_round: int = 0
    request_id: RequestId | None = None
    since: float = 0.0
    """When it entered its stage."""
    triggered_at: float = 0.0
    not_before: float = 0.0
    """No trigger before this instant: the pause after a conflict."""
    transaction: Transaction | None = None
    """What we were asked to sign; after `SIGNED_SENT` what the peer may hold."""
    signed_before: tuple[Transaction, ...] = ()
    """What earlier attempts signed and handed over before they were voided: the peer may still use one."""
    recheck_at: float | None = None
    """When to ask the node's state again: the report of the outcome may have gone to a lost socket."""
    doubt: Code | None = None
    is_half_signed: bool = False
    """In doubt, and when last asked the node still held it half-signed: nothing may be put behind it."""
    is_passed: bool = False
    """In doubt, and on record as abandoned: another transaction of its round may be signed."""
    waits_for_exposure: bool = False
    """Told once that it waits until an earlier transaction can no longer be used."""
    author: str = ""
    body_hash: str = ""
    approval: Approval | None = None
    """Asked for while it was journaled. It holds for every attempt: they are of one command."""

    @property
    def is_to_repeat(self) -> bool:
        """A letter whose node never said that it took it: `SENT`, and nothing of it on its way."""
        return self.stage is Stage.SENT and self.request_id is None

    @property
    def handed_over(self) -> tuple[Transaction, ...]:
        """Every transaction of this command that bears our signature outside this process."""
        is_out = self.stage in (Stage.SIGNED_SENT, Stage.IN_DOUBT) and self.transaction is not None
        return (*self.signed_before, *((self.transaction,) if is_out and self.transaction is not None else ()))


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """The sign request a signer is busy with. At most one a channel."""

    sign_request_id: SignRequestId
    tag: Tag
    transaction: Transaction
    updates: tuple[Update, ...] | None
    cause: str
    opened_at: float
    deadline: float
    announced: int = 0
    """How many of the two warnings (50 %, 80 %) were given."""
    bad_replies: int = 0
    approval: Approval | None = None
    """A proposal that people must agree to first: no signer is asked before."""
    is_asked: bool = True
    """Whether the signer was asked."""


@dataclass(frozen=True, slots=True)
class PutAside:
    """A transaction a signer was asked to sign and may have signed, whatever became of it; see `abandonment`."""

    round: int | None
    """None for a mutual close."""
    hash: TransactionHash


@dataclass(frozen=True, slots=True)
class Settling:
    """A signature we gave to a peer's proposal or to the opening, not yet seen co-signed."""

    tag: Tag
    transaction: Transaction
    updates: tuple[Update, ...] | None
    since: float
    recheck_at: float | None = None
    """When to ask the node whether it ever got it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to the node that has no answer yet."""

    request_id: RequestId
    purpose: Purpose
    kind: str
    """The request's class name: legacy answers are matched by it."""
    since: float
    query: StoredQuery | None = None


@dataclass(frozen=True, slots=True)
class Exposure:
    """A transaction of ours the peer may still use: cleared by another co-signed state of that round or above."""

    command_id: CommandId
    round: int | None
    hash: TransactionHash
    nonce: int | None = None
    ttl: int | None = None
    account: Account | None = None
    """Whose nonce."""
    moved: tuple[int, int] | None = None
    """What it would do to the initiator's and the responder's balance, in aettos."""


@dataclass(frozen=True, slots=True)
class Proven:
    """The rescue kit: a co-signed state and the node's proof of the balances in it. Together they close on chain."""

    round: int
    signed_tx: str
    poi: str
    balances: tuple[int, int] | None = None
    """What the node then named as the initiator's and the responder's."""


@dataclass(frozen=True, slots=True)
class State:
    """Amounts in aettos; instants in seconds since the epoch, by the process's steady clock."""

    phase: Phase = Phase.NEW
    attachment: Attachment = Attachment.DOWN
    channel_id: ChannelId | None = None
    round: int = 0
    cosigned: Transaction | None = None
    initiator_balance: int | None = None
    responder_balance: int | None = None
    operation: Operation | None = None
    parked: tuple[Operation, ...] = ()
    """Commands that another one went past, the latest last: that is the operation again when the other has ended."""
    open_request: OpenRequest | None = None
    suspended: OpenRequest | None = None
    """A request whose socket was lost while the signer was busy: the identical one takes its place again."""
    held: SignReplied | None = None
    """The signer's answer to the suspended request."""
    closed_approval: ApprovalRequestId | None = None
    """The latest request for approval that was settled, as `closed_request`."""
    closed_request: SignRequestId | None = None
    """The latest sign request that was settled, so that a reply that comes again is told `late`, not `unknown`."""
    put_aside: tuple[PutAside, ...] = ()
    """Of the co-signed round and above, oldest first: what signers were asked about and are not any more."""
    settling: Settling | None = None
    given: tuple[Settling, ...] = ()
    """Acknowledgements of ours the node called void: the peer may hold them fully co-signed all the same."""
    asked: tuple[Asked, ...] = ()
    latest_given: Settling | None = None
    """The acknowledgement that made the latest state, and `before` the state before it: a reestablish can undo it."""
    before: Transaction | None = None
    exposures: tuple[Exposure, ...] = ()
    vouched: tuple[Exposure, ...] = ()
    """What an operator said has succeeded, until a state of its round is co-signed: the node may yet show it."""
    split_round: int = 0
    """Of a co-signed state the peer holds and we lack (rule 9); 0: both stand together as far as we know."""
    conflict_mark: str = ""
    """The node's time of the newest conflict when its memory was last read."""
    pace: float = 0.0
    """How long our latest operation took from its trigger to its co-signed state, in seconds."""
    proven: Proven | None = None
    proof_not_before: float = 0.0
    cosigned_at: float = 0.0
    peer_is_away: bool = False
    peer_awaited_until: float | None = None
    """A new attach is not told whether the peer came back meanwhile: past this instant we assume he did."""
    reestablished: bool = False
    """The FSM was born of a reestablish: it dies with its socket, and a too early attach can lose the channel."""
    presented: str = ""
    """Fingerprint of the credential the present socket was opened with."""
    connected_at: float = 0.0
    """When the present socket was opened."""
    quiet_until: float = 0.0
    """No attach before this instant: a node that may still hold the old socket would begin a second FSM."""
    tried_from: float = 0.0
    """When the latest outage began, and the time in it for which we kept quiet: nothing is tried in vain then."""
    down_since: float | None = None
    back_at: float = 0.0
    """When the channel last began to answer after a gap."""
    failed_attaches: int = 0
    agreed_at: float | None = None
    """When both sides were reported to have agreed again: `open` follows at once, or was lost."""
    refusals: int = 0
    """Attaches in a row the node answered by closing the socket: it does not know the channel, or not us."""
    uses_previous: bool = False
    """The node refused the newest credential: the next attach shows the one before it (S1)."""
    drops: tuple[float, ...] = ()
    """When the socket was torn from us lately."""
    bad_frames: tuple[float, ...] = ()
    """When the node lately sent what is no frame."""
    bad_sockets: tuple[float, ...] = ()
    """When such frames lately made us drop a socket."""
    is_suspect: bool = False
    """The present socket is being dropped for them."""
    alarmed: bool = False
    next_request: int = 1
    next_sign: int = 1
    next_approval: int = 1
    outflow: Outflow = NOTHING
    """What went to the peer lately, for the limits of the policy."""
    pause: float = 0.0
    """The present back-off after conflicts, in seconds."""
    pause_until: float = 0.0
    """No trigger before this instant: while the peer is away each one would fail in some milliseconds (rule 8)."""
    books: Books = EMPTY
    mined_close: Transaction | None = None
    """The mutual close, or the settlement of a solo close, that was reported: who got what in the end."""
    heard: tuple[str, ...] = ()
    """Numbers of the peer's letters, the latest last."""
    heard_at: float = 0.0
    """When the FSM last did something: the keep-alive counts from here."""

    @property
    def is_ready(self) -> bool:
        """The channel answers and its latest state is known. `open` alone comes a moment before the state."""
        answers = self.phase is Phase.OPEN and self.attachment is Attachment.READY
        return answers and self.cosigned is not None and not self.peer_is_away

    @property
    def is_over(self) -> bool:
        """Nothing more is to be had from the node: no socket is wanted."""
        return self.phase in (Phase.CLOSED, Phase.LOST)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The one that runs or waits, and those it went past."""
        return self.parked if self.operation is None else (self.operation, *self.parked)

    @property
    def handed_over(self) -> tuple[tuple[Operation, Transaction], ...]:
        """Each transaction of a command that bears our signature outside this process, the earliest command first."""
        in_order = self.parked if self.operation is None else (*self.parked, self.operation)
        return tuple((operation, held) for operation in in_order for held in operation.handed_over)

    @property
    def acknowledged(self) -> tuple[Settling, ...]:
        """Each unsettled signature given to the peer: the one the node works on, then those it called void."""
        return self.given if self.settling is None else (self.settling, *self.given)

    @property
    def is_resumable(self) -> bool:
        """Whether the channel exists as far as we know, so that a new socket resumes and does not open."""
        return self.channel_id is not None and self.phase in (Phase.OPENING, Phase.OPEN, Phase.CLOSING)

    def has_asked(self, *purposes: Purpose) -> bool:
        return any(asked.purpose in purposes for asked in self.asked)


_ADAPTER = TypeAdapter(State)


def encode(state: State) -> bytes:
    """The stored form: one byte of version, then JSON."""
    return bytes([VERSION]) + _ADAPTER.dump_json(state)


def decode(data: bytes) -> State:
    """Raises JournalUnavailable for a version this program does not know: never guess at a state."""
    if data[:1] == bytes([1]):
        return _ADAPTER.validate_json(_from_version_1(data[1:]))
    if not data or data[0] != VERSION:
        raise JournalUnavailable(f"a stored channel state has version {data[:1].hex() or 'none'}, not {VERSION}")
    return _ADAPTER.validate_json(data[1:])


def _from_version_1(text: bytes) -> str:
    """There at most one command could be gone past: `parked` was that command, or null."""
    document = json.loads(text)
    parked = document.get("parked")
    return json.dumps(document | {"parked": [] if parked is None else [parked]})


def mark_down(state: State, now: float) -> State:
    """The link is gone: nothing asked will be answered, and what was open is another's to find again."""
    since = state.down_since if state.down_since is not None else now
    return replace(state, attachment=Attachment.DOWN, asked=(), down_since=since, agreed_at=None, is_suspect=False)
