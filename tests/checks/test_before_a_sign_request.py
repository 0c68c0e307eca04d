"""The checks of guarantees.md 5.1, each with one thing changed: the node is told no, and no signer is asked."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from bridge.channel.command import Command
from bridge.channel.request import Tag
from bridge.channel.signature import NOT_ALLOWED
from bridge.channel.terms import Role, SigningForm
from bridge.channel.transaction import Kind, Update
from bridge.wire import encoding, rlp
from bridge.wire.signature import ORDER, blake2b
from bridge.wire.transaction import build, wrap
from tests.checks.desk import (
    CHANNEL,
    CLOSE,
    CREATE,
    DEPOSIT,
    FEE,
    HASH,
    NETWORK,
    OFFCHAIN,
    OTHER_CHANNEL,
    OWN,
    OWN_KEY,
    PEER,
    PEER_KEY,
    STRANGER,
    STRANGER_KEY,
    TERMS,
    WITHDRAW,
    Desk,
    connected,
    deposit,
    frame,
    opened,
    shutdown,
    sign,
    signed,
    told,
    transfer,
    transfer_told,
    triggered,
    withdraw,
)
from tests.permissive import OPEN

META_1 = told("OffChainMeta", data="channel-bridge:1")


def own_update(changes: Mapping[str, object] = OFFCHAIN, updates: Any = None) -> str:
    inner = build(Kind.OFFCHAIN, 2, {**OFFCHAIN, **changes})
    return frame(Tag.UPDATE, signed(inner), transfer_told() if updates is None else updates)


def own_move(kind: Kind, tag: Tag, good: Mapping[str, object], op: str, party: str, **changes: object) -> str:
    updates = changes.pop("updates", [told(op, **{party: OWN}, amount=100)])
    return frame(tag, signed(build(kind, 1, {**good, **changes})), updates)  # type: ignore[arg-type]


def own_deposit(**changes: object) -> str:
    return own_move(Kind.DEPOSIT, Tag.DEPOSIT, DEPOSIT, "OffChainDeposit", "from", **changes)


def own_withdraw(**changes: object) -> str:
    return own_move(Kind.WITHDRAW, Tag.WITHDRAW, WITHDRAW, "OffChainWithdrawal", "to", **changes)


def own_close(**changes: object) -> str:
    return frame(Tag.SHUTDOWN, signed(build(Kind.CLOSE_MUTUAL, 1, {**CLOSE, **changes})))


INNER = build(Kind.OFFCHAIN, 2, OFFCHAIN)
SIGNED = signed(INNER)


def with_checksum(data: bytes) -> str:
    return encoding.encode("tx", data)


def break_checksum(text: str) -> str:
    """The same payload under a checksum that is not its own, in faultless base64."""
    payload = encoding.decode(text, "tx")
    return encoding.encode("tx", payload)[:-8] + encoding.encode("tx", payload + b"\0")[-8:]


def v1(updates: tuple[Update, ...]) -> bytes:
    return build(Kind.OFFCHAIN, 1, {**OFFCHAIN, "updates": updates})


OURS = Update("OffChainTransfer", 5, OWN, PEER)
OWN_MISMATCHES: dict[str, tuple[Command, str]] = {
    "update: amount": (transfer(), own_update(updates=transfer_told(6))),
    "update: negative amount": (transfer(), own_update(updates=transfer_told(-5, PEER, OWN))),
    "update: sender": (transfer(), own_update(updates=transfer_told(5, STRANGER, PEER))),
    "update: receiver": (transfer(), own_update(updates=transfer_told(5, OWN, STRANGER))),
    "update: parties swapped": (transfer(), own_update(updates=transfer_told(5, PEER, OWN))),
    "update: op": (transfer(), own_update(updates=[told("OffChainDeposit", **{"from": OWN}, amount=5)])),
    "update: contract": (transfer(), own_update(updates=[told("OffChainCallContract", amount=5)])),
    "update: one operation more": (transfer(), own_update(updates=[*transfer_told(), *transfer_told(1)])),
    "update: no operation": (transfer(), own_update(updates=[])),
    "update: another attempt's meta": (transfer(), own_update(updates=[*transfer_told(), META_1])),
    "update: round ahead": (transfer(), own_update({"round": 3})),
    "update: round again": (transfer(), own_update({"round": 1})),
    "update: channel": (transfer(), own_update({"channel_id": OTHER_CHANNEL})),
    "update: channel of the frame": (transfer(), frame(Tag.UPDATE, SIGNED, transfer_told(), OTHER_CHANNEL)),
    "update: a create": (transfer(), frame(Tag.UPDATE, signed(build(Kind.CREATE, 2, CREATE)), transfer_told())),
    "update: a close": (transfer(), frame(Tag.UPDATE, signed(build(Kind.CLOSE_MUTUAL, 1, CLOSE)), transfer_told())),
    "update: signed already": (transfer(), frame(Tag.UPDATE, signed(INNER, sign(PEER_KEY, INNER)), transfer_told())),
    "update: carries another transfer": (
        transfer(),
        frame(Tag.UPDATE, signed(v1((replace(OURS, amount=6),))), transfer_told()),
    ),
    "update: bytes behind the inner": (transfer(), frame(Tag.UPDATE, signed(INNER + b"\0"), transfer_told())),
    "update: bytes behind the whole": (
        transfer(),
        frame(Tag.UPDATE, with_checksum(wrap([], INNER) + b"\0"), transfer_told()),
    ),
    "update: round with a leading zero": (
        transfer(),
        frame(Tag.UPDATE, signed(INNER.replace(b"\x02\xa0", b"\x82\0\x02\xa0")), transfer_told()),
    ),
    "update: a list length not in its shortest form": (
        transfer(),
        frame(Tag.UPDATE, signed(b"\xf9\0" + INNER[1:]), transfer_told()),
    ),
    "update: bad checksum": (transfer(), frame(Tag.UPDATE, break_checksum(SIGNED), transfer_told())),
    "update: no transaction": (
        transfer(),
        json.dumps({"jsonrpc": "2.0", "method": "channels.sign.update", "params": {"channel_id": CHANNEL, "data": {}}}),
    ),
    "deposit: amount": (deposit(), own_deposit(amount=101)),
    "deposit: amount told": (deposit(), own_deposit(updates=[told("OffChainDeposit", **{"from": OWN}, amount=99)])),
    "deposit: account": (deposit(), own_deposit(from_id=PEER)),
    "deposit: account told": (deposit(), own_deposit(updates=[told("OffChainDeposit", **{"from": PEER}, amount=100)])),
    "deposit: amount, told alike": (
        deposit(),
        own_deposit(amount=101, updates=[told("OffChainDeposit", **{"from": OWN}, amount=101)]),
    ),
    "deposit: account, told alike": (
        deposit(),
        own_deposit(from_id=PEER, updates=[told("OffChainDeposit", **{"from": PEER}, amount=100)]),
    ),
    "deposit: a meta text nobody sent": (
        deposit(),
        own_deposit(updates=[told("OffChainDeposit", **{"from": OWN}, amount=100), META_1]),
    ),
    "deposit: fee above the policy": (deposit(), own_deposit(fee=10**18 + 1)),
    "deposit: not the fee asked for": (deposit(fee=FEE + 1), own_deposit()),
    "deposit: round": (deposit(), own_deposit(round=3)),
    "deposit: channel": (deposit(), own_deposit(channel_id=OTHER_CHANNEL)),
    "deposit: nonce 0": (deposit(), own_deposit(nonce=0)),
    "deposit: ttl": (deposit(), own_deposit(ttl=5)),
    "withdraw: amount": (withdraw(), own_withdraw(amount=101)),
    "withdraw: account": (withdraw(), own_withdraw(to_id=PEER)),
    "withdraw: amount, told alike": (
        withdraw(),
        own_withdraw(amount=101, updates=[told("OffChainWithdrawal", to=OWN, amount=101)]),
    ),
    "withdraw: account, told alike": (
        withdraw(),
        own_withdraw(to_id=PEER, updates=[told("OffChainWithdrawal", to=PEER, amount=100)]),
    ),
    "withdraw: op told": (withdraw(), own_withdraw(updates=[told("OffChainDeposit", **{"from": OWN}, amount=100)])),
    "withdraw: fee above the policy": (withdraw(), own_withdraw(fee=10**18 + 1)),
    "shutdown: ours less": (shutdown(), own_close(initiator_amount_final=989_999)),
    "shutdown: one unit to the peer": (
        shutdown(),
        own_close(initiator_amount_final=989_999, responder_amount_final=490_001),
    ),
    "shutdown: we pay the whole fee": (
        shutdown(),
        own_close(initiator_amount_final=980_000, responder_amount_final=500_000),
    ),
    "shutdown: fee asked for": (shutdown(fee=FEE + 2), own_close()),
    "shutdown: fee above the channel": (shutdown(), own_close(fee=1_500_001)),
    "shutdown: closer": (shutdown(), own_close(from_id=PEER)),
    "shutdown: channel": (shutdown(), own_close(channel_id=OTHER_CHANNEL)),
}


@pytest.mark.parametrize("case", OWN_MISMATCHES)
def test_what_our_command_did_not_ask_for_is_shown_to_no_signer(case: str) -> None:
    """G4: the node hears no, the author hears why, an event says so; and the channel goes on."""
    command, text = OWN_MISMATCHES[case]
    desk = triggered(command).hear(text)
    assert not desk.questions
    assert desk.refusals == [NOT_ALLOWED]
    assert "sign.mismatch" in desk.events
    assert desk.outcomes == [("failed", "sign_request_mismatch")]
    again = desk.give_command(transfer(command_id="t-2")).hear(own_update())
    assert again.questions
    paid = again.reply_signature(sign(OWN_KEY, INNER)).cosign(INNER)
    assert ("succeeded", None) in paid.outcomes


GOOD: dict[str, tuple[Command, str]] = {
    "update": (transfer(), own_update()),
    "update with its meta": (
        transfer(meta=("an order",)),
        own_update(
            updates=[
                *transfer_told(),
                told("OffChainMeta", data="an order"),
                told("OffChainMeta", data="channel-bridge:META"),
            ]
        ),
    ),
    "version 1 update": (transfer(), frame(Tag.UPDATE, signed(v1((OURS,))), transfer_told())),
    "deposit": (deposit(), own_deposit()),
    "deposit with its fee": (deposit(fee=FEE), own_deposit()),
    "withdraw": (withdraw(), own_withdraw()),
    "shutdown": (shutdown(), own_close()),
    "shutdown, an odd fee": (
        shutdown(),
        own_close(fee=FEE + 1, initiator_amount_final=989_999),
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_was_asked_for_reaches_the_signer(case: str) -> None:
    """The table above would hold for a bridge that refuses everything."""
    command, text = GOOD[case]
    desk = triggered(command)
    operation = desk.state.operation
    assert operation is not None
    desk.hear(text.replace("META", str(operation.request_id)))
    assert len(desk.questions) == 1, desk.events
    assert not desk.refusals


# --- the peer's -----------------------------------------------------------------------------------------


def tampered(change: Callable[[bytes], bytes]) -> tuple[bytes, ...]:
    return (change(sign(PEER_KEY, INNER)),)


def flip(signature: bytes, place: int) -> bytes:
    return signature[:place] + bytes([signature[place] ^ 1]) + signature[place + 1 :]


def add_order(signature: bytes) -> bytes:
    return signature[:32] + (int.from_bytes(signature[32:], "little") + ORDER).to_bytes(32, "little")


PEERS: dict[str, tuple[bytes, ...]] = {
    "dropped": (),
    "a stranger's": (sign(STRANGER_KEY, INNER),),
    "our own": (sign(OWN_KEY, INNER),),
    "ours besides": (sign(PEER_KEY, INNER), sign(OWN_KEY, INNER)),
    "a stranger's besides": (sign(PEER_KEY, INNER), sign(STRANGER_KEY, INNER)),
    "his in both forms": (sign(PEER_KEY, INNER), sign(PEER_KEY, INNER, SigningForm.NETWORK_RAW)),
    "of another round": (sign(PEER_KEY, build(Kind.OFFCHAIN, 2, {**OFFCHAIN, "round": 3})),),
    "of another network": (sign(PEER_KEY, INNER, network="ae_mainnet"),),
    "of no network": (sign(PEER_KEY, INNER, SigningForm.RAW),),
    "63 bytes": tampered(lambda signature: signature[:63]),
    "65 bytes": tampered(lambda signature: signature + b"\0"),
    "zero": (bytes(64),),
    "a bit of R": tampered(lambda signature: flip(signature, 3)),
    "a bit of S": tampered(lambda signature: flip(signature, 40)),
    "S + L": tampered(add_order),
    "DER": (bytes.fromhex("3044022000" + "11" * 31 + "022000" + "22" * 31)[:70],),
}


@pytest.mark.parametrize("case", PEERS)
def test_a_proposal_without_exactly_the_peers_valid_signature_is_shown_to_no_signer(case: str) -> None:
    """5.1: who signs second would else give the first half to somebody who has not signed at all."""
    desk = opened().hear(frame(Tag.UPDATE_ACK, signed(INNER, *PEERS[case]), transfer_told(5, PEER, OWN)))
    assert not desk.questions
    assert desk.refusals == [NOT_ALLOWED]
    assert "sign.mismatch" in desk.events
    good = desk.hear(frame(Tag.UPDATE_ACK, signed(INNER, sign(PEER_KEY, INNER)), transfer_told(5, PEER, OWN)))
    assert len(good.questions) == 1
    assert "transfer.received" in good.reply_signature(sign(OWN_KEY, INNER)).cosign(INNER).events


def proposed(tag: Tag, inner: bytes, updates: Any = ()) -> str:
    return frame(tag, signed(inner, sign(PEER_KEY, inner)), updates)


def peers_deposit(**changes: object) -> str:
    inner = build(Kind.DEPOSIT, 1, {**DEPOSIT, "from_id": PEER, **changes})
    return proposed(
        Tag.DEPOSIT_ACK, inner, [told("OffChainDeposit", **{"from": changes.get("from_id", PEER)}, amount=100)]
    )


def peers_withdraw(**changes: object) -> str:
    inner = build(Kind.WITHDRAW, 1, {**WITHDRAW, "to_id": PEER, **changes})
    return proposed(Tag.WITHDRAW_ACK, inner, [told("OffChainWithdrawal", to=changes.get("to_id", PEER), amount=100)])


def peers_close(**changes: object) -> str:
    return proposed(Tag.SHUTDOWN_ACK, build(Kind.CLOSE_MUTUAL, 1, {**CLOSE, "from_id": PEER, **changes}))


PROPOSALS: dict[str, str] = {
    "update: round": proposed(Tag.UPDATE_ACK, build(Kind.OFFCHAIN, 2, {**OFFCHAIN, "round": 3})),
    "update: channel": proposed(
        Tag.UPDATE_ACK, build(Kind.OFFCHAIN, 2, {**OFFCHAIN, "channel_id": OTHER_CHANNEL}), transfer_told(5, PEER, OWN)
    ),
    "update: contract": proposed(Tag.UPDATE_ACK, INNER, [told("OffChainNewContract", amount=0)]),
    "update: a stranger pays": proposed(Tag.UPDATE_ACK, INNER, transfer_told(5, STRANGER, OWN)),
    "update: negative amount": proposed(Tag.UPDATE_ACK, INNER, transfer_told(-5, OWN, PEER)),
    "update: a withdrawal": proposed(
        Tag.UPDATE_ACK, build(Kind.WITHDRAW, 1, {**WITHDRAW, "to_id": PEER}), transfer_told(5, PEER, OWN)
    ),
    "update: bad checksum": frame(
        Tag.UPDATE_ACK, break_checksum(signed(INNER, sign(PEER_KEY, INNER))), transfer_told(5, PEER, OWN)
    ),
    "update: bytes behind": proposed(Tag.UPDATE_ACK, INNER + b"\0", transfer_told(5, PEER, OWN)),
    "deposit: our account": peers_deposit(from_id=OWN),
    "deposit: a stranger's": peers_deposit(from_id=STRANGER),
    "deposit: amount told": peers_deposit(amount=101),
    "deposit: fee": peers_deposit(fee=10**18 + 1),
    "deposit: round": peers_deposit(round=3),
    "deposit: nonce 0": peers_deposit(nonce=0),
    "withdraw: our account": peers_withdraw(to_id=OWN),
    "withdraw: amount told": peers_withdraw(amount=99),
    "withdraw: fee": peers_withdraw(fee=10**18 + 1),
    "shutdown: ours less": peers_close(initiator_amount_final=989_998, responder_amount_final=490_002),
    "shutdown: a larger fee than is missing": peers_close(fee=FEE + 2),
    "shutdown: in our name": peers_close(from_id=OWN),
    "shutdown: channel": peers_close(channel_id=OTHER_CHANNEL),
    "generalized account": proposed(
        Tag.UPDATE_ACK,
        build(
            Kind.GA_META,
            2,
            {
                "ga_id": PEER,
                "auth_data": b"x",
                "abi_version": 3,
                "fee": 1,
                "gas": 1,
                "gas_price": 1,
                "tx": wrap([], INNER),
            },
        ),
    ),
}


@pytest.mark.parametrize("case", PROPOSALS)
def test_a_proposal_that_is_not_what_its_tag_says_is_shown_to_no_signer(case: str) -> None:
    """Well signed by the peer, each of them: the signature is not the only thing to look at."""
    desk = opened().hear(PROPOSALS[case])
    assert not desk.questions
    assert desk.refusals == [NOT_ALLOWED]
    assert "sign.mismatch" in desk.events
    assert desk.stand().hear(proposed(Tag.UPDATE_ACK, INNER, transfer_told(5, PEER, OWN))).questions


@pytest.mark.parametrize(
    "text", [peers_deposit(), peers_withdraw(), peers_close()], ids=["deposit", "withdraw", "shutdown"]
)
def test_a_proposal_as_it_should_be_reaches_the_signer(text: str) -> None:
    """Again, the refusals alone prove little."""
    assert len(opened().hear(text).questions) == 1


# --- the opening ----------------------------------------------------------------------------------------

AS_RESPONDER = replace(TERMS, role=Role.RESPONDER)
"""Here the initiator's key signs first, and we are the responder."""
OPENINGS: dict[str, Mapping[str, object]] = {
    "initiator": {"initiator": STRANGER},
    "responder": {"responder": STRANGER},
    "initiator's amount": {"initiator_amount": 999_999},
    "responder's amount": {"responder_amount": 500_001},
    "reserve": {"channel_reserve": 3},
    "lock period": {"lock_period": 0},
    "fee": {"fee": 10**18 + 1},
    "nonce": {"nonce": 0},
    "ttl": {"ttl": 9},
}


def opening(desk: Desk, changes: Mapping[str, object], *signatures: bytes) -> Desk:
    tag = Tag.INITIATOR_SIGN if desk.terms.role is Role.INITIATOR else Tag.RESPONDER_SIGN
    return desk.hear(frame(tag, signed(build(Kind.CREATE, 2, {**CREATE, **changes}), *signatures), channel=None))


@pytest.mark.parametrize("case", OPENINGS)
@pytest.mark.parametrize("role", list(Role))
def test_an_opening_that_says_something_else_is_shown_to_no_signer(case: str, role: Role) -> None:
    """It locks coins on chain, and the node takes no refusal: it lapses, and an event says what that means."""
    inner = build(Kind.CREATE, 2, {**CREATE, **OPENINGS[case]})
    first = () if role is Role.INITIATOR else (sign(OWN_KEY, inner),)
    desk = opening(connected(replace(TERMS, role=role)), OPENINGS[case], *first)
    assert not desk.questions
    assert not desk.signatures_sent
    assert {"sign.mismatch", "sign.lapses"} <= set(desk.events)


@pytest.mark.parametrize("key", [None, PEER_KEY, STRANGER_KEY], ids=["nobody", "ourselves", "a stranger"])
def test_the_second_signature_of_an_opening_waits_for_the_initiators(key: Any) -> None:
    """A responder who signs first gives the initiator a free choice of when to lock his coins."""
    inner = build(Kind.CREATE, 2, CREATE)
    desk = opening(connected(AS_RESPONDER), {}, *(() if key is None else (sign(key, inner),)))
    assert not desk.questions
    assert opening(desk, {}, sign(OWN_KEY, inner)).questions


def test_the_limit_of_the_fee_is_the_policys() -> None:
    """5.1: fee <= max_fee, to the unit."""
    terms = replace(TERMS, policy=replace(OPEN, max_fee=FEE))
    assert opening(connected(terms), {}).questions
    assert not opening(connected(replace(TERMS, policy=replace(OPEN, max_fee=FEE - 1))), {}).questions


def test_the_vectors_of_this_file_are_what_they_claim() -> None:
    """A table of changed bytes is worth nothing if a change was no change, or broke more than it says."""
    assert rlp.decode(INNER)
    assert encoding.decode(SIGNED, "tx") == wrap([], INNER)
    assert hashlib.blake2b(INNER, digest_size=32).digest() == blake2b(INNER)
    assert INNER.count(b"\x02\xa0") == 1
    assert (len(HASH), NETWORK) == (32, "ae_test")
    assert len({text for _, text in OWN_MISMATCHES.values()}) > len(OWN_MISMATCHES) - 4
