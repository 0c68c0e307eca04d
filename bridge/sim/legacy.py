"""The dialect of the seed document, seen from the node: `action`, `tag` and `payload` (protocol.md B).

Two profiles. `seed` (0.17 to 0.18): `$` and base58, no `version` and `channel_id` on frames, no queries. `late`
(2.3 to 2.5): today's texts, both fields on each frame, `get` and `leave`.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, assert_never

from bridge.channel.request import Tag
from bridge.channel.terms import Dialect
from bridge.sim.jsonrpc import PONG
from bridge.sim.report import Complaint, Conflict, Delivered, Info, Left, OnChain, Report, SignWanted, Updated
from bridge.sim.request import (
    METHOD_NOT_FOUND,
    OK,
    AskBalances,
    AskProof,
    AskState,
    Leave,
    Message,
    Move,
    Request,
    RequestRefused,
    Shutdown,
    Transfer,
)
from bridge.sim.skin import Asked, Incoming, read_account, read_amount, read_reply
from bridge.wire import encoding
from bridge.wire.reason import write_reason

UNKNOWN_EVENTS = frozenset({"fsm_up", "closing", "timeout", "shutdown", "aborted_update", "peer_disconnected"})
"""Words of later nodes."""
RENAMED_EVENTS = {"closed_confirmed": "close_mutual"}
UNREPORTED = frozenset({"channel_changed", "channel_closed"})
"""On-chain transactions were told once: when they were co-signed."""
SOLO = frozenset({Tag.CLOSE_SOLO, Tag.SLASH, Tag.SETTLE, Tag.SNAPSHOT_SOLO, Tag.FORCE_PROGRESS})
_SIGNED = {tag.value: tag for tag in Tag if tag not in SOLO}


class Legacy:
    """Implements `skin.Skin`, in one of the two profiles."""

    def __init__(self, profile: Dialect) -> None:
        self._is_seed = profile is Dialect.LEGACY_SEED

    def read(self, text: str) -> Incoming:
        """There are no ids: `Asked.id` is the tag the answer carries."""
        try:
            frame = json.loads(text)
        except ValueError:
            return Incoming()
        if not isinstance(frame, dict) or not isinstance(frame.get("action"), str):
            return Incoming()
        asked = self._read(frame)
        if self._is_seed and isinstance(asked.request, RequestRefused) and METHOD_NOT_FOUND in asked.request.codes:
            return Incoming()  # unknown actions were met with silence before 0.24
        return Incoming((asked,))

    def answer(self, asked: Asked, value: Any, channel_id: str | None) -> Any | None:
        if value in (OK, PONG):
            return None
        return self._frame(channel_id, asked.echo["action"], asked.echo.get("tag"), value)

    def refuse(self, asked: Asked | None, refusal: RequestRefused, channel_id: str | None) -> Any:
        request = {} if asked is None else asked.echo
        payload = {"reason": write_reason(refusal.codes[0]), "request": request}
        return self._frame(channel_id, "error", None, payload)

    def report(self, report: Report, channel_id: str | None) -> Any | None:
        match report:
            case Info(event, _) if event in UNKNOWN_EVENTS:
                return None
            case OnChain(info, _, _) if info in UNREPORTED:
                return None
            case _:
                action, tag, payload = self._write(report, channel_id)
                return self._frame(channel_id, action, tag, payload)

    def _frame(self, channel_id: str | None, action: str, tag: str | None, payload: Any) -> dict[str, Any]:
        frame: dict[str, Any] = {"action": action} | ({} if tag is None else {"tag": tag})
        frame |= {} if payload is None else {"payload": payload}
        return frame if self._is_seed else frame | {"channel_id": channel_id, "version": 1}

    def _write(self, report: Report, channel_id: str | None) -> tuple[str, str | None, Any]:
        """Action, tag and payload; a table, one row a report."""
        match report:
            case Info(event, _):
                return "info", None, {"event": RENAMED_EVENTS.get(event, event)}
            case SignWanted(tag, inner, _, _):
                return "sign", tag.value, {"tx": self._spell("tx", inner)}
            case Updated(signed):
                return "update", None, {"state": self._spell("tx", signed)}
            case Conflict(round, _):
                return "conflict", None, {"channel_id": self._respell(channel_id), "round": round}
            case OnChain(_, _, signed):
                return "on_chain_tx", None, {"tx": self._spell("tx", signed)}
            case Delivered(sender, receiver, text):
                parties = {"from": self._respell(sender), "to": self._respell(receiver)}
                message = {"channel_id": self._respell(channel_id), **parties, "info": text}
                return "message", None, {"message": message}
            case Left(signed):
                return "leave", None, {"state": self._spell("tx", signed)}
            case Complaint(text):
                return "error", None, {"message": text}
            case _:
                assert_never(report)

    def _spell(self, prefix: str, data: bytes) -> str:
        return encoding.encode_legacy(prefix, data) if self._is_seed else encoding.encode(prefix, data)

    def _respell(self, text: str | None) -> str | None:
        return text if text is None or not self._is_seed else encoding.to_legacy(text)

    # --- requests -----------------------------------------------------------------------------------------

    def _read(self, frame: dict[str, Any]) -> Asked:
        try:
            request: Request | RequestRefused = self._read_request(frame)
        except RequestRefused as refusal:
            request = refusal
        return Asked(request, frame)

    def _read_request(self, frame: dict[str, Any]) -> Request:
        action, tag, payload = frame["action"], frame.get("tag"), frame.get("payload") or {}
        if not isinstance(payload, dict):
            raise RequestRefused(METHOD_NOT_FOUND)
        if tag is None and action in _SIGNED:
            return read_reply(_SIGNED[action], _field(payload, "tx"))
        known = _SEED_REQUESTS if self._is_seed else _SEED_REQUESTS | _LATE_REQUESTS
        if (action, tag) not in known:
            raise RequestRefused(METHOD_NOT_FOUND)
        return known[action, tag](payload)


def _field(payload: Mapping[str, Any], name: str) -> Any:
    if name not in payload:
        raise RequestRefused(METHOD_NOT_FOUND)
    return payload[name]


def _read_transfer(payload: Mapping[str, Any]) -> Request:
    sender, receiver = read_account(_field(payload, "from")), read_account(_field(payload, "to"))
    return Transfer(sender, receiver, read_amount(_field(payload, "amount")))


def _read_message(payload: Mapping[str, Any]) -> Request:
    return Message(read_account(_field(payload, "to")), str(_field(payload, "info")))


def _read_accounts(payload: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(map(read_account, _field(payload, "accounts")))


_Table = dict[tuple[str, str | None], Callable[[Mapping[str, Any]], Request]]

_SEED_REQUESTS: _Table = {
    ("update", "new"): _read_transfer,
    ("deposit", None): lambda payload: Move("OffChainDeposit", read_amount(_field(payload, "amount"))),
    ("withdraw", None): lambda payload: Move("OffChainWithdrawal", read_amount(_field(payload, "amount"))),
    ("message", None): _read_message,
    ("shutdown", None): lambda _: Shutdown(),
}
_LATE_REQUESTS: _Table = {
    ("leave", None): lambda _: Leave(),
    ("get", "offchain_state"): lambda _: AskState(),
    ("get", "balances"): lambda payload: AskBalances(_read_accounts(payload)),
    ("get", "poi"): lambda payload: AskProof(_read_accounts(payload)),
}
