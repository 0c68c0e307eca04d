"""One state counts for one command: identical bytes, an operator's word, a close by one side, two sides apart."""

from dataclasses import replace

import pytest

from bridge.channel.command import Command
from bridge.channel.effect import Abandon, Conclude, KeepState, Publish, RecordForward
from bridge.channel.identifier import fingerprint
from bridge.channel.input import (
    ChainReported,
    CommandDue,
    History,
    LinkDown,
    LinkFailed,
    LinkUp,
    OffchainState,
)
from bridge.channel.operation import may_enter
from bridge.channel.request import AskBalances, AskHistory, AskState, AskTransfer, Refuse, Tag
from bridge.channel.state import Phase, Purpose, Stage, decode, encode
from bridge.channel.terms import Dialect
from bridge.channel.transaction import Kind, Transaction
from tests.channel.given import (
    CHANNEL,
    FSM,
    INITIATOR,
    RESPONDER,
    Channel,
    checkpoint,
    create,
    deposit,
    moved,
    offchain,
    opened,
    proposed,
    shutdown,
    transaction,
    transfer,
)
from tests.channel.test_recovery import conflict, doubtful, missed, resolve, take_over

PARTIES = {"from": RESPONDER, "to": INITIATOR}


def ends(channel: Channel) -> list[tuple[str, str]]:
    """Command and outcome, in the order they were told."""
    return [(str(e.command_id), e.outcome.value) for e in channel.all if isinstance(e, Conclude)]


def count(channel: Channel, name: str) -> int:
    return sum(isinstance(e, Publish) and f"{e.family}.{e.name}" == name for e in channel.all)


def peer_deposit() -> Transaction:
    made = transaction(Kind.DEPOSIT, "dp", round=2, amount=100, account=RESPONDER, nonce=7, fee=1)
    return replace(made, signatures=("s",))


def mutual(nonce: int = 5) -> Transaction:
    return transaction(
        Kind.CLOSE_MUTUAL,
        "cl",
        account=INITIATOR,
        nonce=nonce,
        fee=0,
        initiator_amount=1000,
        responder_amount=500,
    )


def settled(initiator: int, responder: int) -> Transaction:
    return transaction(Kind.SETTLE, "settle", nonce=4, initiator_amount=initiator, responder_amount=responder, fee=1)


def closed_alone(channel: Channel, initiator: int, responder: int) -> Channel:
    """As recorded on a real node: the peer closes with the state it holds, and settles."""
    solo = transaction(Kind.CLOSE_SOLO, "solo", nonce=3)
    channel.give(ChainReported(channel_id=CHANNEL, transaction=solo, info="solo_closing")).info("closing")
    final = settled(initiator, responder)
    channel.give(ChainReported(channel_id=CHANNEL, transaction=final, info="channel_closed"))
    return channel.info("closed_confirmed")


# --- identical bytes ------------------------------------------------------------------------------------


def test_two_payments_of_one_amount_are_not_both_succeeded_by_one_state() -> None:
    """5 in doubt, 5 again -> the same balances at the same round are the same bytes, and they moved once."""
    channel = doubtful().give(CommandDue(transfer(5, "t-2"))).wait(1)
    channel.requested(Tag.UPDATE, offchain(2), moved(5)).sign().cosigned(offchain(2))
    assert ends(channel) == [("t-1", "in_doubt"), ("t-1", "succeeded"), ("t-2", "failed")]
    assert (channel.state.initiator_balance, channel.state.responder_balance) == (995, 505)
    assert count(channel, "alarm.abandoned_state_used") == 0


def test_a_payment_of_the_peers_with_the_bytes_of_ours_moves_once() -> None:
    """Ours takes from the peer and is in doubt; he proposes the same: one payment, told as ours."""
    channel = proposed(opened(), transfer(5, **PARTIES), Tag.UPDATE, offchain(2), moved(5, back=True))
    channel.give(conflict(3)).calm()
    channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(5, back=True)).sign().cosigned(offchain(2))
    assert ends(channel) == [("t-1", "in_doubt"), ("t-1", "succeeded")]
    assert (channel.state.initiator_balance, channel.state.responder_balance) == (1005, 495)
    assert count(channel, "transfer.received") == 0


# --- an operator's word ---------------------------------------------------------------------------------


def test_a_state_an_operator_vouched_for_is_no_strangers() -> None:
    """in doubt -> "succeeded", says the operator -> the node comes back and shows it: the books follow."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(LinkDown(1006, ""))
    for attempts in (8, 9, 10, 11, 12, 13):
        channel.wait(40).give(LinkFailed(attempts=attempts, reason="refused"))
    channel.give(resolve("succeeded"))
    channel.state = decode(encode(channel.state))
    take_over(channel, offchain(2, signatures=2))
    assert channel.state.phase is Phase.OPEN
    assert (channel.state.round, channel.state.initiator_balance, channel.state.vouched) == (2, 995, ())
    assert count(channel, "command.outcome_corrected") == 0


def test_an_operators_word_that_another_state_refutes_is_corrected() -> None:
    """He said "succeeded"; another payment took the round: it has not, and the books never had it."""
    channel = doubtful().give(resolve("succeeded"), CommandDue(transfer(6, "t-2"))).wait(1)
    channel.requested(Tag.UPDATE, offchain(2, "b"), moved(6)).sign().cosigned(offchain(2, "b"))
    corrected = channel.event("command.outcome_corrected").data
    assert (corrected["command_id"], corrected["outcome"]) == ("t-1", "failed")
    assert (channel.state.initiator_balance, channel.state.vouched) == (994, ())


def test_a_vouched_state_counts_for_no_second_command() -> None:
    """The same amount again, the same bytes: what the operator vouched for has used them."""
    channel = doubtful().give(resolve("succeeded"), CommandDue(transfer(5, "t-2"))).wait(1)
    channel.requested(Tag.UPDATE, offchain(2), moved(5)).sign().cosigned(offchain(2))
    assert ends(channel)[-1] == ("t-2", "failed")
    assert channel.state.initiator_balance == 995


# --- a close by one side alone --------------------------------------------------------------------------


def test_a_solo_close_with_the_doubtful_state_has_applied_it() -> None:
    """in doubt, the peer had signed it and closes with it: what was paid out says that it happened."""
    channel = closed_alone(doubtful(), 995, 505)
    assert ends(channel) == [("t-1", "in_doubt"), ("t-1", "succeeded")]
    assert count(channel, "alarm.books_disagree") == 0
    assert channel.state.phase is Phase.CLOSED


def test_a_solo_close_without_the_doubtful_state_has_not_applied_it() -> None:
    channel = closed_alone(doubtful(), 1000, 500)
    assert ends(channel) == [("t-1", "in_doubt"), ("t-1", "failed")]


def test_a_solo_close_that_nothing_explains_leaves_the_doubt() -> None:
    """Some older state was used: of the payment in doubt that says nothing."""
    channel = closed_alone(doubtful(), 900, 600)
    assert ends(channel) == [("t-1", "in_doubt")]
    assert channel.state.operations[0].stage is Stage.IN_DOUBT


def test_a_solo_close_that_nothing_explains_is_told() -> None:
    """An older state, against which nobody protested, takes money from us: silence would hide it."""
    channel = closed_alone(opened(), 900, 600)
    assert count(channel, "alarm.foreign_state") == 1
    assert channel.state.phase is Phase.CLOSED


def test_a_solo_close_with_the_state_we_know_needs_no_alarm() -> None:
    assert count(closed_alone(opened(), 1000, 500), "alarm.foreign_state") == 0


def test_a_solo_close_with_what_was_told_as_failed_corrects_that() -> None:
    """The peer held it co-signed all the same: the books and the command's author must know."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(conflict(147)).calm()
    closed_alone(channel, 995, 505)
    assert ends(channel) == [("t-1", "failed")]
    assert count(channel, "alarm.abandoned_state_used") == 1
    assert count(channel, "command.outcome_corrected") == 1
    assert count(channel, "command.exposure_cleared") == 1
    assert count(channel, "alarm.books_disagree") == 0
    assert channel.state.books.is_closed
    assert not channel.state.asked, "nobody is left to answer"


def test_a_solo_close_with_an_acknowledgement_that_was_void_was_received() -> None:
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True)).sign()
    closed_alone(channel.give(conflict(3)).calm(), 1007, 493)
    assert count(channel, "transfer.received") == 1
    assert count(channel, "alarm.books_disagree") == 0


def test_a_solo_close_is_explained_by_the_next_round_only() -> None:
    """The same payment, signed for a round that the peer's took: that signature can have closed nothing."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(conflict(2)).calm()
    for round_ in (2, 3):
        channel.requested(Tag.UPDATE_ACK, offchain(round_, "p", signatures=1), moved(1, back=True))
        channel.sign().cosigned(offchain(round_, "p")).calm()
    channel.wait(10).requested(Tag.UPDATE, offchain(4), moved(5)).sign()
    closed_alone(channel, 997, 503)
    assert ends(channel) == [("t-1", "succeeded")]
    assert channel.state.phase is Phase.CLOSED
    assert count(channel, "alarm.foreign_state") == 0


def test_of_several_doubts_the_one_that_was_paid_out_has_happened() -> None:
    channel = doubtful()
    for number in (6, 7):
        channel.give(CommandDue(transfer(number, f"t-{number}"))).wait(10)
        channel.requested(Tag.UPDATE, offchain(2, f"m{number}"), moved(number)).sign().give(conflict(3)).calm()
    closed_alone(channel, 994, 506)
    assert sorted(ends(channel)[3:]) == [("t-1", "failed"), ("t-6", "succeeded"), ("t-7", "failed")]
    assert channel.state.operations == ()


def test_no_doubt_is_left_behind_by_a_mutual_close() -> None:
    """However many: both agreed on what was paid out."""
    channel = doubtful()
    for number in (6, 7, 8, 9):
        channel.give(CommandDue(transfer(number, f"t-{number}"))).wait(10)
        channel.requested(Tag.UPDATE, offchain(2, f"m{number}"), moved(number)).sign().give(conflict(3)).calm()
    channel.give(ChainReported(channel_id=CHANNEL, transaction=mutual(), info="channel_closed"))
    channel.info("closed_confirmed")
    assert [outcome for _, outcome in ends(channel)[5:]] == ["failed"] * 5
    assert channel.state.operations == ()


def test_a_close_in_doubt_has_not_happened_where_the_peer_closed_alone() -> None:
    channel = proposed(opened(), shutdown(), Tag.SHUTDOWN, mutual(), None).give(conflict(3)).calm()
    closed_alone(channel, 1000, 500)
    assert ends(channel) == [("s-1", "in_doubt"), ("s-1", "failed")]


def test_a_refused_close_that_is_mined_after_all_is_corrected() -> None:
    """The peer refused, and posted it all the same: what was told as failed has happened."""
    channel = proposed(opened(), shutdown(), Tag.SHUTDOWN, mutual(), None).give(conflict(147)).calm()
    assert ends(channel) == [("s-1", "failed")]
    channel.give(ChainReported(channel_id=CHANNEL, transaction=mutual(), info="channel_closed"))
    assert {"alarm.abandoned_state_used", "command.outcome_corrected"} <= set(channel.events())
    assert channel.state.exposures == ()


# --- two sides apart (rule 9) ---------------------------------------------------------------------------


def split() -> Channel:
    """In doubt; the next payment meets a peer that stands a round above us."""
    channel = doubtful().give(CommandDue(transfer(6, "t-2"))).wait(1)
    channel.requested(Tag.UPDATE, offchain(2, "b"), moved(6)).sign()
    return channel.give(conflict(2, 2)).calm()


def test_the_line_waits_where_the_peer_stands_a_round_above() -> None:
    """Each further payment would be one more doubt and one more signature for the same round."""
    channel = split()
    assert [e for e in ends(channel) if e[1] == "in_doubt"] == [("t-1", "in_doubt"), ("t-2", "in_doubt")]
    assert not may_enter(channel.terms, channel.state, "transfer")
    assert may_enter(channel.terms, channel.state, "checkpoint")
    signatures = sum(isinstance(e, RecordForward) for e in channel.all)
    channel.wait(3000)
    assert sum(isinstance(e, RecordForward) for e in channel.all) == signatures
    assert count(channel, "alarm.recovery_required") == 1


def test_a_payment_that_was_not_signed_yet_waits_for_the_sides_to_come_together() -> None:
    """A conflict of a higher round before our signature: nothing happened, nothing is in doubt."""
    channel = opened().give(CommandDue(transfer())).give(conflict(2, 2)).calm().wait(60)
    assert channel.state.operation is not None
    assert (channel.state.operation.stage, ends(channel)) == (Stage.JOURNALED, [])
    assert count(channel, "command.started") == 1


def test_a_checkpoint_brings_the_two_sides_together() -> None:
    """Co-signed by both at our next round: what is in doubt is settled, the line goes on."""
    channel = split().give(CommandDue(checkpoint())).wait(10)
    channel.requested(Tag.UPDATE, offchain(2, "c"), moved(0)).sign().cosigned(offchain(2, "c"))
    assert ends(channel)[2:] == [("t-1", "failed"), ("t-2", "failed"), ("c-1", "succeeded")]
    channel.give(CommandDue(transfer(7, "t-3"))).wait(6)
    assert channel.state.operation is not None
    assert channel.state.operation.stage is Stage.SENT


# --- what the node still has in hand --------------------------------------------------------------------


def half_signed() -> Channel:
    """An outage longer than our patience; back, the node holds the payment half-signed."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(LinkDown(1006, ""))
    for attempts in (8, 9, 10, 11, 12, 13):
        channel.wait(40).give(LinkFailed(attempts=attempts, reason="refused"))
    assert ends(channel) == [("t-1", "in_doubt")]
    channel.give(LinkUp(resumed=True, presented=fingerprint(FSM))).info("fsm_up", fsm_id=FSM)
    return channel.answer(AskState, OffchainState(create(), offchain(2, signatures=1))).calm()


def test_nothing_goes_past_what_the_node_holds_half_signed() -> None:
    """A trigger behind it would block the socket, and no evidence says that it is given up."""
    channel = half_signed()
    assert not may_enter(channel.terms, channel.state, "transfer")
    assert not [e for e in channel.all if isinstance(e, Abandon)]
    channel.give(conflict(3)).calm()
    assert may_enter(channel.terms, channel.state, "transfer")


def test_nothing_goes_past_a_doubt_before_the_node_was_asked() -> None:
    """While the link is down nobody knows whether the node has let go of it."""
    channel = doubtful().give(LinkDown(1006, ""))
    assert not may_enter(channel.terms, channel.state, "transfer")
    take_over(channel)
    assert not may_enter(channel.terms, channel.state, "transfer")
    channel.calm()
    assert may_enter(channel.terms, channel.state, "transfer")


@pytest.mark.parametrize(
    ("tag", "asked"),
    [
        (Tag.DEPOSIT_ACK, peer_deposit()),
        (Tag.SHUTDOWN_ACK, replace(mutual(), account=RESPONDER, signatures=("s",))),
    ],
    ids=["deposit", "shutdown"],
)
def test_what_we_signed_for_the_chain_is_outstanding_over_a_gap(tag: Tag, asked: Transaction) -> None:
    """Before it is mined the node stands at the round before: that proves nothing, and a trigger would block it."""
    channel = take_over(opened().requested(tag, asked, None).sign()).calm()
    assert channel.state.settling is not None
    assert not [e for e in channel.all if isinstance(e, Abandon)]
    channel.give(CommandDue(transfer())).wait(30)
    assert not channel.sent(AskTransfer)


def test_a_conflict_missed_in_a_gap_ends_what_we_signed_for_the_chain() -> None:
    channel = take_over(opened().requested(Tag.DEPOSIT_ACK, peer_deposit(), None).sign())
    missed(channel, Purpose.PROBE_ACK).answer(AskHistory, History(((3, 1, "2026-01-01T00:00:01Z"),)))
    assert channel.state.settling is None
    assert [held.transaction.hash for held in channel.state.given] == [peer_deposit().hash]


def test_a_conflict_missed_on_a_live_socket_ends_what_we_signed_for_the_peer() -> None:
    """No report comes, the node waits for nothing: its memory says what became of our acknowledgement."""
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True)).sign().wait(11)
    channel.answer(AskState, OffchainState(create(), None))
    missed(channel, Purpose.LOOK_ACK).answer(AskHistory, History(((2, 1, "2026-01-01T00:00:01Z"),)))
    assert channel.state.settling is None


def test_a_wait_for_the_chain_is_not_lengthened_by_our_questions() -> None:
    """Each question starts the FSM's timer anew: from some time on they are further apart than it is long."""
    exposed = transaction(Kind.DEPOSIT, "d2", round=2, amount=100, account=INITIATOR, nonce=2, fee=1)
    channel = take_over(proposed(opened(), deposit(), Tag.DEPOSIT, exposed, None))
    missed(channel, Purpose.PROBE_ACK, Purpose.PROBE).answer(AskHistory, History(())).calm()
    assert channel.state.operation is not None
    assert channel.state.operation.stage is Stage.IN_DOUBT
    asked: list[float] = []
    for _ in range(400):
        channel.wait(10)
        requests = channel.sent()
        asked += [channel.now for request in requests if isinstance(request, AskState | AskBalances)]
        for request in requests:
            if isinstance(request, AskState):
                channel.answer(AskState, OffchainState(create(), None))
    late = [b - a for a, b in zip(asked[-4:], asked[-3:], strict=False)]
    assert min(late) > 360


def test_a_memory_that_is_cut_off_proves_nothing() -> None:
    """Ten reports, all of this gap: a timeout may stand before the oldest of them."""
    channel = take_over(proposed(opened(conflict_retries=0), transfer(), Tag.UPDATE, offchain(2), moved(5)))
    missed(channel, Purpose.PROBE_ACK, Purpose.PROBE)
    channel.answer(AskHistory, History(tuple((2, 1, f"2026-01-01T00:00:{59 - n}Z") for n in range(10))))
    assert ends(channel) == [("t-1", "in_doubt")]


# --- requests and their time ----------------------------------------------------------------------------


def test_a_suspended_request_of_the_peers_is_no_deadline_of_ours() -> None:
    """His proposal's time ran out with the link; our command had no signer yet."""
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True))
    take_over(channel.give(LinkDown(1006, ""))).calm()
    channel.give(CommandDue(transfer()), LinkDown(1006, "")).wait(61)
    missed(take_over(channel), Purpose.PROBE, Purpose.PROBE_ACK)
    assert ends(channel) == []


def test_a_proposal_is_due_from_when_its_frame_came() -> None:
    """The node's and the peer's timers do not wait for our disk: nor does the deadline."""
    channel = opened()
    came = channel.now
    channel.now += 40
    channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True), arrived_at=came)
    assert channel.state.open_request is not None
    assert channel.state.open_request.deadline == came + channel.terms.acknowledge_seconds
    channel.wait(21)
    assert channel.sent(Refuse)


def test_a_proposal_that_was_read_too_late_is_refused_at_once() -> None:
    """It waited at the node behind a flood: a signature now could leave after the peer has given up."""
    channel = opened()
    came = channel.now
    channel.now += channel.terms.acknowledge_seconds
    channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True), arrived_at=came)
    assert channel.sent(Refuse)
    assert channel.state.open_request is None


@pytest.mark.parametrize("dialect", Dialect)
def test_the_same_request_twice_is_one_request(dialect: Dialect) -> None:
    """A doubled frame: refused or taken for another, it would void what the signer is busy with."""
    channel = opened(dialect=dialect).give(CommandDue(transfer()))
    (question,) = channel.requested(Tag.UPDATE, offchain(2), moved(5)).questions()
    channel.requested(Tag.UPDATE, offchain(2), moved(5))
    assert channel.last == ()
    channel.sign()
    assert channel.state.closed_request == question.request.sign_request_id
    assert channel.state.operation is not None
    assert channel.state.operation.stage is Stage.SIGNED_SENT


@pytest.mark.parametrize(
    ("command", "tag", "seconds"),
    [(transfer(), Tag.UPDATE, 150), (deposit(), Tag.DEPOSIT, 420)],
    ids=["transfer", "deposit"],
)
def test_silence_after_a_signature_is_told_as_a_doubt(command: Command, tag: Tag, seconds: float) -> None:
    """The first legacy answers no question; whoever waits for the outcome must hear that nothing is known."""
    exposed = transaction(Kind.DEPOSIT, "d2", round=2, amount=100, account=INITIATOR, nonce=2, fee=1)
    signed, updates = (offchain(2), moved(5)) if tag is Tag.UPDATE else (exposed, None)
    channel = proposed(opened(dialect=Dialect.LEGACY_SEED), command, tag, signed, updates)
    channel.wait(seconds - 1)
    assert ends(channel) == []
    channel.wait(2)
    assert ends(channel) == [(command.command_id, "in_doubt")]


def test_a_request_two_rounds_ahead_shows_the_state_whose_report_was_lost() -> None:
    """The first legacy answers no question; but its node builds on what it has, and that bears our signature."""
    channel = proposed(opened(dialect=Dialect.LEGACY_SEED), transfer(), Tag.UPDATE, offchain(2), moved(5)).wait(151)
    channel.requested(Tag.UPDATE_ACK, offchain(3, signatures=1), moved(7, back=True))
    assert ends(channel) == [("t-1", "in_doubt"), ("t-1", "succeeded")]
    assert (channel.state.round, channel.state.initiator_balance) == (2, 995)
    assert not [effect for effect in channel.last if isinstance(effect, KeepState)], "it bears one signature only"
    assert channel.questions()


def test_a_request_two_rounds_ahead_may_mean_what_was_told_as_failed() -> None:
    """A refused payment bears our signature as well, and the peer may have used it."""
    channel = proposed(opened(dialect=Dialect.LEGACY_SEED), transfer(), Tag.UPDATE, offchain(2), moved(5))
    channel.give(conflict(147)).wait(10)
    proposed(channel, transfer(6, "t-2"), Tag.UPDATE, offchain(2, "b"), moved(6)).wait(151)
    channel.requested(Tag.UPDATE_ACK, offchain(3, signatures=1), moved(7, back=True))
    assert ends(channel) == [("t-1", "failed"), ("t-2", "in_doubt")]
    assert channel.state.round == 1


def test_a_request_two_rounds_ahead_shows_nothing_where_two_states_may_be_meant() -> None:
    """Two payments of one round bear our signature: which one the node has is for people to find."""
    channel = proposed(opened(dialect=Dialect.LEGACY_SEED), transfer(), Tag.UPDATE, offchain(2), moved(5)).wait(151)
    channel.give(CommandDue(checkpoint())).requested(Tag.UPDATE, offchain(2, "b"), moved(0)).sign().wait(151)
    channel.requested(Tag.UPDATE_ACK, offchain(3, signatures=1), moved(7, back=True))
    assert [outcome for _, outcome in ends(channel)] == ["in_doubt", "in_doubt"]
    assert channel.state.round == 1


@pytest.mark.parametrize("word", ["conflict", "aborted_update"])
def test_an_opening_is_signed_once_whatever_is_reported(word: str) -> None:
    """Two create transactions could lock the coins twice."""
    channel = Channel(opened().terms).give(LinkUp(resumed=False)).info("fsm_up", fsm_id=FSM, channel_id=None)
    channel.requested(Tag.INITIATOR_SIGN, create(0)).sign()
    channel.give(conflict(3, 0)) if word == "conflict" else channel.info(word)
    channel.requested(Tag.INITIATOR_SIGN, replace(create(0), hash=offchain(9).hash))
    assert not channel.questions()
