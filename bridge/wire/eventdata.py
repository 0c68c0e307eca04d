"""What stands under `data` in the events about our own commands and the peer's operations, as models.

Describes what `bridge.channel` publishes and `envelope.write_data` writes; it builds nothing itself. `wire.reportdata`
has the other events, `wire.event` the list of all. Readers ignore fields they do not know, so within version 1 a field
may be added here and none taken away.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from bridge.channel.request import Tag
from bridge.errors import Code
from bridge.wire.body import Aettos, Instant

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
    message_id: str | None = Field(
        default=None,
        description="Of one that is said at least once; a bridge gives its `command_id`.",
    )


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
    """A command that was told as failed has happened after all; or has not, against an operator's word."""

    command_id: CommandId
    outcome: Literal["succeeded", "failed"] = Field(description="`failed`: an operator had said that it succeeded.")
    round: int | None
    tx_hash: Hash


class AuditHead(EventData):
    """The newest row of the audit, for whoever keeps anchors elsewhere than the bridge."""

    anchor: str = Field(pattern=r"^[0-9]+:[0-9a-f]{64}$", description="Its number and hash, for `audit verify`.")


class Resolved(EventData):
    """An operator settled a command in doubt, on his word."""

    command_id: CommandId
    by: str = Field(description="The operator.")
    outcome: Literal["succeeded", "failed"]
    reason: str = Field(description="For people. Not stable.")
