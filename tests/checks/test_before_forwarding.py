"""The checks of guarantees.md 5.2, each with one thing changed: the signer is told, the node gets nothing."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from bridge.channel.request import Tag
from bridge.channel.signature import DECLINED, MAX_BAD_REPLIES
from bridge.channel.terms import SigningForm
from bridge.channel.transaction import Kind
from bridge.wire import encoding
from bridge.wire.signature import ORDER
from bridge.wire.transaction import build, wrap
from tests.checks.desk import (
    CLOSE,
    OFFCHAIN,
    OTHER_CHANNEL,
    OWN,
    OWN_KEY,
    PEER,
    PEER_KEY,
    STRANGER_KEY,
    Desk,
    frame,
    opened,
    shutdown,
    sign,
    signed,
    transfer,
    transfer_told,
    triggered,
)

INNER = build(Kind.OFFCHAIN, 2, OFFCHAIN)
OURS, THEIRS, STRANGERS = sign(OWN_KEY, INNER), sign(PEER_KEY, INNER), sign(STRANGER_KEY, INNER)
DER = bytes.fromhex("3045022100" + "91" * 32 + "0220" + "22" * 32)
SMALL_ORDER_SIGNATURE = bytes([1]) + bytes(63)
"""R the neutral point, S zero: verifies for every text under a key of small order."""


def detached(signature: bytes) -> dict[str, str]:
    return {"signature": base64.b64encode(signature).decode()}


def whole(*signatures: bytes, inner: bytes = INNER) -> dict[str, str]:
    return {"signed_tx": signed(inner, *signatures)}


def raw(data: bytes) -> dict[str, str]:
    return {"signed_tx": encoding.encode("tx", data)}


def flip(signature: bytes, place: int) -> bytes:
    return signature[:place] + bytes([signature[place] ^ 1]) + signature[place + 1 :]


def offchain(**changes: object) -> dict[str, str]:
    """Another transaction, signed as it should be."""
    inner = build(Kind.OFFCHAIN, 2, {**OFFCHAIN, **changes})
    return whole(sign(OWN_KEY, inner), inner=inner)


def break_checksum(text: str) -> str:
    """Another checksum's characters at the end, in faultless base64."""
    return text[:-8] + encoding.encode("tx", encoding.decode(text, "tx") + b"\0")[-8:]


S_PLUS_L = OURS[:32] + (int.from_bytes(OURS[32:], "little") + ORDER).to_bytes(32, "little")
GOOD_TEXT = signed(INNER, OURS)
BEYOND = b"\xf9\0" + wrap([OURS], INNER)[2:]
"""The outer list's length in two bytes where one would do."""
INVALID, UNSUPPORTED = "sign_reply_invalid", "unsupported_signature"

BAD: dict[str, tuple[Mapping[str, str], tuple[str, str]]] = {
    "round": (offchain(round=3), (INVALID, "tx_changed")),
    "channel": (offchain(channel_id=OTHER_CHANNEL), (INVALID, "tx_changed")),
    "state hash": (offchain(state_hash=bytes(32)), (INVALID, "tx_changed")),
    "another kind": (whole(OURS, inner=build(Kind.CLOSE_MUTUAL, 1, CLOSE)), (INVALID, "tx_changed")),
    "a byte behind the inner": (whole(OURS, inner=INNER + b"\0"), (INVALID, "tx_changed")),
    "no signature": (whole(), (INVALID, "signatures")),
    "a second own, other form": (whole(OURS, sign(OWN_KEY, INNER, SigningForm.NETWORK_RAW)), (INVALID, "signatures")),
    "a stranger's besides": (whole(OURS, STRANGERS), (INVALID, "signatures")),
    "63 bytes": (detached(OURS[:63]), (INVALID, "signatures")),
    "65 bytes": (detached(OURS + b"\0"), (INVALID, "signatures")),
    "63 bytes, whole": (whole(OURS[:63]), (INVALID, "signatures")),
    "65 bytes, whole": (whole(OURS + b"\0"), (INVALID, "signatures")),
    "zero": (detached(bytes(64)), (INVALID, "key")),
    "small order": (detached(SMALL_ORDER_SIGNATURE), (INVALID, "key")),
    "a bit of R": (detached(flip(OURS, 0)), (INVALID, "key")),
    "a bit of S": (detached(flip(OURS, 32)), (INVALID, "key")),
    "S + L": (detached(S_PLUS_L), (INVALID, "signatures")),
    "a stranger's": (detached(STRANGERS), (INVALID, "key")),
    "the peer's": (detached(THEIRS), (INVALID, "key")),
    "another network": (detached(sign(OWN_KEY, INNER, network="ae_mainnet")), (INVALID, "key")),
    "no network": (detached(sign(OWN_KEY, INNER, SigningForm.RAW)), (INVALID, "key")),
    "DER": (detached(DER), (UNSUPPORTED, "signatures")),
    "DER, whole": (whole(DER), (UNSUPPORTED, "signatures")),
    "bytes behind the whole": (raw(wrap([OURS], INNER) + b"\0"), (INVALID, "encoding")),
    "a length not in its shortest form": (raw(BEYOND), (INVALID, "encoding")),
    "the bare transaction": (raw(INNER), (INVALID, "encoding")),
    "bad checksum": ({"signed_tx": break_checksum(GOOD_TEXT)}, (INVALID, "encoding")),
    "a character behind": ({"signed_tx": GOOD_TEXT + "="}, (INVALID, "encoding")),
    "another prefix": ({"signed_tx": "tx_" + encoding.encode("ba", wrap([OURS], INNER))[3:-4]}, (INVALID, "encoding")),
}


def awaiting() -> Desk:
    """Our transfer's transaction is with the signer."""
    return triggered(transfer()).hear(frame(Tag.UPDATE, signed(INNER), transfer_told()))


def is_untouched(desk: Desk) -> bool:
    return not (desk.signatures_sent or desk.refusals or desk.forwards or desk.outcomes)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_reply_is_refused_and_the_good_one_afterwards_pays(case: str) -> None:
    """Nothing of it reaches the node or the ledger; one mistake of a signer costs nothing."""
    answer, refusal = BAD[case]
    desk = awaiting().reply(**answer)
    assert is_untouched(desk)
    assert desk.refused_replies == [refusal]
    desk.reply(**detached(OURS))
    assert desk.signatures_sent == [signed(INNER, OURS)]
    assert [row.hash for row in desk.forwards]
    assert ("succeeded", None) in desk.cosign(INNER).outcomes


ACKNOWLEDGED_BAD: dict[str, tuple[Mapping[str, str], tuple[str, str]]] = {
    "the peer's dropped": (whole(OURS), (INVALID, "signatures")),
    "the peer's replaced": (whole(OURS, STRANGERS), (INVALID, "signatures")),
    "the peer's alone": (whole(THEIRS), (INVALID, "signatures")),
    "the peer's again, detached": (detached(THEIRS), (INVALID, "signatures")),
    "the peer's in another form": (
        whole(OURS, sign(PEER_KEY, INNER, SigningForm.NETWORK_RAW)),
        (INVALID, "signatures"),
    ),
    "two of ours": (whole(THEIRS, OURS, sign(OWN_KEY, INNER, SigningForm.NETWORK_RAW)), (INVALID, "signatures")),
    "a stranger's": (whole(THEIRS, STRANGERS), (INVALID, "key")),
    "a bit of ours": (whole(THEIRS, flip(OURS, 63)), (INVALID, "key")),
}


@pytest.mark.parametrize("case", ACKNOWLEDGED_BAD)
def test_a_bad_second_signature_is_refused_and_the_good_one_afterwards_is_sent(case: str) -> None:
    """The second signer keeps the first's: without it the node would fall back to the state before."""
    answer, refusal = ACKNOWLEDGED_BAD[case]
    desk = opened().hear(frame(Tag.UPDATE_ACK, signed(INNER, THEIRS), transfer_told(5, PEER, OWN)))
    desk.reply(**answer)
    assert is_untouched(desk)
    assert desk.refused_replies == [refusal]
    assert desk.reply(**whole(THEIRS, OURS)).signatures_sent == [signed(INNER, THEIRS, OURS)]
    assert "transfer.received" in desk.cosign(INNER).events


@pytest.mark.parametrize(
    "changes",
    [
        {"initiator_amount_final": 990_001},
        {"responder_amount_final": 489_999},
        {"fee": 1},
        {"nonce": 9},
        {"ttl": 1},
        {"from_id": PEER},
    ],
    ids=str,
)
def test_a_changed_close_is_not_sent(changes: dict[str, object]) -> None:
    """The node compares neither the amounts nor the fee of a close with what it asked for: only we do."""
    asked, changed = build(Kind.CLOSE_MUTUAL, 1, CLOSE), build(Kind.CLOSE_MUTUAL, 1, {**CLOSE, **changes})
    desk = triggered(shutdown()).hear(frame(Tag.SHUTDOWN, signed(asked)))
    desk.reply(**whole(sign(OWN_KEY, changed), inner=changed))
    assert is_untouched(desk)
    assert desk.refused_replies == [(INVALID, "tx_changed")]
    assert desk.reply(**whole(sign(OWN_KEY, asked), inner=asked)).signatures_sent


def test_an_account_anybody_can_sign_for_is_named() -> None:
    """A key of small order is a mistake of the configuration; no reply to it is ever sent."""
    desk = awaiting()
    desk.terms = replace(desk.terms, initiator=encoding.account(bytes([1]) + bytes(31)))
    desk.reply(**detached(SMALL_ORDER_SIGNATURE))
    assert is_untouched(desk)
    assert desk.refused_replies == [(INVALID, "small_order")]


FIFTH = {"key": (detached(THEIRS), "signer_misbehaved"), "DER": (detached(DER), UNSUPPORTED)}


@pytest.mark.parametrize("fifth", FIFTH)
def test_the_fifth_bad_reply_fails_the_command(fifth: str) -> None:
    """A signer that cannot is not asked for ever; and if it is the wrong curve, that is said."""
    last, code = FIFTH[fifth]
    desk = awaiting()
    for _ in range(MAX_BAD_REPLIES - 1):
        desk.reply(**detached(OURS[:63]))
        assert is_untouched(desk)
    desk.reply(**last)
    assert desk.outcomes == [("failed", code)]
    assert desk.refusals == [DECLINED]
    assert not desk.signatures_sent
    assert "sign.misbehaved" in desk.events


def test_the_fifth_bad_reply_to_a_proposal_refuses_it() -> None:
    """The peer is told no instead of being left to his timer."""
    desk = opened().hear(frame(Tag.UPDATE_ACK, signed(INNER, THEIRS), transfer_told(5, PEER, OWN)))
    for _ in range(MAX_BAD_REPLIES):
        desk.reply(**detached(STRANGERS))
    assert desk.refusals == [DECLINED]
    assert not desk.signatures_sent


@pytest.mark.parametrize("form", [SigningForm.NETWORK_HASH, SigningForm.NETWORK_RAW])
@pytest.mark.parametrize("kind", ["detached", "whole"])
def test_each_good_reply_is_sent(form: SigningForm, kind: str) -> None:
    """The refusals above would hold for a bridge that sends nothing."""
    ours = sign(OWN_KEY, INNER, form)
    answer: dict[str, Any] = detached(ours) if kind == "detached" else whole(ours)
    assert awaiting().reply(**answer).signatures_sent == [signed(INNER, ours)]
