"""The query parameters of a channel's WebSocket, read as the node reads them (protocol.md A.2, A.3).

A missing or malformed parameter drops the client without a word; a value the node understands and does not want
is refused with a code. Unknown parameters are ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bridge.channel.identifier import Account
from bridge.channel.terms import Dialect, Role
from bridge.errors import EncodingError
from bridge.sim.balance import Balances, Parties
from bridge.sim.request import ClientDropped, RequestRefused
from bridge.wire import encoding

IDLE, ACCEPT = 600_000, 120_000
TIMEOUTS: Mapping[str, int] = MappingProxyType(
    {
        "timeout_idle": IDLE,
        "timeout_funding_create": 120_000,
        "timeout_funding_sign": 120_000,
        "timeout_funding_lock": 360_000,
        "timeout_sign": 500_000,
        "timeout_accept": ACCEPT,
        "timeout_initialized": ACCEPT,
        "timeout_awaiting_open": IDLE,
    }
)
"""Milliseconds, the node's own defaults (protocol.md F.1)."""

VALUE_TOO_LOW = 105
ANYBODY = "any"
"""A responder may wait for whoever comes."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How one party wants the channel."""

    role: Role
    port: int
    dialect: Dialect
    initiator: Account | None
    responder: Account
    initiator_amount: int
    responder_amount: int
    push_amount: int
    reserve: int
    lock_period: int
    timeouts: Mapping[str, int]
    ttl: int = 0
    depth: int | None = None
    strategy: str = "txfee"
    keep_running: bool = True
    log_keep: int = 10
    fee: int | None = None
    nonce: int | None = None

    def seconds(self, name: str) -> float:
        return self.timeouts[name] / 1000

    @property
    def balances(self) -> Balances:
        return Balances(self.initiator_amount - self.push_amount, self.responder_amount + self.push_amount)

    def meets(self, other: "Opening") -> bool:
        """Whether an initiator (`other`) is whom this responder waits for."""
        return (
            (self.port, self.dialect, self.responder) == (other.port, other.dialect, other.responder)
            and self.initiator in (None, other.initiator)
        )  # fmt: skip

    def agrees(self, other: "Opening") -> bool:
        """Whether both want the same channel."""
        return self.shared == other.shared

    @property
    def shared(self) -> tuple[int, ...]:
        """What both parties must want alike."""
        return (self.initiator_amount, self.responder_amount, self.push_amount, self.reserve, self.lock_period)

    def parties(self, initiator: Account) -> Parties:
        return Parties(initiator, self.responder, self.reserve)


@dataclass(frozen=True, slots=True)
class Return:
    """How a client comes back to a channel it opened before."""

    role: Role
    channel_id: str
    fsm_id: str | None
    offchain_tx: str | None


def dialect_of(query: Mapping[str, str]) -> Dialect:
    """By `protocol`, or by the names an older client uses: `initiator` before 0.21, `initiator_id` since."""
    match query.get("protocol"):
        case "json-rpc":
            return Dialect.JSON_RPC
        case "legacy":
            return Dialect.LEGACY_LATE
        case None:
            return Dialect.LEGACY_SEED if "initiator" in query or "responder" in query else Dialect.LEGACY_LATE
        case _:
            raise ClientDropped


def is_return(query: Mapping[str, str]) -> bool:
    return "existing_channel_id" in query


def read_return(query: Mapping[str, str]) -> Return:
    role, _ = read_meeting(query)
    try:
        channel_id = encoding.encode("ch", encoding.decode(query["existing_channel_id"], "ch"))
    except EncodingError as error:
        raise ClientDropped from error
    return Return(role, channel_id, query.get("existing_fsm_id"), query.get("offchain_tx"))


def read_opening(query: Mapping[str, str]) -> Opening:
    role, port = read_meeting(query)
    opening = Opening(
        role=role,
        port=port,
        dialect=dialect_of(query),
        initiator=_party(query, "initiator"),
        responder=_expect(_party(query, "responder")),
        initiator_amount=_integer(query, "initiator_amount"),
        responder_amount=_integer(query, "responder_amount"),
        push_amount=_integer(query, "push_amount"),
        reserve=_integer(query, "channel_reserve"),
        lock_period=_integer(query, "lock_period"),
        timeouts={name: _integer(query, name, default) for name, default in TIMEOUTS.items()},
        ttl=_integer(query, "ttl", 0),
        depth=_optional(query, "minimum_depth"),
        strategy=query.get("minimum_depth_strategy", "txfee"),
        keep_running=query.get("keep_running", "true") != "false",
        log_keep=_integer(query, "log_keep", 10),
        fee=_optional(query, "fee"),
        nonce=_optional(query, "nonce"),
    )
    if role is Role.INITIATOR:
        _expect(opening.initiator)
    _check_values(opening)
    return opening


def read_meeting(query: Mapping[str, str]) -> tuple[Role, int]:
    """Role and port, and that an initiator names a host: needed even when the FSM still runs."""
    try:
        role = Role(query["role"])
    except (KeyError, ValueError) as error:
        raise ClientDropped from error
    if role is Role.INITIATOR and "host" not in query:
        raise ClientDropped
    return role, _integer(query, "port")


def _check_values(opening: Opening) -> None:
    lowest = min(opening.balances.initiator, opening.balances.responder)
    signed = (opening.reserve, opening.push_amount, opening.lock_period)
    if min(signed) < 0 or lowest < opening.reserve or opening.initiator_amount < 0 or opening.responder_amount < 0:
        raise RequestRefused(VALUE_TOO_LOW)


def _party(query: Mapping[str, str], name: str) -> Account | None:
    text = query.get(f"{name}_id", query.get(name))
    if text is None:
        raise ClientDropped
    if text == ANYBODY and name == "initiator":
        return None
    try:
        return encoding.account(encoding.account_key(text))
    except EncodingError as error:
        raise ClientDropped from error


def _expect(account: Account | None) -> Account:
    if account is None:
        raise ClientDropped
    return account


def _optional(query: Mapping[str, str], name: str) -> int | None:
    return _integer(query, name) if name in query else None


def _integer(query: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = query.get(name)
    if text is None and default is not None:
        return default
    try:
        return int(text or "")
    except ValueError as error:
        raise ClientDropped from error
