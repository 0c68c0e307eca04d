"""A signer's reply against its request: what goes on to the node, and what is said of what does not."""

import base64
from dataclasses import replace

import pytest
from nacl.signing import SigningKey

from bridge.channel.identifier import ChannelName
from bridge.channel.input import BadReply, Declined, Signed
from bridge.channel.terms import Dialect, Role, SigningForm, Terms
from bridge.channel.transaction import Kind, Transaction
from bridge.wire import encoding
from bridge.wire.body import Refusal, SignReplyBody
from bridge.wire.transaction import build, channel_id, read, signing_payload, unwrap, wrap
from bridge.wire.verdict import assess

OWN, PEER, STRANGER = (SigningKey(bytes([n]) * 32) for n in (1, 2, 3))
NETWORK = "ae_test"


def account(key: SigningKey) -> str:
    return encoding.account(bytes(key.verify_key))


def terms(dialect: Dialect = Dialect.JSON_RPC, form: SigningForm = SigningForm.NETWORK_HASH) -> Terms:
    return Terms(
        name=ChannelName("acme-7"),
        role=Role.INITIATOR,
        initiator=encoding.account(bytes(OWN.verify_key)),
        responder=encoding.account(bytes(PEER.verify_key)),
        initiator_amount=10,
        responder_amount=10,
        network_id=NETWORK,
        dialect=dialect,
        signing_form=form,
    )


INNER = build(
    Kind.OFFCHAIN,
    2,
    {"channel_id": channel_id(terms().initiator, 1, terms().responder), "round": 2, "state_hash": b"\x07" * 32},
)


def sign(key: SigningKey, form: SigningForm = SigningForm.NETWORK_HASH, network: str = NETWORK) -> bytes:
    return key.sign(signing_payload(INNER, network, form)).signature


def request(*signatures: bytes, wrapped: bool = True) -> Transaction:
    return read(encoding.encode("tx", wrap(signatures, INNER) if wrapped else INNER))


def detached(signature: bytes) -> SignReplyBody:
    return SignReplyBody(sign_request_id="s-1", signature=base64.b64encode(signature).decode())


def whole(*signatures: bytes, inner: bytes = INNER) -> SignReplyBody:
    return SignReplyBody(sign_request_id="s-1", signed_tx=encoding.encode("tx", wrap(signatures, inner)))


def signatures_of(verdict: object) -> set[bytes]:
    assert isinstance(verdict, Signed), verdict
    return set(unwrap(encoding.decode(verdict.signed_tx, "tx")).signatures)


@pytest.mark.parametrize("form", [SigningForm.NETWORK_HASH, SigningForm.NETWORK_RAW])
def test_a_detached_signature_is_joined_to_the_transaction(form: SigningForm) -> None:
    """All a KMS, an HSM or a hand-written signer has to give. Today's nodes take both forms."""
    ours = sign(OWN, form)
    assert signatures_of(assess(terms(), request(), detached(ours))) == {ours}


def test_the_peers_signature_is_kept() -> None:
    """An acknowledgement goes on with both."""
    ours, theirs = sign(OWN), sign(PEER)
    assert signatures_of(assess(terms(), request(theirs), detached(ours))) == {ours, theirs}
    assert signatures_of(assess(terms(), request(theirs), whole(ours, theirs))) == {ours, theirs}


def test_a_bare_legacy_transaction_goes_on_with_our_signature_alone() -> None:
    """The old node merges both itself."""
    ours = sign(OWN, SigningForm.RAW)
    legacy = terms(Dialect.LEGACY_SEED, SigningForm.RAW)
    assert signatures_of(assess(legacy, request(wrapped=False), detached(ours))) == {ours}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (detached(sign(STRANGER)), "key"),
        (detached(sign(OWN, network="ae_mainnet")), "key"),
        (detached(sign(OWN, SigningForm.RAW)), "key"),
        (whole(sign(OWN)), "signatures"),
        (whole(sign(OWN), sign(PEER), sign(STRANGER)), "signatures"),
        (whole(sign(PEER)), "signatures"),
        (whole(sign(OWN), sign(PEER), inner=INNER[:-1] + b"\x08"), "tx_changed"),
        (SignReplyBody(sign_request_id="s-1", signed_tx="tx_nonsense"), "encoding"),
    ],
)
def test_a_reply_that_is_not_the_request_with_our_signature_is_refused(reply: SignReplyBody, reason: str) -> None:
    """5.2: each with a word that names what was wrong."""
    assert assess(terms(), request(sign(PEER)), reply) == BadReply(reason)


def test_a_refusal_is_passed_on_with_its_reason() -> None:
    reply = SignReplyBody(sign_request_id="s-1", refusal=Refusal(reason="too much"))
    assert assess(terms(), request(), reply) == Declined("too much")


def test_a_refusals_word_stands_before_its_reason() -> None:
    """Whoever reads the result finds the word in the signer's page."""
    reply = SignReplyBody(sign_request_id="s-1", refusal=Refusal(reason="round 2 is taken", code="round_taken"))
    assert assess(terms(), request(), reply) == Declined("round_taken: round 2 is taken")


def test_what_a_signature_replaces_is_passed_on() -> None:
    """The signer's own word that it has signed this round before: it ends up in an event."""
    reply = detached(sign(OWN)).model_copy(update={"replaces": ("ab" * 32,)})
    verdict = assess(terms(), request(), reply)
    assert isinstance(verdict, Signed)
    assert verdict.replaces == ("ab" * 32,)


def test_a_flipped_bit_is_seen() -> None:
    ours = bytearray(sign(OWN))
    ours[7] ^= 1
    assert assess(terms(), request(), detached(bytes(ours))) == BadReply("key")
    assert replace(terms()).own == account(OWN)
