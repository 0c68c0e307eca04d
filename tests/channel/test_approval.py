"""People agree first: who counts, what an answer must name, and what ends the question."""

from dataclasses import replace
from typing import Any

import pytest

from bridge.channel import signature
from bridge.channel.command import Command
from bridge.channel.effect import RefuseApproval
from bridge.channel.identifier import ApprovalRequestId
from bridge.channel.input import ApprovalGiven, CommandDue, Conflicted, LinkDown, Ticked
from bridge.channel.policy import is_granted
from bridge.channel.request import AskTransfer, Refuse, SendSignature, Tag
from bridge.channel.state import Approval, decode, encode
from bridge.channel.wake import next_wake
from bridge.errors import Code, Outcome
from tests.channel.given import (
    Channel,
    checkpoint,
    deposit,
    message,
    moved,
    offchain,
    opened,
    shutdown,
    transfer,
    withdraw,
)
from tests.permissive import OPEN

BODY_HASH = "ab" * 32
POLICY = replace(
    OPEN,
    approval_threshold=4,
    approvals=2,
    approvers=frozenset({"carol", "dave", "erin", "shop"}),
    approval_timeout=120.0,
)


def asked(command: Command | None = None, **changes: Any) -> Channel:
    """A command of `shop` at the head of its line, and the question out."""
    channel = opened(policy=replace(POLICY, **changes))
    return channel.give(CommandDue(command or transfer(5), "shop", BODY_HASH))


def pending(channel: Channel) -> Approval:
    operation, request = channel.state.operation, channel.state.open_request
    found = operation.approval if operation is not None else None
    found = found or (request.approval if request is not None else None)
    assert found is not None
    return found


def given_by(channel: Channel, author: str, **changes: Any) -> ApprovalGiven:
    approval = pending(channel)
    answer = ApprovalGiven(approval.approval_request_id, author, approval.body_hash, is_approved=True)
    return replace(answer, **changes)


def approve(channel: Channel, *authors: str) -> Channel:
    for author in authors:
        channel.give(given_by(channel, author))
    return channel


def refusal(channel: Channel) -> tuple[str, Code]:
    (one,) = (effect for effect in channel.last if isinstance(effect, RefuseApproval))
    told = channel.event("command.approval_refused").data
    assert (told["by"], told["code"], told["sentence"]) == (one.author, one.code, one.reason)
    return one.author, one.code


def ending(channel: Channel) -> tuple[Outcome, Code | None]:
    (one,) = channel.outcomes()
    return one.outcome, one.code


# --- what is asked, and when -----------------------------------------------------------------------------


def test_above_the_threshold_the_approvers_are_asked_before_the_node() -> None:
    """The question names the command, its body hash, how many and until when."""
    channel = asked()
    assert not channel.sent()
    data = channel.event("command.approval_requested").data
    assert (data["command_id"], data["command"], data["body_hash"]) == ("t-1", "transfer", BODY_HASH)
    assert (data["needed"], data["deadline"], data["requester"]) == (2, channel.now + 120, "shop")
    assert data["approvers"] == ["carol", "dave", "erin"]
    assert data["body"]["amount"] == 5


@pytest.mark.parametrize("command", [deposit(5), withdraw(5)], ids=lambda c: c.kind)
def test_what_moves_more_than_the_threshold_is_asked_for(command: Command) -> None:
    assert "command.approval_requested" in asked(command).events()


@pytest.mark.parametrize(
    "command",
    [transfer(4), deposit(4), message(), shutdown(), checkpoint()],
    ids=lambda c: c.kind,
)
def test_what_does_not_is_run_at_once(command: Command) -> None:
    channel = asked(command)
    assert "command.approval_requested" not in channel.events()
    assert channel.sent()


def test_what_the_policy_denies_is_asked_of_nobody() -> None:
    channel = asked(outflow_per_hour=4)
    assert ending(channel) == (Outcome.FAILED, Code.POLICY_DENIED)
    assert "command.approval_requested" not in channel.events()


def test_enough_approvals_let_it_run_and_are_told_with_it() -> None:
    channel = approve(asked(), "carol")
    assert channel.event("command.approval_given").data["given"] == 1
    assert not channel.sent()
    approve(channel, "dave")
    assert channel.sent(AskTransfer)
    assert channel.event("command.started").data["approved_by"] == ["carol", "dave"]
    channel.requested(Tag.UPDATE, offchain(2), moved(5)).sign()
    assert channel.sent(SendSignature)
    assert ending(channel.cosigned(offchain(2))) == (Outcome.SUCCEEDED, None)


def test_the_question_is_asked_once_and_kept_in_the_state() -> None:
    """A crash loses neither the question nor an answer."""
    channel = approve(asked(), "carol")
    channel.state = decode(encode(channel.state))
    assert "command.approval_requested" not in channel.give(Ticked()).events()
    assert approve(channel, "dave").sent(AskTransfer)


def test_the_attempts_of_one_command_need_one_approval() -> None:
    channel = approve(asked(), "carol", "dave")
    channel.requested(Tag.UPDATE, offchain(2), moved(5)).give(Conflicted(round=1, code=2)).calm().wait(10)
    assert channel.sent(AskTransfer)
    assert "command.approval_requested" not in channel.events()


# --- who counts ------------------------------------------------------------------------------------------


def test_two_approvals_of_one_user_are_one() -> None:
    """Four eyes, not two eyes twice. And a repeat harms nobody: the broker delivers at least once."""
    channel = approve(asked(), "carol", "carol")
    assert channel.last == ()
    assert pending(channel).approved_by == ("carol",)
    assert not channel.sent(AskTransfer)


def test_nobody_approves_his_own_command() -> None:
    """Even if he is an approver."""
    channel = approve(asked(), "shop")
    assert refusal(channel) == ("shop", Code.FORBIDDEN)
    assert pending(channel).approved_by == ()
    assert not approve(channel, "carol").sent()


def test_an_approver_the_policy_does_not_name_counts_for_nothing() -> None:
    """And learns nothing, not even whether the question is open."""
    channel = approve(asked(), "mallory")
    assert refusal(channel) == ("mallory", Code.FORBIDDEN)
    unknown = given_by(channel, "mallory", approval_request_id=ApprovalRequestId("nothing"))
    assert refusal(channel.give(unknown)) == ("mallory", Code.FORBIDDEN)
    assert pending(channel).approved_by == ()


def test_an_approval_of_another_hash_does_not_count() -> None:
    """He saw something else than what would be done."""
    channel = asked()
    channel.give(given_by(channel, "carol", body_hash="cd" * 32))
    assert refusal(channel) == ("carol", Code.APPROVAL_MISMATCH)
    assert pending(channel).approved_by == ()


def test_an_approval_of_no_open_question_does_not_count() -> None:
    channel = asked()
    channel.give(given_by(channel, "carol", approval_request_id=ApprovalRequestId("acme-7.a9.0000")))
    assert refusal(channel) == ("carol", Code.APPROVAL_UNKNOWN)


def test_an_approval_is_used_once() -> None:
    """Replayed it is late for its own question, and it never answers another, even one for the same bytes."""
    channel = approve(asked(), "carol")
    replayed = given_by(channel, "carol")
    approve(channel, "dave").requested(Tag.UPDATE, offchain(2), moved(5)).sign().cosigned(offchain(2)).calm()
    assert refusal(channel.give(replayed)) == ("carol", Code.APPROVAL_LATE)
    channel.give(CommandDue(transfer(5, "t-2"), "shop", BODY_HASH))
    assert refusal(channel.give(replayed))[1] in (Code.APPROVAL_LATE, Code.APPROVAL_UNKNOWN)
    assert pending(channel).approved_by == ()


def test_an_approval_beyond_enough_is_late() -> None:
    channel = approve(asked(), "carol", "dave")
    assert refusal(approve(channel, "erin")) == ("erin", Code.APPROVAL_LATE)


# --- how it ends otherwise -------------------------------------------------------------------------------


def test_one_refusal_ends_it() -> None:
    channel = approve(asked(), "carol")
    channel.give(given_by(channel, "dave", is_approved=False, reason="wrong account"))
    assert ending(channel) == (Outcome.FAILED, Code.APPROVAL_DENIED)
    (end,) = channel.outcomes()
    assert end.data == {"refused_by": "dave", "reason": "wrong account"}
    assert channel.event("command.approval_denied").data["reason"] == "wrong account"
    assert not channel.sent()


def test_who_approved_may_still_refuse() -> None:
    """A change of mind towards no is always heard."""
    channel = approve(asked(), "carol")
    channel.give(given_by(channel, "carol", is_approved=False))
    assert ending(channel) == (Outcome.FAILED, Code.APPROVAL_DENIED)


def test_too_few_approvals_before_the_deadline_fail_the_command() -> None:
    channel = approve(asked(), "carol").wait(119)
    assert not channel.outcomes()
    channel.wait(1)
    assert ending(channel) == (Outcome.FAILED, Code.APPROVAL_TIMEOUT)
    assert channel.outcomes()[0].data == {"approved_by": ["carol"]}


def test_an_approval_after_the_deadline_is_late_even_before_the_clock_ticked() -> None:
    """The clock decides, not the order of two messages."""
    channel = approve(asked(), "carol")
    late = given_by(channel, "dave")
    channel.now += 120
    channel.give(late)
    assert refusal(channel) == ("dave", Code.APPROVAL_LATE)
    assert ending(channel) == (Outcome.FAILED, Code.APPROVAL_TIMEOUT)
    assert refusal(channel.give(late)) == ("dave", Code.APPROVAL_LATE)


def test_a_checkpoint_goes_past_and_the_question_waits() -> None:
    """An answer to it counts meanwhile."""
    channel = approve(asked(), "carol")
    answer = given_by(channel, "dave")
    channel.give(CommandDue(checkpoint("c-1"), "otto", "cd" * 32))
    assert channel.sent(AskTransfer)
    channel.give(answer)
    channel.requested(Tag.UPDATE, offchain(2), moved(0)).sign().cosigned(offchain(2)).calm()
    assert channel.state.operation is not None
    assert channel.state.operation.command.command_id == "t-1"
    assert channel.sent(AskTransfer)


def test_a_refusal_while_a_checkpoint_goes_past_stands() -> None:
    """Nobody's later yes undoes it."""
    channel = approve(asked(), "carol")
    refusing = given_by(channel, "dave", is_approved=False, reason="no")
    approving = given_by(channel, "erin")
    channel.give(CommandDue(checkpoint("c-1"), "otto", "cd" * 32)).give(refusing)
    assert refusal(channel.give(approving)) == ("erin", Code.APPROVAL_LATE)
    channel.requested(Tag.UPDATE, offchain(2), moved(0)).sign().cosigned(offchain(2)).calm()
    assert {(end.command_id, end.code) for end in channel.outcomes()} == {("c-1", None), ("t-1", Code.APPROVAL_DENIED)}


def test_a_refused_question_is_never_granted() -> None:
    """Not even when the policy asks for fewer by then."""
    approval = replace(pending(asked()), approved_by=("carol", "dave"))
    assert is_granted(POLICY, approval)
    assert not is_granted(POLICY, replace(approval, denied_by="erin"))
    assert not is_granted(POLICY, None)


def test_the_channel_wakes_at_the_deadline() -> None:
    channel = asked()
    assert next_wake(channel.terms, channel.state, channel.now + 119) == channel.now + 120
    channel = proposed_by_peer(approval_timeout=5.0)
    assert next_wake(channel.terms, channel.state, channel.now + 4) == channel.now + 5


def test_a_deadline_passes_while_a_checkpoint_goes_past() -> None:
    channel = approve(asked(), "carol")
    channel.give(CommandDue(checkpoint("c-1"), "otto", "cd" * 32))
    channel.now += 121
    channel.requested(Tag.UPDATE, offchain(2), moved(0)).sign().cosigned(offchain(2)).calm()
    assert {(end.command_id, end.code) for end in channel.outcomes()} == {("c-1", None), ("t-1", Code.APPROVAL_TIMEOUT)}


def test_an_approver_who_was_dropped_meanwhile_counts_no_more() -> None:
    """Before the trigger, and before the signature leaves."""
    channel = approve(asked(), "carol", "dave").requested(Tag.UPDATE, offchain(2), moved(5))
    policy = replace(channel.terms.policy, approvers=frozenset({"carol", "erin"}))
    channel.terms = replace(channel.terms, policy=policy)
    channel.sign()
    assert not channel.sent(SendSignature)
    assert ending(channel) == (Outcome.FAILED, Code.POLICY_DENIED)


# --- proposals of the peer -------------------------------------------------------------------------------

PEERS = {"acknowledge_only_if_not_poorer": False, "approvals": 1}


def proposed_by_peer(amount: int = 5, **changes: Any) -> Channel:
    channel = opened(policy=replace(POLICY, **(PEERS | changes)))
    return channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(amount))


def test_a_proposal_that_takes_much_goes_to_people_before_the_signer() -> None:
    channel = proposed_by_peer()
    assert not channel.questions()
    data = channel.event("command.approval_requested").data
    assert (data["body_hash"], data["cause"], data["command_id"]) == (offchain(2).hash, "peer_proposal", None)
    assert data["deadline"] == channel.now + 30
    channel.now += 10
    approve(channel, "shop")
    (question,) = channel.questions()
    assert question.request.deadline == channel.now + 50
    channel.sign().cosigned(offchain(2))
    assert "transfer.received" in channel.events()


@pytest.mark.parametrize("amount", [4, 3])
def test_a_proposal_that_takes_little_goes_to_the_signer(amount: int) -> None:
    assert proposed_by_peer(amount).questions()


def test_a_proposal_nobody_approves_is_refused_in_time_for_the_peer() -> None:
    channel = proposed_by_peer().wait(30)
    assert [request.code for request in channel.sent(Refuse)] == [4]
    assert channel.event("sign.denied").data["code"] == Code.APPROVAL_TIMEOUT
    assert channel.state.outflow.held == ()
    assert not channel.questions()


def test_a_proposal_an_approver_refuses_is_refused() -> None:
    channel = proposed_by_peer()
    channel.give(given_by(channel, "carol", is_approved=False, reason="why?"))
    assert [request.code for request in channel.sent(Refuse)] == [128]
    assert channel.event("sign.denied").data["sentence"] == "why?"


def test_a_signature_nobody_asked_for_goes_nowhere() -> None:
    """Whoever guesses the id of a request that waits for people cannot go past them."""
    channel = proposed_by_peer().sign()
    assert not channel.sent(SendSignature)
    assert channel.state.open_request is not None


def test_a_lost_link_voids_the_question_and_it_is_asked_anew() -> None:
    """For the same bytes too: an approval is of one question."""
    channel = proposed_by_peer()
    replayed = given_by(channel, "carol")
    channel.give(LinkDown(1006))
    assert channel.state.open_request is None
    assert channel.state.suspended is None
    assert refusal(channel.give(replayed)) == ("carol", Code.APPROVAL_LATE)


def test_a_conflict_withdraws_the_question() -> None:
    channel = proposed_by_peer().give(Conflicted(round=1, code=2)).calm()
    assert channel.state.open_request is None
    assert channel.state.outflow.held == ()


def test_no_warning_is_given_for_a_request_nobody_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever share of the time people may take."""
    monkeypatch.setattr(signature, "APPROVERS_SHARE", 0.9)
    channel = proposed_by_peer()
    channel.now += 50
    assert "sign.expiring" not in channel.give(Ticked()).events()
    assert "sign.expiring" in approve(channel, "carol").events()
