"""The requests of the JSON-RPC dialect, seen from the node: a method and its parameters become a question to the FSM.

What the handler finds out by itself is refused here: missing parameters, broken texts, numbers that are none. What
depends on the channel is the FSM's. Source: protocol.md C.4, C.5, C.8.
"""

from collections.abc import Callable, Mapping
from typing import Any

from bridge.channel.request import Tag
from bridge.sim.request import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
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
from bridge.sim.skin import read_account, read_amount, read_integer, read_reply

INVALID_META = 1014
MAX_ABORT_CODE = 65_535
_REPLIES = {tag.value: tag for tag in Tag}


def read_request(method: str, params: Any) -> Request:
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
