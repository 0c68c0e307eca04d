"""What a node tells without being asked, below both envelopes: a word and a body become an input.

Both dialects use the same words and nearly the same bodies (protocol.md B.4, C.2), so equal reports decode to
equal inputs here and nowhere else. Decides nothing: amounts, rounds and accounts are passed on as they stand.
Bodies may grow, unknown fields are ignored. Raises `ValueError`, `EncodingError` or `TransactionError`.
"""

from typing import Annotated, Any

from pydantic import Field

from bridge.channel.identifier import Account, ChannelId, FsmId
from bridge.channel.input import (
    ChainReported,
    ChannelErrored,
    ChannelLeft,
    Conflicted,
    Frame,
    InfoReported,
    MessageReceived,
    NodeInput,
    SignRequested,
    StateUpdated,
    Unhandled,
)
from bridge.channel.request import Tag
from bridge.channel.transaction import Transaction, Update
from bridge.errors import EncodingError
from bridge.wire import encoding, transaction
from bridge.wire.nodebody import NodeBody

REPORTS = frozenset({"info", "update", "conflict", "on_chain_tx", "message", "leave", "error", "debug"})
TAGS = {tag.value: tag for tag in Tag}
_METHOD_LENGTH = 200
_ID_LENGTH = 100
"""Characters. An id has 53 of them; reading base58 costs the square of its length."""


class _Info(NodeBody):
    event: str
    fsm_id: Annotated[str | None, Field(repr=False)] = None


class _State(NodeBody):
    state: str


class _Left(NodeBody):
    state: str | None = None


class _Conflict(NodeBody):
    round: Annotated[int, Field(ge=0)]
    channel_id: str | None = None
    error_code: int = 2
    error_msg: str = "conflict"


class _Chain(NodeBody):
    tx: str
    info: str | None = None


class _Message(NodeBody):
    from_account: Annotated[str, Field(alias="from")]
    to_account: Annotated[str, Field(alias="to")]
    info: str
    channel_id: str | None = None


class _MessageReport(NodeBody):
    message: _Message


class _Error(NodeBody):
    message: str


class _Update(NodeBody):
    """One entry of a sign request's `updates`. What operations on contracts add stays in the raw frame."""

    op: str
    amount: int | None = None
    from_account: Annotated[str | None, Field(alias="from")] = None
    to_account: Annotated[str | None, Field(alias="to")] = None
    data: str | None = None


class _Sign(NodeBody):
    """`signed_tx` since 4.0; `tx`, the bare transaction, before and in legacy. A frame has one of them."""

    signed_tx: str | None = None
    tx: str | None = None
    updates: Annotated[tuple[_Update, ...] | None, Field(strict=False)] = None


def read_report(word: str, body: Any, origin: Frame) -> NodeInput:  # a table, one row a word
    """The input of one report; `word` is one of `REPORTS`, the part both dialects share."""
    channel_id, raw = origin.channel_id, origin.raw
    match word:
        case "info":
            info = _Info.model_validate(body)
            fsm_id = None if info.fsm_id is None else FsmId(info.fsm_id)
            return InfoReported(channel_id=channel_id, raw=raw, event=info.event, fsm_id=fsm_id)
        case "update":
            state = transaction.read(_State.model_validate(body).state)
            return StateUpdated(channel_id=channel_id, raw=raw, transaction=state)
        case "conflict":
            return _read_conflict(_Conflict.model_validate(body), origin)
        case "on_chain_tx":
            chain = _Chain.model_validate(body)
            seen = transaction.read(chain.tx)
            return ChainReported(channel_id=channel_id, raw=raw, transaction=seen, info=chain.info)
        case "message":
            return _read_message(_MessageReport.model_validate(body).message, origin)
        case "leave":
            left = _Left.model_validate(body).state
            return ChannelLeft(channel_id=channel_id, raw=raw, transaction=read_optional(left))
        case "error":
            return ChannelErrored(channel_id=channel_id, raw=raw, message=_Error.model_validate(body).message)
        case "debug":  # off unless somebody switched it on; informative, like an event nobody knows
            return InfoReported(channel_id=channel_id, raw=raw, event="debug")
        case _:
            return read_unknown(word, origin)


def read_sign_request(tag: Tag, body: Any, origin: Frame) -> SignRequested:
    """The node wants a signature. Updates the frame does not list are those the transaction itself holds."""
    sign = _Sign.model_validate(body)
    text = sign.signed_tx if sign.signed_tx is not None else sign.tx
    if text is None:
        raise ValueError("a sign request without a transaction")
    wanted = transaction.read(text)
    listed = wanted.updates if sign.updates is None else tuple(map(_read_update, sign.updates))
    return SignRequested(channel_id=origin.channel_id, raw=origin.raw, tag=tag, transaction=wanted, updates=listed)


def read_unknown(method: str, origin: Frame) -> Unhandled:
    """A node may say what we have no word for."""
    return Unhandled(channel_id=origin.channel_id, raw=origin.raw, method=method[:_METHOD_LENGTH])


def read_channel_id(text: str | None) -> ChannelId | None:
    """A channel's id of any era in today's form. Raises `EncodingError`."""
    if text is None:
        return None
    if len(text) > _ID_LENGTH:
        raise EncodingError("too long for a channel id")
    return ChannelId(encoding.encode("ch", encoding.decode(text, "ch")))


def read_account(text: str) -> Account:
    """An account of any era in today's form; what is no 32-byte key stays the text it was (protocol.md B.6)."""
    if len(text) > _ID_LENGTH:
        return Account(text)
    try:
        return encoding.account(encoding.account_key(text))
    except EncodingError:
        return Account(text)


def read_optional(text: str | None) -> Transaction | None:
    """A transaction where the node writes `""` for none."""
    return transaction.read(text) if text else None


def _read_conflict(body: _Conflict, origin: Frame) -> Conflicted:
    return Conflicted(
        channel_id=origin.channel_id or read_channel_id(body.channel_id),
        raw=origin.raw,
        round=body.round,
        code=body.error_code,
        message=body.error_msg,
    )


def _read_message(body: _Message, origin: Frame) -> MessageReceived:
    return MessageReceived(
        channel_id=origin.channel_id or read_channel_id(body.channel_id),
        raw=origin.raw,
        from_account=read_account(body.from_account),
        to_account=read_account(body.to_account),
        info=body.info,
    )


def _read_update(entry: _Update) -> Update:
    return Update(
        op=entry.op,
        amount=entry.amount,
        from_account=None if entry.from_account is None else read_account(entry.from_account),
        to_account=None if entry.to_account is None else read_account(entry.to_account),
        data=entry.data,
    )
