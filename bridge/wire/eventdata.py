"""What stands under `data` in each event, as models: the published contract's word on every family and name.

Describes what `bridge.channel` publishes and `envelope.write_data` writes; it builds nothing itself. `EVENTS` is the
one list of events: documents and schemas are made from it, and the system tests hold every event they see to it.
Readers ignore fields they do not know, so within version 1 a field may be added here and none taken away.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from bridge.channel.request import Tag
from bridge.channel.terms import Dialect, Role
from bridge.channel.transaction import Kind
from bridge.errors import Code
from bridge.wire.body import Aettos, Instant

ANY = "*"
"""Stands for a name that is the node's own word."""

Whole = Annotated[
    int | Annotated[str, Field(pattern=r"^-?[0-9]+$")],
    Field(description="A whole number; as a text of digits if it is 2^53 or more."),
]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="BLAKE2b-256 of a transaction's inside, hex.")]
CommandId = Annotated[str, Field(description="The command's id.")]
TagText = Annotated[Tag, Field(description="The node's name of what is to be signed.")]


class EventData(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, serialize_by_alias=True)


class Exposure(EventData):
    """What the peer could still use of a failed attempt: until a later round, a used nonce, or the ttl's end."""

    tx_hash: Hash
    round: int | None = Field(default=None, description="Off-chain: a co-signed state of this round or above ends it.")
    nonce: Whole | None = Field(default=None, description="On chain: the use of this nonce ends it.")
    ttl: Whole | None = Field(default=None, description="On chain: the last block that may hold it; 0: none.")


class Ended(EventData):
    """A command of ours ended, or stands in doubt. What it asked for stands beside its outcome."""

    command_id: CommandId
    code: Code | None = Field(description="What went wrong.")
    sentence: str = Field(description="The same for people.")
    round: int | None = Field(description="The latest co-signed round.")
    tx_hash: Hash | None = Field(description="The transaction it was about.")
    exposure: Exposure | None = Field(description="What the peer could still use of it.")
    from_account: str | None = Field(default=None, alias="from", description="A transfer's payer, ak_….")
    to_account: str | None = Field(default=None, alias="to", description="Who is paid or written to, ak_….")
    amount: Aettos | None = None
    fee: Aettos | None = None
    info: str | None = Field(default=None, description="The text of a message.")


class Acknowledged(EventData):
    """The peer's operation that we signed is co-signed."""

    round: int | None = Field(description="The round it made.")
    tx_hash: Hash
    from_account: str = Field(alias="from", description="The peer's account, ak_….")
    amount: Aettos | None = Field(description="How much was moved; null for a close.")
    own_change: Whole | None = Field(description="What our balance changed by, in aettos; negative if it fell.")
    own_balance: Aettos | None = Field(description="Our balance afterwards, as far as known.")


class Reverted(EventData):
    """A state that was co-signed counts no more: both sides went back to the one before."""

    round: int | None = Field(description="The round that counts no more.")
    tx_hash: Hash
    own_change: Whole | None = Field(description="What our balance changed by in going back, in aettos.")
    own_balance: Aettos | None = Field(description="Our balance afterwards, as far as known.")
    sentence: str = Field(description="For people. Not stable.")


class MessageReceived(EventData):
    """The peer wrote to us."""

    from_account: str = Field(alias="from", description="Who wrote, ak_….")
    to_account: str = Field(alias="to", description="To whom, ak_….")
    info: str = Field(description="The text.")


class Outflow(EventData):
    """What counts against the limits once this command is on its way."""

    hour_amount: Aettos
    day_amount: Aettos


class CommandStarted(EventData):
    """The node was asked; again with each attempt."""

    command_id: CommandId
    command: str = Field(description="The kind of command.")
    attempt: int = Field(ge=1, description="Counts from 1.")
    approved_by: list[str] = Field(description="The approvers who agreed.")
    outflow: Outflow


class CommandWaiting(EventData):
    """It waits until an earlier transaction can be used no more."""

    command_id: CommandId
    command: str = Field(description="The kind of command.")
    exposed: list[str] = Field(description="The commands whose transactions may still be used.")
    sentence: str = Field(description="For people. Not stable.")


class PolicyDenied(EventData):
    """The channel's policy forbids it; the command fails."""

    command_id: CommandId
    command: str = Field(description="The kind of command.")
    at_stage: Literal["trigger", "forward"] = Field(
        description="Before the node was asked, or before a signature left."
    )
    sentence: str = Field(description="For people. Not stable.")


class ApprovalRequested(EventData):
    """People must agree first: to a command (`command`, `body`), or to a proposal of the peer (`tag`, `tx_hash`, …)."""

    approval_request_id: str = Field(description="The key of this question; the answer repeats it.")
    body_hash: str = Field(description="What is approved; the answer repeats it.")
    requester: str | None = Field(description="Who gave the command; he may not answer.")
    needed: int = Field(description="How many must agree.")
    approvers: list[str] = Field(description="Who may answer.")
    deadline: Instant
    cause: Literal["command", "peer_proposal"] = Field(description="Ours or the peer's.")
    command_id: str | None = Field(description="The command's id; null for a proposal.")
    command: str | None = Field(default=None, description="The kind of command.")
    body: dict[str, JsonValue] | None = Field(default=None, description="The command itself.")
    tag: Tag | None = Field(default=None, description="The node's name of what is to be signed.")
    tx_hash: Hash | None = None
    target_round: int | None = Field(default=None, description="The round it would make.")
    balances_before: dict[str, Aettos] | None = Field(default=None, description="Account to aettos.")
    balances_after: dict[str, Aettos] | None = Field(default=None, description="Account to aettos.")


class ApprovalAnswered(EventData):
    """An approver's answer counts."""

    approval_request_id: str = Field(description="The question's key.")
    body_hash: str = Field(description="What the question is about.")
    by: str = Field(description="The approver.")
    reason: str | None = Field(description="As the approver gave it.")
    given: int = Field(description="How many agreed so far.")
    needed: int = Field(description="How many must.")


class ApprovalRefused(EventData):
    """An answer does not count; its author was told."""

    approval_request_id: str = Field(description="The question's key.")
    by: str = Field(description="Who answered.")
    code: Code
    sentence: str = Field(description="For people. Not stable.")


class ExposureCleared(EventData):
    """A failed command's transaction can be used no more: a later state (`cleared_by`), or the chain (`height`)."""

    command_id: CommandId
    round: int | None = Field(description="The round the transaction was for.")
    tx_hash: Hash
    cleared_by: Hash | None = Field(default=None, description="The transaction that took it its use.")
    height: int | None = Field(default=None, description="The block height seen.")
    nonce: Whole | None = Field(default=None, description="The account's nonce seen at that height.")


class OutcomeCorrected(EventData):
    """A command that was told as failed has happened after all."""

    command_id: CommandId
    outcome: Literal["succeeded"]
    round: int | None
    tx_hash: Hash


class SignRequested(EventData):
    """A signer was asked."""

    sign_request_id: str = Field(description="The question's key.")
    tag: TagText
    cause: Literal["command", "peer_proposal", "opening"] = Field(description="Why it is asked.")
    tx_hash: Hash
    target_round: int | None = Field(description="The round it would make.")
    deadline: Instant
    command_id: str | None


class SignState(EventData):
    """The open question goes on, or ended without a word."""

    sign_request_id: str = Field(description="The question's key.")
    tag: TagText
    tx_hash: Hash


class SignForwarded(SignState):
    """The signature passed every check and goes to the node."""

    signer: str = Field(description="The user who replied.")
    replaces: list[str] | None = Field(default=None, description="As the reply says it.")


class SignEnded(SignState):
    """No signature was used, for this reason."""

    reason: str = Field(description="For people. Not stable.")


class SignExpiring(EventData):
    """Half, or four fifths, of the time to the deadline has passed."""

    sign_request_id: str = Field(description="The question's key.")
    tag: TagText
    deadline: Instant
    elapsed_percent: Literal[50, 80]


class NotAsked(EventData):
    """The node asked for a signature and no signer was: something else was outstanding, or nothing was expected."""

    tag: TagText


class NotAskedBecause(NotAsked):
    """The node asked for a signature and no signer was, for this reason."""

    sentence: str = Field(description="For people. Not stable.")


class SignDenied(NotAskedBecause):
    """The policy or an approver forbids it: no signer was asked, or what he signed is not used."""

    sign_request_id: str | None = Field(default=None, description="The question's key, if a signer was asked.")
    tx_hash: Hash | None = None
    code: Code | None = Field(default=None, description="If it failed for want of approvals.")
    by: str | None = Field(default=None, description="The approver who refused.")


class Withheld(NotAskedBecause):
    """A signature came in time and was stored too late: it was not sent."""

    tx_hash: Hash


class ChainTransaction(EventData):
    """The node saw a transaction of this channel, on its way or in a block."""

    info: str | None = Field(description="The node's word on it, e.g. `deposit_tx`, `channel_changed`.")
    type: Kind = Field(description="The kind of transaction.")
    tx: str = Field(description="The transaction, tx_….")
    tx_hash: Hash
    amount: Aettos | None
    fee: Aettos | None
    nonce: Whole | None


class NodeInfo(EventData):
    """The node's own word."""

    event: str


class NodeLeft(EventData):
    """The node says that a party left the channel, which goes on living."""


class CosignedState(EventData):
    """A new state is signed by both: the channel's truth."""

    round: int
    tx_hash: Hash
    signed_tx: str = Field(description="The co-signed transaction, tx_…: evidence.")


class Proven(EventData):
    """The proof of inclusion of the latest state's balances, kept for a close without the node."""

    round: int
    tx_hash: Hash
    poi: str = Field(description="The node's proof, pi_….")


class ClosedOnChain(EventData):
    """The chain holds the closing transaction."""

    tx_hash: Hash


class ConflictReported(EventData):
    """The node says that an operation met another one, or was refused."""

    round: Whole
    code: Whole = Field(description="The node's number.")
    message: str


class RequestRefused(EventData):
    """The node refused what we asked."""

    codes: list[Whole] = Field(description="The node's numbers.")
    reasons: list[str] = Field(description="Neutral words for them, the same in each dialect.")
    request: str | None = Field(description="The refused request, where the node repeats it.")


class ChannelErrored(EventData):
    """The node reports an error of the channel."""

    message: str


class LinkAttached(EventData):
    """The first attach of an opening."""

    role: Role
    dialect: Dialect


class LinkDetached(EventData):
    """The socket is gone."""

    code: int | None = Field(description="The WebSocket's close code; 1006 if it was cut.")
    sentence: str = Field(description="For people. Not stable.")
    quiet_seconds: float = Field(description="How long the bridge waits at least before it attaches again.")


class LinkReattached(EventData):
    """The channel answers again."""

    blind_seconds: float = Field(description="How long nothing could be seen of it.")
    reestablished: bool = Field(description="Whether the node made a new session of it.")
    round: int
    tx_hash: Hash | None
    initiator_balance: Aettos | None
    responder_balance: Aettos | None


class LinkUnreachable(EventData):
    """A connect failed; it is tried again."""

    attempts: int = Field(description="How many in a row.")
    sentence: str = Field(description="For people. Not stable.")
    code: Code


class Sentence(EventData):
    """For an operator to read."""

    sentence: str = Field(description="For people. Not stable.")


class ForeignState(Sentence):
    """The node holds a state we never signed, or an older one than ours: the channel stops."""

    round: int | None = Field(description="Of the node's state.")
    tx_hash: Hash
    signed_tx: str = Field(description="The node's state, tx_….")


class RecoveryRequired(Sentence):
    """Only a close on chain is left: with the latest co-signed state and a proof of balances, as far as kept."""

    round: int
    signed_tx: str | None = Field(description="The latest co-signed state, tx_….")
    tx_hash: Hash | None
    initiator_balance: Aettos | None
    responder_balance: Aettos | None
    proven_round: int | None = Field(description="The round of the latest proof of inclusion.")
    proven_signed_tx: str | None = Field(description="The co-signed state it proves.")
    poi: str | None = Field(description="The proof, pi_….")


class AbandonedStateUsed(EventData):
    """A transaction that was refused or met a conflict was co-signed or mined after all."""

    command_id: CommandId
    round: int | None
    tx_hash: Hash


class Halted(Sentence):
    """A bug of the bridge: this channel goes no further, the others do."""

    round: int


class Unroutable(Sentence):
    """The broker has no place for what this channel has to publish; it waits in the outbox."""

    routing_key: str


class Resolved(EventData):
    """An operator settled a command in doubt, on his word."""

    command_id: CommandId
    by: str = Field(description="The operator.")
    outcome: Literal["succeeded", "failed"]
    reason: str = Field(description="For people. Not stable.")


class Unhandled(EventData):
    """A node message nobody knows; the frame stands under `raw`."""

    method: str = Field(description="The node's word for it.")


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the contract. `data` describes what stands under that key."""

    family: str
    name: str
    data: type[EventData]

    @property
    def is_open(self) -> bool:
        """Whether the name is the node's own word."""
        return self.name == ANY


def _events(family: str, names: Mapping[str, type[EventData]]) -> tuple[Event, ...]:
    return tuple(Event(family, name, data) for name, data in names.items())


_OWN: Mapping[str, type[EventData]] = {"succeeded": Ended, "failed": Ended, "in_doubt": Ended}
_PEERS: Mapping[str, type[EventData]] = {"acknowledged": Acknowledged, "reverted": Reverted}

EVENTS: tuple[Event, ...] = (
    *_events("transfer", {**_OWN, "received": Acknowledged, "reverted": Reverted}),
    *_events("deposit", {**_OWN, **_PEERS}),
    *_events("withdraw", {**_OWN, **_PEERS}),
    *_events("shutdown", {**_OWN, **_PEERS}),
    *_events("message", {"succeeded": Ended, "failed": Ended, "unknown": Ended, "received": MessageReceived}),
    *_events("checkpoint", _OWN),
    *_events("resolve", {"succeeded": Ended, "failed": Ended}),
    *_events(
        "command",
        {
            "started": CommandStarted,
            "waiting": CommandWaiting,
            "policy_denied": PolicyDenied,
            "approval_requested": ApprovalRequested,
            "approval_given": ApprovalAnswered,
            "approval_denied": ApprovalAnswered,
            "approval_refused": ApprovalRefused,
            "exposure_cleared": ExposureCleared,
            "outcome_corrected": OutcomeCorrected,
        },
    ),
    *_events(
        "sign",
        {
            "requested": SignRequested,
            "forwarded": SignForwarded,
            "expiring": SignExpiring,
            "expired": SignState,
            "refused": SignEnded,
            "withdrawn": SignEnded,
            "suspended": SignEnded,
            "resumed": SignState,
            "withheld": Withheld,
            "misbehaved": SignState,
            "mismatch": NotAskedBecause,
            "denied": SignDenied,
            "busy": NotAsked,
            "unexpected": NotAsked,
            "lapses": NotAskedBecause,
        },
    ),
    *_events("chain", {ANY: ChainTransaction}),
    *_events(
        "info",
        {"state": CosignedState, "proof": Proven, "closed_on_chain": ClosedOnChain, "leave": NodeLeft, ANY: NodeInfo},
    ),
    *_events("conflict", {"reported": ConflictReported}),
    *_events("error", {"request": RequestRefused, "channel": ChannelErrored}),
    *_events(
        "link",
        {
            "attached": LinkAttached,
            "detached": LinkDetached,
            "reattached": LinkReattached,
            "unreachable": LinkUnreachable,
        },
    ),
    *_events(
        "alarm",
        {
            "recovery_required": RecoveryRequired,
            "foreign_state": ForeignState,
            "abandoned_state_used": AbandonedStateUsed,
            "owner_conflict": Sentence,
            "protocol_violation": Sentence,
            "invariant_violation": Halted,
            "event_unroutable": Unroutable,
        },
    ),
    *_events("audit", {"resolved": Resolved}),
    *_events("unhandled", {ANY: Unhandled}),
)
"""Every event there is, in the order of the documents."""

_BY_NAME = {(event.family, event.name): event for event in EVENTS}


def find_event(family: str, name: str) -> Event | None:
    """The line this event stands on; None if the contract does not know it."""
    return _BY_NAME.get((family, name)) or _BY_NAME.get((family, ANY))
