"""`bridge.wire.transaction`: texts become facts, signatures are added and kept, and a changed reply is refused."""

import json
from dataclasses import fields as members
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from bridge.channel.identifier import Account
from bridge.channel.terms import SigningForm
from bridge.channel.transaction import Kind, Transaction, Update
from bridge.errors import EncodingError, TransactionError
from bridge.wire import encoding, rlp
from bridge.wire.signature import ORDER
from bridge.wire.transaction import (
    Signed,
    attach,
    build,
    channel_id,
    check_reply,
    fields,
    read,
    signed_tx_hash,
    signing_payload,
    tx_hash,
    unwrap,
    verify,
    wrap,
)
from tests.wire.recorded import DATA, corpus

VECTORS: list[dict[str, Any]] = json.loads((DATA / "vectors.json").read_text())["vectors"]
[SIGNING] = json.loads((DATA / "vectors.json").read_text())["signing"]
NETWORK = "ae_uat"
FORMS = (SigningForm.NETWORK_HASH, SigningForm.NETWORK_RAW)
OWN_KEY, PEER_KEY = SigningKey(bytes([1] * 32)), SigningKey(bytes([2] * 32))
OWN, PEER = (encoding.account(bytes(key.verify_key)) for key in (OWN_KEY, PEER_KEY))
CHANNEL = channel_id(OWN, 7, PEER)
HASH = bytes(range(32))
CREATE = {
    "initiator": OWN,
    "initiator_amount": 100,
    "responder": PEER,
    "responder_amount": 50,
    "channel_reserve": 2,
    "lock_period": 10,
    "ttl": 0,
    "fee": 17,
    "state_hash": HASH,
    "nonce": 7,
}


def offchain(round_number: int = 2) -> bytes:
    return build(Kind.OFFCHAIN, 2, {"channel_id": CHANNEL, "round": round_number, "state_hash": HASH})


def sign(key: SigningKey, inner: bytes, form: SigningForm = SigningForm.NETWORK_HASH, network: str = NETWORK) -> bytes:
    return key.sign(signing_payload(inner, network, form)).signature


def text(data: bytes) -> str:
    return encoding.encode("tx", data)


INNER = offchain()
OURS, THEIRS = sign(OWN_KEY, INNER), sign(PEER_KEY, INNER)
ASKED = read(text(wrap([THEIRS], INNER)))
BARE = read(text(INNER))


# --- vectors --------------------------------------------------------------------------------------------


def shown(value: object) -> object:
    """A decoded value as vectors.json writes it."""
    if isinstance(value, bytes):
        return value.hex()
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_a_vector_is_read_and_written_byte_for_byte(vector: dict[str, Any]) -> None:
    """Real transactions, decoded by somebody else's program."""
    signed = unwrap(encoding.decode(vector["signed_tx"], "tx"))
    kind, values = fields(signed.inner)
    assert signed.inner.hex() == vector["tx_hex"]
    assert kind == vector["type"]
    assert {name: shown(value) for name, value in values.items()} == {
        name: value.get("hex", value) if isinstance(value, dict) else value for name, value in vector["fields"].items()
    }
    assert build(kind, vector["version"], values) == signed.inner
    assert text(wrap(signed.signatures, signed.inner)) == vector["signed_tx"]
    assert tx_hash(signed.inner) == vector["tx_blake2b"] == read(vector["signed_tx"]).hash
    assert signed_tx_hash(wrap(signed.signatures, signed.inner)) == vector["signed_tx_hash"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_a_vectors_signatures_hold(vector: dict[str, Any]) -> None:
    """Each is the named signer's, in the raw form, and nobody else's."""
    signed = unwrap(encoding.decode(vector["signed_tx"], "tx"))
    assert [signature.hex() for signature in signed.signatures] == [each["signature"] for each in vector["signatures"]]
    for each in vector["signatures"]:
        signature, signer = bytes.fromhex(each["signature"]), Account(each["signer"])
        assert verify(signature, signed.inner, signer, each["network_id"], [SigningForm.NETWORK_RAW])
        assert not verify(signature, signed.inner, OWN, each["network_id"], SigningForm)


def test_the_signed_vector_is_reproduced() -> None:
    """From a key to the text that goes to the node."""
    key, inner = SigningKey(bytes.fromhex(SIGNING["seed"])), bytes.fromhex(SIGNING["tx_hex"])
    asked = read(text(wrap([], inner)))
    signature = sign(key, inner, network=SIGNING["network_id"])
    assert attach(asked, signature) == SIGNING["signed_tx_hash_form"]
    own = encoding.account(bytes(key.verify_key))
    assert check_reply(asked, attach(asked, signature), own, SIGNING["network_id"], FORMS) == attach(asked, signature)


@pytest.mark.parametrize(
    ("row", "signers", "inner"),
    [
        (
            10,
            ["ed0582e1d114fed8ca08711416e6a52e51f9de1786e0ec4b6660bd195d6047b2"],
            "f86d3301a106f4132c611e876b812f3214ad172d63668fb83383d4bbfba220a52f64a603cf42a101ed0582e1d114fed8ca0871"
            "1416e6a52e51f9de1786e0ec4b6660bd195d6047b202818b01a0abbf161ffac222c2a66127d81f13e663afc77215ce46e2c3bd"
            "bb60c84764108e070a",
        ),
        (
            15,
            ["6c52c0113fbecdf1ed24e317299f08d3f22e66f95be189a703f3895da66d25e9"],
            "f86d3401a10671ead10d0bd74ba77370fda2f3a3e99017cc46137316d7ea071838d32d822abfa1016c52c0113fbecdf1ed24e3"
            "17299f08d3f22e66f95be189a703f3895da66d25e90281a101a0eefb7a4e713778192d1eb0bf57ca9185bc036de68c072b28d7"
            "0bd0ba2fc46499070d",
        ),
        (
            25,
            [
                "acb104249f031e91927b0315d884c533b8dfadf472d98bad685d5b276b71a992",
                "e6301cfe7f634d955aa5111525e7e897fd050d330ed630ee28cc90bb71a6ccba",
            ],
            "f86e3201a101acb104249f031e91927b0315d884c533b8dfadf472d98bad685d5b276b71a99207a101e6301cfe7f634d955aa5"
            "111525e7e897fd050d330ed630ee28cc90bb71a6ccba04020a0001a0be1ad6510598c9a86a0befc694f190bdd1a4d72f0340d1"
            "32350f4a262c7a515f04",
        ),
    ],
    ids=["L1-deposit", "L2-withdraw", "L3-create"],
)
def test_the_seeds_signatures_hold_over_the_bare_transaction(row: int, signers: list[str], inner: str) -> None:
    """Nodes of that age signed without the network's name, and wrote base58 behind a dollar."""
    found = corpus("seed")[row - 1].frame["payload"]["tx"]
    signed = unwrap(encoding.decode(found, "tx"))
    assert signed.inner.hex() == inner
    accounts = [encoding.account(bytes.fromhex(key)) for key in signers]
    for account in accounts:
        made = [each for each in signed.signatures if verify(each, signed.inner, account, "", [SigningForm.RAW])]
        assert len(made) == 1
    kind, values = fields(signed.inner)
    assert build(kind, 1, values) == signed.inner
    assert encoding.encode_legacy("tx", wrap(signed.signatures, signed.inner)) == found


@pytest.mark.parametrize(
    ("initiator", "nonce", "responder", "expected"),
    [
        (
            "c131f49236dca99fa47d2e3fd7712580740d8f9744a6f80d278df989c7340346",
            1,
            "133d9c88919cc6b6ca73fe65cdfbcc06db5581aafa4b9961b68ac94a47b5a3ff",
            "ch_2CzbXD38sjii5eM1nMLtASBvtpKgfUGJSp3MofesFH5DWro8GJ",
        ),
        (
            "64ae0e0862ded34b3a7bee2159b91486c2f48928764dbf13808a89a98b95af81",
            0x39,
            "90b32e30ca9da7801c83f69d2ec350d958a6400c8a850bdda514eeae0c2a70a1",
            "ch_tEccGHaXjsAtPvdA4CC4CSRPTdD9DsKDq4sU4Wc39MRAyk2dz",
        ),
    ],
)
def test_the_channels_id_is_known_before_the_chain_says_it(
    initiator: str, nonce: int, responder: str, expected: str
) -> None:
    """Both ids were reported by a node; before they are, the frames have none."""
    accounts = [encoding.account(bytes.fromhex(key)) for key in (initiator, responder)]
    assert channel_id(accounts[0], nonce, accounts[1]) == expected


# --- reading --------------------------------------------------------------------------------------------


def facts(transaction: Transaction) -> dict[str, object]:
    """What is known, without the text and what every transaction has."""
    names = [member.name for member in members(transaction)]
    found = {name: getattr(transaction, name) for name in names}
    return {name: value for name, value in found.items() if value is not None and name not in {"text", "hash", "kind"}}


MOVE = {"channel_id": CHANNEL, "amount": 5, "ttl": 9, "fee": 3, "state_hash": HASH, "round": 4, "nonce": 8}
FINALS = {"initiator_amount_final": 6, "responder_amount_final": 4, "ttl": 9, "fee": 3, "nonce": 8}
PAID = {"initiator_amount": 6, "responder_amount": 4, "ttl": 9, "fee": 3, "nonce": 8, "channel_id": CHANNEL}
PROOF = {"channel_id": CHANNEL, "from_id": OWN, "payload": b"", "poi": b"x", "ttl": 9, "fee": 3, "nonce": 8}
MOVED = {**MOVE, "account": OWN, "state_hash": HASH.hex()}
STATED = {**CREATE, "state_hash": HASH.hex(), "channel_id": CHANNEL, "round": 1}
COST = {"ttl": 9, "fee": 3, "nonce": 8}
TRANSFER = Update("OffChainTransfer", 5, from_account=OWN, to_account=PEER)
META: dict[str, object] = {"ga_id": OWN, "auth_data": b"", "abi_version": 3, "fee": 3, "gas": 1, "gas_price": 2}


@pytest.mark.parametrize(
    ("kind", "version", "values", "expected"),
    [
        (Kind.CREATE, 1, CREATE, STATED),
        (Kind.CREATE, 1, {**CREATE, "delegate_ids": (OWN,)}, STATED),
        (Kind.CREATE, 2, {**CREATE, "initiator_delegate_ids": (), "responder_delegate_ids": (PEER,)}, STATED),
        (Kind.DEPOSIT, 1, {**MOVE, "from_id": OWN}, MOVED),
        (Kind.WITHDRAW, 1, {**MOVE, "to_id": OWN}, MOVED),
        (Kind.CLOSE_MUTUAL, 1, {**FINALS, "channel_id": CHANNEL, "from_id": OWN}, {**PAID, "account": OWN}),
        (Kind.CLOSE_MUTUAL, 1, {**FINALS, "channel_id": CHANNEL}, PAID),
        (Kind.SETTLE, 1, {**FINALS, "channel_id": CHANNEL, "from_id": PEER}, {**PAID, "account": PEER}),
        (Kind.CLOSE_SOLO, 1, PROOF, {"channel_id": CHANNEL, "account": OWN, **COST}),
        (Kind.SLASH, 1, PROOF, {"channel_id": CHANNEL, "account": OWN, **COST}),
        (
            Kind.OFFCHAIN,
            1,
            {"channel_id": CHANNEL, "round": 2, "updates": (TRANSFER,), "state_hash": HASH},
            {"channel_id": CHANNEL, "round": 2, "updates": (TRANSFER,), "state_hash": HASH.hex()},
        ),
        (
            Kind.OFFCHAIN,
            2,
            {"channel_id": CHANNEL, "round": 2, "state_hash": HASH},
            {"channel_id": CHANNEL, "round": 2, "state_hash": HASH.hex()},
        ),
        (Kind.GA_META, 1, {**META, "ttl": 9, "tx": b"x"}, {"fee": 3, "ttl": 9}),
        (Kind.GA_META, 2, {**META, "tx": b"x"}, {"fee": 3}),
    ],
)
def test_a_transaction_says_its_facts(
    kind: Kind, version: int, values: dict[str, object], expected: dict[str, object]
) -> None:
    """What the checks before a signature and the accountants rely on; nothing more is claimed."""
    inner = build(kind, version, values)
    bare, wrapped = read(text(inner)), read(text(wrap([OURS], inner)))
    assert (bare.kind, wrapped.kind) == (kind, kind)
    assert facts(bare) == {**expected, "wrapped": False, "signatures": ()}
    assert facts(wrapped) == {**expected, "wrapped": True, "signatures": (OURS.hex(),)}
    assert bare.hash == wrapped.hash == tx_hash(inner)


@pytest.mark.parametrize("write", [encoding.encode, encoding.encode_legacy])
def test_every_spelling_reads_the_same(write: Any) -> None:
    """The text kept is today's form, whatever the node wrote: the same state compares equal in both dialects."""
    assert read(write("tx", wrap([THEIRS], INNER))) == ASKED
    assert ASKED.text == text(wrap([THEIRS], INNER))


@pytest.mark.parametrize("row", [2, 3, 4, 5])
def test_a_transaction_of_before_0_13_is_only_passed_on(row: int) -> None:
    """Keys of another curve: its fields can be decoded, yet none of them is an account or a channel of ours."""
    found = corpus("seed")[row - 1].frame["payload"]["tx"]
    transaction = read(found)
    signed = unwrap(encoding.decode(found, "tx")) if transaction.wrapped else Signed((), encoding.decode(found, "tx"))
    assert transaction.kind is Kind.OPAQUE
    assert facts(transaction) == {
        "wrapped": row in {3, 5},
        "signatures": tuple(signature.hex() for signature in signed.signatures),
    }
    assert transaction.hash == read(corpus("seed")[1].frame["payload"]["tx"]).hash
    assert all(len(signature) == 70 for signature in signed.signatures)
    kind, values = fields(signed.inner)
    assert (kind, values["previous_round"], values["round"]) == (Kind.OFFCHAIN, 1, 2)
    assert build(kind, 1, values) == signed.inner


def test_an_unknown_update_makes_the_whole_transaction_opaque() -> None:
    """An operation we cannot read must not be left out of what a signer is shown."""
    values = {"channel_id": CHANNEL, "round": 2, "state_hash": HASH, "updates": (rlp.encode([b"\1", b"\1"]),)}
    assert read(text(build(Kind.OFFCHAIN, 1, values))).kind is Kind.OPAQUE


def test_a_nonce_beyond_the_format_makes_a_transaction_opaque() -> None:
    """The channel's id has room for 256 bits of it."""
    assert read(text(build(Kind.CREATE, 1, {**CREATE, "nonce": 2**256 - 1}))).kind is Kind.CREATE
    assert read(text(build(Kind.CREATE, 1, {**CREATE, "nonce": 2**256}))).kind is Kind.OPAQUE
    with pytest.raises(EncodingError):
        channel_id(OWN, 2**256, PEER)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(st.binary(max_size=40), max_size=14).map(rlp.encode),
        st.builds(wrap, st.lists(st.binary(max_size=66), max_size=3), st.binary(max_size=100)),
    )
)
def test_any_bytes_with_a_checksum_become_a_transaction(data: bytes) -> None:
    """A node may send what we have no word for: it stays what it is, byte for byte."""
    transaction = read(text(data))
    assert encoding.decode(transaction.text, "tx") == data
    assert read(transaction.text) == transaction


@given(st.data())
def test_a_real_transaction_with_a_changed_byte_is_read_or_opaque(data: st.DataObject) -> None:
    """One byte away from a valid transaction is where decoders fall over."""
    vector = data.draw(st.sampled_from(VECTORS))
    changed = bytearray(encoding.decode(vector["signed_tx"], "tx"))
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    transaction = read(text(bytes(changed)))
    assert transaction.kind in Kind
    assert encoding.decode(transaction.text, "tx") == bytes(changed)


@given(st.text(), st.sampled_from(["", "tx_", "tx$", "ak_"]))
def test_any_text_is_read_or_refused_by_name(rest: str, start: str) -> None:
    """Nothing but `EncodingError`, whatever stands in the frame."""
    with pytest.raises(EncodingError):
        read(start + rest)


# --- signed_tx ------------------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=64, max_size=64), max_size=4))
def test_signatures_are_sorted_and_there_once(signatures: list[bytes]) -> None:
    """As every node writes them: the same state has one text, whoever signed first."""
    signed = unwrap(wrap(signatures, INNER))
    assert signed == Signed(tuple(sorted(set(signatures))), INNER)


@pytest.mark.parametrize(
    "item",
    [
        b"",
        [],
        [b"\x0b", b"\1", []],
        [b"\x0b", b"\1", [], INNER, b""],
        [b"\x0b", b"\2", [], INNER],
        [b"\x0c", b"\1", [], INNER],
        [b"\x0b", b"\1", THEIRS, INNER],
        [b"\x0b", b"\1", [[THEIRS]], INNER],
        [b"\x0b", b"\1", [], [INNER]],
        [[b"\x0b"], b"\1", [], INNER],
    ],
)
def test_what_is_no_signed_tx_is_refused(item: rlp.Item) -> None:
    """A list in place of bytes, another tag, a field more or less."""
    with pytest.raises(TransactionError) as caught:
        unwrap(rlp.encode(item))
    assert caught.value.reason == "encoding"


# --- a signer's reply -----------------------------------------------------------------------------------


def checked(request: Transaction, reply: str, account: Account = OWN) -> str:
    return check_reply(request, reply, account, NETWORK, FORMS)


def reason(request: Transaction, reply: str, account: Account = OWN) -> str:
    with pytest.raises(TransactionError) as caught:
        checked(request, reply, account)
    return caught.value.reason


def test_the_first_signature_is_added_to_none() -> None:
    """A proposer gets the transaction wrapped and unsigned."""
    asked = read(text(wrap([], INNER)))
    assert checked(asked, attach(asked, OURS)) == text(wrap([OURS], INNER))


def test_the_second_signature_is_added_and_the_first_kept() -> None:
    """The node refuses a reply that lost the proposer's."""
    assert checked(ASKED, attach(ASKED, OURS)) == text(wrap([OURS, THEIRS], INNER))
    assert set(read(attach(ASKED, OURS)).signatures) == {OURS.hex(), THEIRS.hex()}


def test_a_bare_transaction_gets_ours_alone() -> None:
    """Legacy nodes ask both signers the same and merge the replies themselves."""
    assert checked(BARE, attach(BARE, OURS)) == text(wrap([OURS], INNER))
    assert reason(BARE, text(wrap([OURS, THEIRS], INNER))) == "signatures"
    assert reason(BARE, BARE.text) == "encoding"


@pytest.mark.parametrize("form", FORMS)
def test_each_form_the_node_takes_is_taken(form: SigningForm) -> None:
    """The official client signs the hash, the node's own tests the whole transaction."""
    signature = sign(OWN_KEY, INNER, form)
    assert checked(ASKED, attach(ASKED, signature)) == attach(ASKED, signature)


@pytest.mark.parametrize("write", [encoding.encode, encoding.encode_legacy])
@pytest.mark.parametrize("order", [[OURS, THEIRS], [THEIRS, OURS]])
def test_what_goes_to_the_node_is_canonical(order: list[bytes], write: Any) -> None:
    """A signer may sort otherwise and write an older spelling; the same reply then is the same text."""
    item: list[rlp.Item] = [b"\x0b", b"\1", order, INNER]
    assert checked(ASKED, write("tx", rlp.encode(item))) == text(wrap([OURS, THEIRS], INNER))


COSIGNED = read(text(wrap([OURS, THEIRS], INNER)))
OTHER_FORM = sign(OWN_KEY, INNER, SigningForm.NETWORK_RAW)


@pytest.mark.parametrize("signature", [OURS, OTHER_FORM], ids=["the-same", "in-another-form"])
def test_a_request_that_bears_our_signature_is_returned_unchanged(signature: bytes) -> None:
    """Observed: the same signer twice is a conflict, the transaction as it came is taken."""
    assert checked(COSIGNED, attach(COSIGNED, signature)) == COSIGNED.text
    assert checked(COSIGNED, COSIGNED.text) == COSIGNED.text


def test_a_request_that_bears_our_signature_admits_nobody_elses() -> None:
    """The exception is for our own signature only."""
    assert reason(COSIGNED, attach(COSIGNED, sign(PEER_KEY, INNER, SigningForm.NETWORK_RAW))) == "key"
    assert reason(COSIGNED, text(wrap([OURS], INNER))) == "signatures"
    assert reason(COSIGNED, text(wrap([OURS, THEIRS], offchain(3)))) == "tx_changed"


CLOSE = {**FINALS, "channel_id": CHANNEL, "from_id": OWN}


@pytest.mark.parametrize(
    "changes", [{"initiator_amount_final": 7}, {"fee": 2}, {"ttl": 10}, {"nonce": 9}, {"from_id": PEER}]
)
def test_a_changed_close_is_refused_however_well_signed(changes: dict[str, object]) -> None:
    """The node compares only kind, channel and signature of a close: here the amounts would pass it."""
    inner, other = build(Kind.CLOSE_MUTUAL, 1, CLOSE), build(Kind.CLOSE_MUTUAL, 1, CLOSE | changes)
    asked = read(text(wrap([], inner)))
    assert checked(asked, attach(asked, sign(OWN_KEY, inner)))
    assert reason(asked, text(wrap([sign(OWN_KEY, other)], other))) == "tx_changed"


HIGH_S = OURS[:32] + (int.from_bytes(OURS[32:], "little") + ORDER).to_bytes(32, "little")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("", "encoding"),
        ("tx_", "encoding"),
        ("tx_AAAA", "encoding"),
        (attach(ASKED, OURS)[:-4] + "AAAA", "encoding"),
        (OWN, "encoding"),
        (text(INNER), "encoding"),
        (text(wrap([OURS, THEIRS], INNER) + b"\0"), "encoding"),
        (text(rlp.encode([b"\x0b", b"\1", [OURS, THEIRS], INNER, b""])), "encoding"),
        (text(rlp.encode([b"\x0b", b"\0\1", [OURS, THEIRS], INNER])), "encoding"),
        (text(wrap([OURS, THEIRS], offchain(3))), "tx_changed"),
        (text(wrap([OURS, THEIRS], INNER + b"\0")), "tx_changed"),
        (text(wrap([OURS, THEIRS], wrap([], INNER))), "tx_changed"),
        (text(wrap([], INNER)), "signatures"),
        (ASKED.text, "signatures"),
        (text(wrap([OURS], INNER)), "signatures"),
        (text(wrap([OURS, OTHER_FORM, THEIRS], INNER)), "signatures"),
        (text(rlp.encode([b"\x0b", b"\1", [OURS, OURS, THEIRS], INNER])), "signatures"),
        (text(rlp.encode([b"\x0b", b"\1", [THEIRS, THEIRS], INNER])), "signatures"),
        (attach(ASKED, OURS[:63]), "signatures"),
        (attach(ASKED, OURS + b"\0"), "signatures"),
        (attach(ASKED, b"\x30\x44" + bytes(68)), "signatures"),
        (attach(ASKED, b""), "signatures"),
        (attach(ASKED, HIGH_S), "signatures"),
        (attach(ASKED, bytes(64)), "key"),
        (attach(ASKED, OURS[:63] + bytes([OURS[63] ^ 1])), "key"),
        (attach(ASKED, sign(PEER_KEY, INNER, SigningForm.NETWORK_RAW)), "key"),
        (attach(ASKED, sign(OWN_KEY, offchain(3))), "key"),
        (attach(ASKED, sign(OWN_KEY, INNER, network="ae_mainnet")), "key"),
        (attach(ASKED, sign(OWN_KEY, INNER, SigningForm.RAW)), "key"),
    ],
)
def test_a_changed_reply_is_refused_with_its_reason(reply: str, expected: str) -> None:
    """The signer is told which of its mistakes it was; nothing of it reaches the node."""
    assert reason(ASKED, reply) == expected


def test_an_account_anybody_can_sign_for_is_refused() -> None:
    """Even if a node took it: its channel would be everybody's."""
    weak = encoding.account(bytes([1, *bytes(31)]))
    assert reason(ASKED, attach(ASKED, OURS), weak) == "small_order"


@given(st.one_of(st.text(max_size=80), st.binary(max_size=120).map(text)))
def test_any_reply_is_refused_by_name(reply: str) -> None:
    """Whatever a signer sends, the channel hears one of five words."""
    assert reason(ASKED, reply) == "encoding"


@given(st.data())
def test_a_reply_with_a_changed_byte_is_refused(data: st.DataObject) -> None:
    """No byte of a good reply is without meaning."""
    good = wrap([OURS, THEIRS], INNER)
    changed = bytearray(good)
    changed[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    assert reason(ASKED, text(bytes(changed))) in {"encoding", "tx_changed", "signatures", "key"}
