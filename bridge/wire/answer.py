"""What a node answers when asked, typed by its shape: neither dialect repeats the question.

An empty list is `Balances(())`: no account known, or no conflict remembered, look the same (observed in the
recordings); whoever asked knows which. What has no shape of ours stays JSON text. Raises `ValueError`,
`EncodingError` or `TransactionError` when a shape is ours and its content is not.
Source: protocol.md B.4 and C.4; `history.fetch` from observed.md.
"""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from bridge.channel.identifier import Account
from bridge.channel.input import Accepted, Answer, Balances, History, OffchainState, OtherAnswer, Proof
from bridge.wire.mask import mask
from bridge.wire.nodebody import NodeBody
from bridge.wire.report import read_account, read_optional
from bridge.wire.strictjson import write_json


class _Balance(NodeBody):
    account: str
    balance: int


class _State(NodeBody):
    signed_tx: str
    half_signed_tx: str


class _Proof(NodeBody):
    poi: str


class _Conflict(NodeBody):
    error_code: int = 2
    round: Annotated[int | None, Field(ge=0)] = None


class _Entry(NodeBody):
    """One line of the node's memory; only conflict reports have a known `info`."""

    type: str
    tag: str
    info: Any = None
    time: str = ""


_BALANCES = TypeAdapter(list[_Balance])
_ENTRIES = TypeAdapter(list[_Entry])


def read_answer(result: Any) -> Answer:
    """One result of JSON-RPC, or one legacy `get` body."""
    match result:
        case "ok":
            return Accepted()
        case [*entries] if _all_have(entries, {"account", "balance"}):
            return Balances(tuple(map(_read_balance, _BALANCES.validate_python(entries))))
        case [*entries] if _all_have(entries, {"type", "tag", "info"}):
            return History(tuple(_read_conflicts(_ENTRIES.validate_python(entries))))
        case {"signed_tx": _, "half_signed_tx": _}:
            state = _State.model_validate(result)
            return OffchainState(read_optional(state.signed_tx), read_optional(state.half_signed_tx))
        case {"poi": _}:
            return Proof(_Proof.model_validate(result).poi)
        case _:
            return read_other(result)


def read_other(result: Any) -> OtherAnswer:
    """An answer to a request we do not make, or not with an id."""
    return OtherAnswer(mask(write_json(result)))


def _all_have(entries: list[Any], keys: set[str]) -> bool:
    return all(isinstance(entry, dict) and keys <= entry.keys() for entry in entries)


def _read_balance(entry: _Balance) -> tuple[Account, int]:
    return (read_account(entry.account), entry.balance)


def _read_conflicts(entries: list[_Entry]) -> list[tuple[int, int | None, str]]:
    reports = [entry for entry in entries if (entry.type, entry.tag) == ("report", "conflict")]
    conflicts = [(_Conflict.model_validate(entry.info), entry.time) for entry in reports]
    return [(conflict.error_code, conflict.round, time) for conflict, time in conflicts]
