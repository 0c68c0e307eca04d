"""The policy in the step: denied by default, limits that attempts reserve from, a second look before a forward."""

from dataclasses import replace
from typing import Any

import pytest

from bridge.channel.attempt import RETURN_SECONDS
from bridge.channel.command import Command, Resolve
from bridge.channel.effect import Abandon, RecordForward
from bridge.channel.identifier import TransactionHash
from bridge.channel.input import (
    CommandDue,
    Conflicted,
    Declined,
    LinkDown,
    LinkUp,
    QueryDue,
    ResolveDue,
    SignReplied,
    Withheld,
)
from bridge.channel.outflow import HOUR
from bridge.channel.policy import proposal_key, settle
from bridge.channel.request import AskTransfer, Refuse, SendSignature, Tag
from bridge.channel.state import Settling
from bridge.channel.step import step
from bridge.channel.terms import Policy, Role
from bridge.channel.transaction import Kind
from bridge.channel.turn import Turn
from bridge.errors import Code, Outcome
from tests.channel.given import (
    INITIATOR,
    ISSUED,
    RESPONDER,
    START,
    Channel,
    checkpoint,
    deposit,
    message,
    moved,
    offchain,
    opened,
    proposed,
    query,
    shutdown,
    terms,
    transaction,
    transfer,
    withdraw,
)
from tests.permissive import OPEN

BACK = {"from": RESPONDER, "to": INITIATOR}


def limited(hour: int = 10, day: int = 100, **changes: Any) -> Channel:
    policy = replace(OPEN, outflow_per_hour=hour, outflow_per_day=day, **changes)
    return opened(policy=policy, conflict_retries=0)


def pay(channel: Channel, amount: int, name: str) -> Channel:
    """One transfer, co-signed if the policy lets it."""
    channel.give(CommandDue(transfer(amount, name)))
    if channel.outcomes():
        return channel
    tx = offchain(channel.state.round + 1, mark=name)
    channel.requested(Tag.UPDATE, tx, moved(amount)).sign()
    return channel.cosigned(tx).calm()


def ending(channel: Channel) -> tuple[Outcome, Code | None]:
    (one,) = channel.outcomes()
    return one.outcome, one.code


# --- by default ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [transfer(1), deposit(1), withdraw(1), message(), shutdown()], ids=lambda c: c.kind)
def test_without_a_policy_no_command_runs(command: Command) -> None:
    """What nobody allowed is not allowed; the node hears nothing of it, and an event says why."""
    channel = opened(policy=Policy()).give(CommandDue(command))
    assert ending(channel) == (Outcome.FAILED, Code.POLICY_DENIED)
    assert not channel.sent()
    denied = channel.event("command.policy_denied").data
    assert (denied["command_id"], denied["at_stage"]) == (command.command_id, "trigger")
    assert command.kind in denied["sentence"]


def test_without_a_policy_no_query_is_answered() -> None:
    channel = opened(policy=Policy()).give(QueryDue(query()))
    assert ending(channel) == (Outcome.FAILED, Code.POLICY_DENIED)
    assert not channel.sent()


def test_without_a_policy_nothing_is_acknowledged() -> None:
    channel = opened(policy=Policy()).requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(5, back=True))
    assert [request.code for request in channel.sent(Refuse)] == [128]
    assert not channel.questions()
    assert "sign.denied" in channel.events()


@pytest.mark.parametrize(
    ("command", "runs"),
    [(transfer(1), False), (message(), False), (deposit(1), False), (withdraw(1), True), (shutdown(), True)],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_with_a_stranger_only_the_way_out_is_open(command: Command, runs: bool) -> None:
    """Coins are not put where they may not go; what is there comes back."""
    channel = opened(policy=replace(OPEN, counterparties=frozenset({INITIATOR}))).give(CommandDue(command))
    assert bool(channel.sent()) is runs
    assert bool(channel.outcomes()) is not runs


@pytest.mark.parametrize("name", [RESPONDER, "*"])
def test_a_named_counterparty_is_paid(name: str) -> None:
    channel = opened(policy=replace(OPEN, counterparties=frozenset({name}))).give(CommandDue(transfer(1)))
    assert channel.sent(AskTransfer)


def test_a_strangers_update_is_refused() -> None:
    channel = opened(policy=replace(OPEN, counterparties=frozenset({INITIATOR})))
    channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(5, back=True))
    assert "counterparties" in channel.event("sign.denied").data["sentence"]
    assert not channel.questions()


@pytest.mark.parametrize("tag", [Tag.WITHDRAW_ACK, Tag.SHUTDOWN_ACK])
def test_a_stranger_may_take_his_own_and_close(tag: Tag) -> None:
    channel = opened(policy=replace(OPEN, counterparties=frozenset()))
    if tag is Tag.WITHDRAW_ACK:
        tx = transaction(Kind.WITHDRAW, "w", round=2, amount=100, account=RESPONDER, fee=20_000, signatures=("s",))
    else:
        amounts = {"initiator_amount": 990, "responder_amount": 490}
        tx = transaction(Kind.CLOSE_MUTUAL, "x", fee=20, signatures=("s",), **amounts)
    assert channel.requested(tag, tx, None).questions()


# --- the limits ------------------------------------------------------------------------------------------


def test_an_hours_outflow_is_not_passed_and_comes_free_after_an_hour() -> None:
    channel = limited(hour=10)
    for number in range(2):
        assert ending(pay(channel, 5, f"p{number}")) == (Outcome.SUCCEEDED, None)
        channel.now += 60
    assert ending(pay(channel, 1, "more")) == (Outcome.FAILED, Code.POLICY_DENIED)
    assert "10 aettos went out in the last hour" in channel.event("command.policy_denied").data["sentence"]
    channel.now += HOUR - 120 + 1  # the first is an hour old
    assert ending(pay(channel, 5, "later")) == (Outcome.SUCCEEDED, None)
    assert ending(pay(channel, 1, "too-much")) == (Outcome.FAILED, Code.POLICY_DENIED)


def test_a_days_outflow_is_not_passed_by_going_slowly() -> None:
    channel = limited(hour=10, day=25)
    assert [ending(pay(channel, 10, f"p{number}"))[0] for number in range(2)] == [Outcome.SUCCEEDED, Outcome.FAILED]
    channel.now += HOUR
    assert ending(pay(channel, 10, "second"))[0] is Outcome.SUCCEEDED
    channel.now += HOUR
    assert ending(pay(channel, 10, "third"))[0] is Outcome.FAILED
    assert "day" in channel.event("command.policy_denied").data["sentence"]
    assert ending(pay(channel, 5, "rest"))[0] is Outcome.SUCCEEDED


def test_what_the_peer_pays_and_what_stays_ours_is_no_outflow() -> None:
    """Nor does income make room."""
    channel = limited(hour=5)
    channel.give(CommandDue(transfer(50, "in", **BACK)))
    channel.requested(Tag.UPDATE, offchain(2), moved(50, back=True)).sign().cosigned(offchain(2)).calm()
    assert ending(channel) == (Outcome.SUCCEEDED, None)
    assert ending(pay(channel, 5, "out")) == (Outcome.SUCCEEDED, None)
    assert ending(pay(channel, 1, "more")) == (Outcome.FAILED, Code.POLICY_DENIED)
    assert channel.give(CommandDue(withdraw(100))).sent()


def test_a_decision_tells_its_figures() -> None:
    """An auditor sees what each payment was judged by."""
    channel = pay(limited(hour=10), 4, "first").give(CommandDue(transfer(5, "second")))
    assert channel.event("command.started").data["outflow"] == {"hour_amount": 9, "day_amount": 9}


def test_a_refused_signature_gives_its_room_back() -> None:
    """Nobody signed: nothing can be paid."""
    channel = limited(hour=5).give(CommandDue(transfer(5, "first")))
    channel.requested(Tag.UPDATE, offchain(2), moved(5))
    opened_ = channel.state.open_request
    assert opened_ is not None
    assert channel.state.outflow.within(HOUR, channel.now) == 5
    channel.give(SignReplied(opened_.sign_request_id, "signer", Declined("no")))
    assert ending(channel) == (Outcome.FAILED, Code.SIGN_REFUSED)
    assert channel.state.outflow.within(HOUR, channel.now) == 0
    assert ending(pay(channel, 5, "second")) == (Outcome.SUCCEEDED, None)


def test_what_failed_with_exposure_stays_counted_and_ages_only_once_it_is_cleared() -> None:
    """The peer may still use it: tomorrow it would be an outflow of tomorrow."""
    channel = proposed(limited(hour=5), transfer(5, "first"), Tag.UPDATE, offchain(2), moved(5))
    channel.give(Conflicted(round=1, code=2)).calm()
    assert ending(channel)[0] is Outcome.FAILED
    assert channel.state.exposures
    channel.now += 5 * HOUR
    assert channel.state.outflow.within(HOUR, channel.now) == 5
    assert ending(channel.give(CommandDue(transfer(1, "second")))) == (Outcome.FAILED, Code.POLICY_DENIED)
    channel.requested(Tag.UPDATE_ACK, offchain(2, "b", signatures=1), moved(1, back=True)).sign()
    channel.cosigned(offchain(2, "b")).calm()
    assert not channel.state.exposures
    channel.now += HOUR
    assert ending(pay(channel, 5, "third")) == (Outcome.SUCCEEDED, None)


def test_what_is_in_doubt_is_counted_until_it_is_settled() -> None:
    channel = proposed(limited(hour=5), transfer(5, "first"), Tag.UPDATE, offchain(2), moved(5))
    channel.give(Conflicted(round=1, code=3)).calm()
    assert ending(channel)[0] is Outcome.IN_DOUBT
    channel.now += 5 * HOUR
    assert channel.state.outflow.within(HOUR, channel.now) == 5
    settle = Resolve(command_id="r-1", issued_at=ISSUED, target="first", outcome="succeeded", reason="seen")
    channel.give(ResolveDue(settle, "otto"))
    assert channel.state.outflow.within(HOUR, channel.now) == 5
    assert channel.state.outflow.within(HOUR, channel.now + HOUR) == 0


def test_an_attempt_that_is_made_again_reserves_once() -> None:
    """Five attempts of one command pay once."""
    channel = opened(policy=replace(OPEN, outflow_per_hour=5)).give(CommandDue(transfer(5, "first")))
    for _ in range(3):
        tx = offchain(2, f"m{channel.state.next_request}")
        channel.requested(Tag.UPDATE, tx, moved(5)).sign()
        channel.give(Conflicted(round=1, code=2)).calm().wait(10)
        assert channel.sent(AskTransfer), channel.last
    assert channel.state.outflow.within(HOUR, channel.now) == 5
    tx = offchain(2, "last")
    channel.requested(Tag.UPDATE, tx, moved(5)).sign().cosigned(tx)
    assert ending(channel) == (Outcome.SUCCEEDED, None)
    assert channel.state.outflow.within(HOUR, channel.now) == 5


def test_a_peers_proposal_that_takes_from_us_uses_the_same_limit() -> None:
    channel = limited(hour=5, acknowledge_only_if_not_poorer=False)
    channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(5)).sign()
    assert channel.state.outflow.within(HOUR, channel.now) == 5
    channel.cosigned(offchain(2)).calm()
    assert channel.state.outflow.within(HOUR, channel.now) == 5
    channel.requested(Tag.UPDATE_ACK, offchain(3, signatures=1), moved(1))
    assert "last hour" in channel.event("sign.denied").data["sentence"]
    assert ending(pay(channel, 1, "own")) == (Outcome.FAILED, Code.POLICY_DENIED)


def test_a_proposal_nobody_signed_gives_its_room_back() -> None:
    channel = limited(hour=5, acknowledge_only_if_not_poorer=False)
    channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(5)).wait(61)
    assert "sign.expired" in channel.events()
    assert channel.state.outflow.held == ()
    assert ending(pay(channel, 5, "own")) == (Outcome.SUCCEEDED, None)


def test_a_given_up_acknowledgement_stays_counted() -> None:
    """The peer holds our signature, whatever its node says."""
    channel = limited(hour=5, acknowledge_only_if_not_poorer=False)
    channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(5)).sign()
    channel.give(Conflicted(round=1, code=2)).calm()
    channel.now += 2 * HOUR
    assert channel.state.outflow.within(HOUR, channel.now) == 5


def test_a_proposal_above_the_most_at_once_is_refused() -> None:
    channel = opened(policy=replace(OPEN, max_amount=4, acknowledge_only_if_not_poorer=False))
    channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(5))
    assert "above the policy's 4" in channel.event("sign.denied").data["sentence"]


def test_what_is_in_doubt_is_counted_while_a_checkpoint_goes_past_it() -> None:
    channel = proposed(limited(hour=5), transfer(5, "first"), Tag.UPDATE, offchain(2), moved(5))
    channel.give(Conflicted(round=1, code=3)).calm().give(CommandDue(checkpoint()))
    assert channel.state.parked
    channel.now += 2 * HOUR
    assert channel.state.outflow.within(HOUR, channel.now) == 5


def test_what_was_superseded_in_one_step_was_exposed_and_stays_counted() -> None:
    """Only what failed without exposure gives its room back at once."""
    channel = proposed(limited(hour=5), transfer(5, "first"), Tag.UPDATE, offchain(2), moved(5))
    channel.give(Conflicted(round=1, code=3)).calm().rest(RETURN_SECONDS).give(CommandDue(checkpoint()))
    tx = offchain(2, "c")
    channel.requested(Tag.UPDATE, tx, moved(0)).sign().cosigned(tx)
    assert {(end.command_id, end.code) for end in channel.outcomes()} == {("first", Code.SUPERSEDED), ("c-1", None)}
    assert not channel.state.exposures
    assert channel.state.outflow.within(HOUR, channel.now) == 5
    assert channel.state.outflow.within(HOUR, channel.now + HOUR) == 0


def test_an_acknowledgement_that_was_never_sent_gives_its_room_back() -> None:
    channel = limited(hour=5, acknowledge_only_if_not_poorer=False)
    channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(5)).sign()
    (sent,) = channel.sent(SendSignature)
    channel.give(Withheld(sent.request_id))
    assert channel.state.outflow.within(HOUR, channel.now) == 0


def test_a_given_up_acknowledgement_ages_once_another_state_takes_its_round() -> None:
    channel = limited(hour=5, acknowledge_only_if_not_poorer=False)
    channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(5)).sign()
    channel.give(Conflicted(round=1, code=2)).calm().now += 2 * HOUR
    channel.requested(Tag.UPDATE_ACK, offchain(2, "b", signatures=1), moved(1, back=True)).sign()
    channel.cosigned(offchain(2, "b")).calm()
    assert channel.state.outflow.within(HOUR, channel.now) == 5
    assert channel.state.outflow.within(HOUR, channel.now + HOUR) == 0


def test_a_signature_that_left_in_the_very_step_that_lost_the_channel_is_counted() -> None:
    """Whatever else the step did: the peer may hold it."""
    before = limited().state
    key = proposal_key("ab")
    record = RecordForward(Tag.UPDATE_ACK, 2, TransactionHash("ab"), "tx_signed", None)
    turn = Turn(terms(), 5.0, replace(before, outflow=before.outflow.hold(key, 7)), (record,))
    assert settle(before, turn).state.outflow.within(HOUR, 5.0) == 7
    assert settle(before, replace(turn, effects=())).state.outflow.within(HOUR, 5.0) == 0


@pytest.mark.parametrize(("is_exposed", "counted"), [(True, 7), (False, 0)])
def test_only_a_signature_nobody_has_gives_its_room_back(is_exposed: bool, counted: int) -> None:
    """The evidence says whether the peer may hold it."""
    tx = offchain(2, "ab")
    given = replace(limited().state, settling=Settling(Tag.UPDATE_ACK, tx, moved(7), START))
    before = replace(given, outflow=given.outflow.hold(proposal_key(tx.hash), 7))
    gone = Abandon(2, tx.hash, None, "evidence", is_exposed)
    turn = Turn(terms(), START, replace(before, settling=None), (gone,))
    assert settle(before, turn).state.outflow.within(HOUR, START) == counted


def test_the_limit_is_counted_over_a_gap() -> None:
    """What was signed before a lost link is counted until the node says what became of it."""
    channel = proposed(limited(hour=5), transfer(5, "first"), Tag.UPDATE, offchain(2), moved(5))
    channel.give(LinkDown(1006), LinkUp(resumed=True, presented="other"))
    assert channel.state.outflow.within(HOUR, channel.now) == 5


# --- the second look -------------------------------------------------------------------------------------


def stricter(channel: Channel, **changes: Any) -> Channel:
    """The bridge was started again with another policy; the state is what it was."""
    channel.terms = replace(channel.terms, policy=replace(channel.terms.policy, **changes))
    return channel


@pytest.mark.parametrize(
    "changes",
    [{"commands": frozenset()}, {"max_amount": 4}, {"outflow_per_hour": 4}, {"counterparties": frozenset()}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_policy_made_stricter_holds_a_signature_back(changes: dict[str, Any]) -> None:
    """The node is told no and gets no signature; the room is free again."""
    channel = opened(policy=OPEN).give(CommandDue(transfer(5)))
    channel.requested(Tag.UPDATE, offchain(2), moved(5))
    stricter(channel, **changes).sign()
    assert not channel.sent(SendSignature)
    assert [request.code for request in channel.sent(Refuse)] == [128]
    assert ending(channel) == (Outcome.FAILED, Code.POLICY_DENIED)
    assert channel.event("command.policy_denied").data["at_stage"] == "forward"
    assert channel.state.outflow.held == ()


def test_a_policy_made_stricter_holds_an_acknowledgement_back() -> None:
    channel = opened(policy=OPEN).requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(5, back=True))
    stricter(channel, acknowledge=frozenset()).sign()
    assert not channel.sent(SendSignature)
    assert channel.sent(Refuse)
    assert channel.state.settling is None


def test_a_step_with_limits_repeats_itself() -> None:
    """The clock is an input like any other."""
    channel = pay(limited(hour=10), 4, "first")
    due = CommandDue(transfer(5, "second"))
    assert step(channel.terms, channel.state, due, channel.now) == step(channel.terms, channel.state, due, channel.now)


def test_the_responders_transfer_is_his_outflow() -> None:
    """Who pays is read from the command, not from the role."""
    channel = opened(Role.RESPONDER, policy=replace(OPEN, outflow_per_hour=4))
    assert ending(channel.give(CommandDue(transfer(5, "out", **BACK)))) == (Outcome.FAILED, Code.POLICY_DENIED)
    assert channel.give(CommandDue(transfer(5, "in"))).sent(AskTransfer)
