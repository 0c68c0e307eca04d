"""Which effects and answers become rows of the audit, and that none of a decision's kind goes without."""

from collections.abc import Callable

import pytest

from bridge.app.audit import DECISIONS, accepted, entries, refused
from bridge.channel.command import Resolve
from bridge.channel.effect import Effect, Publish, RefuseReply
from bridge.channel.identifier import ChannelName, CommandId, SignRequestId
from bridge.channel.input import BadReply, CommandDue, Conflicted, Declined, ResolveDue, SignReplied
from bridge.channel.request import Tag
from bridge.channel.terms import Policy, Role
from bridge.errors import BodyError, Code
from bridge.journal.record import AuditEntry, InboxRow
from bridge.wire.envelope import Received
from bridge.wire.result import refused_envelope, rejection_envelopes, status_envelopes
from tests.channel.given import ISSUED, START, Channel, moved, offchain, opened, transfer

NAME = ChannelName("acme-7")
ROW = InboxRow(CommandId("t-1"), NAME, "transfer", "alice", "hash", b"{}", START)
Told = tuple[str, str, str | None]


def told(channel: Channel, effects: list[Effect] | None = None) -> list[AuditEntry]:
    chosen = channel.last if effects is None else effects
    return list(entries(NAME, channel.state, chosen, {ROW.command_id: ROW}, START))


def words(found: list[AuditEntry]) -> list[Told]:
    return [(entry.kind, entry.verdict, entry.author) for entry in found]


def asked() -> Channel:
    """A payment whose sign request is open."""
    return opened().give(CommandDue(transfer())).requested(Tag.UPDATE, offchain(2), moved(5))


def reply(channel: Channel, verdict: BadReply | Declined) -> Channel:
    request = channel.questions()[-1].request
    return channel.give(SignReplied(request.sign_request_id, "carol", verdict))


def test_a_command_is_accepted_with_its_author() -> None:
    found = accepted(ROW)
    assert (found.kind, found.verdict, found.at) == ("command", "accepted", START)
    assert (found.author, found.command_id, found.channel) == ("alice", "t-1", "acme-7")


def test_a_trigger_says_that_the_policy_permitted_it() -> None:
    found = told(opened().give(CommandDue(transfer())))
    assert words(found) == [("policy", "permitted", "alice")]
    assert found[0].command_id == "t-1"


def test_a_sign_request_names_what_is_to_be_signed() -> None:
    channel = asked()
    [found] = told(channel)
    assert (found.kind, found.verdict, found.round, found.tx_hash) == ("sign_request", "asked", 2, offchain(2).hash)
    assert found.reference == channel.questions()[-1].request.sign_request_id


def test_a_good_reply_is_three_things() -> None:
    """Whose signature it was, that it went to the node, and for which transaction."""
    channel = asked().sign()
    found = told(channel)
    assert [(entry.kind, entry.verdict) for entry in found] == [("sign_reply", "accepted"), ("forward", "handed_over")]
    assert found[0].author is not None
    assert [entry.tx_hash for entry in found] == [offchain(2).hash] * 2
    assert (found[1].round, found[1].command_id) == (2, "t-1")


def test_a_bad_reply_is_told_with_its_code_and_what_it_was_for() -> None:
    found = told(reply(asked(), BadReply("63 bytes")))
    assert words(found) == [("sign_reply", "refused", "carol")]
    assert (found[0].code, found[0].round, found[0].command_id) == ("sign_reply_invalid", 2, "t-1")


def test_a_signers_no_and_its_outcome() -> None:
    found = told(reply(asked(), Declined("too much")))
    assert [(entry.kind, entry.verdict, entry.code) for entry in found] == [
        ("sign_reply", "declined", None),
        ("outcome", "failed", "sign_refused"),
    ]


def test_an_outcome_has_its_round_and_hash() -> None:
    [found] = told(asked().sign().cosigned(offchain(2)))
    assert (found.kind, found.verdict, found.author) == ("outcome", "succeeded", "alice")
    assert (found.round, found.tx_hash, found.command_id) == (2, offchain(2).hash, "t-1")


def test_a_void_signature_is_an_abandonment() -> None:
    """What was handed over and came to nothing: without it the record would say the peer was paid."""
    channel = asked().sign().give(Conflicted(round=1, code=2, message="conflict"))
    found = told(channel)
    assert ("abandonment", "exposed") in [(entry.kind, entry.verdict) for entry in found]
    assert found[0].tx_hash == offchain(2).hash


def test_a_denied_command_is_a_policy_decision_and_an_outcome() -> None:
    channel = opened(policy=Policy(commands=frozenset())).give(CommandDue(transfer()))
    assert [(entry.kind, entry.verdict, entry.code) for entry in told(channel)] == [
        ("policy", "denied", "policy_denied"),
        ("outcome", "failed", "policy_denied"),
    ]


def test_another_transaction_than_commanded_is_a_failed_check() -> None:
    channel = opened().give(CommandDue(transfer())).requested(Tag.UPDATE, offchain(2), moved(6))
    assert [(entry.kind, entry.verdict) for entry in told(channel)] == [("check", "refused"), ("outcome", "failed")]


def test_a_proposal_of_the_peer_is_permitted_before_a_signer_sees_it() -> None:
    channel = opened(Role.RESPONDER).requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(5))
    found = told(channel)
    assert words(found) == [("policy", "permitted", None), ("sign_request", "asked", None)]
    channel.sign().cosigned(offchain(2))
    [outcome] = told(channel)
    assert (outcome.kind, outcome.verdict, outcome.round, outcome.tx_hash) == (
        "outcome",
        "cosigned",
        2,
        offchain(2).hash,
    )


def test_an_operators_word_is_told_with_who_gave_it() -> None:
    channel = asked().sign().give(Conflicted(round=1, code=3, message="timeout"))
    word = Resolve(command_id="r-1", issued_at=ISSUED, target="t-1", outcome="failed", reason="the peer says so")
    channel.give(ResolveDue(word, "olga"))
    found = told(channel)
    assert ("operator", "failed", "olga") in words(found)
    assert [entry.command_id for entry in found if entry.kind == "operator"] == ["t-1"]
    assert {entry.command_id for entry in found if entry.kind == "outcome"} == {"t-1", "r-1"}


@pytest.mark.parametrize(("event", "named"), DECISIONS.items())
def test_each_decision_of_the_table_is_told(event: tuple[str, str], named: tuple[str, str]) -> None:
    """A new kind of decision is one line: its event's own words fill the row."""
    family, name = event
    data = {
        "by": "erin",
        "command_id": "t-1",
        "target_round": 9,
        "tx_hash": "ab",
        "code": Code.POLICY_DENIED,
        "approval_request_id": "acme-7.a1",
    }
    [found] = told(opened(), [Publish(family, name, data)])
    assert found == AuditEntry(
        *named, START, "erin", "t-1", "acme-7", 9, "ab", code="policy_denied", reference="acme-7.a1"
    )


def test_what_decides_nothing_is_not_told() -> None:
    assert told(opened(), [Publish("info", "state", {"round": 3}), Publish("sign", "expiring", {})]) == []


def received(exchange: str, key: str, body: bytes) -> Received:
    return Received(exchange=f"channels.{exchange}", routing_key=key, body=body, headers={}, user_id="mallory")


@pytest.mark.parametrize(
    ("exchange", "key", "kind"),
    [
        ("commands", "acme-7.transfer", "command"),
        ("sign-replies", "ak_x.acme-7", "sign_reply"),
        ("approvals", "acme-7", "approval"),
    ],
)
def test_what_is_refused_at_the_door_is_told_by_kind(exchange: str, key: str, kind: str) -> None:
    body = b'{"command_id": "c-1", "sign_request_id": "acme-7.1", "approval_request_id": "acme-7.a1"}'
    error = BodyError(Code.MISSING_FIELD, "a field is missing", "amount")
    answer = rejection_envelopes("channels", received(exchange, key, body), error, at=START)
    [found] = refused("mallory", answer, START)
    assert (found.kind, found.verdict, found.author) == (kind, "refused", "mallory")
    assert (found.code, found.channel) == ("missing_field", "acme-7")
    assert found.command_id == ("c-1" if kind == "command" else None)
    assert found.reference == {"command": None, "sign_reply": "acme-7.1", "approval": "acme-7.a1"}[kind]


def test_an_unreadable_command_is_told_all_the_same() -> None:
    error = BodyError(Code.MALFORMED, "no JSON", "")
    [found] = refused("_", rejection_envelopes("channels", received("commands", "..", b"@"), error, at=START), START)
    assert (found.verdict, found.code, found.channel, found.command_id) == ("refused", "malformed", None, None)


def test_a_reply_for_no_channel_of_ours_is_told_with_its_request() -> None:
    refusal = RefuseReply(SignRequestId("x.1"), "carol", Code.SIGN_REQUEST_UNKNOWN, "no such channel")
    [found] = refused("carol", [refused_envelope("channels", NAME, refusal, at=START)], START)
    assert (found.kind, found.code, found.reference) == ("sign_reply", "sign_request_unknown", "x.1")


def test_a_repeated_command_is_no_new_decision() -> None:
    answer = status_envelopes(
        "channels", "alice", NAME, CommandId("t-1"), "transfer", "running", reply_to=None, correlation_id=None, at=START
    )
    assert refused("alice", answer, START) == ()


OUTCOMES: list[Callable[[], Channel]] = [asked, lambda: asked().sign().cosigned(offchain(2))]


def test_every_outcome_a_channel_gives_has_its_row() -> None:
    """One row for each `Conclude`, whatever its code."""
    for make in OUTCOMES:
        channel = make()
        found = [entry.verdict for entry in told(channel, channel.all) if entry.kind == "outcome"]
        assert found == [conclude.outcome.value for conclude in channel.outcomes()]
