"""The dialect of nodes since 3.0: JSON-RPC 2.0 with `channels.*` methods (protocol.md C), seen from the node."""

import json
from collections.abc import Callable, Mapping
from typing import Any, assert_never

from bridge.channel.request import Tag
from bridge.sim.history import conflict_text
from bridge.sim.report import Complaint, Conflict, Delivered, Info, Left, OnChain, Report, SignWanted, Updated
from bridge.sim.request import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    OK,
    Abort,
    AskBalances,
    AskHistory,
    AskProof,
    AskState,
    Leave,
    Message,
    Move,
    Ping,
    Request,
    RequestRefused,
    Shutdown,
    Transfer,
)
from bridge.sim.skin import NO_ID, Asked, Incoming, read_account, read_amount, read_integer, read_reply, write_update
from bridge.wire import encoding, transaction

REJECTED = 3
INVALID_META = 1014
MAX_ABORT_CODE = 65_535
PONG = {"action": "system", "tag": "pong"}

TEXTS: Mapping[int, str] = {
    REJECTED: "Rejected",
    METHOD_NOT_FOUND: "Method not found",
    INTERNAL_ERROR: "Internal error",
    INVALID_REQUEST: "Invalid request",
    100: "X doesn't exist",
    105: "Value too low",
    108: "Not ready",
    1001: "Insufficient balance",
    1002: "Negative amount",
    1003: "Invalid pubkeys",
    1005: "Broken encoding: account pubkey",
    1008: "Not a number",
    1010: "Broken encoding: transaction",
    1011: "Participant not found",
    INVALID_META: "Invalid meta object",
    1016: "Invalid fsm id",
    1018: "Not allowed at current channel state",
    2000: "Missing field: existing_fsm_id",
}
_REPLIES = {tag.value: tag for tag in Tag}


class JsonRpc:
    """Implements `skin.Skin`."""

    def read(self, text: str) -> Incoming:
        try:
            value = json.loads(text)
        except ValueError:
            return Incoming()
        frames = value if isinstance(value, list) else [value]
        return Incoming(tuple(_read(frame) for frame in frames if _is_request(frame)))

    def answer(self, asked: Asked, value: Any, channel_id: str | None) -> Any | None:
        if asked.id is not NO_ID:
            return _envelope(channel_id, id=asked.id, result=value)
        if value == OK:
            return None
        method = "channels.system.pong" if value == PONG else f"{asked.echo['method']}.reply"
        return _notify(method, channel_id, value)

    def refuse(self, asked: Asked | None, refusal: RequestRefused, channel_id: str | None) -> Any:
        request = {} if asked is None else asked.echo
        request_id = None if asked is None or asked.id is NO_ID else asked.id
        return _envelope(channel_id, id=request_id, error=_write_error(refusal) | {"request": request})

    def report(self, report: Report, channel_id: str | None) -> Any | None:
        method, data = _write_report(report, channel_id)
        return _notify(f"channels.{method}", channel_id, data)


def _envelope(channel_id: str | None, **content: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "version": 1, "channel_id": channel_id, **content}


def _notify(method: str, channel_id: str | None, data: Any) -> dict[str, Any]:
    params = {"channel_id": channel_id, "data": data}
    return {"jsonrpc": "2.0", "version": 1, "method": method, "params": params}


def _write_error(refusal: RequestRefused) -> dict[str, Any]:
    code = refusal.codes[0]
    if code < 0:
        return {"code": code, "message": TEXTS[code]}
    data = [{"code": code, "message": TEXTS.get(code, "Rejected")} for code in refusal.codes]
    return {"code": REJECTED, "message": TEXTS[REJECTED], "data": data}


def _write_report(report: Report, channel_id: str | None) -> tuple[str, dict[str, Any]]:
    """Method (behind `channels.`) and data; a table, one row a report."""
    match report:
        case Info(event, fsm_id):
            return "info", {"event": event} | ({} if fsm_id is None else {"fsm_id": fsm_id})
        case SignWanted(tag, inner, signatures, updates):
            wrapped = encoding.encode("tx", transaction.wrap(signatures, inner))
            return f"sign.{tag}", {"signed_tx": wrapped, "updates": [write_update(update) for update in updates]}
        case Updated(signed):
            return "update", {"state": encoding.encode("tx", signed)}
        case Conflict(round, code):
            about = {"channel_id": channel_id, "round": round}
            return "conflict", about | {"error_code": code, "error_msg": conflict_text(code)}
        case OnChain(info, kind, signed):
            return "on_chain_tx", {"info": info, "type": kind.value, "tx": encoding.encode("tx", signed)}
        case Delivered(sender, receiver, text):
            message = {"channel_id": channel_id, "from": sender, "to": receiver, "info": text}
            return "message", {"message": message}
        case Left(signed):
            return "leave", {"state": encoding.encode("tx", signed)}
        case Complaint(message_text):
            return "error", {"message": message_text}
        case _:
            assert_never(report)


# --- requests -----------------------------------------------------------------------------------------------


def _is_request(frame: Any) -> bool:
    return isinstance(frame, dict) and frame.get("jsonrpc") == "2.0" and isinstance(frame.get("method"), str)


def _read(frame: dict[str, Any]) -> Asked:
    try:
        request: Request | RequestRefused = _read_request(frame["method"], frame.get("params"))
    except RequestRefused as refusal:
        request = refusal
    return Asked(request, frame, frame.get("id", NO_ID))


def _read_request(method: str, params: Any) -> Request:
    """Raises RequestRefused; a known method whose parameters are missing is a method not found."""
    word = method.removeprefix("channels.")
    if word == method or not isinstance(params, dict):
        raise RequestRefused(METHOD_NOT_FOUND)
    if word in _REPLIES:
        return _read_signing(_REPLIES[word], params)
    if word not in _METHODS:
        raise RequestRefused(METHOD_NOT_FOUND)
    required, read = _METHODS[word]
    if not params.keys() >= set(required):
        raise RequestRefused(METHOD_NOT_FOUND)
    return read(params)


def _read_signing(tag: Tag, params: Mapping[str, Any]) -> Request:
    if "signed_tx" in params:
        return read_reply(tag, params["signed_tx"])
    if "error" in params:
        return Abort(tag, _read_abort_code(params["error"]))
    raise RequestRefused(METHOD_NOT_FOUND)


def _read_abort_code(value: Any) -> int:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not text.isdecimal() or not 1 <= int(text) <= MAX_ABORT_CODE:
        raise RequestRefused(INTERNAL_ERROR)
    return int(text)


def _read_transfer(params: Mapping[str, Any]) -> Request:
    sender, receiver = read_account(params["from"]), read_account(params["to"])
    amount = read_amount(params["amount"])
    _check_block_hash(params)
    return Transfer(sender, receiver, amount, _read_meta(params))


def _read_deposit(params: Mapping[str, Any]) -> Request:
    return _read_move("OffChainDeposit", params)


def _read_withdraw(params: Mapping[str, Any]) -> Request:
    return _read_move("OffChainWithdrawal", params)


def _read_move(op: str, params: Mapping[str, Any]) -> Request:
    amount = read_amount(params["amount"])
    _check_block_hash(params)
    return Move(op, amount, _read_option(params, "fee"), _read_option(params, "nonce"), _read_meta(params))


def _read_shutdown(params: Mapping[str, Any]) -> Request:
    return Shutdown(_read_option(params, "fee"), _read_option(params, "nonce"))


def _read_message(params: Mapping[str, Any]) -> Request:
    receiver, text = read_account(params["to"]), params["info"]
    if not isinstance(text, str):
        raise RequestRefused(INVALID_REQUEST)
    return Message(receiver, text)


def _read_balances(params: Mapping[str, Any]) -> Request:
    return AskBalances(_read_accounts(params["accounts"]))


def _read_proof(params: Mapping[str, Any]) -> Request:
    return AskProof(_read_accounts(params.get("accounts", [])))


def _read_history(params: Mapping[str, Any]) -> Request:
    count = None if params.get("n") is None else read_integer(params["n"])
    return AskHistory(count, _read_texts(params.get("type", [])), _read_texts(params.get("tag", [])))


def _read_system(params: Mapping[str, Any]) -> Request:
    if params["action"] != "ping":
        raise RequestRefused(METHOD_NOT_FOUND)
    return Ping()


_METHODS: Mapping[str, tuple[tuple[str, ...], Callable[[Mapping[str, Any]], Request]]] = {
    "update.new": (("from", "to", "amount"), _read_transfer),
    "deposit": (("amount",), _read_deposit),
    "withdraw": (("amount",), _read_withdraw),
    "shutdown": ((), _read_shutdown),
    "leave": ((), lambda _: Leave()),
    "message": (("to", "info"), _read_message),
    "get.offchain_state": ((), lambda _: AskState()),
    "get.balances": (("accounts",), _read_balances),
    "get.poi": ((), _read_proof),
    "history.fetch": ((), _read_history),
    "system": (("action",), _read_system),
}
"""Behind `channels.`: the parameters that must be there, and who reads them."""


def _read_accounts(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise RequestRefused(INTERNAL_ERROR)
    return tuple(map(read_account, value))


def _read_texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise RequestRefused(INTERNAL_ERROR)
    return tuple(value)


def _read_meta(params: Mapping[str, Any]) -> tuple[str, ...]:
    value = params.get("meta", [])
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise RequestRefused(INVALID_META)
    return tuple(value)


def _read_option(params: Mapping[str, Any], name: str) -> int | None:
    """Options of on-chain transactions may also be decimal text."""
    value = params.get(name)
    if value is None:
        return None
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not text.isdecimal():
        raise RequestRefused(INTERNAL_ERROR)
    return int(text)


def _check_block_hash(params: Mapping[str, Any]) -> None:
    """No block can be named: this chain keeps no hashes."""
    if "block_hash" in params:
        raise RequestRefused(INTERNAL_ERROR)
