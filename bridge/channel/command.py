"""What a client may ask of a channel: the bodies of the command exchange, as frozen models.

Unknown fields are refused. Channel and kind of command come from the routing key and stand in no body.
Amounts are aettos, written as an integer or as a string of digits. `bridge.wire.envelope` reads these from
bytes and checks what a model alone cannot (checksums, sizes, depth).
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

MAX_AMOUNT = 10**27
MAX_DIGITS = 28
MAX_INFO_BYTES = 65_000
MAX_META_BYTES = 16 * 1024
RESERVED_PREFIX = "channel-bridge:"
LETTER_PREFIX = f"{RESERVED_PREFIX}message:"
COMMAND_ID_PATTERN = "[A-Za-z0-9._:-]{1,128}"


def _read_amount(value: Any) -> int:
    """An integer literal or 1 to 28 digits: no sign, fraction, exponent, leading zero or bool."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS:
        if value != "0" and value.startswith("0"):
            raise PydanticCustomError("invalid_amount", "an amount has no leading zero")
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise PydanticCustomError("invalid_amount", "an amount is an integer or a string of 1 to 28 digits")


def _check_payment(value: int) -> int:
    if not 1 <= value <= MAX_AMOUNT:
        raise PydanticCustomError("invalid_amount", "an amount lies between 1 and 10^27 aettos")
    return value


def _check_fee(value: int) -> int:
    if not 0 <= value <= MAX_AMOUNT:
        raise PydanticCustomError("invalid_amount", "a fee lies between 0 and 10^27 aettos")
    return value


def _check_info(value: Any) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("invalid_text", "the info of a message is a string")
    if value.startswith(RESERVED_PREFIX):
        raise PydanticCustomError("invalid_text", "the info of a message may not begin with 'channel-bridge:'")
    if len(value.encode()) > MAX_INFO_BYTES:
        raise PydanticCustomError("invalid_text", "the info of a message has at most 65,000 bytes")
    return value


def _check_meta(value: tuple[str, ...]) -> tuple[str, ...]:
    if any(text.startswith(RESERVED_PREFIX) for text in value):
        raise PydanticCustomError("invalid_field", "a meta text may not begin with 'channel-bridge:'")
    if sum(len(text.encode()) for text in value) > MAX_META_BYTES:
        raise PydanticCustomError("invalid_field", "meta has at most 16 KiB in all")
    return value


_Digits = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,27})$")]
"""How an amount may also be written."""
Payment = Annotated[
    int,
    BeforeValidator(
        lambda value: _check_payment(_read_amount(value)),
        json_schema_input_type=Annotated[int, Field(ge=1, le=MAX_AMOUNT)] | _Digits,
    ),
]
Fee = Annotated[
    int,
    BeforeValidator(
        lambda value: _check_fee(_read_amount(value)),
        json_schema_input_type=Annotated[int, Field(ge=0, le=MAX_AMOUNT)] | _Digits,
    ),
]
AccountText = Annotated[
    str, Field(pattern=r"^ak_[1-9A-HJ-NP-Za-km-z]{38,60}$", description="An account, ak_… with a valid checksum.")
]
CommandIdText = Annotated[str, Field(pattern=f"^{COMMAND_ID_PATTERN}$")]
Info = Annotated[str, BeforeValidator(_check_info)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: ClassVar[str]

    command_id: CommandIdText = Field(description="Your key of it: it counts once, for ever, in one deployment.")
    issued_at: Annotated[AwareDatetime, Field(strict=False)] = Field(
        description="RFC 3339 with its offset; at most 24 hours ago, at most 60 seconds ahead."
    )
    expires_at: Annotated[AwareDatetime | None, Field(strict=False)] = Field(
        default=None, description="It is not begun after this instant."
    )

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and now > self.expires_at


class _Operation(_Body):
    """A command that waits in the channel's line."""

    expect_round: Annotated[int | None, Field(ge=1)] = Field(
        default=None, description="Run only if the latest co-signed round is this one."
    )
    allow_exposed: bool = Field(
        default=False, description="Run it on chain although an earlier transaction may still be used."
    )


class Transfer(_Operation):
    """Move coins off-chain between the two parties. Either may be the sender; both must sign."""

    kind: ClassVar[str] = "transfer"

    from_account: AccountText = Field(alias="from", description="Who pays, ak_…; either party.")
    to_account: AccountText = Field(alias="to", description="Who is paid, ak_…; the other party.")
    amount: Payment = Field(description="Aettos, 1 to 10^27.")
    meta: Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_check_meta)] = Field(
        default=(), description="Texts that both sign with the payment; 16 KiB in all, JSON-RPC only."
    )


class Deposit(_Operation):
    """Move coins from the own account on chain into the channel."""

    kind: ClassVar[str] = "deposit"

    amount: Payment = Field(description="Aettos, 1 to 10^27.")
    fee: Fee | None = Field(default=None, description="The chain's fee, in aettos; else the node chooses.")


class Withdraw(_Operation):
    """Move coins from the channel to the own account on chain."""

    kind: ClassVar[str] = "withdraw"

    amount: Payment = Field(description="Aettos, 1 to 10^27.")
    fee: Fee | None = Field(default=None, description="The chain's fee, in aettos; else the node chooses.")


class Message(_Operation):
    """Send the peer a text through the channel's node. Not a payment, not signed, not kept by the node."""

    kind: ClassVar[str] = "message"

    to_account: AccountText = Field(alias="to", description="The peer, ak_….")
    info: Info = Field(description="The text, at most 65,000 bytes in UTF-8.")
    delivery: Literal["at_most_once", "at_least_once"] = Field(
        default="at_most_once",
        description="Said once, so that it may end `unknown`; or again until the node takes it, with the `command_id` "
        "before the text, by which a bridge drops repeats.",
    )

    @property
    def is_letter(self) -> bool:
        """Said until the node takes it, with a number."""
        return self.delivery == "at_least_once"

    @property
    def letter_head(self) -> str:
        return f"{LETTER_PREFIX}{self.command_id}\n"

    @model_validator(mode="after")
    def _check_letter(self) -> Self:
        if self.is_letter and len((self.letter_head + self.info).encode()) > MAX_INFO_BYTES:
            raise PydanticCustomError("invalid_text", "with its id the info of a message has at most 65,000 bytes")
        return self


class Shutdown(_Operation):
    """Close the channel on chain with the present balances; both must sign."""

    kind: ClassVar[str] = "shutdown"

    fee: Fee | None = Field(default=None, description="The chain's fee, in aettos; else the node chooses.")


class Checkpoint(_Operation):
    """An operator's: co-sign a state that moves nothing, so that no earlier signature of that round counts any more.

    Goes to the head of the channel's line, also past a command that is in doubt or waits for an exposure.
    """

    kind: ClassVar[str] = "checkpoint"


class Resolve(_Body):
    """An operator's: settle a command that is in doubt, on evidence the bridge cannot see. Waits for nothing."""

    kind: ClassVar[str] = "resolve"

    target: CommandIdText = Field(description="The `command_id` of the command in doubt.")
    outcome: Literal["succeeded", "failed"] = Field(description="What the operator knows.")
    reason: Annotated[str, Field(min_length=1, max_length=500)] = Field(description="How he knows; kept in the audit.")


class Query(_Body):
    """Ask for what is known. Does not wait in the channel's line."""

    kind: ClassVar[str] = "query"

    what: Literal["state", "balances", "poi"] = Field(default="state", description="What is asked for.")


Command = Transfer | Deposit | Withdraw | Message | Shutdown | Checkpoint
"""What waits in the channel's line."""
Direct = Query | Resolve
"""What stands outside the line and is given at once."""
COMMANDS: dict[str, type[Command | Direct]] = {
    model.kind: model for model in (Transfer, Deposit, Withdraw, Message, Shutdown, Checkpoint, Resolve, Query)
}
