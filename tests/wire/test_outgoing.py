"""Sign requests, sign replies, commands and events: one golden example of each, and repeats that are identical."""

import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.channel.command import Command, Message, Transfer
from bridge.channel.effect import Publish, SignRequest
from bridge.channel.identifier import Account, ChannelId, ChannelName, CommandId, SignRequestId, TransactionHash
from bridge.channel.request import Tag
from bridge.channel.terms import Role, SigningForm, Terms
from bridge.channel.transaction import Kind, Transaction, Update
from bridge.wire.body import SignReplyBody
from bridge.wire.envelope import Envelope, Received, body_digest
from bridge.wire.incoming import read_command, read_sign_reply, read_sign_request
from bridge.wire.outgoing import command_envelope, event_envelope, sign_reply_envelope, sign_request_envelope

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "vectors.json").read_text())["vectors"]
UPDATE = next(vector for vector in VECTORS if vector["name"] == "V4")
INNER = bytes.fromhex(UPDATE["tx_hex"])

ALICE = Account("ak_2U5uowyre6aqU1gz3Pkd1VtMkBVc2rquvr3oPWynbPNYozaLhv")
BOB = Account("ak_9UUfv5MBBZRKsS82REfUw4xLxrGVrEtjxuiEHiZDgraJg27Sn")
ACME = ChannelName("acme-7")
CHANNEL_ID = ChannelId(UPDATE["fields"]["channel_id"])
AT = 1767323045.678
COIN = 10**18

TERMS = Terms(
    name=ACME,
    role=Role.RESPONDER,
    initiator=ALICE,
    responder=BOB,
    initiator_amount=10 * COIN,
    responder_amount=0,
    network_id="ae_uat",
)
TRANSACTION = Transaction(
    text=UPDATE["signed_tx"],
    wrapped=True,
    kind=Kind.OFFCHAIN,
    hash=TransactionHash(UPDATE["tx_blake2b"]),
    signatures=("ab" * 64,),
    channel_id=CHANNEL_ID,
    round=2,
    state_hash=UPDATE["fields"]["state_hash"],
)
REQUEST = SignRequest(
    sign_request_id=SignRequestId("acme-7.3.4eaa4c94db8e624f"),
    account=BOB,
    tag=Tag.UPDATE_ACK,
    transaction=TRANSACTION,
    cause="peer_proposal",
    command_id=None,
    opened_at=AT,
    deadline=AT + 60,
    updates=(Update("OffChainTransfer", 5 * COIN, ALICE, BOB),),
    balances_before={ALICE: 10 * COIN, BOB: 0},
    balances_after={ALICE: 5 * COIN, BOB: 5 * COIN},
    channel_id=CHANNEL_ID,
    abandoned=(TransactionHash("ab" * 32),),
)


def receive(envelope: Envelope, user: str = "alice") -> Received:
    """As the broker would hand it to the other side."""
    return Received(
        envelope.exchange, envelope.routing_key, envelope.body, dict(envelope.headers), user, type=envelope.type
    )


def test_sign_request_says_all_a_signer_needs() -> None:
    """The golden example: what an outside signer is written against."""
    envelope = sign_request_envelope("channels", TERMS, REQUEST)
    assert (envelope.exchange, envelope.routing_key) == ("channels.sign-requests", f"{BOB}.update_ack")
    assert envelope.correlation_id == REQUEST.sign_request_id
    assert envelope.type == "channel-bridge.sign-request.update_ack.v1"
    assert envelope.headers["ce-id"] == "sign-request:acme-7.3.4eaa4c94db8e624f"
    assert envelope.mandatory
    absent = ["account", "amount", "fee", "nonce", "ttl", "initiator", "responder", "initiator_amount"]
    absent += ["responder_amount", "channel_reserve", "lock_period"]
    assert json.loads(envelope.body) == {
        "sign_request_id": "acme-7.3.4eaa4c94db8e624f",
        "channel": "acme-7",
        "channel_id": "ch_TCFBizm3XNHeQjDDPKNof9wPtFksneSPy7QXe3LamEwyKsxP4",
        "account": BOB,
        "role": "responder",
        "tag": "update_ack",
        "network_id": "ae_uat",
        "transaction": UPDATE["signed_tx"],
        "form": "half_signed",
        "wrapped": True,
        "signing_form": "network_id+hash",
        "signing_payload": "YWVfdWF0TqpMlNuOYk869mS2AmwM13TrsOELobkFWhmsyw61fDo=",
        "decoded": {
            **dict.fromkeys(absent),
            "kind": "channel_offchain_tx",
            "hash": "4eaa4c94db8e624f3af664b6026c0cd774ebb0e10ba1b9055a19accb0eb57c3a",
            "channel_id": "ch_TCFBizm3XNHeQjDDPKNof9wPtFksneSPy7QXe3LamEwyKsxP4",
            "round": 2,
            "state_hash": "a6626ad423c5ae2e13c7ab233de32429524fe6e4d7ae71920779ab2edd0742ca",
            "signatures": ["ab" * 64],
        },
        "updates": [
            {"op": "OffChainTransfer", "amount": "5000000000000000000", "from": ALICE, "to": BOB, "data": None}
        ],
        "balances_before": {ALICE: "10000000000000000000", BOB: "0"},
        "balances_after": {ALICE: "5000000000000000000", BOB: "5000000000000000000"},
        "cause": "peer_proposal",
        "command_id": None,
        "abandoned": ["ab" * 32],
        "opened_at": "2026-01-02T03:04:05.678Z",
        "deadline": "2026-01-02T03:05:05.678Z",
        "unit": "aetto",
    }


@pytest.mark.parametrize(
    ("form", "payload"),
    [
        (SigningForm.NETWORK_HASH, b"ae_uat" + hashlib.blake2b(INNER, digest_size=32).digest()),
        (SigningForm.NETWORK_RAW, b"ae_uat" + INNER),
        (SigningForm.RAW, INNER),
    ],
    ids=["network_hash", "network_raw", "raw"],
)
def test_signing_payload_is_exactly_the_bytes_to_sign(form: SigningForm, payload: bytes) -> None:
    """A KMS signs these bytes and knows nothing else of the chain: one byte off and no signature holds."""
    envelope = sign_request_envelope("channels", replace(TERMS, signing_form=form), REQUEST)
    assert read_sign_request(receive(envelope)).payload == payload


def test_signing_payload_of_a_bare_transaction_is_of_the_same_bytes() -> None:
    """Legacy nodes send the inner transaction alone; what is signed does not depend on the wrapping."""
    checksum = hashlib.sha256(hashlib.sha256(INNER).digest()).digest()[:4]
    text = "tx_" + base64.b64encode(INNER + checksum).decode()
    bare = replace(REQUEST, transaction=replace(TRANSACTION, text=text, wrapped=False, signatures=()))
    told = read_sign_request(receive(sign_request_envelope("channels", TERMS, bare)))
    wrapped = read_sign_request(receive(sign_request_envelope("channels", TERMS, REQUEST)))
    assert told.signing_payload == wrapped.signing_payload
    assert (told.form, told.wrapped, told.transaction) == ("unsigned", False, text)


def test_repeated_sign_request_is_identical_byte_for_byte() -> None:
    """A signer that sees it twice must see that it is one question, whatever order a mapping was built in."""
    again = replace(
        REQUEST,
        balances_before={BOB: 0, ALICE: 10 * COIN},
        balances_after={BOB: 5 * COIN, ALICE: 5 * COIN},
    )
    assert sign_request_envelope("channels", TERMS, again) == sign_request_envelope("channels", TERMS, REQUEST)


def test_sign_request_with_nothing_known_is_still_told() -> None:
    """An opaque transaction of an early era has no fields, and a person may still have to decide."""
    opaque = replace(TRANSACTION, kind=Kind.OPAQUE, channel_id=None, round=None, state_hash=None)
    unknown = replace(
        REQUEST, transaction=opaque, updates=None, balances_before=None, balances_after=None, channel_id=None
    )
    told = read_sign_request(receive(sign_request_envelope("channels", TERMS, unknown)))
    assert (told.updates, told.balances_before, told.channel_id, told.decoded.kind) == (None, None, None, "opaque")


def test_command_of_ours_is_read_back_as_it_was_meant() -> None:
    """The command line and the demo speak the public contract, nothing else."""
    values = {"command_id": "c-1", "issued_at": "2026-01-02T03:04:05Z"}
    commands: list[Command] = [
        Transfer.model_validate({**values, "from": ALICE, "to": BOB, "amount": 5 * COIN, "meta": ["invoice 7"]}),
        Message.model_validate({**values, "to": BOB, "info": "\u20ac 5", "expect_round": 3}),
    ]
    for command in commands:
        envelope = command_envelope("channels", ACME, command, at=AT, reply_to="amq.rabbitmq.reply-to.g1")
        now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        assert read_command(receive(envelope), channels={ACME}, now=now) == (ACME, command)
        assert (envelope.correlation_id, envelope.reply_to) == ("c-1", "amq.rabbitmq.reply-to.g1")
    assert b'"amount":"5000000000000000000"' in command_envelope("channels", ACME, commands[0], at=AT).body


def test_sign_reply_of_ours_is_read_back_as_it_was_meant() -> None:
    """The packaged signer has no private way in."""
    reply = SignReplyBody(sign_request_id="r-1", signature=base64.b64encode(bytes(64)).decode())
    envelope = sign_reply_envelope("channels", BOB, ACME, reply, at=AT)
    assert (envelope.exchange, envelope.routing_key) == ("channels.sign-replies", f"{BOB}.acme-7")
    assert json.loads(envelope.body) == {"sign_request_id": "r-1", "signature": "A" * 86 + "=="}
    assert read_sign_reply(receive(envelope, "signer-1")) == (BOB, ACME, reply)


def publish(data: dict[str, Any], **other: Any) -> Envelope:
    facts: dict[str, Any] = {"seq": 12, "prev": "00" * 32, "round": 7, "channel_id": CHANNEL_ID, "epoch": 3, "at": AT}
    effect = Publish("transfer", other.pop("name", "succeeded"), data, other.pop("raw", ""))
    envelope, event_id = event_envelope("channels", ACME, effect, **{**facts, **other})
    assert event_id == envelope.event_id
    return envelope


def test_event_says_where_it_stands_and_what_happened() -> None:
    """The golden example: what an accounting pipeline is written against."""
    data = {"command_id": CommandId("c-1"), "amount": 5 * COIN, "from": ALICE, "to": BOB, "fee": None}
    envelope = publish(data, raw='{"jsonrpc":"2.0"}')
    assert (envelope.exchange, envelope.routing_key) == ("channels.events", "acme-7.transfer.succeeded")
    assert envelope.type == "channel-bridge.transfer.succeeded.v1"
    assert envelope.headers["ce-id"] == "event:acme-7:12"
    assert envelope.correlation_id == "c-1"
    assert envelope.mandatory
    assert json.loads(envelope.body) == {
        "channel": "acme-7",
        "channel_id": CHANNEL_ID,
        "seq": 12,
        "prev": "00" * 32,
        "round": 7,
        "epoch": 3,
        "at": "2026-01-02T03:04:05.678Z",
        "family": "transfer",
        "name": "succeeded",
        "data": {"command_id": "c-1", "amount": "5000000000000000000", "from": ALICE, "to": BOB, "fee": None},
        "raw": '{"jsonrpc":"2.0"}',
        "unit": "aetto",
    }


def test_repeated_event_is_identical_and_the_next_one_names_it() -> None:
    """`prev` is the digest of the very bytes that were published: an edit anywhere shows."""
    first = publish({"amount": 1, "from": ALICE})
    assert publish({"from": ALICE, "amount": 1}) == first
    second = publish({"amount": 1}, seq=13, prev=body_digest(first.body))
    assert json.loads(second.body)["prev"] == hashlib.sha256(first.body).hexdigest()
    assert second.event_id != first.event_id


def test_event_named_by_the_node_stays_in_its_family() -> None:
    """A node may name an event `a.b`; the routing key keeps its three words."""
    envelope = publish({}, name="system.#")
    assert envelope.routing_key == "acme-7.transfer.system__"
    assert json.loads(envelope.body)["raw"] is None
    assert envelope.correlation_id is None


def test_type_prefix_is_the_deployments_own() -> None:
    """CloudEvents wants a reverse-DNS name; ours is only the default."""
    assert publish({}, type_prefix="com.example").type == "com.example.transfer.succeeded.v1"
    assert sign_request_envelope("x", TERMS, REQUEST, type_prefix="com.example").headers["ce-type"] == (
        "com.example.sign-request.update_ack.v1"
    )
