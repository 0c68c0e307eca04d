"""What travels through the broker: headers and body, on the way out (`Envelope`) and in (`Received`).

Pure data; `bridge.broker` alone turns it into AMQP. The attributes of CloudEvents 1.0 travel in headers
(binary mode) as `ce-…`. What is the same for everything we publish is here: names of exchanges, words of
routing keys, instants, and amounts as decimal strings. Source: design.md section 4.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, JsonValue

UNKNOWN = "_"
"""Stands in a routing key where user or channel is unknown."""
TYPE_PREFIX = "channel-bridge"
"""The default first word of `type`; a deployment may set its reverse-DNS name."""

USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
CHANNEL = re.compile(r"[a-z0-9-]{1,64}")

AMOUNT_WORDS = (
    "aettos",
    "amount",
    "amounts",
    "balance",
    "balances",
    "credit",
    "debit",
    "deposit",
    "deposits",
    "fee",
    "fees",
    "reserve",
    "withdrawal",
    "withdrawals",
)
"""A key that is or ends in one of these words (`_before` and `_after` set aside) names an amount in aettos."""
INSTANT_WORDS = ("at", "deadline", "until")
"""Likewise: a float under such a key is seconds since the epoch and becomes an RFC 3339 text."""
CE_PREFIXES = ("ce-", "cloudEvents:", "cloudEvents_")
"""Before an attribute's name: the RabbitMQ binding, and the two of the AMQP binding."""
UNREADABLE_HEADERS = "x-unreadable-headers"
"""The only header of a message whose headers cannot be decoded: not even whether it came straight is known then."""
MASKED_KEYS = frozenset({"fsm_id", "existing_fsm_id"})
"""Never published, whatever a step put there."""

_AMOUNT = re.compile(rf"(?:.+_)?(?:{'|'.join(AMOUNT_WORDS)})(?:_before|_after)?")
_INSTANT = re.compile(rf"(?:.+_)?(?:{'|'.join(INSTANT_WORDS)})")
_SAFE_INTEGER = 2**53


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message to publish. The same envelope may be published again: only its `message_id` is then new."""

    exchange: str
    routing_key: str
    body: bytes
    headers: Mapping[str, str]
    type: str
    correlation_id: str | None
    timestamp: float
    """Seconds since the epoch."""
    reply_to: str | None = None
    content_type: str = "application/json"
    mandatory: bool = True
    """Whether "nobody takes it" is a failure. Only the copy to a reply address is not mandatory."""

    @property
    def event_id(self) -> str:
        """The stable id to de-duplicate by: the same in every attempt."""
        return self.headers.get("ce-id", "")


@dataclass(frozen=True, slots=True)
class Received:
    """One message as the broker gave it. Nothing in it is trusted but `user_id`, which the broker vouches for."""

    exchange: str
    routing_key: str
    body: bytes
    headers: Mapping[str, object] = field(default_factory=dict)
    user_id: str | None = None
    message_id: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    type: str | None = None
    redelivered: bool = False
    queue: str = ""
    content_type: str | None = None

    @property
    def author(self) -> str:
        """The broker's user who wrote it; `_` if the broker names none, or one whose name tears routing keys."""
        return self.user_id if self.user_id is not None and USER.fullmatch(self.user_id) else UNKNOWN

    def attribute(self, name: str) -> object:
        """A CloudEvents attribute in any of the forms in use over AMQP; None if it is not there."""
        for prefix in CE_PREFIXES:
            if prefix + name in self.headers:
                return self.headers[prefix + name]
        return None


def seal(
    exchange: str,
    routing_key: str,
    body: bytes,
    *,
    source: str,
    event_id: str,
    event_type: str,
    subject: str,
    at: float,
    correlation_id: str | None,
    reply_to: str | None = None,
) -> Envelope:
    """A body with its address and the attributes of CloudEvents 1.0. `event_id` is stable over every attempt."""
    headers = {
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": f"/{source}",
        "ce-type": event_type,
        "ce-subject": subject,
        "ce-time": write_instant(at),
    }
    return Envelope(exchange, routing_key, body, headers, event_type, correlation_id, at, reply_to)


def write_instant(at: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_body(body: BaseModel) -> bytes:
    """A published body as bytes: equal bodies are equal bytes."""
    return write_json(body.model_dump(mode="json"))


def write_json(value: JsonValue) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


def body_digest(body: bytes) -> str:
    """What the next event of the channel carries as `prev`."""
    return hashlib.sha256(body).hexdigest()


def write_word(text: str) -> str:
    """One word of a routing key: a node's own word may hold a dot, which would tear the key."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)[:64] or UNKNOWN


def write_text(text: str) -> str:
    """A text UTF-8 can carry: half a surrogate pair (a node may send one, escaped) becomes `?`."""
    return text.encode("utf-8", "replace").decode()


def write_data(data: Mapping[str, Any]) -> dict[str, JsonValue]:
    """JSON as we publish it: amounts and integers beyond 2^53 as decimal strings, instants as text.

    Raises TypeError for what JSON has no word for: a bug of ours.
    """
    return _write_fields(data, is_amount=False)


def _write_fields(data: Mapping[Any, Any], *, is_amount: bool) -> dict[str, JsonValue]:
    return {write_text(str(key)): _write_field(str(key), value, is_amount=is_amount) for key, value in data.items()}


def _write_field(key: str, value: Any, *, is_amount: bool) -> JsonValue:
    if key in MASKED_KEYS and value is not None:
        return "masked"
    if _INSTANT.fullmatch(key) and isinstance(value, float):
        return write_instant(value)
    return _write_value(value, is_amount=is_amount or _AMOUNT.fullmatch(key) is not None)


def _write_value(value: Any, *, is_amount: bool) -> JsonValue:
    """Below an amount's key every integer is an amount, as in `balances: {initiator: 1, responder: 2}`."""
    match value:
        case None | bool():
            return value
        case str():
            return write_text(value)
        case int():
            return str(int(value)) if is_amount or abs(value) >= _SAFE_INTEGER else int(value)
        case float() if not is_amount:
            return value
        case Mapping():
            return _write_fields(value, is_amount=is_amount)
        case list() | tuple():
            return [_write_value(child, is_amount=is_amount) for child in value]
        case _:
            raise TypeError(f"{type(value).__name__} has no place in a published body")
