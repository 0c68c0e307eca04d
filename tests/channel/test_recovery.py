"""What survives a gap: the signer's answer, the peer's proposal, an operator's way out (guarantees.md section 3)."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bridge.channel.attempt import MOST_TRIGGERS, RETURN_SECONDS, UNSETTLED_SECONDS
from bridge.channel.command import Checkpoint, Resolve
from bridge.channel.effect import Abandon, Conclude, Publish, Reconnect, RecordForward, RefuseReply, Send
from bridge.channel.ending import pending_close
from bridge.channel.exposure import MOST_EXPOSURES
from bridge.channel.identifier import CommandId, FsmId, TransactionHash, fingerprint
from bridge.channel.input import (
    Accepted,
    BadReply,
    Balances,
    ChainReported,
    ChainSeen,
    CloseSeen,
    CommandDue,
    Conflicted,
    Declined,
    FrameRejected,
    History,
    LinkDown,
    LinkFailed,
    LinkUp,
    OffchainState,
    OtherAnswer,
    Proof,
    RequestAnswered,
    RequestRefused,
    ResolveDue,
    Signed,
    SignReplied,
    TakenOver,
    Withheld,
)
from bridge.channel.operation import may_enter
from bridge.channel.request import (
    AskDeposit,
    AskHistory,
    AskProof,
    AskState,
    AskTransfer,
    Refuse,
    SendSignature,
    Tag,
)
from bridge.channel.state import Attachment, Exposure, Phase, Purpose, Stage, decode, encode
from bridge.channel.terms import Dialect
from bridge.channel.transaction import Kind, Transaction
from bridge.errors import Code, Outcome
from tests.channel.given import (
    CHANNEL,
    FSM,
    ISSUED,
    Channel,
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


def take_over(channel: Channel, found: Transaction | None = None) -> Channel:
    """Another process has the channel: it attaches to the FSM that lived on, and asks."""
    channel.give(TakenOver(), LinkUp(resumed=True, presented=fingerprint(FSM))).info("fsm_up", fsm_id=FSM)
    return channel.answer(AskState, OffchainState(found or channel.state.cosigned, None))


def conflict(code: int = 2, round_: int = 1) -> Conflicted:
    return Conflicted(channel_id=CHANNEL, round=round_, code=code)


def missed(channel: Channel, *purposes: Purpose) -> Channel:
    """The node's 1018 to each probe of that purpose."""
    for asked in channel.state.asked:
        if asked.purpose in purposes:
            channel.give(RequestRefused(request_id=asked.request_id, codes=(1018,), reasons=("not_allowed",)))
    return channel


def doubtful(channel: Channel | None = None) -> Channel:
    """A payment in doubt: the peer did not answer in time."""
    channel = proposed(channel or opened(), transfer(), Tag.UPDATE, offchain(2), moved(5))
    return channel.give(conflict(3)).calm().rest(RETURN_SECONDS)


def checkpoint(command_id: str = "c-1") -> Checkpoint:
    return Checkpoint(command_id=command_id, issued_at=ISSUED)


def resolve(outcome: Any = "failed", target: str = "t-1") -> ResolveDue:
    return ResolveDue(
        Resolve(command_id="r-1", issued_at=ISSUED, target=target, outcome=outcome, reason="seen on chain"), "olga"
    )


def test_a_reattach_whose_first_report_is_lost_is_tried_over_a_new_socket() -> None:
    """attach -> (fsm_up lost): nothing else would be asked until the node's idle timer ends the FSM."""
    channel = opened().give(TakenOver(), LinkUp(resumed=True, presented=fingerprint(FSM)))
    channel.wait(9)
    assert not [effect for effect in channel.last if isinstance(effect, Reconnect)]
    channel.wait(1.1)
    assert [effect.reason for effect in channel.last if isinstance(effect, Reconnect)] == [
        "the node took the socket and did not say that it is up"
    ]
    channel.give(LinkDown(1000, "closed")).calm()
    take_over(channel)
    assert channel.state.is_ready


# --- the signer's answer ----------------------------------------------------------------------------------


def asking() -> tuple[Channel, Any]:
    """Our payment is with a signer when the process is replaced."""
    channel = opened().give(CommandDue(transfer())).requested(Tag.UPDATE, offchain(2), moved(5))
    return channel, channel.questions()[0].request


def ask_again(channel: Channel) -> Channel:
    """The lost request is voided, triggered again, and the node asks for the same bytes."""
    take_over(channel)
    missed(channel, Purpose.PROBE).calm().wait(1)
    assert channel.sent(AskTransfer)
    return channel.requested(Tag.UPDATE, offchain(2), moved(5))


def test_an_identical_request_keeps_its_id_over_a_lost_link() -> None:
    """ask -> x -> ask: a person who is about to sign is not asked a second time."""
    channel, request = asking()
    ask_again(channel)
    assert not channel.questions(), "the signer has the question already"
    assert channel.state.open_request is not None
    assert channel.state.open_request.sign_request_id == request.sign_request_id
    assert channel.state.open_request.deadline == request.deadline
    assert channel.sign().sent(SendSignature)


def test_an_answer_given_while_the_link_was_down_is_used_when_it_is_asked_again() -> None:
    """The signer must not learn of our troubles: its answer waits for the request it belongs to."""
    channel, request = asking()
    channel.give(TakenOver())
    channel.give(SignReplied(request.sign_request_id, "signer", Signed("tx_signed", offchain(2).hash)))
    assert not channel.sent()
    assert not [effect for effect in channel.last if isinstance(effect, RefuseReply)]
    ask_again(channel)
    assert [sent.signed_tx for sent in channel.sent(SendSignature)] == ["tx_signed"]
    assert channel.state.operation is not None
    assert channel.state.operation.stage is Stage.SIGNED_SENT


def test_a_second_answer_to_a_suspended_request_is_a_duplicate() -> None:
    channel, request = asking()
    channel.give(TakenOver())
    for text in ("tx_one", "tx_two"):
        channel.give(SignReplied(request.sign_request_id, "signer", Signed(text, offchain(2).hash)))
    assert [e.code for e in channel.last if isinstance(e, RefuseReply)] == [Code.SIGN_REPLY_DUPLICATE]
    assert [sent.signed_tx for sent in ask_again(channel).sent(SendSignature)] == ["tx_one"]


def test_a_bad_answer_to_a_suspended_request_is_refused_and_not_kept() -> None:
    channel, request = asking()
    channel.give(TakenOver(), SignReplied(request.sign_request_id, "signer", BadReply("encoding")))
    assert [e.code for e in channel.last if isinstance(e, RefuseReply)] == [Code.SIGN_REPLY_INVALID]
    assert not ask_again(channel).sent(SendSignature)


def _reply_badly(channel: Channel, request: Any, times: int) -> list[Code]:
    """What the signer was told of each."""
    told = []
    for _ in range(times):
        channel.give(SignReplied(request.sign_request_id, "signer", BadReply("encoding")))
        told += [e.code for e in channel.last if isinstance(e, RefuseReply)]
    return told


def test_bad_answers_count_over_a_lost_link() -> None:
    """bad bad x bad bad -> ask -> bad: five are five, whether the socket stood or not."""
    channel, request = asking()
    assert _reply_badly(channel, request, 2) == [Code.SIGN_REPLY_INVALID] * 2
    channel.give(TakenOver())
    assert _reply_badly(channel, request, 2) == [Code.SIGN_REPLY_INVALID] * 2
    ask_again(channel)
    assert not channel.outcomes()
    assert _reply_badly(channel, request, 1) == [Code.SIGN_REPLY_INVALID]
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.FAILED, Code.SIGNER_MISBEHAVED)]


def test_a_fifth_bad_answer_without_a_link_ends_the_command_when_it_is_asked_again() -> None:
    """There is no socket to refuse on: the verdict waits for one, and no later answer takes its place."""
    channel, request = asking()
    channel.give(TakenOver())
    assert _reply_badly(channel, request, 5) == [Code.SIGN_REPLY_INVALID] * 4
    channel.give(SignReplied(request.sign_request_id, "signer", Signed("tx_signed", offchain(2).hash)))
    assert [e.code for e in channel.last if isinstance(e, RefuseReply)] == [Code.SIGN_REPLY_DUPLICATE]
    ask_again(channel)
    assert [e.code for e in channel.last if isinstance(e, RefuseReply)] == [Code.SIGN_REPLY_INVALID]
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.FAILED, Code.SIGNER_MISBEHAVED)]
    assert not channel.sent(SendSignature)


def test_a_fifth_bad_answer_to_a_request_that_never_comes_back_is_told() -> None:
    channel, request = asking()
    channel.give(TakenOver())
    _reply_badly(channel, request, 5)
    take_over(channel)
    missed(channel, Purpose.PROBE).calm()
    channel.requested(Tag.UPDATE_ACK, offchain(2, "p", signatures=1), moved(7, back=True))
    assert Code.SIGN_REPLY_INVALID in [e.code for e in channel.last if isinstance(e, RefuseReply)]


def test_a_refusal_given_while_the_link_was_down_ends_the_command() -> None:
    channel, request = asking()
    channel.give(TakenOver(), SignReplied(request.sign_request_id, "signer", Declined("not today")))
    ask_again(channel)
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.FAILED, Code.SIGN_REFUSED)]


def test_another_request_than_the_suspended_one_withdraws_it() -> None:
    """A reply to yesterday's bytes must never go to today's request."""
    channel, request = asking()
    take_over(channel)
    missed(channel, Purpose.PROBE).calm()
    channel.requested(Tag.UPDATE_ACK, offchain(2, "p", signatures=1), moved(7, back=True))
    assert channel.event("sign.withdrawn").data["sign_request_id"] == request.sign_request_id
    channel.give(SignReplied(request.sign_request_id, "signer", Signed("tx_late", "")))
    assert [e.code for e in channel.last if isinstance(e, RefuseReply)] == [Code.SIGN_REPLY_LATE]
    assert not channel.sent(SendSignature)


def test_a_request_that_expired_while_the_link_was_down_fails_the_command() -> None:
    """awaiting_sign -> x, expired: nothing was signed, and nothing is pending after the probe."""
    channel, _ = asking()
    channel.give(TakenOver()).wait(channel.terms.sign_seconds + 1)
    take_over(channel)
    missed(channel, Purpose.PROBE)
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.FAILED, Code.SIGN_TIMEOUT)]


# --- the peer's proposals ---------------------------------------------------------------------------------


def test_each_kind_of_proposal_is_refused_once_after_a_take_over() -> None:
    """A request that went to the dead socket would block the channel until the peer's timer ends it."""
    channel = take_over(opened())
    refused = [(request.tag, request.code) for request in channel.sent(Refuse)]
    assert refused == [(tag, 4) for tag in (Tag.UPDATE_ACK, Tag.DEPOSIT_ACK, Tag.WITHDRAW_ACK, Tag.SHUTDOWN_ACK)]


def test_nothing_is_triggered_or_signed_before_those_probes_are_answered() -> None:
    """Rule 1: a probe that is open could void what comes between."""
    channel = take_over(opened()).give(CommandDue(transfer()))
    assert not channel.sent(AskTransfer)
    channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True))
    assert not channel.questions()
    assert channel.calm().sent(AskTransfer)


def test_a_probe_that_finds_nothing_is_no_error_event() -> None:
    """Operators watch `error.request`: what is expected must not appear there."""
    assert "error.request" not in take_over(opened()).calm().events()


def test_an_acknowledgement_the_node_called_void_may_still_be_co_signed() -> None:
    """ack, signed -> conflict -> the peer shows the state: it is the payment we acknowledged, not a foreign one."""
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True)).sign()
    channel.give(conflict()).calm()
    channel.cosigned(offchain(2))
    assert channel.event("transfer.received").data["amount"] == 7
    assert channel.state.phase is Phase.OPEN
    assert channel.state.given == ()


def test_the_same_proposal_twice_is_one() -> None:
    """A doubled frame: to refuse the second would void the first, while its signer is busy."""
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True))
    channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True))
    assert not channel.sent()
    channel.sign().requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True))
    assert not channel.sent()
    assert channel.cosigned(offchain(2)).event("transfer.received")


def test_a_proposal_the_node_gave_up_is_settled() -> None:
    """`aborted_update` after our signature: nothing more will be heard of it."""
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True)).sign()
    channel.info("aborted_update")
    assert channel.state.has_asked(Purpose.CROSSED)
    channel.calm()
    assert channel.state.settling is None
    assert [held.transaction.hash for held in channel.state.given] == [offchain(2).hash]
    channel.requested(Tag.UPDATE_ACK, offchain(2, "p", signatures=1), moved(7, back=True))
    assert channel.questions()


def test_an_acknowledgement_that_was_stored_too_late_is_not_sent_and_refused() -> None:
    """The reply came in time; the disk took until after the deadline."""
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True)).sign()
    (sent,) = [effect for effect in channel.last if isinstance(effect, Send)]
    assert sent.not_after == channel.now + channel.terms.acknowledge_seconds
    channel.give(Withheld(sent.request.request_id))
    assert [(request.tag, request.code) for request in channel.sent(Refuse)] == [(Tag.UPDATE_ACK, 4)]
    assert channel.state.settling is None
    assert channel.state.given == (), "it reached nobody"


def test_a_signature_for_our_own_command_may_be_sent_late() -> None:
    """Our own node waits longer, and nothing splits."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5))
    assert [effect.not_after for effect in channel.last if isinstance(effect, Send)] == [None]


# --- reports that do not come on a socket that lives ------------------------------------------------------


def looked(channel: Channel, *, was_pending: bool) -> Channel:
    """The node's answer to the probe, whichever it was."""
    asked = next(a for a in channel.state.asked if a.purpose in (Purpose.LOOK, Purpose.LOOK_ACK))
    if was_pending:
        return channel.give(RequestAnswered(request_id=asked.request_id, answer=Accepted()))
    return channel.give(RequestRefused(request_id=asked.request_id, codes=(1018,), reasons=("not_allowed",)))


def ask_live(channel: Channel, half: Transaction | None = None) -> Channel:
    """Ten seconds without a word: the state is asked."""
    assert channel.wait(10.1).sent(AskState)
    return channel.answer(AskState, OffchainState(channel.state.cosigned, half))


def test_a_signature_that_never_reached_the_node_is_found_out_on_a_living_socket() -> None:
    """Else the node's timer ends it after 500 s, and as a timeout that proves nothing."""
    channel = ask_live(proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)))
    looked(channel, was_pending=True)
    assert channel.wait(1).sent(AskTransfer)
    assert channel.state.exposures == ()


def test_a_payment_that_waits_for_the_peer_is_left_alone() -> None:
    """Half-signed at the node: the peer's signer takes his time."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5))
    ask_live(channel, offchain(2, signatures=1))
    assert not channel.sent(Refuse)


def test_a_wait_for_the_peer_is_not_prolonged_by_asking() -> None:
    """Each question starts the FSM's timer anew: asked every minute, a wait for a silent peer would never end."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5))
    ask_live(channel, offchain(2, signatures=1))
    assert not channel.wait(145).sent(), "the node's timer of 120 s ends it meanwhile"
    assert channel.wait(10).sent(AskState)


def test_a_deposit_that_waits_for_the_chain_is_left_alone() -> None:
    """Consumed, and no report is due yet: that is no doubt."""
    tx = transaction(Kind.DEPOSIT, "d2", round=2, amount=100, account=opened().terms.own)
    channel = ask_live(proposed(opened(), deposit(), Tag.DEPOSIT, tx, None))
    looked(channel, was_pending=False)
    assert not channel.outcomes()
    assert channel.state.operation is not None
    assert channel.state.operation.stage is Stage.SIGNED_SENT


def test_an_acknowledgement_that_never_reached_the_node_is_found_out() -> None:
    """It is refused, the peer tries again, and his next request is asked as any."""
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True)).sign()
    looked(ask_live(channel), was_pending=True)
    assert channel.state.settling is None
    channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True))
    assert channel.questions()


def test_an_acknowledgement_whose_report_was_lost_is_found_co_signed() -> None:
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True)).sign()
    channel.wait(10.1).answer(AskState, OffchainState(replace(offchain(2), signatures=("s", "t")), None))
    assert channel.event("transfer.received").data["amount"] == 7


# --- rules 4, 5, 8 and 9 ----------------------------------------------------------------------------------


def test_a_conflict_that_crossed_our_signature_lets_nothing_be_signed_before_the_state_is_known() -> None:
    """Rule 4: our reply may be on its way into another request of the same tag."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(conflict())
    assert channel.sent(AskState)
    channel.requested(Tag.UPDATE_ACK, offchain(2, "p", signatures=1), moved(7, back=True))
    assert [request.tag for request in channel.sent(Refuse)] == [Tag.UPDATE_ACK]
    assert not channel.questions()
    channel.calm()
    channel.requested(Tag.UPDATE_ACK, offchain(2, "p", signatures=1), moved(7, back=True))
    assert channel.questions()


def test_a_conflict_that_crossed_our_signature_and_the_co_signed_state_is_a_success() -> None:
    """The answer to that question is the evidence."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(conflict())
    channel.answer(AskState, OffchainState(replace(offchain(2), signatures=("s", "t")), None))
    assert [e.outcome for e in channel.outcomes()] == [Outcome.SUCCEEDED]


def test_conflicts_that_were_told_are_not_evidence_for_a_later_signature() -> None:
    """Rule 5: only entries since the sign request count, else an old conflict would prove a payment void."""
    told = History(((2, 1, "07"),))
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(conflict())
    channel.answer(AskHistory, told).calm().wait(1)
    channel.requested(Tag.UPDATE, offchain(2), moved(5)).sign()
    take_over(channel)
    missed(channel, Purpose.PROBE).answer(AskHistory, told)
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.IN_DOUBT, Code.CONNECTION_LOST)]


def test_conflicts_that_were_told_hide_none_that_was_missed() -> None:
    """The node's memory is short: it holds the last of them only, whatever we have counted."""
    channel, told = opened(conflict_retries=99).give(CommandDue(transfer())), 12
    for number in range(told):
        channel.requested(Tag.UPDATE, offchain(2), moved(5)).sign().give(conflict())
        channel.answer(AskHistory, History(((2, 1, f"{number:02d}"),))).calm().wait(8)
        assert channel.sent(AskTransfer)
    channel.requested(Tag.UPDATE, offchain(2), moved(5)).sign()
    take_over(channel)
    missed(channel, Purpose.PROBE).answer(AskHistory, History(((2, 1, f"{told:02d}"), (2, 1, f"{told - 1:02d}"))))
    assert not channel.outcomes()
    assert channel.calm().wait(8).sent(AskTransfer)


def test_a_proposal_two_rounds_ahead_shows_that_a_report_was_lost() -> None:
    """It is refused, and the node asked at once: else payment after payment is refused for ten seconds."""
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, "p", signatures=1), moved(7, back=True)).sign()
    channel.requested(Tag.UPDATE_ACK, offchain(3, "p", signatures=1), moved(8, back=True))
    assert channel.sent(Refuse)
    assert channel.sent(AskState)
    channel.answer(AskState, OffchainState(replace(offchain(2, "p"), signatures=("s", "t")), None))
    assert (channel.state.round, channel.state.initiator_balance) == (2, 1007)


def test_a_proposal_signed_again_after_a_gap_holds_nothing_up_once_it_is_co_signed() -> None:
    """The same bytes were acknowledged twice: the first over a socket that was lost. Both are done with."""
    proposed_by_peer = (Tag.UPDATE_ACK, offchain(2, "p", signatures=1), moved(7, back=True))
    channel = take_over(opened().requested(*proposed_by_peer).sign()).calm()
    assert channel.state.given
    channel.requested(*proposed_by_peer).sign().cosigned(offchain(2, "p"))
    assert channel.state.initiator_balance == 1007
    assert channel.state.settling is None
    assert channel.give(CommandDue(transfer())).sent(AskTransfer)


def test_conflicts_missed_before_the_signature_are_not_evidence_either() -> None:
    """What the node's memory held at the take-over before is counted then."""
    channel = take_over(opened())
    channel.answer(AskHistory, History(((2, 1, "05"), (2, 1, "04")))).calm()
    proposed(channel, transfer(), Tag.UPDATE, offchain(2), moved(5))
    take_over(channel)
    missed(channel, Purpose.PROBE).answer(AskHistory, History(((2, 1, "05"), (2, 1, "04"))))
    assert [e.outcome for e in channel.outcomes()] == [Outcome.IN_DOUBT]


def test_attempts_a_crash_voided_do_not_use_up_the_retries_after_conflicts() -> None:
    """A bridge that is killed again and again must not give payments up for it."""
    channel = opened(conflict_retries=1).give(CommandDue(transfer()))
    for _ in range(6):
        take_over(channel)
        missed(channel, Purpose.PROBE).calm().wait(8)
        assert channel.sent(AskTransfer)
    channel.now += 8
    for _ in range(2):
        assert not channel.give(conflict()).outcomes()
        assert channel.calm().wait(8).sent(AskTransfer)
    assert [e.code for e in channel.give(conflict()).outcomes()] == [Code.CONFLICT]


def test_conflicts_soon_after_a_gap_do_not_use_up_the_retries() -> None:
    """What cut our link has cut the peer's: he takes over as we do, and refuses what comes in between."""
    channel = take_over(opened(conflict_retries=1)).calm().give(CommandDue(transfer()))
    for _ in range(2):
        channel.requested(Tag.UPDATE, offchain(2), moved(5)).sign().give(conflict(4))
        assert channel.calm().wait(2).sent(AskTransfer)
    channel.now += UNSETTLED_SECONDS
    for _ in range(2):
        channel.requested(Tag.UPDATE, offchain(2), moved(5)).sign().give(conflict(4))
        assert channel.calm().wait(8).sent(AskTransfer)
    channel.requested(Tag.UPDATE, offchain(2), moved(5)).sign().give(conflict(4))
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.FAILED, Code.CONFLICT)]


def test_what_the_node_has_forgotten_hides_no_later_conflict() -> None:
    """A conflict that was told, and dropped out of the node's memory, must not stand for one that was missed."""
    channel = take_over(opened().give(conflict()))
    channel.answer(AskHistory, Balances(())).calm()
    proposed(channel, transfer(), Tag.UPDATE, offchain(2), moved(5))
    take_over(channel)
    missed(channel, Purpose.PROBE).answer(AskHistory, History(((2, 1, "07"),)))
    assert not channel.outcomes()
    assert channel.calm().wait(1).sent(AskTransfer)


def test_a_missed_conflict_is_retried_like_one_that_was_told() -> None:
    """The node's memory holds one more than we know of: the payment is void, and is tried again."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5))
    take_over(channel)
    missed(channel, Purpose.PROBE).answer(AskHistory, History(((2, 1, "07"),)))
    assert not channel.outcomes()
    assert channel.calm().wait(1).sent(AskTransfer)
    assert channel.state.operation is not None
    assert [held.hash for held in channel.state.operation.handed_over] == [offchain(2).hash]


def test_conflicts_whose_report_went_to_a_lost_socket_do_not_use_up_the_retries() -> None:
    """The loss ended those attempts, not another proposal; the number of attempts is bounded all the same."""
    channel = opened(conflict_retries=1).give(CommandDue(transfer()))
    for time in range(1, MOST_TRIGGERS):
        channel.requested(Tag.UPDATE, offchain(2), moved(5)).sign()
        take_over(channel)
        missed(channel, Purpose.PROBE).answer(AskHistory, History(((4, 1, f"{time:02d}"),))).calm().wait(8)
        assert channel.sent(AskTransfer)
    channel.requested(Tag.UPDATE, offchain(2), moved(5)).sign()
    take_over(channel)
    missed(channel, Purpose.PROBE).answer(AskHistory, History(((4, 1, "99"),)))
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.FAILED, Code.NOT_APPLIED)]


def test_after_a_conflict_that_followed_our_signature_the_next_command_waits_a_moment() -> None:
    """Rule 8: while the peer's client is away each one fails in some milliseconds and would burn the backlog."""
    channel = proposed(opened(conflict_retries=0), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(conflict())
    channel.calm().give(CommandDue(transfer(6, "t-2")))
    assert not channel.sent(AskTransfer)
    assert channel.wait(0.2).sent(AskTransfer)


def test_a_conflict_of_a_higher_round_requires_recovery_even_when_nothing_of_ours_is_out() -> None:
    """Rule 9: the peer holds a co-signed state we lack."""
    channel = opened().give(conflict(1, round_=2))
    assert channel.event("alarm.recovery_required").data["signed_tx"] == create().text


# --- what was signed and came to nothing is on record -----------------------------------------------------


def abandoned(channel: Channel) -> list[tuple[str, str | None, bool]]:
    """Hash, command and exposure of each signature the step gave up."""
    return [(e.hash, e.command_id, e.is_exposed) for e in channel.last if isinstance(e, Abandon)]


def test_a_retried_attempt_is_abandoned_on_the_nodes_word() -> None:
    """I4: a second signature for one round needs evidence against the first."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(conflict())
    assert abandoned(channel) == [(offchain(2).hash, "t-1", True)]


def test_an_attempt_the_node_never_got_is_abandoned_and_exposes_nothing() -> None:
    channel = take_over(proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)))
    probe = next(asked for asked in channel.state.asked if asked.purpose is Purpose.PROBE)
    channel.give(RequestAnswered(request_id=probe.request_id, answer=Accepted()))
    assert abandoned(channel) == [(offchain(2).hash, "t-1", False)]


def test_a_checkpoint_abandons_the_doubtful_signature_before_its_own() -> None:
    assert abandoned(doubtful().give(CommandDue(checkpoint()))) == [(offchain(2).hash, "t-1", True)]


def test_an_acknowledgement_the_node_called_void_is_abandoned() -> None:
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True)).sign()
    assert abandoned(channel.give(conflict())) == [(offchain(2).hash, None, True)]


def test_success_abandons_nothing() -> None:
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)).cosigned(offchain(2))
    assert abandoned(channel) == []


def test_each_forwarded_signature_names_its_attempt() -> None:
    """I3: one delivered signature for a command and attempt."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(conflict()).calm().wait(1)
    channel.requested(Tag.UPDATE, offchain(2), moved(5)).sign()
    assert [e.attempt for e in channel.all if isinstance(e, RecordForward) and e.command_id == "t-1"] == [1, 2]


def reestablish(channel: Channel, agreed: Transaction) -> Channel:
    """The node was restarted: both sides come back and agree on a state."""
    channel.give(LinkDown(1001, ""), LinkUp(resumed=True, presented=fingerprint(FSM)))
    channel.info("fsm_up", fsm_id=FsmId("ba_new")).info("channel_reestablished").info("open")
    return channel.answer(AskState, OffchainState(agreed, None)).calm()


def test_a_payment_of_the_peer_that_a_reestablish_undid_is_told_as_reverted() -> None:
    """Observed: an update in flight is rolled back although the peer's client has co-signed it."""
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True)).sign()
    channel.cosigned(offchain(2))
    before = channel.state.initiator_balance
    reestablish(channel, create())
    assert channel.event("transfer.reverted").data["tx_hash"] == offchain(2).hash
    assert (channel.state.phase, channel.state.round) == (Phase.OPEN, 1)
    assert before is not None
    assert channel.state.initiator_balance == before - 7
    channel.cosigned(offchain(2))
    assert channel.event("transfer.received"), "the peer may hold it all the same"


def test_a_payment_of_ours_that_was_told_as_succeeded_is_never_undone_in_silence() -> None:
    """Both sides had it; a node that has lost it must not be built upon."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)).cosigned(offchain(2))
    reestablish(channel, create())
    assert "alarm.foreign_state" in channel.events()


# --- checkpoint and resolve -------------------------------------------------------------------------------


def test_after_a_timeout_the_peer_may_come_back_before_the_next_trigger() -> None:
    """Our update kept it out (observed): triggered again at once, the next one would do so for two minutes more."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(conflict(3)).calm()
    triggers = channel.give(CommandDue(checkpoint())).sent(AskTransfer)
    triggers += channel.rest(RETURN_SECONDS - 1).sent(AskTransfer)
    assert triggers == []
    assert channel.rest(2).sent(AskTransfer)


def test_a_checkpoint_settles_what_is_in_doubt() -> None:
    """Rule 10: another state of that round is co-signed, so the doubtful one can never count."""
    channel = doubtful()
    assert may_enter(channel.terms, channel.state, "checkpoint")
    channel.give(CommandDue(checkpoint()))
    assert [sent.amount for sent in channel.sent(AskTransfer)] == [0]
    channel.requested(Tag.UPDATE, offchain(2, "zero"), moved(0)).sign().cosigned(offchain(2, "zero"))
    assert [(e.command_id, e.outcome, e.code) for e in channel.outcomes()] == [
        ("t-1", Outcome.FAILED, Code.SUPERSEDED),
        ("c-1", Outcome.SUCCEEDED, None),
    ]
    assert (channel.state.initiator_balance, channel.state.responder_balance) == (1000, 500)
    assert channel.state.operation is None
    assert not channel.state.parked


def test_a_state_stored_by_an_earlier_version_is_read() -> None:
    """There one command could be gone past, or none."""
    for channel in (opened(), doubtful().give(CommandDue(checkpoint()))):
        document = json.loads(encode(channel.state)[1:])
        earlier = document | {"parked": next(iter(document["parked"]), None)}
        assert decode(b"\x01" + json.dumps(earlier).encode()) == channel.state


def test_a_checkpoint_that_finds_the_doubtful_state_co_signed_lets_it_succeed() -> None:
    """The evidence came while the checkpoint was on its way: the payment happened, and only that."""
    channel = doubtful().give(CommandDue(checkpoint())).wait(1)
    channel.cosigned(offchain(2))
    assert [(e.command_id, e.outcome) for e in channel.outcomes()] == [("t-1", Outcome.SUCCEEDED)]
    assert channel.state.initiator_balance == 995


def test_a_checkpoint_that_ends_without_a_state_leaves_the_doubt_as_it_was() -> None:
    channel = doubtful(opened(conflict_retries=0)).give(CommandDue(checkpoint())).wait(1).give(conflict())
    assert [(e.command_id, e.outcome) for e in channel.outcomes()] == [("c-1", Outcome.FAILED)]
    assert channel.state.operation is not None
    assert (channel.state.operation.command.command_id, channel.state.operation.stage) == ("t-1", Stage.IN_DOUBT)


def test_a_checkpoint_goes_past_no_other_checkpoint() -> None:
    """An operator who sends one after the other while the peer is away gets an answer to each."""
    channel = doubtful().give(CommandDue(checkpoint())).wait(1)
    channel.requested(Tag.UPDATE, offchain(2, "zero"), moved(0)).sign().give(conflict(3)).calm()
    assert may_enter(channel.terms, channel.state, "checkpoint")
    channel.give(CommandDue(checkpoint("c-2")))
    last = channel.outcomes()[-1]
    assert (last.command_id, last.outcome, last.code) == ("c-2", Outcome.FAILED, Code.CHANNEL_BUSY)
    assert [operation.command.command_id for operation in channel.state.operations] == ["c-1", "t-1"]


def test_the_next_payment_settles_what_is_in_doubt() -> None:
    """A channel that waited for an operator would be as good as lost until he comes."""
    channel = doubtful().give(CommandDue(transfer(6, "t-2")))
    assert [sent.amount for sent in channel.sent(AskTransfer)] == [6]
    channel.requested(Tag.UPDATE, offchain(2, "b"), moved(6))
    (question,) = channel.questions()
    assert question.request.abandoned == (offchain(2).hash,)
    channel.sign().cosigned(offchain(2, "b"))
    assert [(e.command_id, e.outcome, e.code) for e in channel.outcomes()] == [
        ("t-1", Outcome.FAILED, Code.SUPERSEDED),
        ("t-2", Outcome.SUCCEEDED, None),
    ]
    assert channel.state.initiator_balance == 994
    assert not channel.state.operations


def test_the_peers_next_payment_settles_what_is_in_doubt() -> None:
    """Its node stands at the round before: it would not propose that round else. The doubtful one is put on record."""
    channel = doubtful()
    channel.requested(Tag.UPDATE_ACK, offchain(2, "p", signatures=1), moved(7, back=True))
    assert [abandoned.hash for abandoned in channel.all if isinstance(abandoned, Abandon)] == [offchain(2).hash]
    (question,) = channel.questions()
    assert question.request.abandoned == (offchain(2).hash,)
    channel.sign().cosigned(offchain(2, "p"))
    assert [(e.command_id, e.outcome, e.code) for e in channel.outcomes()] == [("t-1", Outcome.FAILED, Code.SUPERSEDED)]
    assert channel.event("transfer.received")
    assert channel.state.initiator_balance == 1007


def test_a_proposal_that_came_to_nothing_leaves_the_doubt_as_it_was() -> None:
    """It is on record once, however often the peer tries; and should it be the co-signed one after all, it happened."""
    channel = doubtful()
    for _ in range(2):
        channel.requested(Tag.UPDATE_ACK, offchain(2, "p", signatures=1), moved(7, back=True)).wait(61)
        channel.answer(AskState, OffchainState(channel.state.cosigned, None))
    published = [effect.name for effect in channel.all if isinstance(effect, Publish)]
    assert published.count("expired") == 2
    assert len([abandoned for abandoned in channel.all if isinstance(abandoned, Abandon)]) == 1
    channel.cosigned(offchain(2))
    assert [(e.command_id, e.outcome) for e in channel.outcomes()] == [("t-1", Outcome.SUCCEEDED)]


def test_one_state_settles_every_doubt_before_it() -> None:
    """Two payments of one round, both without a report: the third shows what became of them."""
    channel = doubtful().give(CommandDue(transfer(6, "t-2")))
    channel.requested(Tag.UPDATE, offchain(2, "b"), moved(6)).sign().give(conflict(3)).calm().rest(RETURN_SECONDS)
    channel.give(CommandDue(transfer(7, "t-3")))
    assert [operation.command.command_id for operation in channel.state.operations] == ["t-3", "t-1", "t-2"]
    channel.requested(Tag.UPDATE, offchain(2, "c"), moved(7)).sign().cosigned(offchain(2, "c"))
    assert [(e.command_id, e.outcome) for e in channel.outcomes()] == [
        ("t-1", Outcome.FAILED),
        ("t-2", Outcome.FAILED),
        ("t-3", Outcome.SUCCEEDED),
    ]
    assert channel.state.initiator_balance == 993


def test_the_doubtful_payment_may_turn_out_to_have_happened_while_the_next_is_on_its_way() -> None:
    channel = doubtful().give(CommandDue(transfer(6, "t-2"))).wait(1).cosigned(offchain(2))
    assert [(e.command_id, e.outcome) for e in channel.outcomes()] == [("t-1", Outcome.SUCCEEDED)]
    assert channel.state.initiator_balance == 995
    assert [operation.command.command_id for operation in channel.state.operations] == ["t-2"]


@pytest.mark.parametrize("is_on_chain", [True, False])
def test_other_doubts_wait_for_their_own_evidence(is_on_chain: bool) -> None:
    """The chain may yet take it; and a legacy node cannot be asked what became of a signature."""
    if is_on_chain:
        channel = proposed(opened(opening={"ttl": "500"}), deposit(), Tag.DEPOSIT, EXPOSED, None)
    else:
        channel = opened(dialect=Dialect.LEGACY_LATE)
        proposed(channel, transfer(), Tag.UPDATE, replace(offchain(2), wrapped=False), moved(5))
    channel.give(conflict(3)).calm()
    assert channel.state.operation is not None
    assert channel.state.operation.stage is Stage.IN_DOUBT
    assert not may_enter(channel.terms, channel.state, "transfer")
    assert may_enter(channel.terms, channel.state, "checkpoint")
    channel.requested(Tag.UPDATE_ACK, offchain(2, "p", signatures=1), moved(7, back=True))
    assert "sign.busy" in channel.events()


@pytest.mark.parametrize("kind", ["deposit", "withdraw", "shutdown", "message"])
def test_nothing_but_a_payment_goes_past_a_doubt(kind: str) -> None:
    """What goes to the chain must not meet what may yet be used there; a message proves nothing."""
    channel = doubtful()
    assert not may_enter(channel.terms, channel.state, kind)


def test_a_checkpoint_goes_past_a_command_that_waits_for_an_exposure() -> None:
    """It is what clears the exposure; afterwards the waiting command runs."""
    channel = proposed(opened(conflict_retries=0), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(conflict())
    channel.calm().wait(1).give(CommandDue(deposit()))
    assert "command.waiting" in channel.events()
    assert not channel.wait(30).sent(AskDeposit)
    channel.give(CommandDue(checkpoint()))
    channel.requested(Tag.UPDATE, offchain(2, "zero"), moved(0)).sign().cosigned(offchain(2, "zero"))
    assert channel.sent(AskDeposit)


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_an_operator_may_settle_a_doubt_and_is_named_for_it(outcome: str) -> None:
    channel = doubtful().give(resolve(outcome))
    target, answer = channel.outcomes()
    assert (target.command_id, target.outcome.value, target.data["resolved_by"]) == ("t-1", outcome, "olga")
    assert (answer.command_id, answer.outcome) == ("r-1", Outcome.SUCCEEDED)
    assert channel.event("audit.resolved").data["by"] == "olga"
    assert channel.state.operation is None


def test_a_doubt_that_a_checkpoint_went_past_may_be_settled_too() -> None:
    """The checkpoint goes on."""
    channel = doubtful().give(CommandDue(checkpoint())).give(resolve())
    assert [e.command_id for e in channel.outcomes()] == ["t-1", "r-1"]
    assert channel.state.operation is not None
    assert channel.state.operation.command.command_id == "c-1"
    assert not channel.state.parked


def test_what_is_not_in_doubt_cannot_be_settled_by_anybody() -> None:
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(resolve())
    assert [(e.command_id, e.outcome, e.code) for e in channel.outcomes()] == [("r-1", Outcome.FAILED, Code.SUPERSEDED)]
    assert channel.cosigned(offchain(2)).outcomes()[0].outcome is Outcome.SUCCEEDED


# --- exposure on chain ------------------------------------------------------------------------------------

EXPOSED = replace(transaction(Kind.DEPOSIT, "d2", round=2, amount=100, account=opened().terms.own), nonce=7, ttl=500)


def exposed() -> Channel:
    """A deposit that was signed by both and then refused: it may be on its way to the chain."""
    channel = proposed(opened(opening={"ttl": "500"}), deposit(), Tag.DEPOSIT, EXPOSED, None).give(conflict(5)).calm()
    return channel.wait(1)


def test_the_next_on_chain_command_waits_until_the_earlier_transaction_is_dead() -> None:
    """Two deposits could both be mined otherwise."""
    channel = exposed().give(CommandDue(deposit(name="d-2")))
    assert not channel.wait(60).sent(AskDeposit)
    channel.give(ChainSeen(height=500, nonce=6))
    assert not channel.sent(AskDeposit)
    channel.give(ChainSeen(height=501, nonce=6))
    assert channel.event("command.exposure_cleared").data["height"] == 501
    assert channel.sent(AskDeposit)


def test_a_used_nonce_clears_the_exposure() -> None:
    channel = exposed().give(ChainSeen(height=10, nonce=7))
    assert not channel.state.exposures


def test_the_author_may_allow_an_exposed_channel() -> None:
    channel = exposed().give(CommandDue(deposit(name="d-2", allow_exposed=True)))
    assert channel.sent(AskDeposit)


def test_an_abandoned_deposit_that_is_mined_corrects_its_outcome() -> None:
    """The books said failed: whoever keeps them must learn."""
    channel = exposed().give(ChainReported(transaction=EXPOSED, info="channel_changed"))
    assert channel.event("command.outcome_corrected").data["outcome"] == "succeeded"
    assert "alarm.abandoned_state_used" in channel.events()
    assert not channel.state.exposures


def test_a_transaction_on_its_way_to_the_chain_clears_nothing() -> None:
    """`deposit_signed` means pushed, not mined (observed)."""
    assert exposed().give(ChainReported(transaction=EXPOSED, info="deposit_signed")).state.exposures


def refused_so_often(count: int) -> Channel:
    """A peer that refuses whatever we have signed."""
    channel = opened()
    exposures = tuple(Exposure(CommandId(f"t-{n}"), 2, TransactionHash(f"{n:064}")) for n in range(count))
    channel.state = replace(channel.state, exposures=exposures)
    return channel


def test_a_peer_that_refuses_each_signature_does_not_fill_the_state_for_ever() -> None:
    """What may still be used is written with each step: past the limit the next transfer waits, and says so."""
    channel = refused_so_often(MOST_EXPOSURES).give(CommandDue(transfer()))
    assert "a checkpoint ends this" in channel.event("command.waiting").data["sentence"]
    assert not channel.wait(60).sent(AskTransfer)
    assert refused_so_often(MOST_EXPOSURES - 1).give(CommandDue(transfer())).sent(AskTransfer)


def test_an_operators_checkpoint_goes_past_the_transfer_that_waits() -> None:
    """Else nothing would clear what it waits for."""
    channel = refused_so_often(MOST_EXPOSURES).give(CommandDue(transfer()))
    channel.give(CommandDue(checkpoint()))
    assert channel.sent(AskTransfer)


# --- a reestablish that does not come to its end ----------------------------------------------------------


def returning(channel: Channel) -> Channel:
    channel.give(LinkDown(1001, ""), LinkUp(resumed=True, presented=fingerprint(FSM)))
    return channel.info("fsm_up", fsm_id=FsmId("ba_new"))


def test_an_open_that_was_lost_makes_a_new_socket() -> None:
    """channel_reestablished, X: nobody would ask anything for ever."""
    channel = returning(opened()).info("channel_reestablished")
    assert not [effect for effect in channel.wait(29).last if isinstance(effect, Reconnect)]
    assert [effect for effect in channel.wait(2).last if isinstance(effect, Reconnect)]


def test_a_peer_that_does_not_come_back_is_told_once() -> None:
    """The operator has the kit; the line waits, for the peer may still come."""
    channel = returning(opened())
    assert channel.wait(151).event("alarm.recovery_required")
    assert "alarm.recovery_required" not in channel.wait(1000).events()
    channel.info("channel_reestablished").info("open")
    assert channel.answer(AskState, OffchainState(create(), None)).calm().state.is_ready


def test_a_signed_payment_of_a_channel_whose_peer_stays_away_is_told_as_in_doubt() -> None:
    """The alarm alone would leave its author without an answer."""
    channel = returning(proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)))
    assert [e.outcome for e in channel.wait(151).outcomes()] == [Outcome.IN_DOUBT]


def test_late_legacy_is_asked_too_when_a_report_does_not_come() -> None:
    """It knows no probe, but it tells the state."""
    channel = opened(dialect=Dialect.LEGACY_LATE)
    proposed(channel, transfer(), Tag.UPDATE, replace(offchain(2), wrapped=False), moved(5))
    assert channel.wait(10.1).sent(AskState)
    state = OffchainState(replace(offchain(2), signatures=("s", "t")), None)
    channel.give(RequestAnswered(request_id=None, answer=state))
    assert [e.outcome for e in channel.outcomes()] == [Outcome.SUCCEEDED]


def test_late_legacy_calls_it_a_doubt_when_nothing_is_heard_of_a_signature() -> None:
    """The signature may be lost on a live socket, where no probe can find out; its author needs an answer."""
    channel = opened(dialect=Dialect.LEGACY_LATE)
    proposed(channel, transfer(), Tag.UPDATE, replace(offchain(2), wrapped=False), moved(5))
    before = OffchainState(replace(create(), wrapped=False), None)
    assert channel.wait(10.1).sent(AskState)
    assert not channel.give(RequestAnswered(request_id=None, answer=before)).outcomes()
    assert channel.wait(151).sent(AskState)
    channel.give(RequestAnswered(request_id=None, answer=before))
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.IN_DOUBT, Code.LEGACY_NO_EVIDENCE)]


# --- the node knows the channel no more -------------------------------------------------------------------


def turned_away(channel: Channel, times: int, every: float = 40.0) -> Channel:
    """The node answers, and closes the socket without a frame."""
    for _ in range(times):
        channel.wait(every).give(LinkUp(resumed=True, presented=fingerprint(FSM)), LinkDown(1000, ""))
    return channel


def test_a_node_that_knows_the_channel_no_more_ends_it_with_an_answer_for_every_command() -> None:
    """A killed node: reestablish => close 1000 without a frame, for ever (observed)."""
    channel = turned_away(drop(opened()).give(CommandDue(transfer())), 5)
    assert channel.event("alarm.recovery_required")
    assert channel.state.phase is Phase.LOST
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.FAILED, Code.CHANNEL_NOT_OPEN)]


def test_a_node_that_cannot_be_reached_ends_nothing() -> None:
    """It may come back, and with it the channel: the alarm is given, the line waits."""
    channel = drop(opened()).give(CommandDue(transfer())).wait(200)
    channel.give(LinkFailed(attempts=9, reason="refused"))
    assert channel.event("alarm.recovery_required")
    assert (channel.state.phase, channel.outcomes()) == (Phase.OPEN, [])


def signed_close() -> tuple[Channel, Transaction]:
    """Our close is signed when the link is lost."""
    tx = replace(transaction(Kind.CLOSE_MUTUAL, "x", fee=10), initiator_amount=995, responder_amount=495)
    return drop(proposed(opened(), shutdown(), Tag.SHUTDOWN, tx, None)), tx


def taken_deposit() -> Channel:
    """A deposit we signed before a gap, and the node no longer waits for our signature."""
    tx = transaction(Kind.DEPOSIT, "d2", round=2, amount=100, account=opened().terms.own)
    return missed(take_over(proposed(opened(), deposit(), Tag.DEPOSIT, tx, None)), Purpose.PROBE)


def test_a_deposit_the_peer_refused_in_the_gap_is_told_as_failed() -> None:
    """The node's memory holds the refusal that went to the lost socket; what the peer holds stays exposed."""
    channel = taken_deposit().answer(AskHistory, History(((4, 1, "07"),)))
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.FAILED, Code.NOT_APPLIED)]
    assert channel.state.exposures


@pytest.mark.parametrize(("code", "is_settled"), [(4, True), (5, True), (3, False)])
def test_a_deposit_in_doubt_is_settled_by_a_refusal_and_not_by_a_timeout(code: int, is_settled: bool) -> None:
    """The node does nothing else until the deposit is locked or refused; a timeout leaves it with the chain."""
    channel = taken_deposit().answer(AskHistory, History(()))
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.IN_DOUBT, Code.AWAITING_CHAIN)]
    outcomes = channel.calm().give(conflict(code)).outcomes()
    assert [e.outcome for e in outcomes] == ([Outcome.FAILED] if is_settled else [])


def test_a_close_that_is_mined_while_we_are_away_is_found_on_chain() -> None:
    """A node forgets a closed channel: nobody else can be asked."""
    channel, tx = signed_close()
    assert pending_close(channel.state) == tx
    channel.give(CloseSeen(tx.hash))
    assert [e.outcome for e in channel.outcomes()] == [Outcome.SUCCEEDED]
    assert channel.state.phase is Phase.CLOSED
    assert pending_close(channel.state) is None


def test_a_close_nobody_can_tell_of_is_in_doubt_and_the_chain_may_still_settle_it() -> None:
    channel, tx = signed_close()
    turned_away(channel, 5)
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.IN_DOUBT, Code.AWAITING_CHAIN)]
    assert [e.outcome for e in channel.give(CloseSeen(tx.hash)).outcomes()] == [Outcome.SUCCEEDED]


def test_another_close_than_ours_settles_nothing() -> None:
    channel, _ = signed_close()
    assert not channel.give(CloseSeen("00")).last


# --- the credential, the node's garbage, a second client --------------------------------------------------


def refused_credential(channel: Channel) -> Channel:
    channel.give(LinkUp(resumed=True, presented=fingerprint(FSM)))
    channel.give(RequestRefused(request_id=None, codes=(3, 1016), reasons=("bad_fsm_id",)))
    return channel.give(LinkDown(1000, ""))


def test_a_refused_credential_makes_the_next_attach_show_the_one_before() -> None:
    """S1: a try that was refused may have been one whose new credential never reached us."""
    channel = opened().give(LinkDown(1006, ""))
    assert refused_credential(channel).state.uses_previous
    assert not refused_credential(channel).state.uses_previous, "and then the newest again"
    refused_credential(channel).give(LinkUp(resumed=True, presented="")).info("fsm_up", fsm_id=FSM)
    assert not channel.state.uses_previous


def rejected(channel: Channel, count: int) -> Channel:
    return channel.give(*[FrameRejected(reason="no JSON", raw="{") for _ in range(count)])


def test_five_bad_frames_in_a_minute_force_a_new_socket() -> None:
    channel = rejected(opened(), 4)
    assert not [effect for effect in channel.last if isinstance(effect, Reconnect)]
    assert [effect for effect in rejected(channel, 1).last if isinstance(effect, Reconnect)]
    assert not [effect for effect in rejected(channel.wait(61), 4).last if isinstance(effect, Reconnect)]


def test_bad_frames_spread_over_time_force_nothing() -> None:
    channel = opened()
    for _ in range(12):
        rejected(channel, 1).wait(20)
        assert not [effect for effect in channel.last if isinstance(effect, Reconnect)]


def garbage(channel: Channel, sockets: int) -> Channel:
    """Garbage on one socket after another."""
    for _ in range(sockets):
        rejected(channel, 40)
        if channel.state.phase is not Phase.LOST:
            attach(channel.give(LinkDown(1000, "")))
    return channel


def test_garbage_on_one_socket_costs_that_socket_only() -> None:
    """However much of it had been sent before the socket was closed."""
    channel = garbage(opened(), 2)
    assert channel.state.phase is Phase.OPEN
    assert len([e for e in channel.all if isinstance(e, Reconnect)]) == 2


def test_a_node_that_cannot_be_understood_over_three_sockets_is_given_up() -> None:
    """The channel halts loudly with what its owner needs, instead of guessing."""
    channel = garbage(opened(), 3)
    assert channel.state.phase is Phase.LOST
    assert [e.name for e in channel.all if isinstance(e, Publish)].count("recovery_required") == 1


def test_bad_sockets_of_long_ago_do_not_count() -> None:
    channel = opened()
    for _ in range(5):
        garbage(channel, 1).wait(400)
    assert channel.state.phase is Phase.OPEN


def drop(channel: Channel) -> Channel:
    channel.give(LinkDown(1006, ""))
    return channel


def attach(channel: Channel) -> Channel:
    channel.give(LinkUp(resumed=True, presented=fingerprint(FSM))).info("fsm_up", fsm_id=FSM)
    return channel.answer(AskState, OffchainState(channel.state.cosigned, None)).calm()


def test_a_socket_that_is_torn_away_three_times_in_a_minute_is_not_fought_for() -> None:
    """Two clients with the right credential throw each other out for ever."""
    channel = drop(opened()).wait(5)
    attach(channel).wait(5)
    attach(drop(channel)).wait(5)
    drop(channel)
    assert channel.event("alarm.owner_conflict")
    assert channel.state.quiet_until == channel.now + 60


def test_sockets_lost_now_and_then_are_attached_again_at_once() -> None:
    channel = opened()
    for _ in range(5):
        attach(drop(channel)).wait(40)
    assert "alarm.owner_conflict" not in [f"{e.family}.{e.name}" for e in channel.all if isinstance(e, Publish)]


# --- the rescue kit ---------------------------------------------------------------------------------------


def test_an_idle_channel_gets_the_proof_of_each_state() -> None:
    """A killed node loses the channel; the state and its proof close it on chain."""
    channel = opened().wait(1.1)
    assert channel.sent(AskProof)
    channel.answer(AskProof, Proof("pi_1"))
    assert channel.state.proven is not None
    assert (channel.state.proven.round, channel.state.proven.poi) == (1, "pi_1")
    assert not channel.wait(30).sent(AskProof)


def test_a_proof_of_a_state_that_has_passed_is_not_taken_for_the_latest() -> None:
    channel = opened().wait(1.1)
    channel.give(CommandDue(transfer())).requested(Tag.UPDATE, offchain(2), moved(5)).sign()
    channel.wait(0.1).cosigned(offchain(2)).answer(AskProof, Proof("pi_1"))
    assert channel.state.proven is None
    assert channel.wait(1.1).sent(AskProof)


def test_under_load_the_proof_is_asked_for_every_so_many_rounds() -> None:
    """Payments do not wait for it, and it is never far behind."""
    channel, asked = opened(proof_rounds=3), 0
    for number in range(2, 10):
        name = f"t{number}"
        tx = offchain(number, name)
        proposed(channel, transfer(1, name), Tag.UPDATE, tx, moved(1)).cosigned(tx)
        if channel.sent(AskProof):
            asked += 1
            channel.answer(AskProof, Proof(f"pi_{number}"))
    assert asked == 3


def test_the_alarm_of_a_lost_channel_carries_the_kit() -> None:
    channel = opened().wait(1.1).answer(AskProof, Proof("pi_1"))
    garbage(channel, 3)
    data = channel.event("alarm.recovery_required").data
    assert (data["proven_round"], data["poi"], data["proven_signed_tx"]) == (1, "pi_1", create().text)


def test_a_node_that_gives_no_proof_is_not_asked_again_and_again() -> None:
    channel = opened().wait(1.1).answer(AskProof, OtherAnswer("{}"))
    assert not channel.wait(50).sent(AskProof)
    assert channel.wait(20).sent(AskProof)


def test_the_oldest_dialect_has_no_proofs() -> None:
    assert not opened(dialect=Dialect.LEGACY_SEED).wait(5).sent(AskProof)


def test_what_is_stored_is_what_was_known() -> None:
    """A restart continues with the suspended request, the doubt and the proof."""
    channel, request = asking()
    channel.give(TakenOver(), SignReplied(request.sign_request_id, "signer", Signed("tx_signed", "00")))
    assert decode(encode(channel.state)) == channel.state
    other = doubtful().give(CommandDue(checkpoint()))
    assert decode(encode(other.state)) == other.state
    assert other.state.attachment is Attachment.READY
    assert [e for e in other.all if isinstance(e, Conclude)]
