"""The body of every message the bus carries besides commands, as frozen models: the published contract.

`bridge.channel.command` holds the commands. The AsyncAPI document is generated from both, so each field has
a type and a description. Amounts are decimal strings in aettos, beside `"unit": "aetto"`; instants are
RFC 3339 in UTC. What we publish may grow within version 1, so its readers ignore fields they do not know;
a sign reply with an unknown field is refused. Source: design.md section 4, guarantees.md section 7.
"""

import base64
import binascii
from bisect import bisect_right
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from bridge.channel.request import Tag
from bridge.channel.terms import Role, SigningForm
from bridge.channel.transaction import Kind
from bridge.errors import Code, Outcome

Aettos = Annotated[
    str,
    Field(pattern=r"^-?(0|[1-9][0-9]*)$", description="Aettos, a whole number in decimal digits.", examples=["1500"]),
]
Instant = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$",
        description="An instant, RFC 3339 in UTC with milliseconds.",
        examples=["2026-01-02T03:04:05.678Z"],
    ),
]


def _check_signature(text: str) -> str:
    """Its length is judged with the rest of the reply, so that a wrong one counts against the signer."""
    try:
        signature = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise PydanticCustomError("invalid_field", "a signature is base64") from error
    if not signature or base64.b64encode(signature).decode() != text:
        raise PydanticCustomError("invalid_field", "a signature is canonical base64 of some bytes")
    return text


SIGN_REQUEST_ID = r"^[A-Za-z0-9._:-]{1,200}$"


class _Published(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, serialize_by_alias=True)


class UpdateBody(_Published):
    """One operation inside an off-chain update."""

    op: str = Field(description="The node's name, e.g. OffChainTransfer.")
    amount: Aettos | None = Field(default=None, description="What is moved, in aettos.")
    from_account: str | None = Field(default=None, alias="from", description="The account that pays.")
    to_account: str | None = Field(default=None, alias="to", description="The account that is paid.")
    data: str | None = Field(default=None, description="The text of an OffChainMeta.")


class TransactionBody(_Published):
    """The fields of a transaction, decoded. A field the kind does not have is null."""

    kind: Kind = Field(description="The node's name of the transaction type; `opaque` if it cannot be read.")
    hash: str = Field(description="BLAKE2b-256 of the serialized inner transaction, 64 hex digits.")
    channel_id: str | None = Field(default=None, description="The chain's id of the channel, ch_….")
    round: int | None = Field(default=None, description="The round this transaction would make; 1 for a create.")
    amount: Aettos | None = Field(default=None, description="Of a deposit or withdrawal, in aettos.")
    account: str | None = Field(default=None, description="Who deposits, withdraws or closes, ak_….")
    fee: Aettos | None = Field(default=None, description="The chain's fee, in aettos.")
    nonce: int | None = Field(default=None, description="The account's nonce the transaction uses.")
    ttl: int | None = Field(default=None, description="The last block height at which it can be mined; 0: none.")
    initiator: str | None = Field(default=None, description="The initiator's account, ak_….")
    responder: str | None = Field(default=None, description="The responder's account, ak_….")
    initiator_amount: Aettos | None = Field(
        default=None, description="At creation what the initiator puts in, at a close what it gets; in aettos."
    )
    responder_amount: Aettos | None = Field(
        default=None, description="At creation what the responder puts in, at a close what it gets; in aettos."
    )
    channel_reserve: Aettos | None = Field(default=None, description="What each party must keep, in aettos.")
    lock_period: int | None = Field(default=None, description="Blocks a solo close can be disputed.")
    state_hash: str | None = Field(default=None, description="The root of the off-chain state, hex.")
    signatures: tuple[str, ...] = Field(default=(), description="The signatures it already carries, hex.")


class SignRequestBody(_Published):
    """A question to a signer: may this transaction be signed? Repeated as often as needed, byte for byte."""

    sign_request_id: str = Field(pattern=SIGN_REQUEST_ID, description="The key of this question; the reply repeats it.")
    channel: str = Field(description="Our name of the channel's role.")
    channel_id: str | None = Field(description="The chain's id, ch_…; null before the channel is funded.")
    account: str = Field(description="The account that shall sign, ak_….")
    role: Role = Field(description="Which party that account is.")
    tag: Tag = Field(description="The node's name of what is signed.")
    network_id: str = Field(description="The chain the signature is bound to.")
    transaction: str = Field(description="The transaction as text, tx_….")
    form: Literal["unsigned", "half_signed"] = Field(
        description="half_signed: the transaction already carries the peer's signature."
    )
    wrapped: bool = Field(description="Whether `transaction` is a signed_tx rather than the bare transaction.")
    signing_form: SigningForm = Field(description="How `signing_payload` is made of the transaction.")
    signing_payload: str = Field(description="Base64 of exactly the bytes to sign with Ed25519.")
    decoded: TransactionBody = Field(description="What the transaction says, for people and policies.")
    updates: tuple[UpdateBody, ...] | None = Field(
        description="The operations of an off-chain update; null where the node did not tell them."
    )
    balances_before: dict[str, Aettos] | None = Field(description="Account to aettos, as far as known.")
    balances_after: dict[str, Aettos] | None = Field(description="Account to aettos, as far as it can be told.")
    cause: str = Field(description="`command`, `peer_proposal` or `opening`.")
    command_id: str | None = Field(description="The command that caused it, if one of ours did.")
    abandoned: tuple[str, ...] = Field(
        default=(),
        description="Hashes of other transactions of this round, or of other mutual closes, that a signer may have "
        "signed: the bridge will use no signature of theirs, or has the node's evidence against them. Any other signed "
        "for the round still counts.",
    )
    opened_at: Instant = Field(description="When the question was first put.")
    deadline: Instant = Field(description="A reply after this instant is not used.")
    unit: Literal["aetto"] = Field(default="aetto", description="The unit of every amount.")

    @property
    def payload(self) -> bytes:
        """The bytes to sign."""
        return base64.b64decode(self.signing_payload)


class Refusal(BaseModel):
    """Why a signer does not sign."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reason: str = Field(min_length=1, max_length=500, description="For people; ends up in the result.")
    code: str | None = Field(
        default=None, pattern=r"^[a-z][a-z_]{0,63}$", description="A stable word for programs, put before the reason."
    )


class SignReplyBody(BaseModel):
    """A signer's answer: a signature, or the whole signed transaction, or a refusal. Exactly one of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sign_request_id: str = Field(pattern=SIGN_REQUEST_ID, description="The key of the question.")
    signature: Annotated[str, AfterValidator(_check_signature)] | None = Field(
        default=None, description="Base64 of the 64 bytes of the Ed25519 signature over `signing_payload`."
    )
    signed_tx: str | None = Field(
        default=None, pattern=r"^tx[_$][\x21-\x7e]+$", description="The signed transaction, tx_…."
    )
    refusal: Refusal | None = Field(default=None, description="The signer does not sign.")
    replaces: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...] | None = Field(
        default=None,
        strict=False,
        max_length=256,
        description="Hashes of what the signer had signed for this round, or as this close, before and the request "
        "declared abandoned.",
    )

    @model_validator(mode="after")
    def _check_one(self) -> "SignReplyBody":
        given = sum(answer is not None for answer in (self.signature, self.signed_tx, self.refusal))
        if given == 0:
            raise PydanticCustomError("nothing_given", "a sign reply has a signature, a signed_tx or a refusal")
        if given > 1:
            raise PydanticCustomError("invalid_field", "a sign reply has one of signature, signed_tx, refusal")
        return self

    @property
    def signature_bytes(self) -> bytes | None:
        return None if self.signature is None else base64.b64decode(self.signature)


class ApprovalBody(BaseModel):
    """An approver's answer to `command.approval_requested`. Both ids are copied from there: it counts for no other."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    approval_request_id: str = Field(pattern=r"^[A-Za-z0-9._:-]{1,200}$", description="The key of the question.")
    body_hash: str = Field(pattern=r"^[0-9a-f]{64}$", description="What is approved, as the question names it.")
    decision: Literal["approve", "refuse"] = Field(description="One refusal ends the question.")
    reason: str | None = Field(
        default=None, min_length=1, max_length=500, description="For people; a refusal's ends up in the result."
    )


class CodeClass(StrEnum):
    """The classes of guarantees.md section 7, in its order."""

    REJECTED = "rejected"
    FAILED_UNSIGNED = "failed_unsigned"
    """Failed before any signature: definitely not executed."""
    FAILED_SIGNED = "failed_signed"
    """Failed after a signature: not in the agreed state, evidence attached."""
    IN_DOUBT = "in_doubt"
    UNKNOWN = "unknown"
    SIGN_REPLY_REFUSED = "sign_reply_refused"
    APPROVAL_REFUSED = "approval_refused"
    SERVICE = "service"


# `Code` keeps the order of the taxonomy, so the first code of each class is all there is to know.
_FIRST_CODES = (
    Code.MALFORMED,
    Code.EXPIRED,
    Code.CONFLICT,
    Code.PEER_TIMEOUT,
    Code.DELIVERY_UNKNOWN,
    Code.SIGN_REPLY_INVALID,
    Code.APPROVAL_UNKNOWN,
    Code.PROTOCOL_VIOLATION,
)
_ORDER = tuple(Code)


def classify(code: Code) -> CodeClass:
    """The class a code belongs to."""
    starts = [_ORDER.index(first) for first in _FIRST_CODES]
    return tuple(CodeClass)[bisect_right(starts, _ORDER.index(code)) - 1]


REFUSED = "refused"
"""The outcome of a sign reply or an approval that was not used: neither is a command, `Outcome` has no word for it."""

ResultOutcome = Outcome | Literal["refused"]


class ResultBody(_Published):
    """What became of something its reader wrote to us: a command's outcome, or a refused sign reply or approval."""

    command_id: str | None = Field(description="The command's id; null if none could be read or none is meant.")
    sign_request_id: str | None = Field(default=None, description="For a refused sign reply: its question's key.")
    approval_request_id: str | None = Field(default=None, description="For a refused approval: its question's key.")
    channel: str | None = Field(description="The channel named in the routing key, if it named one.")
    command: str | None = Field(default=None, description="The kind of command, e.g. `transfer`.")
    outcome: ResultOutcome = Field(description="One terminal outcome a command; `in_doubt` gets a verdict later.")
    status: str | None = Field(default=None, description="With `accepted`: how far the first one is.")
    code: Code | None = Field(default=None, description="What went wrong; a stable word to search for.")
    code_class: CodeClass | None = Field(default=None, alias="class", description="The code's class.")
    sentence: str = Field(default="", description="The same for people. Not stable.")
    path: str = Field(default="", description="The field of the body that was wrong, if one was.")
    executed: bool | Literal["unknown"] = Field(description="Whether what was asked for has happened.")
    retryable: bool = Field(default=False, description="Whether it may work without repair under a new id.")
    round: int | None = Field(default=None, description="The co-signed round that holds the effect.")
    tx_hash: str | None = Field(default=None, description="BLAKE2b-256 of the inner transaction, hex: evidence.")
    exposure: dict[str, JsonValue] | None = Field(
        default=None, description="What the peer could still use of a failed attempt, until it is cleared."
    )
    data: dict[str, JsonValue] = Field(default_factory=dict, description="Further facts, by kind of command.")
    duplicate: bool = Field(default=False, description="The id was seen before: this repeats what stands.")
    at: Instant = Field(description="When the outcome was decided.")
    unit: Literal["aetto"] = Field(default="aetto", description="The unit of every amount.")


class EventBody(_Published):
    """A fact about one channel. Gap-free by `seq`, chained by `prev`: repeats are identical byte for byte."""

    channel: str = Field(description="Our name of the channel's role.")
    channel_id: str | None = Field(description="The chain's id, ch_…; null before the channel is funded.")
    seq: int = Field(ge=0, description="The number of this event in its channel, without gaps.")
    prev: str = Field(description="SHA-256 of the previous event's body, hex; shows a gap or an edit.")
    round: int | None = Field(description="The latest co-signed round when it happened.")
    epoch: int = Field(description="Which ownership of the journal wrote it; grows with every start.")
    at: Instant = Field(description="When it happened.")
    family: str = Field(description="The second word of the routing key, e.g. `transfer`.")
    name: str = Field(description="The third word of the routing key, e.g. `succeeded`.")
    data: dict[str, JsonValue] = Field(description="The facts, by family and name.")
    raw: str | None = Field(description="The node's own frame as text, any fsm_id masked; null if none caused it.")
    unit: Literal["aetto"] = Field(default="aetto", description="The unit of every amount.")


class DeadLetterHeaders(_Published):
    """The headers of a dead letter. Its body is what arrived, byte for byte; it was never executed (G7)."""

    code: Code = Field(description="Why it was not accepted.")
    code_class: CodeClass = Field(alias="class", description="The code's class.")
    reason: str = Field(description="The same for people.")
    path: str = Field(default="", description="The field that was wrong, if one was.")
    first_seen: Instant = Field(description="When the bridge read it.")
    source_queue: str = Field(description="The queue it was taken from.")
    source_exchange: str = Field(description="The exchange it was written to.")
    routing_key: str = Field(description="The routing key it was written with: channel and command stand there.")
    author: str = Field(description="The broker's user who wrote it; `_` where unknown.")
