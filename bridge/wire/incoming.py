"""What others write to us, read strictly: bytes in, a command, sign reply or approval out, or `BodyError`.

Whatever the bytes, nothing but `BodyError` is raised. Of several faults one is told: the first in the order
of guarantees.md section 7 as `_RANK` lists it. Channel, command and account come from the routing key, the
author from the broker; no body is asked for them. Reads no clock: the caller says what time it is.
"""

import hashlib
import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bridge.channel.command import COMMANDS, Command, Direct, Message
from bridge.channel.identifier import Account, ApprovalRequestId, ChannelName, CommandId, SignRequestId
from bridge.errors import BodyError, Code, EncodingError
from bridge.wire.body import ApprovalBody, SignReplyBody, SignRequestBody
from bridge.wire.cloudevent import check_headers
from bridge.wire.encoding import account_key
from bridge.wire.envelope import CHANNEL, UNKNOWN, Received
from bridge.wire.strictbody import Limits, Numeral, clip, read_object, write_path

MESSAGE_LIMITS = Limits(body_bytes=256 * 1024)
COMMAND_LIMITS = Limits(body_bytes=16 * 1024)
SIGN_REPLY_LIMITS = Limits(body_bytes=128 * 1024)
"""Room for a whole signed transaction in one string of 65,000 bytes."""
APPROVAL_LIMITS = Limits(body_bytes=16 * 1024)
SIGN_REQUEST_LIMITS = Limits(body_bytes=16 * 1024 * 1024, string_bytes=8 * 1024 * 1024, values=100_000)
"""A signer reads what the bridge wrote: the transaction may be as long as a node's frame."""

OLDEST = timedelta(hours=24)
NEWEST = timedelta(seconds=60)

REPLAY = "replay"
"""Third word of the routing key of a dead letter that is sent again: a right of operators, which no client has."""

_ACCOUNTS = ("from", "to")
_INSTANTS = ("issued_at", "expires_at")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_COMMAND_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,200}")

_RANK = (
    Code.MISSING_FIELD,
    Code.UNKNOWN_FIELD,
    Code.INVALID_AMOUNT,
    Code.INVALID_ADDRESS,
    Code.INVALID_TEXT,
    Code.INVALID_FIELD,
)
_CODES = {
    "missing": Code.MISSING_FIELD,
    "nothing_given": Code.MISSING_FIELD,
    "extra_forbidden": Code.UNKNOWN_FIELD,
    "invalid_amount": Code.INVALID_AMOUNT,
    "invalid_text": Code.INVALID_TEXT,
}
_SENTENCES = {"missing": "this field is required", "extra_forbidden": "there is no such field"}

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class _Fault:
    code: Code
    sentence: str
    path: str


def read_command(
    received: Received, *, channels: Container[str], now: datetime
) -> tuple[ChannelName, Command | Direct]:
    """The command in this message and the channel it is for. Raises `BodyError`.

    `channels` are the configured names, `now` is aware. Whether the author may write to the channel is the
    broker's to judge (topic permissions); here only that the broker names one.
    """
    name, kind = split_command_key(received.routing_key)
    values = read_object(received.body, MESSAGE_LIMITS if kind == Message.kind else COMMAND_LIMITS)
    _check_version(received)
    if kind not in COMMANDS:
        raise BodyError(Code.UNKNOWN_COMMAND, "the routing key is <channel>.<command> with a command we know")
    if not CHANNEL.fullmatch(name) or name not in channels:
        raise BodyError(Code.UNKNOWN_CHANNEL, "no channel of this name is configured here")
    _check_author(received)
    command = _read_model(COMMANDS[kind], values, [*_check_accounts(values), *_check_instants(values)])
    _check_age(command, now)
    return ChannelName(name), command


def read_sign_reply(received: Received) -> tuple[Account, ChannelName, SignReplyBody]:
    """A signer's reply and whom it is from, by the routing key `<account>.<channel>`. Raises `BodyError`.

    The signature is not checked here, nor whether the question is open.
    """
    values = read_object(received.body, SIGN_REPLY_LIMITS)
    _check_version(received)
    account, _, name = received.routing_key.partition(".")
    if not CHANNEL.fullmatch(name):
        raise BodyError(Code.UNKNOWN_CHANNEL, "the routing key is <account>.<channel>")
    _check_author(received)
    if not _is_account(account):
        raise BodyError(Code.INVALID_ADDRESS, "the routing key begins with no valid account")
    return Account(account), ChannelName(name), _read_model(SignReplyBody, values, ())


def read_approval(received: Received, *, channels: Container[str]) -> tuple[ChannelName, ApprovalBody]:
    """An approver's answer and the channel it is for, by the routing key `<channel>`. Raises `BodyError`.

    Neither whether the question is open is judged here, nor whether the author may answer it.
    """
    values = read_object(received.body, APPROVAL_LIMITS)
    _check_version(received)
    name = received.routing_key
    if not CHANNEL.fullmatch(name) or name not in channels:
        raise BodyError(Code.UNKNOWN_CHANNEL, "no channel of this name is configured here")
    _check_author(received)
    return ChannelName(name), _read_model(ApprovalBody, values, ())


def read_sign_request(received: Received) -> SignRequestBody:
    """The question a signer took from its queue. Fields it does not know are ignored. Raises `BodyError`."""
    check_headers(received)
    values = read_object(received.body, SIGN_REQUEST_LIMITS)
    _check_version(received)
    return _read_model(SignRequestBody, values, ())


def split_command_key(routing_key: str) -> tuple[str, str]:
    """Channel and command as the routing key says them, not judged. Both may be empty. A replay's are the same."""
    name, _, kind = routing_key.partition(".")
    return name, kind.removesuffix(f".{REPLAY}")


def is_replay(routing_key: str) -> bool:
    """Whether an operator sends a command again that came to the dead letters (`<channel>.<command>.replay`)."""
    return routing_key.endswith(f".{REPLAY}") and routing_key.count(".") > 1


def readable_command_id(body: bytes) -> CommandId | None:
    """The command's id, if it can be read out of a body refused for another reason."""
    text = _read_id(body, "command_id", _COMMAND_ID, MESSAGE_LIMITS)
    return None if text is None else CommandId(text)


def readable_sign_request_id(body: bytes) -> SignRequestId | None:
    """The same for a refused sign reply."""
    text = _read_id(body, "sign_request_id", _REQUEST_ID, SIGN_REPLY_LIMITS)
    return None if text is None else SignRequestId(text)


def readable_approval_request_id(body: bytes) -> ApprovalRequestId | None:
    """The same for a refused approval."""
    text = _read_id(body, "approval_request_id", _REQUEST_ID, APPROVAL_LIMITS)
    return None if text is None else ApprovalRequestId(text)


def canonical_body(channel: str, kind: str, body: bytes) -> bytes:
    """One form for everything that says the same: key order and spacing do not count. Raises `BodyError`.

    Channel and kind are part of it, because they are part of what is asked for. `1` and `"1"` differ.
    """
    values = read_object(body, MESSAGE_LIMITS)
    whole = {"channel": channel, "command": kind, "body": values}
    return json.dumps(whole, sort_keys=True, separators=(",", ":"), default=_write_numeral).encode()


def body_hash(received: Received) -> str:
    """SHA-256, hex, of the canonical command: equal hashes are the same wish. Raises `BodyError`."""
    return hashlib.sha256(canonical_body(*split_command_key(received.routing_key), received.body)).hexdigest()


def _write_numeral(numeral: Numeral) -> list[str]:
    """No accepted command holds one; a body about to be refused may still be hashed."""
    return ["numeral", numeral.text]


def _read_id(body: bytes, key: str, form: re.Pattern[str], limits: Limits) -> str | None:
    try:
        value = read_object(body, limits).get(key)
    except BodyError:
        return None  # the caller is about to tell why: this is only the search for an address
    return value if isinstance(value, str) and form.fullmatch(value) else None


def _check_version(received: Received) -> None:
    """Both are optional in what others write to us; when given they must be ones we understand."""
    specification = received.attribute("specversion")
    if specification is not None and specification != "1.0":
        raise BodyError(Code.UNSUPPORTED_VERSION, "CloudEvents 1.0 is understood", "specversion")
    for stated in (received.attribute("type"), received.type):
        version = re.search(r"\.v(\d{1,9})$", stated, re.ASCII) if isinstance(stated, str) else None
        if version is not None and int(version[1]) != 1:
            raise BodyError(Code.UNSUPPORTED_VERSION, "version 1 of the bus contract is understood", "type")


def _check_author(received: Received) -> None:
    if received.author == UNKNOWN:
        sentence = "the message property user_id names no author: letters, digits, _ and -, at most 64"
        raise BodyError(Code.FORBIDDEN, sentence, "user_id")


def _check_accounts(values: Mapping[str, Any]) -> Iterator[_Fault]:
    for key in _ACCOUNTS:
        if key in values and not _is_account(values[key]):
            yield _Fault(Code.INVALID_ADDRESS, "an account is ak_… with a valid checksum", key)


def _is_account(value: Any) -> bool:
    if not isinstance(value, str) or not value.startswith("ak_"):
        return False
    try:
        account_key(value)
    except EncodingError:
        return False
    return True


def _check_instants(values: Mapping[str, Any]) -> Iterator[_Fault]:
    """The model alone would also take numbers, as seconds or milliseconds by their size."""
    for key in _INSTANTS:
        value = values.get(key)
        if value is not None and not (isinstance(value, str) and _INSTANT.fullmatch(value)):
            yield _Fault(Code.INVALID_FIELD, "an instant is RFC 3339 with its offset, like 2026-01-02T03:04:05Z", key)


def _check_age(command: Command | Direct, now: datetime) -> None:
    age = now - command.issued_at
    if age > OLDEST:
        raise BodyError(Code.STALE_COMMAND, "issued_at is more than 24 hours ago", "issued_at")
    if age < -NEWEST:
        raise BodyError(Code.STALE_COMMAND, "issued_at is more than 60 seconds ahead", "issued_at")


def _read_model(model: type[Model], values: Mapping[str, Any], found: Iterable[_Fault]) -> Model:
    """The model's fields from these values; `found` are faults the model alone cannot see."""
    faults = list(found)
    try:
        read = model.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        faults.extend(_name_fault(detail) for detail in details)
    if faults:
        first = min(faults, key=lambda fault: _RANK.index(fault.code))
        raise BodyError(first.code, first.sentence, first.path)
    return read


def _name_fault(detail: ErrorDetails) -> _Fault:
    code = _CODES.get(detail["type"], Code.INVALID_FIELD)
    if code is Code.INVALID_FIELD and detail["loc"] and detail["loc"][0] in _ACCOUNTS:
        code = Code.INVALID_ADDRESS
    sentence = _SENTENCES.get(detail["type"], detail["msg"])
    return _Fault(code, clip(sentence), write_path(detail["loc"]))
