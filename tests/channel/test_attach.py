"""Lost sockets: what is asked afterwards, and what each answer settles (guarantees.md section 3)."""

from dataclasses import replace

import pytest

from bridge.channel.effect import KeepFsmId, Publish, Reconnect, Rest
from bridge.channel.identifier import FsmId, RequestId, fingerprint
from bridge.channel.input import (
    Accepted,
    Balances,
    CommandDue,
    Conflicted,
    History,
    LinkDown,
    LinkFailed,
    LinkUp,
    OffchainState,
    QueryDue,
    RequestAnswered,
    RequestRefused,
    Signed,
    SignReplied,
    SignRequested,
    TakenOver,
)
from bridge.channel.operation import CHAIN_SECONDS
from bridge.channel.request import AskBalances, AskHistory, AskState, AskTransfer, Refuse, SendSignature, Tag
from bridge.channel.state import Attachment, Phase, Purpose, Settling, Stage
from bridge.channel.terms import Dialect, Role
from bridge.channel.transaction import Kind, Transaction
from bridge.errors import Code, Outcome
from tests.channel.given import (
    CHANNEL,
    FSM,
    INITIATOR,
    RESPONDER,
    Channel,
    create,
    deposit,
    message,
    moved,
    offchain,
    opened,
    proposed,
    query,
    terms,
    transaction,
    transfer,
)

NEW_FSM = FsmId("ba_new")


def drop(channel: Channel) -> Channel:
    return channel.give(LinkDown(1006, "gone"))


def reconnect(channel: Channel) -> Channel:
    """The FSM lived on: one frame, the same credential, and nothing is replayed."""
    return come_back(channel).info("fsm_up", fsm_id=FSM)


def come_back(channel: Channel) -> Channel:
    """A new socket, opened with the credential we have."""
    return channel.give(LinkUp(resumed=True, presented=fingerprint(FSM)))


def found(channel: Channel, signed: Transaction, half: Transaction | None = None) -> Channel:
    return channel.answer(AskState, OffchainState(signed, half)).calm()


def own_probe(channel: Channel) -> RequestId:
    """The number of the refusal that asks whether our own request is pending."""
    return next(a.request_id for a in channel.state.asked if a.purpose is Purpose.PROBE)


def pending(channel: Channel) -> Channel:
    """The probe's `ok`: it was, and is void by that."""
    return channel.give(RequestAnswered(request_id=own_probe(channel), answer=Accepted()))


def test_a_reconnect_asks_the_state_before_anything_else() -> None:
    """S4: what happened meanwhile is learned only by asking."""
    channel = reconnect(drop(opened()))
    assert [type(request) for request in channel.sent()] == [AskState]
    found(channel, create())
    assert channel.state.attachment is Attachment.READY
    assert channel.event("link.reattached").data["round"] == 1


def test_the_outage_is_told_with_its_length() -> None:
    """An accountant wants to know how long we were blind."""
    channel = drop(opened())
    assert channel.events() == ["link.detached"]
    channel.wait(7)
    found(reconnect(channel), create())
    assert channel.event("link.reattached").data["blind_seconds"] == 7.0


def test_a_command_that_waits_runs_after_the_reconnect() -> None:
    channel = drop(opened()).give(CommandDue(transfer()))
    assert not channel.sent()
    assert found(reconnect(channel), create()).sent(AskTransfer)


def test_a_lost_sign_request_is_voided_by_a_probe_and_asked_again() -> None:
    """sent -> x: the node keeps the request open but never repeats it."""
    channel = found(reconnect(drop(opened().give(CommandDue(transfer())))), create())
    assert [r.code for r in channel.sent(Refuse) if r.tag is Tag.UPDATE] == [4]
    pending(channel).wait(1)
    assert channel.sent(AskTransfer)


def test_a_reply_after_the_link_was_lost_goes_nowhere() -> None:
    """awaiting_sign -> x: a stray signed reply can close the channel, so it is not sent."""
    channel = opened().give(CommandDue(transfer())).requested(Tag.UPDATE, offchain(2), moved(5))
    sign_request_id = channel.questions()[0].request.sign_request_id
    reconnect(drop(channel)).give(SignReplied(sign_request_id, "signer", Signed("tx_late", "")))
    assert not channel.sent(SendSignature)


def test_a_signed_payment_found_co_signed_succeeds_without_a_second_signature() -> None:
    """signed_sent -> x, R=base+1 and H=X: it happened while nobody looked."""
    channel = drop(proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)))
    found(reconnect(channel), offchain(2, signatures=2))
    assert [e.outcome for e in channel.outcomes()] == [Outcome.SUCCEEDED]
    assert channel.state.initiator_balance == 995
    assert not channel.sent(SendSignature)


def test_a_signed_payment_still_half_signed_is_waited_for() -> None:
    """signed_sent -> x, HS=X: the peer has it; asking again later costs nothing."""
    channel = drop(proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)))
    found(reconnect(channel), create(), offchain(2, signatures=1))
    assert not channel.outcomes()
    assert channel.wait(5.1).sent(AskState)


def test_a_signed_payment_the_node_never_got_is_tried_again() -> None:
    """signed_sent -> x, R=base, probe ok: our reply was lost on the way."""
    channel = drop(proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)))
    pending(found(reconnect(channel), create()))
    assert channel.state.operation is not None
    assert channel.state.operation.handed_over == (), "a signature that reached nobody exposes nothing"
    assert channel.state.operation.recheck_at is None
    assert channel.wait(1).sent(AskTransfer)


def test_a_signed_reply_is_not_sent_again_after_a_reconnect() -> None:
    """signed_sent -> x, whatever is found: in several states a stray signed reply closes the channel."""
    for half in (None, offchain(2, signatures=1)):
        channel = drop(proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)))
        reconnect(channel)
        assert not found(channel, create(), half).sent(SendSignature)
        assert not channel.wait(30).sent(SendSignature)


def refused_probe(channel: Channel) -> Channel:
    return channel.give(RequestRefused(request_id=own_probe(channel), codes=(1018,), reasons=("not_allowed",)))


@pytest.mark.parametrize(
    ("conflicts", "outcome", "code"),
    [
        (((2, 1, "07"),), Outcome.FAILED, Code.NOT_APPLIED),
        (((3, 1, "08"), (2, 1, "07")), Outcome.IN_DOUBT, Code.CONNECTION_LOST),
        ((), Outcome.IN_DOUBT, Code.CONNECTION_LOST),
    ],
)
def test_a_consumed_signature_is_judged_by_the_nodes_memory(
    conflicts: tuple[tuple[int, int, str], ...], outcome: Outcome, code: Code
) -> None:
    """signed_sent -> x, R=base, probe 1018: a timeout or no report at all is never `failed` (rule 5)."""
    channel = drop(proposed(opened(conflict_retries=0), transfer(), Tag.UPDATE, offchain(2), moved(5)))
    refused_probe(found(reconnect(channel), create())).answer(AskHistory, History(conflicts))
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(outcome, code)]


def test_another_transaction_at_our_round_stops_the_channel() -> None:
    """Our FSM cannot sign without us: such a state was signed by somebody else with our key."""
    channel = drop(proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)))
    found(reconnect(channel), offchain(2, "z", signatures=2))
    assert "alarm.foreign_state" in channel.events()
    assert channel.state.phase is Phase.LOST


def test_a_state_older_than_ours_stops_the_channel() -> None:
    """A node that came back with an old state must not be built upon."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)).cosigned(offchain(2))
    found(reconnect(drop(channel)), create())
    assert "alarm.foreign_state" in channel.events()


def test_a_deposit_locked_while_away_is_found_by_asking() -> None:
    """signed_tx is then the deposit transaction itself."""
    tx = transaction(Kind.DEPOSIT, "d2", round=2, amount=100, account=opened().terms.own)
    channel = drop(proposed(opened(), deposit(), Tag.DEPOSIT, tx, None))
    refused_probe(found(reconnect(channel), create())).answer(AskHistory, History(())).wait(5.1)
    assert channel.sent(AskState)
    found(channel, tx)
    assert [e.outcome for e in channel.outcomes()] == [Outcome.SUCCEEDED]


def test_a_message_without_an_answer_ends_unknown() -> None:
    """G8: at most once, so it is not sent again."""
    channel = opened().give(CommandDue(message()))
    found(reconnect(drop(channel)), create())
    assert [e.outcome for e in channel.outcomes()] == [Outcome.UNKNOWN]


def test_our_acknowledgement_found_co_signed_is_reported() -> None:
    """The peer's payment happened while the report went to a dead socket."""
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True)).sign()
    found(reconnect(drop(channel)), offchain(2, signatures=2))
    assert channel.event("transfer.received").data["amount"] == 7


# --- reestablish ----------------------------------------------------------------------------------------


def test_a_new_credential_means_waiting_until_both_sides_are_back() -> None:
    """After a node restart nothing counts before `channel_reestablished` and `open`."""
    channel = come_back(drop(opened())).info("fsm_up", fsm_id=NEW_FSM)
    assert KeepFsmId(NEW_FSM) in channel.last
    assert not channel.sent()
    channel.info("channel_reestablished").info("open")
    assert channel.sent(AskState)
    found(channel, create())
    assert channel.event("link.reattached").data["reestablished"] is True


@pytest.mark.parametrize(("code", "seconds"), [(1000, 1.0), (1001, 1.0), (1006, 65.0)])
def test_after_a_reestablish_the_initiator_keeps_quiet(code: int, seconds: float) -> None:
    """Attached too early the node begins a second FSM from an older state, and the channel is lost (observed)."""
    channel = reestablished(opened())
    channel.give(LinkDown(code))
    assert channel.state.quiet_until == channel.now + seconds
    assert channel.event("link.detached").data["quiet_seconds"] == seconds


def test_a_crash_after_a_reestablish_counts_as_a_silent_socket() -> None:
    """Nobody knows when the node will notice that the old process is gone."""
    channel = reestablished(opened())
    channel.give(TakenOver())
    assert channel.state.quiet_until == channel.now + 65.0


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_the_quiet_time_begins_again_in_another_process(jump: float) -> None:
    """Its clock may stand elsewhere: to attach at once loses the channel, to wait for the old instant takes an hour."""
    channel = reestablished(opened())
    channel.give(LinkDown(1006))
    channel.now += jump
    channel.give(TakenOver())
    assert channel.state.quiet_until == channel.now + 65.0


def test_a_pause_ends_though_the_clock_was_set_back() -> None:
    channel = opened()
    channel.state = replace(channel.state, pause_until=channel.now + 9.0)
    channel.now -= 3600.0
    channel.give(TakenOver())
    assert channel.state.pause_until <= channel.now + 10.0


def test_no_instant_of_another_clock_is_waited_for_longer_than_it_would_be_by_ours() -> None:
    """A process with a clock a day ahead, and then one with the right one: nothing may be due in a day only."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5))
    ahead = channel.now + 86_400.0
    operation = channel.state.operation
    assert operation is not None
    given = Settling(Tag.DEPOSIT_ACK, offchain(2), None, ahead, recheck_at=ahead)
    channel.state = replace(
        channel.state,
        operation=replace(operation, since=ahead, not_before=ahead, recheck_at=ahead),
        settling=given,
        tried_from=ahead,
        cosigned_at=ahead,
        pause_until=ahead,
        proof_not_before=ahead,
        peer_awaited_until=ahead,
    )
    state = channel.give(TakenOver()).state
    assert state.operation is not None
    assert state.settling is not None
    waits = (state.operation.not_before, state.operation.recheck_at, state.settling.recheck_at, state.pause_until)
    for at in (*waits, state.proof_not_before, state.peer_awaited_until):
        assert at is not None
        assert at <= channel.now + CHAIN_SECONDS
    assert max(state.tried_from, state.cosigned_at, state.operation.since) <= channel.now


def test_a_request_that_is_resumed_is_due_no_later_than_a_new_one() -> None:
    """It was opened by a clock ten minutes ahead: an acknowledgement after the peer's timer parts the two for ever."""
    channel = opened()
    channel.now += 600
    channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True))
    channel.now -= 590
    found(reconnect(channel.give(TakenOver())), create())
    channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True))
    request = channel.state.open_request
    assert channel.events().count("sign.resumed") == 1
    assert request is not None
    assert request.deadline == channel.now + channel.terms.acknowledge_seconds
    assert request.opened_at == channel.now


def test_nobody_else_keeps_quiet() -> None:
    """The responder may come back at once, and so may whoever's FSM lived on."""
    assert drop(opened()).state.quiet_until == 0.0
    assert drop(reestablished(opened(Role.RESPONDER))).state.quiet_until == 0.0


def reestablished(channel: Channel) -> Channel:
    drop(channel).give(LinkUp(resumed=True, presented=fingerprint(FSM))).info("fsm_up", fsm_id=NEW_FSM)
    return found(channel.info("channel_reestablished").info("open"), create())


def test_a_signed_payment_not_in_the_re_agreed_state_did_not_happen() -> None:
    """Both sides agreed on the lower round: definite, and exposed."""
    channel = drop(proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)))
    come_back(channel).info("fsm_up", fsm_id=NEW_FSM).info("channel_reestablished").info("open")
    found(channel, create())
    (ending,) = channel.outcomes()
    assert (ending.outcome, ending.code) == (Outcome.FAILED, Code.NOT_APPLIED)
    assert ending.exposure is not None


def test_nothing_is_triggered_while_the_peer_is_away() -> None:
    """Rule 7: a trigger now would block the peer's return."""
    channel = opened().info("peer_disconnected").give(CommandDue(transfer()))
    assert not channel.sent(AskTransfer)
    found(channel.info("channel_reestablished").info("open"), create())
    assert channel.sent(AskTransfer)


def test_a_sign_request_is_withdrawn_when_the_peer_goes() -> None:
    channel = opened().give(CommandDue(transfer())).requested(Tag.UPDATE, offchain(2), moved(5))
    channel.info("peer_disconnected")
    assert "sign.withdrawn" in channel.events()
    assert channel.state.operation is not None
    assert channel.state.operation.stage is Stage.JOURNALED


# --- legacy ---------------------------------------------------------------------------------------------


def test_late_legacy_comes_back_by_its_co_signed_state() -> None:
    channel = drop(opened(dialect=Dialect.LEGACY_LATE)).give(LinkUp(resumed=True))
    assert channel.state.attachment is Attachment.REESTABLISHING
    channel.info("channel_reestablished").info("open")
    found(channel, create())
    assert "link.reattached" in channel.events()


def test_seed_legacy_has_nothing_to_resume_and_says_so_once() -> None:
    """recovery_required, once, with the co-signed state; nothing hangs behind it."""
    channel = opened(dialect=Dialect.LEGACY_SEED).give(CommandDue(transfer()))
    drop(channel)
    assert channel.events().count("alarm.recovery_required") == 1
    assert channel.event("alarm.recovery_required").data["signed_tx"] == create().text
    assert [e.outcome for e in channel.outcomes()] == [Outcome.FAILED]
    assert any(isinstance(effect, Rest) for effect in channel.last)
    channel.give(CommandDue(transfer(command_id="t-2")))
    assert [e.code for e in channel.outcomes()] == [Code.CHANNEL_NOT_OPEN]


def test_seed_legacy_leaves_a_signed_payment_in_doubt() -> None:
    """The peer may hold it co-signed; no evidence is to be had."""
    channel = opened(dialect=Dialect.LEGACY_SEED)
    drop(proposed(channel, transfer(), Tag.UPDATE, offchain(2), moved(5)))
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.IN_DOUBT, Code.LEGACY_NO_EVIDENCE)]


def test_legacy_does_not_repeat_a_trigger_after_a_reestablish() -> None:
    channel = drop(opened(dialect=Dialect.LEGACY_LATE).give(CommandDue(transfer()))).give(LinkUp(resumed=True))
    found(channel.info("open"), create())
    assert [e.code for e in channel.outcomes()] == [Code.TRIGGER_LOST]
    assert not channel.sent(AskTransfer)


# --- what a review found ------------------------------------------------------------------------------


def opening(dialect: Dialect = Dialect.JSON_RPC, known: bool = True) -> Channel:
    """Our opening signature is out; the co-signed state is not back."""
    channel = Channel(terms(dialect=dialect)).give(LinkUp(resumed=False))
    if dialect is Dialect.JSON_RPC:
        channel.info("fsm_up", fsm_id=FSM, channel_id=None)
    asked = replace(create(0), wrapped=not dialect.is_legacy, channel_id=CHANNEL if known else None)
    channel.give(SignRequested(tag=Tag.INITIATOR_SIGN, transaction=asked, updates=()))
    return channel.sign()


def test_an_opening_we_signed_is_come_back_to_not_begun_anew() -> None:
    """The id follows from the create transaction; a second opening could lock the coins twice."""
    channel = drop(opening())
    assert channel.state.is_resumable
    assert channel.state.settling is not None


@pytest.mark.parametrize(("dialect", "known"), [(Dialect.JSON_RPC, False), (Dialect.LEGACY_LATE, True)])
def test_an_opening_with_no_way_back_is_never_signed_again(dialect: Dialect, known: bool) -> None:
    """Operators get what we signed; the line is answered."""
    channel = drop(opening(dialect, known))
    assert channel.state.phase is Phase.LOST
    assert channel.event("alarm.recovery_required").data["signed_tx"] == create().text


def test_a_second_opening_request_on_one_socket_reaches_no_signer() -> None:
    channel = opening()
    channel.give(SignRequested(tag=Tag.INITIATOR_SIGN, transaction=create(0), updates=()))
    assert not channel.questions()


def test_a_peer_that_came_back_unseen_is_not_waited_for_for_ever() -> None:
    """A client that attaches later is not told whether the peer is there (observed)."""
    channel = drop(opened().info("peer_disconnected"))
    found(reconnect(channel), create()).give(CommandDue(transfer()))
    assert not channel.sent(AskTransfer)
    assert channel.wait(151).sent(AskTransfer)


def test_a_state_that_takes_the_round_withdraws_the_request_for_it() -> None:
    """I2: the reply that comes then is for a used round and goes nowhere."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5))
    channel.give(Conflicted(channel_id=CHANNEL, round=1)).calm().wait(1)
    channel.requested(Tag.UPDATE, offchain(2), moved(5))
    sign_request_id = channel.questions()[0].request.sign_request_id
    channel.cosigned(offchain(2))
    assert [e.outcome for e in channel.outcomes()] == [Outcome.SUCCEEDED]
    channel.give(SignReplied(sign_request_id, "signer", Signed("tx_late", ""))).wait(400)
    assert not channel.sent(SendSignature)


def test_a_query_whose_socket_is_lost_is_answered_from_the_journal() -> None:
    channel = drop(opened().give(QueryDue(query())))
    assert [e.data["source"] for e in channel.outcomes()] == ["journal"]


def test_a_take_over_leaves_the_old_queries_to_the_worker() -> None:
    """It asks those rows again; answering here too would be two outcomes for one command."""
    assert not opened().give(QueryDue(query())).give(TakenOver()).outcomes()


def test_attaches_that_die_before_the_channel_answers_raise_the_alarm() -> None:
    """A dead channel is told `fsm_up`, then `died`, again and again."""
    channel = drop(opened())
    for _ in range(6):
        channel.wait(40).give(LinkUp(resumed=True, presented=fingerprint(FSM))).info("fsm_up", fsm_id=NEW_FSM).info(
            "died"
        )
        channel.give(LinkDown(1000))
    assert [e.name for e in channel.all if isinstance(e, Publish) and e.family == "alarm"] == ["recovery_required"]


def test_the_time_in_which_we_keep_quiet_is_not_tried_in_vain() -> None:
    """A minute of silence that we owe the node, and two in which the peer is stuck in an update: nobody is needed."""
    channel = opened()
    channel.give(LinkDown(1000), LinkUp(resumed=True, presented=fingerprint(FSM))).info("fsm_up", fsm_id=NEW_FSM)
    channel.give(TakenOver()).wait(65).give(LinkUp(resumed=True, presented=fingerprint(NEW_FSM)))
    channel.info("fsm_up", fsm_id=FsmId("ba_third")).wait(145)
    assert not [e for e in channel.all if isinstance(e, Publish) and e.family == "alarm"]
    channel.wait(10)
    assert channel.events() == ["alarm.recovery_required"]


def test_an_outage_in_which_nobody_tried_begins_with_the_start() -> None:
    """The bridge was stopped for an hour, and the peer needs a moment after it: nobody is needed."""
    channel = opened().give(LinkDown(1000))
    channel.now += 3600
    channel.give(TakenOver(), LinkUp(resumed=True, presented=fingerprint(FSM))).info("fsm_up", fsm_id=NEW_FSM)
    channel.wait(145)
    assert not [e for e in channel.all if isinstance(e, Publish) and e.family == "alarm"]
    channel.wait(10)
    assert channel.events() == ["alarm.recovery_required"]


def test_a_crash_in_an_outage_does_not_begin_it_anew() -> None:
    """Else a bridge that is restarted every two minutes would never call anybody."""
    channel = opened().give(LinkDown(1000), LinkFailed(1, "gone", Code.CONNECTION_LOST))
    channel.now += 149
    channel.give(TakenOver(), LinkUp(resumed=True, presented=fingerprint(FSM))).info("fsm_up", fsm_id=NEW_FSM).wait(2)
    assert channel.events() == ["alarm.recovery_required"]


def test_sockets_that_are_taken_and_cut_call_somebody_in_the_end() -> None:
    """Each costs a minute of silence; that these are not counted must not hide a dead channel for hours."""
    channel = opened().give(LinkDown(1000))
    began = channel.now
    while not [e for e in channel.all if isinstance(e, Publish) and e.family == "alarm"]:
        channel.give(LinkUp(resumed=True, presented=fingerprint(FSM))).info("fsm_up", fsm_id=NEW_FSM).wait(1)
        channel.give(LinkDown(1006)).wait(65)
        assert channel.now < began + 700


def test_a_refused_or_odd_answer_to_the_state_query_replaces_the_socket() -> None:
    """Otherwise the channel would stay asking for ever."""
    channel = reconnect(drop(opened()))
    request_id = channel.sent(AskState)[0].request_id
    refused = RequestRefused(request_id=request_id, codes=(-32603,), reasons=("internal",))
    odd = RequestAnswered(request_id=request_id, answer=Accepted())
    saved = channel.state
    for answer in (refused, odd):
        channel.state = saved
        assert any(isinstance(effect, Reconnect) for effect in channel.give(answer).last)


def test_balances_told_while_an_operation_is_out_are_not_taken() -> None:
    """They may or may not hold it; the operation's own end moves them."""
    channel = drop(proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)))
    found(reconnect(channel), create(), offchain(2, signatures=1))
    channel.answer(AskBalances, Balances(((INITIATOR, 995), (RESPONDER, 505)))).cosigned(offchain(2))
    assert (channel.state.initiator_balance, channel.state.responder_balance) == (995, 505)


def test_what_is_in_doubt_is_not_settled_by_another_conflict() -> None:
    """Nor repeated: only a state is evidence."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5))
    channel.give(Conflicted(channel_id=CHANNEL, round=1, code=3))
    channel.give(Conflicted(channel_id=CHANNEL, round=1, code=2)).wait(20)
    assert not channel.outcomes()
    assert not channel.sent(AskTransfer)
    assert channel.wait(300).sent(AskBalances), "and the node's idle timer is still answered"


def test_a_proposal_during_the_state_query_is_refused() -> None:
    channel = drop(opened()).give(LinkUp(resumed=True, presented=fingerprint(FSM))).info("fsm_up", fsm_id=NEW_FSM)
    channel.info("channel_reestablished").info("open")
    channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True))
    assert [r.code for r in channel.sent(Refuse)] == [4]


def test_commands_behind_one_in_doubt_in_a_lost_channel_are_answered() -> None:
    channel = opened(dialect=Dialect.LEGACY_SEED)
    drop(proposed(channel, transfer(), Tag.UPDATE, offchain(2), moved(5)))
    channel.give(CommandDue(transfer(command_id="t-2")))
    assert [(e.command_id, e.code) for e in channel.outcomes()] == [("t-2", Code.CHANNEL_NOT_OPEN)]
    assert channel.state.operation is not None


def test_a_late_receipt_does_not_settle_the_next_message() -> None:
    """Legacy answers carry no number; the question behind a message is known by its own."""
    channel = opened(dialect=Dialect.LEGACY_LATE).give(CommandDue(message())).wait(3)
    second = message().model_copy(update={"command_id": "m-2"})
    channel.info("peer_disconnected").give(CommandDue(second))
    channel.give(RequestAnswered(request_id=None, answer=Balances(((INITIATOR, 1000),))))
    assert not channel.outcomes()


def test_a_proposal_to_spend_our_coins_on_chain_is_refused() -> None:
    """A deposit acknowledges the peer's coins; one that names our account would take ours."""
    tx = transaction(Kind.DEPOSIT, "d2", round=2, amount=30, account=INITIATOR, signatures=("s",))
    channel = opened().requested(Tag.DEPOSIT_ACK, tx, None)
    assert [r.code for r in channel.sent(Refuse)] == [1]


# --- trouble --------------------------------------------------------------------------------------------


def test_an_opening_that_lost_its_socket_begins_anew() -> None:
    """Before our signature nothing binds us."""
    channel = Channel(opened().terms).give(LinkUp(resumed=False)).info("fsm_up", fsm_id=FSM, channel_id=None)
    channel.give(LinkDown(1006))
    assert channel.state.phase is Phase.NEW
    assert not channel.state.is_resumable


def test_attaches_that_fail_for_long_raise_the_alarm_once() -> None:
    """The operator needs the latest co-signed state now, not when the node is back."""
    channel = drop(opened())
    channel.give(LinkFailed(4, "refused")).wait(200).give(LinkFailed(8, "refused"), LinkFailed(16, "refused"))
    assert channel.events().count("alarm.recovery_required") == 1


def test_an_unanswered_state_query_replaces_the_socket() -> None:
    channel = reconnect(drop(opened())).wait(10.1)
    assert any(isinstance(effect, Reconnect) for effect in channel.last)


def test_taking_over_forgets_the_earlier_owners_socket() -> None:
    """After a crash the stored state still says `ready`; nothing may be sent on that belief."""
    channel = opened().give(TakenOver())
    assert channel.state.attachment is Attachment.DOWN


def test_taking_over_a_channel_that_was_down_already_tells_nothing_twice() -> None:
    channel = drop(opened()).give(TakenOver())
    assert not [effect for effect in channel.last if isinstance(effect, Publish)]


def test_taking_over_a_closed_channel_wants_no_socket() -> None:
    """Connecting would open a new channel and lock coins for it."""
    channel = drop(opened().info("closing").info("closed_confirmed")).give(TakenOver())
    assert any(isinstance(effect, Rest) for effect in channel.last)


def test_frames_of_a_dead_socket_are_not_believed() -> None:
    """What they said is asked for at the next attach."""
    channel = drop(opened()).info("open")
    assert channel.last == ()
    assert channel.state.channel_id == CHANNEL
