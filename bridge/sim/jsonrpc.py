"""The dialect of nodes since 3.0: JSON-RPC 2.0 with `channels.*` methods (protocol.md C), seen from the node."""

import json
from collections.abc import Mapping
from typing import Any, assert_never

from bridge.sim.history import conflict_text
from bridge.sim.report import Complaint, Conflict, Delivered, Info, Left, OnChain, Report, SignWanted, Updated
from bridge.sim.request import INTERNAL_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, OK, Request, RequestRefused
from bridge.sim.rpcrequest import read_request
from bridge.sim.skin import NO_ID, Asked, Incoming, write_update
from bridge.wire import encoding, transaction

REJECTED = 3
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
    1014: "Invalid meta object",
    1016: "Invalid fsm id",
    1018: "Not allowed at current channel state",
    2000: "Missing field: existing_fsm_id",
}


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


def _is_request(frame: Any) -> bool:
    return isinstance(frame, dict) and frame.get("jsonrpc") == "2.0" and isinstance(frame.get("method"), str)


def _read(frame: dict[str, Any]) -> Asked:
    try:
        request: Request | RequestRefused = read_request(frame["method"], frame.get("params"))
    except RequestRefused as refusal:
        request = refusal
    return Asked(request, frame, frame.get("id", NO_ID))
