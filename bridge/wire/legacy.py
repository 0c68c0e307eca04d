"""The dialect of the seed document: `action`, `tag` and `payload`, spoken by nodes before 3.0.

Two profiles: `seed` (0.17 to 0.18: `$`, base58, no queries, nothing to resume) and `late` (2.3 to 2.5: `_`,
base64, `get`, reestablish by `offchain_tx`). Reading takes either; writing speaks the profile's. There is no
request id: an answer has none. Nothing is remembered or decided. Source: protocol.md B and D.
"""

from collections.abc import Mapping
from typing import Any, assert_never

from bridge.channel.input import Answer, Frame, NodeInput, RequestAnswered, RequestRefused
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
from bridge.channel.terms import Dialect, Role, Terms
from bridge.errors import EncodingError, FrameError, TransactionError, UnsupportedInDialect
from bridge.wire import encoding
from bridge.wire.answer import read_answer, read_other
from bridge.wire.dialect import Resume
from bridge.wire.mask import excerpt, mask
from bridge.wire.nodebody import NodeBody, describe
from bridge.wire.opening import write_opening
from bridge.wire.reason import read_reason
from bridge.wire.report import REPORTS, TAGS, read_channel_id, read_report, read_sign_request, read_unknown
from bridge.wire.strictjson import ReadFrame, read_frame, write_json

_QUERIES = frozenset({"balances", "poi", "offchain_state"})
_OTHER_ANSWERS = frozenset({"get", "dry_run", "calls_pruned"})
"""Answers to what we do not ask: contracts, dry runs, pruned calls."""
_SIGNED_TAGS = frozenset(Tag) - {Tag.CLOSE_SOLO, Tag.SLASH, Tag.SETTLE, Tag.SNAPSHOT_SOLO, Tag.FORCE_PROGRESS}
"""Solo closing went over the node's HTTP API."""
_SEED_NAMES = {"initiator_id": "initiator", "responder_id": "responder"}
_ERROR_LENGTH = 200


class _Frame(NodeBody):
    action: str
    tag: str | None = None
    payload: Any = None
    channel_id: str | None = None


class _Refusal(NodeBody):
    reason: str
    request: Any = None


class Legacy:
    """One dialect in one of its two profiles: implements `wire.dialect.Codec`."""

    def __init__(self, profile: Dialect) -> None:
        if not profile.is_legacy:
            raise ValueError(f"{profile} is no profile of the legacy dialect")
        self._is_seed = profile is Dialect.LEGACY_SEED

    def decode(self, text: str | bytes) -> NodeInput:
        frame = read_frame(text)
        try:
            return _decode(frame)
        except (ValueError, EncodingError, TransactionError) as error:
            raise FrameError(f"not a legacy frame: {describe(error)}", excerpt(frame.raw), _tag(frame)) from error

    def encode(self, request: NodeRequest) -> str:
        """The request's id is not sent: the dialect has none."""
        action, tag, payload = self._write(request)
        frame: dict[str, object] = {"action": action}
        if tag is not None:
            frame["tag"] = tag
        if payload is not None:
            frame["payload"] = payload
        return write_json(frame)

    def query(self, terms: Terms, resume: Resume | None) -> Mapping[str, str]:
        """A reestablish repeats every opening parameter beside the latest co-signed transaction."""
        meeting = {"role": terms.role.value, "port": str(terms.port)}
        if terms.role is Role.INITIATOR:
            meeting["host"] = terms.host
        if self._is_seed:
            if resume is not None:
                raise UnsupportedInDialect("a node of this age cannot resume a channel")
            return meeting | _write_seed_opening(terms)
        late = {"protocol": "legacy"} | meeting | write_opening(terms)
        return late if resume is None else late | _write_resume(resume)

    def is_resumable(self) -> bool:
        return not self._is_seed

    def _write(self, request: NodeRequest) -> tuple[str, str | None, object]:  # a table
        """Action, tag and payload (protocol.md B.3)."""
        match request:
            case AskTransfer():
                _refuse_extras(meta=request.meta)
                parties = {"from": self._spell(request.from_account), "to": self._spell(request.to_account)}
                return "update", "new", {**parties, "amount": request.amount}
            case AskDeposit():
                _refuse_extras(fee=request.fee, meta=request.meta)
                return "deposit", None, {"amount": request.amount}
            case AskWithdraw():
                _refuse_extras(fee=request.fee, meta=request.meta)
                return "withdraw", None, {"amount": request.amount}
            case AskShutdown():
                _refuse_extras(fee=request.fee)
                return "shutdown", None, None
            case SendMessage():
                return "message", None, {"info": request.info, "to": self._spell(request.to_account)}
            case SendSignature():
                if request.tag not in _SIGNED_TAGS:
                    raise UnsupportedInDialect(f"this node asks for no {request.tag.value}")
                return request.tag.value, None, {"tx": self._spell(request.signed_tx)}
            case Refuse():
                raise UnsupportedInDialect("this node takes no refusal: silence lets the request lapse")
            case AskState() | AskBalances() | AskProof() | AskHistory() | Leave():
                return self._write_late(request)
            case _:
                assert_never(request)

    def _write_late(
        self, request: AskState | AskBalances | AskProof | AskHistory | Leave
    ) -> tuple[str, str | None, object]:
        if self._is_seed:
            raise UnsupportedInDialect("a node of this age answers no queries and knows no leave")
        match request:
            case AskState():
                return "get", "offchain_state", {}
            case AskBalances():
                return "get", "balances", {"accounts": request.accounts}
            case AskProof():
                return "get", "poi", {"accounts": request.accounts, "contracts": []}
            case AskHistory():
                raise UnsupportedInDialect("this node keeps no history")
            case Leave():
                return "leave", None, None
            case _:
                assert_never(request)

    def _spell(self, text: str) -> str:
        """A key or transaction in the profile's alphabet."""
        return encoding.to_legacy(text) if self._is_seed else text


def _decode(frame: ReadFrame) -> NodeInput:
    if not isinstance(frame.value, dict):
        raise ValueError("not an object")  # noqa: TRY004  # the node's mistake, not a caller's
    body = _Frame.model_validate(frame.value)
    origin = Frame(channel_id=read_channel_id(body.channel_id), raw=frame.raw)
    match body.action, body.tag:
        case "sign", str(tag) if tag in TAGS:
            return read_sign_request(TAGS[tag], body.payload, origin)
        case "sign", None:
            raise ValueError("a sign request without a tag")
        case "error", _ if _is_refusal(body.payload):
            return _read_refusal(_Refusal.model_validate(body.payload), origin)
        case "get", tag if tag in _QUERIES:
            return _answer(origin, read_answer(body.payload))
        case action, _ if action in _OTHER_ANSWERS:
            return _answer(origin, read_other(body.payload))
        case action, _ if action in REPORTS:
            return read_report(action, {} if body.payload is None else body.payload, origin)
        case action, tag:
            return read_unknown(action if tag is None else f"{action}.{tag}", origin)


def _tag(frame: ReadFrame) -> str | None:
    """Which signature a frame asks for, however broken the rest of it is."""
    match frame.value:
        case {"action": "sign", "tag": str(tag)} if tag in TAGS:
            return tag
        case _:
            return None


def _is_refusal(payload: object) -> bool:
    """Two shapes, one action: an answer to a request has a reason, the node's own complaint a message."""
    return isinstance(payload, dict) and "reason" in payload


def _answer(origin: Frame, answer: Answer) -> RequestAnswered:
    return RequestAnswered(channel_id=origin.channel_id, raw=origin.raw, request_id=None, answer=answer)


def _read_refusal(body: _Refusal, origin: Frame) -> RequestRefused:
    codes, reasons = read_reason(body.reason[:_ERROR_LENGTH])
    return RequestRefused(
        channel_id=origin.channel_id,
        raw=origin.raw,
        request_id=None,
        codes=codes,
        reasons=reasons,
        request="" if body.request is None else mask(write_json(body.request)),
    )


def _refuse_extras(*, fee: int | None = None, meta: tuple[str, ...] = ()) -> None:
    """A wish that cannot be sent is refused, not dropped: the caller would believe it was heard."""
    if fee is not None:
        raise UnsupportedInDialect("this node chooses the fee")
    if meta:
        raise UnsupportedInDialect("updates of this dialect carry no meta")


def _write_seed_opening(terms: Terms) -> dict[str, str]:
    opening = {_SEED_NAMES.get(name, name): value for name, value in write_opening(terms).items()}
    accounts = {name: encoding.to_legacy(opening[name]) for name in _SEED_NAMES.values()}
    return opening | accounts


def _write_resume(resume: Resume) -> dict[str, str]:
    known = {"existing_channel_id": str(resume.channel_id)}
    return known if resume.offchain_tx is None else known | {"offchain_tx": resume.offchain_tx}
