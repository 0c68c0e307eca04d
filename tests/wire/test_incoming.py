"""What the bus may write to us: every limit and code of guarantees.md sections 6 and 7, and any bytes at all."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.channel.command import (
    MAX_INFO_BYTES,
    Checkpoint,
    Deposit,
    Message,
    Query,
    Resolve,
    Shutdown,
    Transfer,
    Withdraw,
)
from bridge.errors import BodyError, Code
from bridge.wire.envelope import UNREADABLE_HEADERS, Received
from bridge.wire.incoming import (
    body_hash,
    canonical_body,
    read_approval,
    read_command,
    read_sign_reply,
    read_sign_request,
    readable_command_id,
    readable_sign_request_id,
)

ALICE = "ak_2U5uowyre6aqU1gz3Pkd1VtMkBVc2rquvr3oPWynbPNYozaLhv"
BOB = "ak_9UUfv5MBBZRKsS82REfUw4xLxrGVrEtjxuiEHiZDgraJg27Sn"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CHANNELS = frozenset({"acme-7"})
LONG_NUMBER = "1" * 5_000
NO_TEXTS: tuple[Any, ...] = (5, None, ["a"], {})

HEAD = {"command_id": "c-1", "issued_at": "2026-01-02T03:04:05Z"}
TRANSFER = {**HEAD, "from": ALICE, "to": BOB, "amount": 5}
DEPOSIT = {**HEAD, "amount": "5"}
MESSAGE = {**HEAD, "to": BOB, "info": "hello"}


def write(body: Mapping[str, Any] | bytes, key: str = "acme-7.transfer", **other: Any) -> Received:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    known = {"exchange": "channels.commands", "user_id": "alice", "queue": "channels.commands"}
    return Received(routing_key=key, body=data, **{**known, **other})


def read(received: Received) -> Any:
    return read_command(received, channels=CHANNELS, now=NOW)


def refuse(received: Received) -> tuple[Code, str]:
    with pytest.raises(BodyError) as caught:
        read(received)
    assert len(caught.value.path.encode()) <= 200
    assert len(caught.value.sentence.encode()) <= 200
    return caught.value.code, caught.value.path


def nest(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def patch(text: str, body: Mapping[str, Any] = DEPOSIT) -> bytes:
    """A body with one more member written by hand."""
    return json.dumps(body)[:-1].encode() + b", " + text.encode("utf-8", "surrogatepass") + b"}"


@pytest.mark.parametrize(
    ("kind", "body", "model"),
    [
        ("transfer", TRANSFER, Transfer),
        ("deposit", {**DEPOSIT, "fee": 0, "expect_round": 3, "allow_exposed": True}, Deposit),
        ("withdraw", {**DEPOSIT, "fee": "20000", "expires_at": "2026-01-02T04:04:05+01:00"}, Withdraw),
        ("message", MESSAGE, Message),
        ("shutdown", HEAD, Shutdown),
        ("checkpoint", HEAD, Checkpoint),
        ("resolve", {**HEAD, "target": "c-0", "outcome": "failed", "reason": "seen on chain"}, Resolve),
        ("query", {**HEAD, "what": "balances"}, Query),
    ],
)
def test_each_command_is_read_from_its_body(kind: str, body: Mapping[str, Any], model: type) -> None:
    """The kind comes from the routing key alone: a body cannot say it is something else."""
    channel, command = read(write(body, f"acme-7.{kind}"))
    assert (channel, type(command)) == ("acme-7", model)
    assert command.command_id == "c-1"


def test_amount_of_many_digits_is_kept_to_the_last() -> None:
    """A float holds 15 digits; ten coins have 19."""
    for amount in (12345678901234567890123456, "12345678901234567890123456"):
        assert read(write({**TRANSFER, "amount": amount}))[1].amount == 12345678901234567890123456


def test_amount_as_integer_and_as_digits_is_the_same() -> None:
    """Clients whose numbers are doubles write strings; others need not."""
    for amount in (10**27, str(10**27)):
        assert read(write({**TRANSFER, "amount": amount}))[1].amount == 10**27


@pytest.mark.parametrize(
    ("body", "key", "code", "path"),
    [
        # JSON and its limits
        (b"", "acme-7.deposit", Code.MALFORMED, ""),
        (b"\xff\xfe{}", "acme-7.deposit", Code.MALFORMED, ""),
        (b"\xef\xbb\xbf{}", "acme-7.deposit", Code.MALFORMED, ""),
        (b"{} {}", "acme-7.deposit", Code.MALFORMED, ""),
        (b"[]", "acme-7.deposit", Code.MALFORMED, ""),
        (b"{'a': 1}", "acme-7.deposit", Code.MALFORMED, ""),
        (b'{"a": "unended', "acme-7.deposit", Code.MALFORMED, ""),
        (b'{"a": 01}', "acme-7.deposit", Code.MALFORMED, ""),
        (b'{"a": "\n"}', "acme-7.deposit", Code.MALFORMED, ""),
        (patch('"fee": 1, "fee": 1'), "acme-7.deposit", Code.MALFORMED, ""),
        (patch('"fee": {"a": 1, "a": 1}'), "acme-7.deposit", Code.MALFORMED, ""),
        (patch('"fee": NaN'), "acme-7.deposit", Code.MALFORMED, ""),
        (patch('"fee": -Infinity'), "acme-7.deposit", Code.MALFORMED, ""),
        (patch('"fee": "\\ud800"'), "acme-7.deposit", Code.MALFORMED, "fee"),
        (patch('"fee": ["\\u0000"]'), "acme-7.deposit", Code.MALFORMED, "fee[0]"),
        (patch('"\\u0000": 1'), "acme-7.deposit", Code.MALFORMED, ""),
        (patch('"fee": "\ud800"'), "acme-7.deposit", Code.MALFORMED, ""),
        ({**DEPOSIT, "fee": nest(15)}, "acme-7.deposit", Code.INVALID_AMOUNT, "fee"),
        ({**DEPOSIT, "fee": nest(16)}, "acme-7.deposit", Code.TOO_DEEP, ""),
        (b"[" * 16_000, "acme-7.deposit", Code.TOO_DEEP, ""),
        ({**DEPOSIT, "fee": [1] * 1_995}, "acme-7.deposit", Code.INVALID_AMOUNT, "fee"),
        ({**DEPOSIT, "fee": [1] * 1_996}, "acme-7.deposit", Code.TOO_DEEP, ""),
        ({**DEPOSIT, "k" * 128: 1}, "acme-7.deposit", Code.UNKNOWN_FIELD, "k" * 128),
        ({**DEPOSIT, "k" * 129: 1}, "acme-7.deposit", Code.TOO_DEEP, "k" * 129),
        ({**MESSAGE, "info": "é" * 32_501}, "acme-7.message", Code.TOO_DEEP, "info"),
        ({**TRANSFER, "meta": ["x" * 16_385]}, "acme-7.transfer", Code.TOO_LARGE, ""),
        # sizes
        ({**DEPOSIT, "fee": "1" * 16_384}, "acme-7.deposit", Code.TOO_LARGE, ""),
        ({**MESSAGE, "info": "x" * 262_144}, "acme-7.message", Code.TOO_LARGE, ""),
        (b"\xff" * 16_385, "acme-7.deposit", Code.TOO_LARGE, ""),
        # routing key
        (DEPOSIT, "acme-7.teleport", Code.UNKNOWN_COMMAND, ""),
        (DEPOSIT, "acme-7", Code.UNKNOWN_COMMAND, ""),
        (DEPOSIT, "acme-7.deposit.now", Code.UNKNOWN_COMMAND, ""),
        (DEPOSIT, "acme-8.deposit", Code.UNKNOWN_CHANNEL, ""),
        (DEPOSIT, ".deposit", Code.UNKNOWN_CHANNEL, ""),
        # fields
        ({"issued_at": HEAD["issued_at"], "amount": 5}, "acme-7.deposit", Code.MISSING_FIELD, "command_id"),
        ({"command_id": "c-1", "amount": 5}, "acme-7.deposit", Code.MISSING_FIELD, "issued_at"),
        (HEAD, "acme-7.deposit", Code.MISSING_FIELD, "amount"),
        ({**DEPOSIT, "channel": "acme-7"}, "acme-7.deposit", Code.UNKNOWN_FIELD, "channel"),
        ({**TRANSFER, "from_account": ALICE}, "acme-7.transfer", Code.UNKNOWN_FIELD, "from_account"),
        # amounts
        *(
            (patch(f'"amount": {text}', HEAD), "acme-7.deposit", Code.INVALID_AMOUNT, "amount")
            for text in (
                "0",
                "-1",
                "-0",
                "1.0",
                "1e3",
                "1E-400",
                "true",
                "null",
                "[]",
                "{}",
                LONG_NUMBER,
                "-" + LONG_NUMBER,
                str(10**27 + 1),
                '""',
                '"0"',
                '"-1"',
                '"+1"',
                '"1.5"',
                '"1e3"',
                '"007"',
                '" 5"',
                '"٣"',
                '"0x5"',
                f'"{LONG_NUMBER}"',
                '"' + "9" * 28 + '"',
                '"' + "1" * 29 + '"',
            )
        ),
        (patch('"fee": -0'), "acme-7.deposit", Code.INVALID_AMOUNT, "fee"),
        (patch('"fee": 0.0'), "acme-7.deposit", Code.INVALID_AMOUNT, "fee"),
        # accounts
        *(
            ({**TRANSFER, "to": text}, "acme-7.transfer", Code.INVALID_ADDRESS, "to")
            for text in (
                "",
                "ak_",
                BOB[:-1] + "o",
                BOB.replace("ak_", "ok_"),
                BOB.replace("_", "$"),
                BOB[3:],
                BOB + "1",
                " " + BOB,
                "ak_" + "0" * 50,
                5,
                None,
                [BOB],
                "ak_" + "1" * 60,
            )
        ),
        # texts
        *(({**MESSAGE, "info": info}, "acme-7.message", Code.INVALID_TEXT, "info") for info in NO_TEXTS),
        # other fields
        *(
            ({**DEPOSIT, "command_id": text}, "acme-7.deposit", Code.INVALID_FIELD, "command_id")
            for text in ("", "c" * 129, "c 1", "c/1", "é", 5, None, "c-1\n")
        ),
        *(
            ({**DEPOSIT, "issued_at": text}, "acme-7.deposit", Code.INVALID_FIELD, "issued_at")
            for text in (
                "",
                "2026-01-02T03:04:05",
                "2026-01-02",
                "2026-13-02T03:04:05Z",
                1767323045,
                "1767323045",
                None,
                "2026-01-02T03:04:05Z\n",
                "٢026-01-02T03:04:05Z",
            )
        ),
        ({**DEPOSIT, "expires_at": 5}, "acme-7.deposit", Code.INVALID_FIELD, "expires_at"),
        *(
            ({**DEPOSIT, "expect_round": value}, "acme-7.deposit", Code.INVALID_FIELD, "expect_round")
            for value in (0, -1, 1.5, "1", True)
        ),
        ({**DEPOSIT, "allow_exposed": 1}, "acme-7.deposit", Code.INVALID_FIELD, "allow_exposed"),
        ({**TRANSFER, "meta": ["a", 5]}, "acme-7.transfer", Code.INVALID_FIELD, "meta[1]"),
        ({**TRANSFER, "meta": "a"}, "acme-7.transfer", Code.INVALID_FIELD, "meta"),
        ({**TRANSFER, "meta": ["channel-bridge:1"]}, "acme-7.transfer", Code.INVALID_FIELD, "meta"),
        ({**MESSAGE, "delivery": "exactly_once"}, "acme-7.message", Code.INVALID_FIELD, "delivery"),
        ({**HEAD, "what": "everything"}, "acme-7.query", Code.INVALID_FIELD, "what"),
        # age
        ({**DEPOSIT, "issued_at": "2026-01-01T03:04:04Z"}, "acme-7.deposit", Code.STALE_COMMAND, "issued_at"),
        ({**DEPOSIT, "issued_at": "2026-01-02T03:05:06Z"}, "acme-7.deposit", Code.STALE_COMMAND, "issued_at"),
        ({**DEPOSIT, "issued_at": "0001-01-01T00:00:00+23:59"}, "acme-7.deposit", Code.STALE_COMMAND, "issued_at"),
        ({**DEPOSIT, "issued_at": "9999-12-31T23:59:59-23:59"}, "acme-7.deposit", Code.STALE_COMMAND, "issued_at"),
    ],
)
def test_unacceptable_command_is_named_by_its_code_and_path(
    body: Mapping[str, Any] | bytes, key: str, code: Code, path: str
) -> None:
    """Clients program against the code and mend the field at the path: both are the contract."""
    assert refuse(write(body, key)) == (code, path)


@pytest.mark.parametrize("user", [None, "", "alice.x", "-alice", "a" * 65, "al ice", "älice", "_", "alice\n"])
def test_command_without_a_vouched_author_is_forbidden(user: str | None) -> None:
    """Without the broker's word nobody is answered; with a dot in it alice would read what is for alice.x."""
    assert refuse(write(DEPOSIT, "acme-7.deposit", user_id=user)) == (Code.FORBIDDEN, "user_id")


@pytest.mark.parametrize(
    "stated",
    [
        {"type": "channel-bridge.command.deposit.v2"},
        {"headers": {"ce-type": "com.example.deposit.v10"}},
        {"headers": {"cloudEvents:type": "com.example.deposit.v0"}},
        {"headers": {"ce-specversion": "0.3"}},
        {"headers": {"ce-specversion": 1}},
    ],
)
def test_command_of_another_contract_version_is_refused(stated: dict[str, Any]) -> None:
    """A client of version 2 may mean something else by the same field."""
    assert refuse(write(DEPOSIT, "acme-7.deposit", **stated))[0] is Code.UNSUPPORTED_VERSION


def test_version_one_or_none_at_all_is_understood() -> None:
    """Hand-written clients state no version; the SDK of CloudEvents states its own."""
    headers = {"ce-specversion": "1.0", "ce-type": "com.example.deposit.v1"}
    assert read(write(DEPOSIT, "acme-7.deposit", headers=headers, type="deposit"))[0] == "acme-7"


def test_the_largest_of_everything_allowed_is_accepted() -> None:
    """A limit is a promise in both directions."""
    assert read(write({**MESSAGE, "info": "é" * (MAX_INFO_BYTES // 2)}, "acme-7.message"))
    assert read(write({**DEPOSIT, "command_id": "c" * 128, "fee": 10**27}, "acme-7.deposit"))
    padding = 16 * 1024 - len(json.dumps(DEPOSIT))
    assert read(write(json.dumps(DEPOSIT).encode() + b" " * padding, "acme-7.deposit"))
    for age in (timedelta(hours=24), timedelta(seconds=-60)):
        assert read(write({**DEPOSIT, "issued_at": (NOW - age).isoformat()}, "acme-7.deposit"))


FAULTS: list[tuple[Code, dict[str, Any]]] = [
    (Code.TOO_LARGE, {"body": b"\xff" * 16_385}),
    (Code.MALFORMED, {"body": b'{"\\u0000": 1, "' + b"k" * 129 + b'": 1}'}),
    (Code.TOO_DEEP, {"body": json.dumps({"k" * 129: 1}).encode()}),
    (Code.UNSUPPORTED_VERSION, {"headers": {"ce-specversion": "2.0"}}),
    (Code.UNKNOWN_COMMAND, {"key": "acme-8.teleport"}),
    (Code.UNKNOWN_CHANNEL, {"key": "acme-8.transfer"}),
    (Code.FORBIDDEN, {"user_id": None}),
]


@pytest.mark.parametrize("index", range(len(FAULTS)))
def test_first_fault_in_the_taxonomy_is_the_one_told(index: int) -> None:
    """Two bridges, or one bridge twice, give the same answer to the same message."""
    told: dict[str, Any] = {"body": b"{}"}
    for _, fault in reversed(FAULTS[index:]):
        told |= fault
    assert refuse(write(**told))[0] is FAULTS[index][0]


def test_first_fault_among_the_fields_is_the_one_told() -> None:
    """The order is that of the codes, not of the fields."""
    body: dict[str, Any] = {"command_id": "", "from": "ak_x", "amount": 0, "extra": 1}
    told = [refuse(write(body))]
    body |= {"to": 5, "issued_at": "2020-01-01T00:00:00Z"}
    told.append(refuse(write(body)))
    del body["extra"]
    told.append(refuse(write(body)))
    body["amount"] = 1
    told.append(refuse(write(body)))
    body |= {"from": ALICE, "to": BOB}
    told.append(refuse(write(body)))
    body["command_id"] = "c"
    told.append(refuse(write(body)))
    assert told == [
        (Code.MISSING_FIELD, "issued_at"),
        (Code.UNKNOWN_FIELD, "extra"),
        (Code.INVALID_AMOUNT, "amount"),
        (Code.INVALID_ADDRESS, "from"),
        (Code.INVALID_FIELD, "command_id"),
        (Code.STALE_COMMAND, "issued_at"),
    ]


# --- any bytes ----------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(
    ["command_id", "issued_at", "expires_at", "from", "to", "amount", "fee", "info", "meta", "what", "expect_round"]
)
bodies = st.binary(max_size=200) | st.dictionaries(fields, json_values, max_size=8).map(
    lambda drawn: json.dumps({**TRANSFER, **drawn}).encode()
)
keys = st.sampled_from(["transfer", "deposit", "withdraw", "message", "shutdown", "query", "x"]).map("acme-7.".__add__)


def attempt(read_one: Callable[[Received], Any], received: Received) -> Any:
    """What was read, or the code of the one named fault."""
    try:
        return read_one(received)
    except BodyError as error:
        return error.code


@given(bodies, keys | st.text(max_size=20))
def test_any_bytes_are_a_command_or_a_named_fault(body: bytes, key: str) -> None:
    """One message that raises anything else would stop the queue for everybody behind it."""
    received = write(body, key)
    match attempt(read, received):
        case Code():
            return
        case channel, command:
            assert channel in CHANNELS
            assert command.kind == key.partition(".")[2]
            assert body_hash(received)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_sign_reply_or_a_named_fault(body: bytes) -> None:
    """The same for signers."""
    assert attempt(read_sign_reply, write(body, f"{ALICE}.acme-7")) in set(Code)
    assert readable_sign_request_id(body) is None
    assert readable_command_id(body) is None


def test_a_string_full_of_quotes_is_scanned_once() -> None:
    """The size limit bounds the work only if the work is linear: this would take minutes if it were not."""
    body = b'{"info": "' + b'\\"' * 130_000
    assert refuse(write(body, "acme-7.message")) == (Code.MALFORMED, "")


# --- the same wish ------------------------------------------------------------------------------------


def test_key_order_and_spacing_do_not_change_the_hash() -> None:
    """A client that repeats its command through another library still gets the stored outcome."""
    spaced = json.dumps(dict(reversed(TRANSFER.items())), indent=3).encode()
    assert body_hash(write(TRANSFER)) == body_hash(write(spaced))
    assert len(body_hash(write(TRANSFER))) == 64


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({**TRANSFER, "amount": 6}, "acme-7.transfer"),
        ({**TRANSFER, "meta": []}, "acme-7.transfer"),
        (TRANSFER, "acme-8.transfer"),
        (TRANSFER, "acme-7.deposit"),
    ],
)
def test_another_wish_has_another_hash(body: Mapping[str, Any], key: str) -> None:
    """Channel and kind stand in no body, so the hash must take them from the routing key."""
    assert body_hash(write(body, key)) != body_hash(write(TRANSFER))


def test_canonical_body_is_fixed() -> None:
    """Hashes are stored for days: the form may not change under them."""
    body = b'{ "b": [1, "\\u00e9"], "a": -1.50 }'
    assert canonical_body("acme-7", "transfer", body) == (
        b'{"body":{"a":["numeral","-1.50"],"b":[1,"\\u00e9"]},"channel":"acme-7","command":"transfer"}'
    )


def test_command_id_is_found_in_a_body_refused_for_another_reason() -> None:
    """The client that made the mistake can find its answer by the id it knows."""
    assert readable_command_id(json.dumps({**DEPOSIT, "amount": -1}).encode()) == "c-1"
    assert readable_command_id(b'{"command_id": "c 1"}') is None
    assert readable_command_id(b'{"command_id": "c-1"') is None


# --- sign replies -------------------------------------------------------------------------------------

SIGNATURE = base64.b64encode(bytes(range(64))).decode()
REPLY = {"sign_request_id": "acme-7.3.0011223344556677", "signature": SIGNATURE}


def reply(body: Mapping[str, Any] | bytes = REPLY, key: str = f"{ALICE}.acme-7", **other: Any) -> Received:
    return replace(write(body, key, **other), exchange="channels.sign-replies")


@pytest.mark.parametrize(
    "answer",
    [
        {"signature": SIGNATURE},
        {"signed_tx": "tx_AAAA"},
        {"refusal": {"reason": "too much"}},
        {"refusal": {"reason": "too much", "code": "policy_denied"}},
        {"signature": SIGNATURE, "replaces": ["ab" * 32]},
    ],
)
def test_each_kind_of_sign_reply_is_read(answer: dict[str, Any]) -> None:
    """A KMS gives a signature, an SDK a transaction, a person a reason."""
    account, channel, body = read_sign_reply(reply({"sign_request_id": "r-1", **answer}))
    assert (account, channel) == (ALICE, "acme-7")
    assert body.model_dump(mode="json", exclude_none=True) == {"sign_request_id": "r-1", **answer}
    assert body.signature_bytes == (bytes(range(64)) if "signature" in answer else None)


@pytest.mark.parametrize(
    ("received", "code", "path"),
    [
        (reply(b"{"), Code.MALFORMED, ""),
        (reply(b" " * (128 * 1024 + 1)), Code.TOO_LARGE, ""),
        (reply({**REPLY, "refusal": nest(16)}), Code.TOO_DEEP, ""),
        (reply(user_id=None), Code.FORBIDDEN, "user_id"),
        (reply(key=ALICE), Code.UNKNOWN_CHANNEL, ""),
        (reply(key=f"{ALICE}.acme-7.more"), Code.UNKNOWN_CHANNEL, ""),
        (reply(key=f"{ALICE[:-1]}o.acme-7"), Code.INVALID_ADDRESS, ""),
        (reply({"signature": SIGNATURE}), Code.MISSING_FIELD, "sign_request_id"),
        (reply({"sign_request_id": "r-1"}), Code.MISSING_FIELD, ""),
        (reply({**REPLY, "signature": None}), Code.MISSING_FIELD, ""),
        (reply({**REPLY, "signed_tx": "tx_AAAA"}), Code.INVALID_FIELD, ""),
        (reply({**REPLY, "account": ALICE}), Code.UNKNOWN_FIELD, "account"),
        (reply({**REPLY, "sign_request_id": "r 1"}), Code.INVALID_FIELD, "sign_request_id"),
        *(
            (reply({**REPLY, "signature": text}), Code.INVALID_FIELD, "signature")
            for text in (
                "",
                5,
                SIGNATURE + "\n",
                SIGNATURE.rstrip("="),
                SIGNATURE[:-3] + "x==",
                "é",
            )
        ),
        (reply({"sign_request_id": "r-1", "signed_tx": "AAAA"}), Code.INVALID_FIELD, "signed_tx"),
        (reply({"sign_request_id": "r-1", "refusal": {"reason": ""}}), Code.INVALID_FIELD, "refusal.reason"),
        (reply({"sign_request_id": "r-1", "refusal": {}}), Code.MISSING_FIELD, "refusal.reason"),
        (reply({"sign_request_id": "r-1", "refusal": {"reason": "a", "b": 1}}), Code.UNKNOWN_FIELD, "refusal.b"),
    ],
)
def test_unreadable_sign_reply_is_named_by_its_code_and_path(received: Received, code: Code, path: str) -> None:
    """Someone writes signers by hand: what is wrong must be told so that it can be mended in one go."""
    with pytest.raises(BodyError) as caught:
        read_sign_reply(received)
    assert (caught.value.code, caught.value.path) == (code, path)


@pytest.mark.parametrize("length", [1, 63, 65, 71])
def test_a_signature_of_another_length_is_read_and_judged_later(length: int) -> None:
    """It is a reply, only a bad one: it counts against the signer and is answered as `sign_reply_invalid`."""
    text = base64.b64encode(bytes(length)).decode()
    _, _, body = read_sign_reply(reply({"sign_request_id": "r-1", "signature": text}))
    assert body.signature_bytes == bytes(length)


# --- approvals ----------------------------------------------------------------------------------------

APPROVAL = {"approval_request_id": "acme-7.a1.0011223344556677", "body_hash": "0a" * 32, "decision": "approve"}


def approval(body: Mapping[str, Any] | bytes = APPROVAL, key: str = "acme-7", **other: Any) -> Received:
    return replace(write(body, key, **other), exchange="channels.approvals")


@pytest.mark.parametrize("answer", [{"decision": "approve"}, {"decision": "refuse", "reason": "too much"}])
def test_each_kind_of_approval_is_read(answer: dict[str, Any]) -> None:
    """The channel stands in the routing key, where the broker judges it."""
    channel, body = read_approval(approval(APPROVAL | answer), channels={"acme-7"})
    assert channel == "acme-7"
    assert body.model_dump(mode="json", exclude_none=True) == APPROVAL | answer


@pytest.mark.parametrize(
    ("received", "code", "path"),
    [
        (approval(b"{"), Code.MALFORMED, ""),
        (approval(b" " * (16 * 1024 + 1)), Code.TOO_LARGE, ""),
        (approval({**APPROVAL, "reason": nest(16)}), Code.TOO_DEEP, ""),
        (approval(headers={"ce-specversion": "2.0"}), Code.UNSUPPORTED_VERSION, "specversion"),
        (approval(user_id=None), Code.FORBIDDEN, "user_id"),
        (approval(user_id="carol.x"), Code.FORBIDDEN, "user_id"),
        (approval(key="acme-8"), Code.UNKNOWN_CHANNEL, ""),
        (approval(key="acme-7.transfer"), Code.UNKNOWN_CHANNEL, ""),
        (approval({"body_hash": "0a" * 32, "decision": "approve"}), Code.MISSING_FIELD, "approval_request_id"),
        (approval({**APPROVAL, "approved": True}), Code.UNKNOWN_FIELD, "approved"),
        (approval({**APPROVAL, "decision": "yes"}), Code.INVALID_FIELD, "decision"),
        (approval({**APPROVAL, "decision": True}), Code.INVALID_FIELD, "decision"),
        (approval({**APPROVAL, "body_hash": "0A" * 32}), Code.INVALID_FIELD, "body_hash"),
        (approval({**APPROVAL, "body_hash": ""}), Code.INVALID_FIELD, "body_hash"),
        (approval({**APPROVAL, "body_hash": "0a" * 32 + "\n"}), Code.INVALID_FIELD, "body_hash"),
        (approval({**APPROVAL, "reason": "x" * 501}), Code.INVALID_FIELD, "reason"),
    ],
)
def test_unreadable_approval_is_named_by_its_code_and_path(received: Received, code: Code, path: str) -> None:
    """An approval is read as strictly as a command: nobody agrees to something by mistake."""
    with pytest.raises(BodyError) as caught:
        read_approval(received, channels={"acme-7"})
    assert (caught.value.code, caught.value.path) == (code, path)


@given(body=st.binary(max_size=200))
def test_any_bytes_are_an_approval_or_a_named_fault(body: bytes) -> None:
    """Nothing else comes out, whatever goes in."""
    attempt(lambda received: read_approval(received, channels={"acme-7"}), approval(body))


def test_no_error_echoes_more_than_its_share_of_the_input() -> None:
    """What is refused may be a secret in the wrong place: no error repeats it at length."""
    key = "é" * 64
    with pytest.raises(BodyError) as caught:
        read(write({**DEPOSIT, "x": {key: {key: "\0"}}}, "acme-7.deposit"))
    assert len(caught.value.path.encode()) <= 200
    assert caught.value.path.startswith("x.é")
    assert "é" not in caught.value.sentence


def test_a_sign_request_with_unreadable_headers_is_refused() -> None:
    """That it was dead-lettered into the queue would stand in them: whoever sent it there was judged by nobody."""
    received = Received("channels.sign-requests", "ak_x.acme-7", b"{}", headers={UNREADABLE_HEADERS: True})
    with pytest.raises(BodyError) as caught:
        read_sign_request(received)
    assert (caught.value.code, caught.value.path) == (Code.MALFORMED, "headers")
