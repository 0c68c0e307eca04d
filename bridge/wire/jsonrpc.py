"""The dialect of today's nodes: JSON-RPC 2.0 with `channels.*` methods (node 3.0 to 7.3).

Text to input and request to text, nothing remembered and nothing decided. Every request carries an id, so
an answer without a whole number for an id is none of ours. Source: protocol.md A.2, A.3 and C, observed.md.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, assert_never

from pydantic import Field

from bridge.channel.identifier import RequestId
from bridge.channel.input import Frame, NodeInput, RequestAnswered, RequestRefused
from bridge.channel.request import (
    AskBalances,
    AskDeposit,
    AskHistory,
    AskProof,
    AskShutdown,
    AskState,
    AskTransfer,
    AskWithdraw,
    Leave,
    NodeRequest,
    Refuse,
    SendMessage,
    SendSignature,
    Tag,
)
from bridge.channel.terms import Role, Terms
from bridge.errors import EncodingError, FrameError, TransactionError
from bridge.wire.answer import read_answer, read_other
from bridge.wire.dialect import Resume
from bridge.wire.mask import excerpt, mask
from bridge.wire.nodebody import NodeBody, describe
from bridge.wire.opening import write_opening
from bridge.wire.reason import name_codes
from bridge.wire.report import REPORTS, TAGS, read_channel_id, read_report, read_sign_request, read_unknown
from bridge.wire.strictjson import ReadFrame, read_frame, write_json

_PREFIX, _SIGN = "channels.", "sign."
_ANSWERS = frozenset(
    {
        "system.pong",
        "get.balances.reply",
        "get.poi.reply",
        "get.offchain_state.reply",
        "get.contract.reply",
        "get.contract_call.reply",
        "dry_run.call_contract.reply",
        "calls_pruned.reply",
        "history.fetch.reply",
    }
)
"""What a node sends to a client that asked without an id. We never do; another client of the role might."""

REPLY_METHODS: dict[Tag, str] = {tag: tag.value for tag in Tag} | {
    Tag.SLASH: "slash_sign",
    Tag.SNAPSHOT_SOLO: "snapshot_solo_sign",
    Tag.FORCE_PROGRESS: "force_progress_sign",
}
"""The method that returns a signature: the request's own name, but for three (protocol.md C.5)."""


class _Params(NodeBody):
    channel_id: str | None = None
    data: Any = None


class _Notification(NodeBody):
    jsonrpc: Literal["2.0"]
    method: str
    params: Any = None


class _Result(NodeBody):
    jsonrpc: Literal["2.0"]
    id: Any = None
    channel_id: str | None = None
    result: Any


class _Detail(NodeBody):
    code: int


class _Error(NodeBody):
    code: int
    data: Annotated[tuple[_Detail, ...], Field(strict=False)] = ()
    request: Any = None


class _Refusal(NodeBody):
    jsonrpc: Literal["2.0"]
    id: Any = None
    channel_id: str | None = None
    error: _Error


class JsonRpc:
    """One dialect: implements `wire.dialect.Codec`."""

    def decode(self, text: str | bytes) -> NodeInput:
        frame = read_frame(text)
        try:
            return _decode(frame)
        except (ValueError, EncodingError, TransactionError) as error:
            raise FrameError(f"not a JSON-RPC frame: {describe(error)}", excerpt(frame.raw), _tag(frame)) from error

    def encode(self, request: NodeRequest) -> str:
        method, params = _write(request)
        return write_json({"jsonrpc": "2.0", "method": _PREFIX + method, "params": params, "id": request.request_id})

    def query(self, terms: Terms, resume: Resume | None) -> Mapping[str, str]:
        """A reconnect is a short request: the node keeps the opening parameters of a channel it knows."""
        meeting = {"protocol": "json-rpc", "role": terms.role.value, "port": str(terms.port)}
        if terms.role is Role.INITIATOR:
            meeting["host"] = terms.host
        if resume is None:
            return meeting | write_opening(terms)
        known = {"existing_channel_id": resume.channel_id}
        return meeting | known | ({} if resume.fsm_id is None else {"existing_fsm_id": resume.fsm_id})

    def is_resumable(self) -> bool:
        return True


def _decode(frame: ReadFrame) -> NodeInput:
    match frame.value:
        case {"method": _}:
            return _read_notification(_Notification.model_validate(frame.value), frame.raw)
        case {"result": _}:
            return _read_result(_Result.model_validate(frame.value), frame.raw)
        case {"error": _}:
            return _read_refusal(_Refusal.model_validate(frame.value), frame.raw)
        case list():
            # A batch answers a batch. We send none, so nobody waits for what is in it; yet it is well-formed.
            return read_unknown("batch", Frame(raw=frame.raw))
        case _:
            raise ValueError("neither a notification nor an answer")


def _tag(frame: ReadFrame) -> str | None:
    """Which signature a frame asks for, however broken the rest of it is."""
    method = frame.value.get("method") if isinstance(frame.value, dict) else None
    word = method.removeprefix(_PREFIX + _SIGN) if isinstance(method, str) else ""
    return word if word != method and word in TAGS else None


def _read_notification(frame: _Notification, raw: str) -> NodeInput:
    word = frame.method.removeprefix(_PREFIX) if frame.method.startswith(_PREFIX) else ""
    tag = TAGS.get(word.removeprefix(_SIGN)) if word.startswith(_SIGN) else None
    if tag is None and word not in REPORTS and word not in _ANSWERS:
        return read_unknown(frame.method, Frame(raw=raw))
    params = _Params.model_validate(frame.params)
    origin = Frame(channel_id=read_channel_id(params.channel_id), raw=raw)
    if tag is not None:
        return read_sign_request(tag, params.data, origin)
    if word in _ANSWERS:
        answer = read_other(params.data)
        return RequestAnswered(channel_id=origin.channel_id, raw=raw, request_id=None, answer=answer)
    return read_report(word, params.data, origin)


def _read_result(frame: _Result, raw: str) -> RequestAnswered:
    request_id = _read_id(frame.id)
    answer = read_other(frame.result) if request_id is None else read_answer(frame.result)
    return RequestAnswered(channel_id=read_channel_id(frame.channel_id), raw=raw, request_id=request_id, answer=answer)


def _read_refusal(frame: _Refusal, raw: str) -> RequestRefused:
    codes = tuple(detail.code for detail in frame.error.data) or (frame.error.code,)
    echo = frame.error.request
    return RequestRefused(
        channel_id=read_channel_id(frame.channel_id),
        raw=raw,
        request_id=_read_id(frame.id),
        codes=codes,
        reasons=name_codes(codes),
        request="" if echo is None else mask(write_json(echo)),
    )


def _read_id(value: object) -> RequestId | None:
    """Ids may be any JSON value; ours are whole numbers."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return RequestId(value)


def _write(request: NodeRequest) -> tuple[str, dict[str, object]]:  # noqa: C901  # a table, one row a request
    """Method and parameters, named and ordered as protocol.md C.4 does."""
    match request:
        case AskTransfer():
            parties = {"from": request.from_account, "to": request.to_account}
            return "update.new", {**parties, "amount": request.amount, **_write_meta(request.meta)}
        case AskDeposit():
            return "deposit", _write_onchain(request)
        case AskWithdraw():
            return "withdraw", _write_onchain(request)
        case AskShutdown():
            return "shutdown", _write_fee(request.fee)
        case SendMessage():
            return "message", {"to": request.to_account, "info": request.info}
        case SendSignature():
            return REPLY_METHODS[request.tag], {"signed_tx": request.signed_tx}
        case Refuse():
            return REPLY_METHODS[request.tag], {"error": request.code}
        case AskState():
            return "get.offchain_state", {}
        case AskBalances():
            return "get.balances", {"accounts": request.accounts}
        case AskProof():
            return "get.poi", {"accounts": request.accounts}
        case AskHistory():
            # The filter is needed: without it the node answers a bare "ok" after a reconnect (observed.md).
            return "history.fetch", {"n": request.count, "type": ["rpt"], "tag": ["conflict"]}
        case Leave():
            return "leave", {}
        case _:
            assert_never(request)


def _write_onchain(request: AskDeposit | AskWithdraw) -> dict[str, object]:
    return {"amount": request.amount, **_write_fee(request.fee), **_write_meta(request.meta)}


def _write_fee(fee: int | None) -> dict[str, object]:
    return {} if fee is None else {"fee": fee}


def _write_meta(meta: tuple[str, ...]) -> dict[str, object]:
    return {"meta": meta} if meta else {}
