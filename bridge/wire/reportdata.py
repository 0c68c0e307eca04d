"""What stands under `data` in the events about signing, the node, the chain and the link, and in the alarms, as models.

The other half of `wire.eventdata`, by the same rules.
"""

from typing import Literal

from pydantic import Field

from bridge.channel.terms import Dialect, Role
from bridge.channel.transaction import Kind
from bridge.errors import Code
from bridge.wire.body import Aettos, Instant
from bridge.wire.eventdata import CommandId, EventData, Hash, TagText, Whole


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
    signed_tx: str = Field(
        description="The co-signed transaction, tx_…: evidence; empty where only a close tells of it."
    )


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
    """A state we never signed, or an older one than ours: the node holds it, or one side closed alone with it."""

    round: int | None = Field(description="Of the node's state; after a close by one side, of ours.")
    tx_hash: Hash
    signed_tx: str = Field(description="The node's state, tx_…; after a close by one side, what was paid out.")


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


class Unhandled(EventData):
    """A node message nobody knows; the frame stands under `raw`."""

    method: str = Field(description="The node's word for it.")
