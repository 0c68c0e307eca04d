"""What is fuzzed, with what it begins, and what must hold of every input. Pure: no fuzzer is imported here.

Each target takes any bytes. It raises nothing for what the bridge refuses with its own errors; whatever else
passes out of it, an `AssertionError` of a broken promise included, is a finding.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType

from nacl.signing import SigningKey

from bridge.channel.command import COMMANDS
from bridge.channel.terms import Dialect, SigningForm
from bridge.channel.transaction import Kind
from bridge.errors import BodyError, EncodingError, FrameError, TransactionError
from bridge.wire import encoding
from bridge.wire.cloudevent import STRUCTURED, readable_body, unfold
from bridge.wire.codec import codec_for
from bridge.wire.envelope import Received
from bridge.wire.incoming import (
    body_hash,
    read_approval,
    read_command,
    read_sign_reply,
    read_sign_request,
    readable_approval_request_id,
    readable_command_id,
    readable_sign_request_id,
)
from bridge.wire.rlp import decode
from bridge.wire.schema import LAYOUTS
from bridge.wire.serialization import build, fields, read_integer, read_list
from bridge.wire.transaction import attach, channel_id, check_reply, read, signing_payload, unwrap, wrap
from tests.wire.mutation import one_of_each
from tests.wire.recorded import DATA, everything, from_node

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NETWORK = "ae_uat"
FORMS = (SigningForm.NETWORK_HASH, SigningForm.NETWORK_RAW)
OWN_KEY, PEER_KEY = SigningKey(bytes([1] * 32)), SigningKey(bytes([2] * 32))
OWN, PEER = (encoding.account(bytes(key.verify_key)) for key in (OWN_KEY, PEER_KEY))
CHANNEL = channel_id(OWN, 7, PEER)
INNER = build(Kind.OFFCHAIN, 2, {"channel_id": CHANNEL, "round": 2, "state_hash": bytes(range(32))})
VECTORS = json.loads((DATA / "vectors.json").read_text())["vectors"]


def signature(key: SigningKey, form: SigningForm = SigningForm.NETWORK_HASH) -> bytes:
    return key.sign(signing_payload(INNER, NETWORK, form)).signature


ASKED = read(encoding.encode("tx", wrap([signature(PEER_KEY)], INNER)))
GOOD = frozenset(frozenset((signature(PEER_KEY), signature(OWN_KEY, form))) for form in FORMS)
"""Ed25519 leaves a signer no choice: these are the only two replies that may go on."""


@dataclass(frozen=True, slots=True)
class Target:
    feed: Callable[[bytes], bool]
    """True if the input was accepted."""
    seeds: Callable[[], Iterator[bytes]]
    max_bytes: int = 4096


# --- transactions ---------------------------------------------------------------------------------------


def transaction(data: bytes) -> bool:
    """What is read is written again byte for byte, so no two texts are one transaction."""
    seen = read(encoding.encode("tx", data))
    assert encoding.decode(seen.text, "tx") == data
    inner = data
    with suppress(TransactionError):
        signed = unwrap(data)
        inner = signed.inner
        if list(signed.signatures) == sorted(set(signed.signatures)):
            assert wrap(signed.signatures, signed.inner) == data
    try:
        kind, values = fields(inner)
    except TransactionError:
        return False
    version = read_integer(read_list(decode(inner))[1])
    assert any((row.kind, row.version) == (kind, version) for row in LAYOUTS)
    assert build(kind, version, values) == inner
    return True


def encoded(data: bytes) -> bool:
    """A text of whatever prefix and form; its canonical form says the same, and again the same."""
    try:
        prefix, payload = encoding.decode_any(data.decode("latin-1"))
    except EncodingError:
        return False
    again = encoding.encode(prefix, payload)
    assert encoding.decode_any(again) == (prefix, payload)
    return True


def reply(data: bytes) -> bool:
    """No changed transaction is accepted: only the one that was asked about, with exactly the right signature."""
    try:
        accepted = check_reply(ASKED, encoding.encode("tx", data), OWN, NETWORK, FORMS)
    except TransactionError:
        return False
    signed = unwrap(encoding.decode(accepted, "tx"))
    assert signed.inner == INNER
    assert frozenset(signed.signatures) in GOOD
    return True


def _vectors() -> Iterator[bytes]:
    for vector in VECTORS:
        yield encoding.decode(vector["signed_tx"], "tx")
        yield bytes.fromhex(vector["tx_hex"])


def _texts() -> Iterator[bytes]:
    for vector in VECTORS:
        yield vector["signed_tx"].encode()
    yield from (text.encode() for text in (OWN, CHANNEL, encoding.to_legacy(ASKED.text)))


def _replies() -> Iterator[bytes]:
    theirs, ours = signature(PEER_KEY), signature(OWN_KEY)
    yield encoding.decode(attach(ASKED, ours), "tx")
    for signatures in ([theirs], [ours], [], [theirs, ours, bytes(64)], [theirs, ours[:-1]], [theirs, bytes(64)]):
        yield wrap(signatures, INNER)
    yield wrap([theirs, ours], INNER + b"\0")


# --- frames ---------------------------------------------------------------------------------------------


def frames(dialect: Dialect) -> Target:
    """A node may send what it likes; what comes out is an input or a `FrameError`."""
    codec = codec_for(dialect)

    def feed(data: bytes) -> bool:
        try:
            codec.decode(data)
        except FrameError:
            return False
        return True

    def seeds() -> Iterator[bytes]:
        for line in one_of_each(from_node(everything())):
            if ("action" in line.frame) == dialect.is_legacy:
                yield line.text.encode()

    return Target(feed, seeds, 8192)


# --- messages -------------------------------------------------------------------------------------------

_KINDS = sorted(COMMANDS)
FOLDED = 128


def command(data: bytes) -> bool:
    """The first byte chooses the command, and from 128 on a CloudEvent around it.

    An accepted one has an id, and the same identity at every reading.
    """
    kind, body = _KINDS[data[0] % FOLDED % len(_KINDS)] if data else "", data[1:]
    received = _received("channels.commands", f"acme-7.{kind}", body)
    if data and data[0] >= FOLDED:
        received = replace(received, content_type=STRUCTURED)
    found = readable_command_id(readable_body(received))
    try:
        received = unfold(received)
        _, read_one = read_command(received, channels={"acme-7"}, now=NOW)
    except BodyError:
        return False
    assert read_one.command_id == found
    assert body_hash(received) == body_hash(received)
    for name in ("amount", "fee"):
        value = getattr(read_one, name, None)
        assert value is None or 0 <= value < 2**256
    return True


def sign_reply(data: bytes) -> bool:
    """The three bodies of a signing conversation and of an approval, each by its own reader."""
    readable_sign_request_id(data)
    readable_approval_request_id(data)
    accepted = False
    with suppress(BodyError):
        read_sign_reply(_received("channels.sign.replies", f"{OWN}.acme-7", data))
        accepted = True
    with suppress(BodyError):
        read_approval(_received("channels.approvals", "acme-7", data), channels={"acme-7"})
        accepted = True
    with suppress(BodyError):
        read_sign_request(_received("channels.sign.requests", f"{OWN}.acme-7", data))
        accepted = True
    return accepted


def _received(exchange: str, key: str, body: bytes) -> Received:
    return Received(exchange=exchange, routing_key=key, body=body, user_id="alice", queue=exchange)


def _commands() -> Iterator[bytes]:
    head = {"command_id": "c-1", "issued_at": "2026-01-02T03:04:05Z"}
    bodies: dict[str, Mapping[str, object]] = {
        "transfer": {"from": OWN, "to": PEER, "amount": "5", "meta": ["a"]},
        "deposit": {"amount": 5, "fee": "20000", "expect_round": 3},
        "withdraw": {"amount": "1" * 5_000, "expires_at": "2026-01-02T04:04:05+01:00"},
        "message": {"to": PEER, "info": "hello"},
        "resolve": {"target": "c-0", "outcome": "failed", "reason": "seen on chain"},
        "query": {"what": "balances"},
    }
    for number, kind in enumerate(_KINDS):
        body = {**head, **bodies.get(kind, {})}
        yield bytes([number]) + json.dumps(body).encode()
        event = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "pay.v1", "data": body}
        yield bytes([FOLDED + number]) + json.dumps(event).encode()


def _sign_replies() -> Iterator[bytes]:
    for body in (
        {"sign_request_id": "s-1", "signed_tx": attach(ASKED, signature(OWN_KEY))},
        {"sign_request_id": "s-1", "signature": b64encode(signature(OWN_KEY)).decode()},
        {"sign_request_id": "s-1", "refusal": {"reason": "no"}},
        {"approval_request_id": "a-1", "body_hash": "0" * 64, "decision": "approve"},
        {"approval_request_id": "a-1", "body_hash": "0" * 64, "decision": "refuse", "reason": "no"},
    ):
        yield json.dumps(body).encode()


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "transaction": Target(transaction, _vectors, 2048),
        "encoded": Target(encoded, _texts, 2048),
        "reply": Target(reply, _replies, 1024),
        "json-rpc": frames(Dialect.JSON_RPC),
        "legacy-seed": frames(Dialect.LEGACY_SEED),
        "legacy-late": frames(Dialect.LEGACY_LATE),
        "command": Target(command, _commands, 8192),
        "sign-reply": Target(sign_reply, _sign_replies),
    }
)
