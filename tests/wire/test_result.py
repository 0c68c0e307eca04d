"""Answers and dead letters: one golden example of each, and who may be answered where."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.channel.command import Transfer
from bridge.channel.effect import Conclude, RefuseApproval, RefuseReply
from bridge.channel.identifier import ApprovalRequestId, ChannelName, CommandId, SignRequestId, TransactionHash
from bridge.errors import BodyError, Code, Outcome
from bridge.wire.envelope import Envelope, Received
from bridge.wire.result import (
    may_answer,
    refused_envelope,
    rejection_envelopes,
    repeated_envelopes,
    result_envelopes,
    status_envelopes,
)

ALICE = "ak_2U5uowyre6aqU1gz3Pkd1VtMkBVc2rquvr3oPWynbPNYozaLhv"
BOB = "ak_9UUfv5MBBZRKsS82REfUw4xLxrGVrEtjxuiEHiZDgraJg27Sn"
ACME = ChannelName("acme-7")
AT = 1767323045.678
INSTANT = "2026-01-02T03:04:05.678Z"
TRANSFER = Transfer.model_validate(
    {"command_id": "c-1", "issued_at": datetime(2026, 1, 2, tzinfo=UTC), "from": ALICE, "to": BOB, "amount": 5}
)
QUIET: dict[str, Any] = {
    "sign_request_id": None,
    "approval_request_id": None,
    "status": None,
    "code": None,
    "class": None,
    "sentence": "",
    "path": "",
    "retryable": False,
    "round": None,
    "tx_hash": None,
    "exposure": None,
    "data": {},
    "duplicate": False,
    "at": INSTANT,
    "unit": "aetto",
}
FAILED = Conclude(
    command_id=CommandId("c-1"),
    command=TRANSFER,
    outcome=Outcome.FAILED,
    code=Code.CONFLICT,
    sentence="the peer proposed at the same time",
    round=6,
    hash=TransactionHash("ab" * 32),
    exposure={"round": 7, "tx_hash": "ab" * 32},
    data={"balances": {ALICE: 10**19, BOB: 0}},
)


def conclude(outcome: Outcome, **other: Any) -> Conclude:
    return Conclude(CommandId("c-1"), TRANSFER, outcome, **other)


def answer(concluded: Conclude, **other: Any) -> tuple[Envelope, ...]:
    facts: dict[str, Any] = {"reply_to": None, "correlation_id": None, "at": AT}
    return result_envelopes("channels", "alice", ACME, concluded, **{**facts, **other})


def test_failure_says_what_happened_and_what_the_peer_could_still_do() -> None:
    """The golden example: from this a client decides whether, and where, it may pay again."""
    (envelope,) = answer(FAILED, correlation_id="mine")
    assert (envelope.exchange, envelope.routing_key) == ("channels.results", "alice.acme-7.failed")
    assert envelope.type == "channel-bridge.result.failed.v1"
    assert envelope.headers["ce-id"] == "result:alice:acme-7:c-1:failed:conflict"
    assert envelope.correlation_id == "mine"
    assert json.loads(envelope.body) == {
        **QUIET,
        "command_id": "c-1",
        "channel": "acme-7",
        "command": "transfer",
        "outcome": "failed",
        "code": "conflict",
        "class": "failed_signed",
        "sentence": "the peer proposed at the same time",
        "executed": False,
        "retryable": True,
        "round": 6,
        "tx_hash": "ab" * 32,
        "exposure": {"round": 7, "tx_hash": "ab" * 32},
        "data": {"balances": {ALICE: "10000000000000000000", BOB: "0"}},
    }


@pytest.mark.parametrize(
    ("outcome", "code", "executed"),
    [
        (Outcome.SUCCEEDED, None, True),
        (Outcome.FAILED, Code.SIGN_TIMEOUT, False),
        (Outcome.REJECTED, Code.CHANNEL_BUSY, False),
        (Outcome.IN_DOUBT, Code.PEER_TIMEOUT, "unknown"),
        (Outcome.UNKNOWN, Code.DELIVERY_UNKNOWN, "unknown"),
        (Outcome.ACCEPTED, None, "unknown"),
    ],
)
def test_executed_follows_from_the_outcome(outcome: Outcome, code: Code | None, executed: Any) -> None:
    """`false` is a promise that nothing happened: an open outcome must never say it."""
    (envelope,) = answer(conclude(outcome, code=code))
    told = json.loads(envelope.body)
    assert told["executed"] is executed or told["executed"] == executed == "unknown"
    assert envelope.routing_key == f"alice.acme-7.{outcome.value}"
    assert envelope.correlation_id == "c-1"


def test_doubt_and_its_verdict_have_ids_of_their_own() -> None:
    """A reader that drops ids it has seen must not drop the verdict."""
    ids = {
        answer(conclude(outcome, code=code))[0].event_id
        for outcome, code in [(Outcome.IN_DOUBT, Code.PEER_TIMEOUT), (Outcome.SUCCEEDED, None)]
    }
    assert len(ids) == 2
    assert len(answer(FAILED)) == 1
    assert answer(FAILED) == answer(FAILED)


@pytest.mark.parametrize(
    ("user", "reply_to", "allowed"),
    [
        ("alice", "amq.rabbitmq.reply-to.g1h2AA", True),
        ("alice", "channels.client.alice.inbox", True),
        ("alice", "channels.client.alice.", True),
        ("alice", "channels.client.bob.inbox", False),
        ("alice", "channels.client.alice", False),
        ("alice", "channels.client.alice2.inbox", False),
        ("alice", "channels.sign-requests.ak_x", False),
        ("alice", "amq.rabbitmq.reply-to", False),
        ("alice", "", False),
        ("_", "channels.client._.inbox", False),
    ],
)
def test_copy_goes_only_to_an_address_of_the_author(user: str, reply_to: str, allowed: bool) -> None:
    """With a foreign address a client could make the bridge write into a signer's queue (tried)."""
    assert may_answer("channels", user, reply_to) is allowed


def test_copy_is_the_same_answer_and_not_mandatory() -> None:
    """The broker returns a mandatory answer to a direct reply although it arrived (tried)."""
    result, copy = answer(FAILED, reply_to="amq.rabbitmq.reply-to.g1", correlation_id="mine")
    assert (copy.exchange, copy.routing_key, copy.mandatory) == ("", "amq.rabbitmq.reply-to.g1", False)
    assert (copy.body, copy.headers, copy.correlation_id) == (result.body, result.headers, "mine")
    assert result.mandatory
    assert len(answer(FAILED, reply_to="channels.client.bob.inbox")) == 1


def test_repeated_id_of_an_ended_command_gets_the_stored_result_again() -> None:
    """The client that lost its answer learns the first outcome, not a second one."""
    (stored,) = answer(FAILED)
    (again,) = repeated_envelopes("channels", "alice", stored.body, reply_to=None, correlation_id="two", at=AT + 9)
    assert json.loads(again.body) == {**json.loads(stored.body), "duplicate": True}
    assert again.routing_key == stored.routing_key
    assert again.correlation_id == "two"
    assert again.event_id != stored.event_id


def test_repeated_id_of_a_running_command_is_told_how_far_it_is() -> None:
    """Not an outcome: the client keeps waiting for the one that will come."""
    result, copy = status_envelopes(
        "channels",
        "alice",
        ACME,
        CommandId("c-1"),
        "transfer",
        "awaiting_sign",
        reply_to="channels.client.alice.a",
        correlation_id=None,
        at=AT,
    )
    assert result.routing_key == "alice.acme-7.accepted"
    assert copy.routing_key == "channels.client.alice.a"
    assert json.loads(result.body) == {
        **QUIET,
        "command_id": "c-1",
        "channel": "acme-7",
        "command": "transfer",
        "outcome": "accepted",
        "status": "awaiting_sign",
        "executed": "unknown",
        "duplicate": True,
    }


def test_signer_is_told_why_his_reply_was_not_used() -> None:
    """The golden example for signers: found by the id of the question."""
    refuse = RefuseReply(SignRequestId("r-1"), "signer-1", Code.SIGN_REPLY_LATE, "the request was settled before")
    envelope = refused_envelope("channels", ACME, refuse, at=AT)
    assert (envelope.exchange, envelope.routing_key) == ("channels.results", "signer-1.acme-7.refused")
    assert envelope.correlation_id == "r-1"
    assert json.loads(envelope.body) == {
        **QUIET,
        "command_id": None,
        "sign_request_id": "r-1",
        "channel": "acme-7",
        "command": None,
        "outcome": "refused",
        "code": "sign_reply_late",
        "class": "sign_reply_refused",
        "sentence": "the request was settled before",
        "executed": False,
    }


def refused(body: bytes, key: str = "acme-7.transfer", exchange: str = "commands", **other: Any) -> Received:
    facts = {"user_id": "alice", "queue": f"channels.{exchange}"}
    return Received(f"channels.{exchange}", key, body, **{**facts, **other})


MISSING = BodyError(Code.MISSING_FIELD, "this field is required", "issued_at")


def test_rejected_command_is_answered_and_kept_as_a_dead_letter() -> None:
    """The golden example: the author can mend it, the operator can see and replay it."""
    received = refused(b'{ "command_id": "c-9" }', reply_to="amq.rabbitmq.reply-to.g1", correlation_id="mine")
    result, copy, letter = rejection_envelopes("channels", received, MISSING, at=AT)
    assert (result.exchange, result.routing_key) == ("channels.results", "alice.acme-7.rejected")
    assert json.loads(result.body) == {
        **QUIET,
        "command_id": "c-9",
        "channel": "acme-7",
        "command": "transfer",
        "outcome": "rejected",
        "code": "missing_field",
        "class": "rejected",
        "sentence": "this field is required",
        "path": "issued_at",
        "executed": False,
    }
    assert (copy.exchange, copy.routing_key, copy.correlation_id) == ("", "amq.rabbitmq.reply-to.g1", "mine")
    assert (letter.exchange, letter.routing_key) == ("channels.dead-letters", "command")
    assert letter.body == received.body
    assert letter.content_type == "application/octet-stream"
    assert {key: value for key, value in letter.headers.items() if not key.startswith("ce-")} == {
        "code": "missing_field",
        "class": "rejected",
        "reason": "this field is required",
        "path": "issued_at",
        "first_seen": INSTANT,
        "source_queue": "channels.commands",
        "source_exchange": "channels.commands",
        "routing_key": "acme-7.transfer",
        "author": "alice",
        "source_content_type": "",
    }


def test_unreadable_sign_reply_is_refused_to_its_signer() -> None:
    """It never blocks the queue of replies, and its author learns of it."""
    received = refused(b'{"sign_request_id": "r-1"}', f"{BOB}.acme-7", "sign-replies", user_id="signer-1")
    result, letter = rejection_envelopes("channels", received, BodyError(Code.MISSING_FIELD, "nothing"), at=AT)
    assert result.routing_key == "signer-1.acme-7.refused"
    assert result.correlation_id == "r-1"
    assert (json.loads(result.body)["sign_request_id"], json.loads(result.body)["command_id"]) == ("r-1", None)
    assert letter.routing_key == "sign_reply"


def test_unreadable_approval_is_refused_to_its_approver() -> None:
    """As a sign reply: told to its author, kept for the operator."""
    received = refused(b'{"approval_request_id": "a-1"}', "acme-7", "approvals", user_id="carol")
    result, letter = rejection_envelopes("channels", received, MISSING, at=AT)
    body = json.loads(result.body)
    assert (result.routing_key, result.correlation_id) == ("carol.acme-7.refused", "a-1")
    assert (body["approval_request_id"], body["sign_request_id"], body["command_id"]) == ("a-1", None, None)
    assert letter.routing_key == "approval"


def test_approver_is_told_why_his_answer_was_not_counted() -> None:
    """The golden example for approvers."""
    refuse = RefuseApproval(ApprovalRequestId("a-1"), "carol", Code.APPROVAL_LATE, "the deadline has passed")
    envelope = refused_envelope("channels", ACME, refuse, at=AT)
    assert (envelope.exchange, envelope.routing_key) == ("channels.results", "carol.acme-7.refused")
    assert envelope.correlation_id == "a-1"
    assert json.loads(envelope.body) == {
        **QUIET,
        "command_id": None,
        "approval_request_id": "a-1",
        "channel": "acme-7",
        "command": None,
        "outcome": "refused",
        "code": "approval_late",
        "class": "approval_refused",
        "sentence": "the deadline has passed",
        "executed": False,
    }


@pytest.mark.parametrize(
    ("received", "code", "key"),
    [
        (refused(b"", user_id=None), Code.FORBIDDEN, "_.acme-7.rejected"),
        (refused(b"", user_id="alice.x"), Code.FORBIDDEN, "_.acme-7.rejected"),
        (refused(b"", "acme-8.transfer"), Code.UNKNOWN_CHANNEL, "alice._.rejected"),
        (refused(b"", "Acme 7"), Code.UNKNOWN_COMMAND, "alice._.rejected"),
        (refused(b"", ""), Code.UNKNOWN_COMMAND, "alice._.rejected"),
        (refused(b"", "BAD", "sign-replies"), Code.UNKNOWN_CHANNEL, "alice._.refused"),
    ],
)
def test_unknown_user_or_channel_is_an_underscore(received: Received, code: Code, key: str) -> None:
    """A routing key from outside never becomes part of ours unjudged."""
    assert rejection_envelopes("channels", received, BodyError(code, "no"), at=AT)[0].routing_key == key


def test_rejection_delivered_again_has_the_same_ids() -> None:
    """After a crash between the two confirms both are published again: readers drop the repeats."""
    first = rejection_envelopes("channels", refused(b"\xff"), BodyError(Code.MALFORMED, "no"), at=AT)
    again = rejection_envelopes("channels", refused(b"\xff"), BodyError(Code.MALFORMED, "no"), at=AT + 5)
    other = rejection_envelopes("channels", refused(b"\xfe"), BodyError(Code.MALFORMED, "no"), at=AT)
    assert [envelope.event_id for envelope in first] == [envelope.event_id for envelope in again]
    assert not {envelope.event_id for envelope in first} & {envelope.event_id for envelope in other}


@given(st.binary(max_size=100), st.text(max_size=30), st.text(max_size=300), st.none() | st.text(max_size=70))
def test_anything_refused_can_be_answered(body: bytes, key: str, sentence: str, user: str | None) -> None:
    """The answer to bad input must not itself fail on it, nor echo it at length."""
    received = refused(body, key, user_id=user)
    envelopes = rejection_envelopes("channels", received, BodyError(Code.MALFORMED, sentence, sentence), at=AT)
    assert envelopes[-1].body == body
    assert envelopes[0].routing_key.count(".") == 2
    told = json.loads(envelopes[0].body)
    assert len(told["sentence"].encode()) <= 200
    assert len(told["path"].encode()) <= 200
    assert len(envelopes[-1].headers["reason"].encode()) <= 200
