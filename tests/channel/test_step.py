"""The flows of the seed as tables of (given, input, expect). No broker, no node, no clock."""

from dataclasses import replace

import pytest

from bridge.channel.attempt import MOST_TRIGGERS
from bridge.channel.command import Command
from bridge.channel.effect import KeepFsmId, KeepState, RecordForward, RefuseReply, Rest, Send
from bridge.channel.identifier import ChannelId
from bridge.channel.input import (
    Accepted,
    BadReply,
    Balances,
    ChainReported,
    CommandDue,
    Conflicted,
    Declined,
    FrameRejected,
    LinkDown,
    LinkUp,
    MessageReceived,
    QueryDue,
    RequestAnswered,
    RequestRefused,
    Signed,
    SignReplied,
    Ticked,
    Unhandled,
)
from bridge.channel.request import (
    AskBalances,
    AskDeposit,
    AskShutdown,
    AskTransfer,
    AskWithdraw,
    Refuse,
    SendMessage,
    SendSignature,
    Tag,
)
from bridge.channel.state import Phase, Stage, decode, encode
from bridge.channel.terms import Dialect, Policy, Role
from bridge.channel.transaction import Kind, Transaction, Update
from bridge.errors import Code, JournalUnavailable, Outcome
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
    shutdown,
    terms,
    transaction,
    transfer,
    withdraw,
)
from tests.permissive import OPEN

BOTH_ROLES = pytest.mark.parametrize("role", list(Role))
ALL_DIALECTS = pytest.mark.parametrize("dialect", list(Dialect))


@BOTH_ROLES
@ALL_DIALECTS
def test_a_channel_opens_with_one_signature_of_ours(role: Role, dialect: Dialect) -> None:
    """The whole opening, as each role and each dialect sees it, ends at round 1 with the agreed balances."""
    channel = opened(role, dialect)
    assert (channel.state.phase, channel.state.round) == (Phase.OPEN, 1)
    assert (channel.state.initiator_balance, channel.state.responder_balance) == (1000, 500)
    assert [type(e) for e in channel.all].count(RecordForward) == 1
    assert [e.request for e in channel.all if isinstance(e, Send) and isinstance(e.request, SendSignature)]


def test_the_credential_is_kept_before_anything_else_is_asked() -> None:
    """F6: an fsm_id that is not stored at once can be lost for ever."""
    channel = Channel(terms()).give(LinkUp(resumed=False)).info("fsm_up", fsm_id=FSM, channel_id=None)
    assert channel.last[1] == KeepFsmId(FSM)
    assert not channel.sent()


def test_a_create_transaction_that_says_something_else_is_never_put_to_a_signer() -> None:
    """G4: the opening signature locks coins on chain."""
    channel = Channel(terms()).give(LinkUp(resumed=False)).info("fsm_up", fsm_id=FSM, channel_id=None)
    channel.requested(Tag.INITIATOR_SIGN, replace(create(0), responder_amount=499))
    assert not channel.questions()
    assert "sign.mismatch" in channel.events()


@ALL_DIALECTS
def test_a_transfer_succeeds_when_its_transaction_is_co_signed(dialect: Dialect) -> None:
    """The seed's update, proposer's side: trigger, sign request, signed reply, co-signed state."""
    channel = opened(dialect=dialect).give(CommandDue(transfer(5)))
    (asked,) = channel.sent(AskTransfer)
    assert (asked.from_account, asked.to_account, asked.amount) == (INITIATOR, RESPONDER, 5)
    assert bool(asked.meta) is not dialect.is_legacy
    channel.requested(Tag.UPDATE, replace(offchain(2), wrapped=not dialect.is_legacy), moved(5))
    assert channel.questions()[0].request.balances_after == {INITIATOR: 995, RESPONDER: 505}
    channel.sign("tx_half")
    assert [r.signed_tx for r in channel.sent(SendSignature)] == ["tx_half"]
    assert not channel.outcomes()
    channel.cosigned(offchain(2))
    (ending,) = channel.outcomes()
    assert (ending.outcome, ending.round, ending.hash) == (Outcome.SUCCEEDED, 2, offchain(2).hash)
    assert (channel.state.initiator_balance, channel.state.responder_balance) == (995, 505)
    assert "transfer.succeeded" in channel.events()
    assert any(isinstance(effect, KeepState) for effect in channel.last)


def test_the_ledger_row_is_written_with_the_signature_not_after() -> None:
    """F4: what the peer may hold must be on our disk first."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5))
    (record,) = [effect for effect in channel.last if isinstance(effect, RecordForward)]
    assert (record.round, record.command_id, record.tag) == (2, "t-1", Tag.UPDATE)


@BOTH_ROLES
@ALL_DIALECTS
def test_the_peers_transfer_is_signed_and_reported_as_received(role: Role, dialect: Dialect) -> None:
    """The seed's update, acknowledger's side, only when it makes us no poorer."""
    channel = opened(role, dialect)
    back = role is Role.INITIATOR
    half = replace(offchain(2, signatures=0 if dialect.is_legacy else 1), wrapped=not dialect.is_legacy)
    channel.info("update").requested(Tag.UPDATE_ACK, half, moved(7, back=back))
    channel.sign()
    assert channel.sent(SendSignature)
    channel.cosigned(offchain(2))
    received = channel.event("transfer.received")
    assert (received.data["amount"], received.data["own_change"]) == (7, 7)
    assert channel.state.initiator_balance == (1007 if back else 993)


def test_a_proposal_that_would_make_us_poorer_is_refused_unseen() -> None:
    """Policy: acknowledge only if not poorer, before any signer is bothered."""
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7))
    assert [r.code for r in channel.sent(Refuse)] == [128]
    assert not channel.questions()


def test_a_proposal_during_our_own_command_is_refused() -> None:
    """Rule 1: one thing outstanding a channel, in either direction."""
    channel = opened().give(CommandDue(transfer()))
    channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True))
    assert [r.code for r in channel.sent(Refuse)] == [4]


@pytest.mark.parametrize(
    ("command", "tag", "kind", "asks"),
    [
        (deposit(), Tag.DEPOSIT, Kind.DEPOSIT, AskDeposit),
        (withdraw(), Tag.WITHDRAW, Kind.WITHDRAW, AskWithdraw),
    ],
)
@BOTH_ROLES
def test_deposit_and_withdrawal_succeed_when_locked(
    role: Role, command: Command, tag: Tag, kind: Kind, asks: type[AskDeposit | AskWithdraw]
) -> None:
    """The seed's deposit and withdrawal: only the co-signed, locked state counts."""
    channel = opened(role).give(CommandDue(command))
    assert [r.amount for r in channel.sent(asks)] == [100]
    tx = transaction(kind, "d2", round=2, amount=100, account=channel.terms.own, fee=17, nonce=4)
    channel.requested(tag, tx, None).sign()
    channel.give(ChainReported(channel_id=CHANNEL, transaction=tx, info="deposit_signed"))
    channel.info("own_deposit_locked").info("deposit_locked")
    assert not channel.outcomes()
    channel.cosigned(tx)
    assert channel.outcomes()[0].outcome is Outcome.SUCCEEDED
    change = 100 if kind is Kind.DEPOSIT else -100
    own = channel.state.initiator_balance if role is Role.INITIATOR else channel.state.responder_balance
    assert own == (1000 if role is Role.INITIATOR else 500) + change


def test_the_peers_deposit_is_acknowledged_and_told() -> None:
    """The seed's deposit ack."""
    tx = transaction(Kind.DEPOSIT, "d2", round=2, amount=30, account=RESPONDER, signatures=("s",))
    channel = opened().info("deposit_created").requested(Tag.DEPOSIT_ACK, tx, None).sign()
    channel.cosigned(tx)
    assert channel.event("deposit.acknowledged").data["amount"] == 30
    assert channel.state.responder_balance == 530


@ALL_DIALECTS
def test_a_mutual_close_succeeds_when_confirmed(dialect: Dialect) -> None:
    """The seed's mutual close, closer's side."""
    channel = opened(dialect=dialect).give(CommandDue(shutdown()))
    assert channel.sent(AskShutdown)
    tx = transaction(Kind.CLOSE_MUTUAL, "e1", initiator_amount=990, responder_amount=490, fee=20)
    channel.requested(Tag.SHUTDOWN, replace(tx, wrapped=not dialect.is_legacy), ()).sign()
    if dialect is Dialect.JSON_RPC:
        channel.info("closing").info("closed_confirmed")
    else:
        channel.info("close_mutual")
    assert [e.outcome for e in channel.outcomes()] == [Outcome.SUCCEEDED]
    assert channel.state.phase is Phase.CLOSED
    channel.info("died").give(LinkDown(1000))
    assert any(isinstance(effect, Rest) for effect in channel.last)


def test_a_close_that_pays_us_less_than_we_own_is_not_signed() -> None:
    """5.1: close amounts equal the balances less the fee."""
    tx = transaction(Kind.CLOSE_MUTUAL, "e1", initiator_amount=900, responder_amount=580, fee=20, signatures=("s",))
    channel = opened().info("shutdown").requested(Tag.SHUTDOWN_ACK, tx, ())
    assert [r.code for r in channel.sent(Refuse)] == [1]


def test_a_message_succeeds_when_the_node_took_it() -> None:
    """The seed's generic message, out."""
    channel = opened().give(CommandDue(message("hallo")))
    assert [r.info for r in channel.sent(SendMessage)] == ["hallo"]
    channel.answer(SendMessage, Accepted())
    assert channel.outcomes()[0].outcome is Outcome.SUCCEEDED


def test_a_message_over_late_legacy_is_proved_by_the_answer_behind_it() -> None:
    """That dialect acknowledges no message; a query on the same socket is read after it."""
    channel = opened(dialect=Dialect.LEGACY_LATE).give(CommandDue(message()))
    assert [type(r) for r in channel.sent()] == [SendMessage, AskBalances]
    channel.give(RequestAnswered(request_id=None, answer=Balances(((INITIATOR, 1000),))))
    assert channel.outcomes()[0].outcome is Outcome.SUCCEEDED


def test_a_message_over_seed_legacy_ends_unknown_because_nothing_proves_it() -> None:
    """Promise exactly: that dialect never says whether the node took a message."""
    channel = opened(dialect=Dialect.LEGACY_SEED).give(CommandDue(message())).wait(3)
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.UNKNOWN, Code.DELIVERY_UNKNOWN)]


def test_a_message_from_the_peer_is_published() -> None:
    """The seed's generic message, in."""
    channel = opened().give(MessageReceived(from_account=RESPONDER, to_account=INITIATOR, info="hejsan"))
    assert channel.event("message.received").data == {"from": RESPONDER, "to": INITIATOR, "info": "hejsan"}


# --- conflicts, errors and refusals ---------------------------------------------------------------------


def conflict(code: int = 2, round_: int = 1) -> Conflicted:
    return Conflicted(channel_id=CHANNEL, round=round_, code=code, message="conflict")


@pytest.mark.parametrize("stage", [Stage.SENT, Stage.AWAITING_SIGN, Stage.SIGNED_SENT])
def test_a_conflicting_transfer_is_tried_again_after_a_pause(stage: Stage) -> None:
    """Codes 2 and 4 with an unchanged round are no verdict on the payment."""
    channel = opened().give(CommandDue(transfer()))
    if stage is not Stage.SENT:
        channel.requested(Tag.UPDATE, offchain(2), moved(5))
    if stage is Stage.SIGNED_SENT:
        channel.sign()
    channel.give(conflict()).calm()
    assert not channel.outcomes()
    assert not channel.sent(AskTransfer)
    channel.wait(1)
    assert len(channel.sent(AskTransfer)) == 1


def test_conflicts_without_end_fail_the_transfer_with_its_exposure() -> None:
    """A signature that is out may still be used by the peer in that round: that is what exposure says."""
    channel = proposed(opened(conflict_retries=0), transfer(), Tag.UPDATE, offchain(2), moved(5))
    channel.give(conflict()).calm()
    (ending,) = channel.outcomes()
    assert (ending.outcome, ending.code) == (Outcome.FAILED, Code.CONFLICT)
    assert ending.exposure == {"round": 2, "tx_hash": offchain(2).hash}


def test_an_attempt_that_was_voided_after_our_signature_may_still_happen() -> None:
    """The peer can co-sign it later (observed). It is this payment, and it is not made a second time."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(conflict())
    assert not channel.outcomes()
    channel.cosigned(offchain(2))
    assert [(e.outcome, e.hash) for e in channel.outcomes()] == [(Outcome.SUCCEEDED, offchain(2).hash)]
    assert channel.state.initiator_balance == 995
    assert not channel.wait(5).sent(AskTransfer)


def test_every_signature_that_is_out_is_exposed_when_the_retries_end() -> None:
    """The last attempt may have been void before it was signed; an earlier one was not."""
    channel = proposed(opened(conflict_retries=1), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(conflict())
    channel.calm().wait(1).give(conflict())
    (ending,) = channel.outcomes()
    assert (ending.code, ending.exposure) == (Code.CONFLICT, {"round": 2, "tx_hash": offchain(2).hash})


def test_an_abandoned_state_that_was_used_raises_an_alarm_and_the_channel_goes_on() -> None:
    """A failed command stays failed; the amount moved once, and operators are told."""
    channel = proposed(opened(conflict_retries=0), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(conflict())
    channel.cosigned(offchain(2))
    assert channel.event("alarm.abandoned_state_used").data["command_id"] == "t-1"
    assert channel.sent(AskBalances)
    assert (channel.state.initiator_balance, channel.state.responder_balance) == (995, 505)
    assert channel.state.books.held == (995, 505)
    assert channel.state.phase is Phase.OPEN
    assert not channel.outcomes()


def test_exposure_is_cleared_by_the_next_co_signed_round() -> None:
    """Only one state of a round counts, so any other co-signed one takes the abandoned one its use."""
    channel = proposed(opened(conflict_retries=0), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(conflict())
    channel.calm().wait(1)
    proposed(channel, transfer(6, "t-2"), Tag.UPDATE, offchain(2, "b"), moved(6)).cosigned(offchain(2, "b"))
    assert channel.event("command.exposure_cleared").data["command_id"] == "t-1"
    assert not channel.state.exposures


def test_a_timeout_after_our_signature_is_in_doubt_never_failed() -> None:
    """The peer may have co-signed late: only evidence settles it."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(conflict(3))
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.IN_DOUBT, Code.PEER_TIMEOUT)]
    assert channel.state.operation is not None
    channel.cosigned(offchain(2))
    assert [e.outcome for e in channel.outcomes()] == [Outcome.SUCCEEDED]


def test_a_refusal_by_the_peer_is_not_repeated() -> None:
    """A user-defined code is an answer, not an accident."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5)).give(conflict(147))
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.FAILED, Code.PEER_REFUSED)]


def test_a_conflict_closes_the_open_sign_request() -> None:
    """Rule 3: a reply that comes now is late and goes nowhere."""
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True))
    sign_request_id = channel.questions()[0].request.sign_request_id
    channel.give(conflict()).calm()
    assert "sign.withdrawn" in channel.events()
    channel.give(SignReplied(sign_request_id, "signer", Signed("tx_late", "00")))
    assert [e.code for e in channel.last if isinstance(e, RefuseReply)] == [Code.SIGN_REPLY_LATE]
    assert not channel.sent()


@ALL_DIALECTS
def test_insufficient_balance_fails_the_command_and_shows_the_request(dialect: Dialect) -> None:
    """The seed's update error: reason and failed request, in both dialects (legacy errors have no id)."""
    channel = opened(dialect=dialect).give(CommandDue(transfer(10_000)))
    request_id = None if dialect.is_legacy else channel.sent(AskTransfer)[0].request_id
    refused = RequestRefused(
        request_id=request_id, codes=(1001,), reasons=("insufficient_balance",), request='{"amount":10000}'
    )
    channel.give(refused)
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.FAILED, Code.INSUFFICIENT_BALANCE)]
    assert channel.event("error.request").data["request"] == '{"amount":10000}'


@pytest.mark.parametrize(
    ("tx", "updates"),
    [
        (offchain(2), moved(6)),
        (offchain(3), moved(5)),
        (offchain(2), moved(5) + moved(1)),
        (offchain(2), None),
        (offchain(2, signatures=1), moved(5)),
        (replace(offchain(2), channel_id=ChannelId("ch_other")), moved(5)),
        (replace(offchain(2), kind=Kind.CLOSE_MUTUAL), moved(5)),
    ],
)
def test_a_sign_request_for_something_else_is_refused(tx: Transaction, updates: tuple[Update, ...] | None) -> None:
    """G4: amount, round, operations, signatures, channel and kind are those of the command."""
    channel = opened().give(CommandDue(transfer(5))).requested(Tag.UPDATE, tx, updates)
    assert [r.code for r in channel.sent(Refuse)] == [1]
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.FAILED, Code.SIGN_REQUEST_MISMATCH)]
    assert not channel.questions()


def test_an_unasked_sign_request_is_refused() -> None:
    """A request nobody triggered is never signed."""
    channel = opened().requested(Tag.UPDATE, offchain(2), moved(5))
    assert [r.code for r in channel.sent(Refuse)] == [4]


def test_a_signer_may_refuse() -> None:
    """The node is told no, the command fails, nothing was signed."""
    channel = opened().give(CommandDue(transfer())).requested(Tag.UPDATE, offchain(2), moved(5))
    sign_request_id = channel.questions()[0].request.sign_request_id
    channel.give(SignReplied(sign_request_id, "signer", Declined("too much")))
    assert [e.code for e in channel.outcomes()] == [Code.SIGN_REFUSED]
    assert [r.code for r in channel.sent(Refuse)] == [128]


def test_five_bad_replies_fail_the_command_and_a_good_fifth_does_not() -> None:
    """5.2: a bad reply leaves the request open; only the fifth ends it."""
    channel = opened().give(CommandDue(transfer())).requested(Tag.UPDATE, offchain(2), moved(5))
    bad = SignReplied(channel.questions()[0].request.sign_request_id, "signer", BadReply("key"))
    channel.give(bad, bad, bad, bad)
    assert channel.state.open_request is not None
    saved = channel.state
    channel.sign()
    assert channel.sent(SendSignature)
    channel.state = saved
    channel.give(bad)
    assert [e.code for e in channel.outcomes()] == [Code.SIGNER_MISBEHAVED]


def test_a_deadline_is_announced_twice_and_then_refused() -> None:
    """A request nobody answers is refused at its deadline, never just forgotten."""
    channel = opened().give(CommandDue(transfer())).requested(Tag.UPDATE, offchain(2), moved(5)).wait(301)
    assert [e for e in channel.events() if e.startswith("sign")] == ["sign.expiring", "sign.expiring", "sign.expired"]
    assert [r.code for r in channel.sent(Refuse)] == [4]
    assert [e.code for e in channel.outcomes()] == [Code.SIGN_TIMEOUT]


def test_an_acknowledgement_is_refused_after_sixty_seconds() -> None:
    """A late acknowledgement leaves the two sides at different rounds for ever (observed)."""
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True)).wait(59)
    assert not channel.sent(Refuse)
    channel.wait(2)
    assert [r.code for r in channel.sent(Refuse)] == [4]


def test_a_reply_at_the_deadline_is_late_even_before_the_clock_ticked() -> None:
    """The instant counts, not the order in which the process noticed it."""
    channel = opened().give(CommandDue(transfer())).requested(Tag.UPDATE, offchain(2), moved(5))
    opened_request = channel.state.open_request
    assert opened_request is not None
    channel.now = opened_request.deadline
    channel.sign()
    assert not channel.sent(SendSignature)


def test_a_silent_trigger_is_probed_and_asked_again() -> None:
    """Rule 6: after ten seconds without a sign request the attempt is voided, then repeated."""
    channel = opened().give(CommandDue(transfer())).wait(10.5)
    assert [r.code for r in channel.sent(Refuse)] == [4]
    channel.answer(Refuse, Accepted()).wait(1)
    assert channel.sent(AskTransfer)


def test_a_trigger_that_stays_silent_for_ever_is_given_back() -> None:
    """The command itself may be what the node chokes on: it must not block its channel for ever."""
    channel = opened().give(CommandDue(transfer()))
    for _ in range(MOST_TRIGGERS):
        channel.wait(10.5)
        channel.answer(Refuse, Accepted())
        outcomes = channel.outcomes()
        channel.wait(8)
    assert [(e.outcome, e.code) for e in outcomes] == [(Outcome.FAILED, Code.TRIGGER_LOST)]


def test_an_old_nodes_conflict_answer_is_a_conflict() -> None:
    """Legacy nodes say it twice: as an error answer and as a report. Neither is a verdict on the payment."""
    channel = opened(dialect=Dialect.LEGACY_LATE).give(CommandDue(transfer()))
    channel.give(RequestRefused(request_id=None, codes=(107,), reasons=("conflict",)), conflict())
    assert not channel.outcomes()
    assert channel.wait(1).sent(AskTransfer)


# --- the line -------------------------------------------------------------------------------------------


def test_a_command_waits_at_the_head_of_its_line_until_the_channel_is_open() -> None:
    """Commands may be given before the channel exists."""
    channel = Channel(terms()).give(CommandDue(transfer()))
    assert not channel.last[1:]
    assert channel.state.operation is not None


def test_a_command_expires_while_it_waits() -> None:
    """`expires_at` is honoured to the second even when nothing else happens."""
    late = transfer().model_copy(update={"expires_at": transfer().issued_at.replace(microsecond=500_000)})
    channel = Channel(terms()).give(CommandDue(late)).wait(2)
    assert [e.code for e in channel.outcomes()] == [Code.EXPIRED]


def test_expect_round_runs_only_at_that_round() -> None:
    """A caller can pin what he saw."""
    channel = opened().give(CommandDue(transfer(expect_round=2)))
    assert [e.code for e in channel.outcomes()] == [Code.ROUND_MISMATCH]


@pytest.mark.parametrize("command", [deposit().model_copy(update={"fee": 5}), transfer(meta=["x"])])
def test_what_the_dialect_has_no_word_for_is_refused(command: Command) -> None:
    """A fee that cannot be said must not be dropped silently."""
    channel = opened(dialect=Dialect.LEGACY_LATE).give(CommandDue(command))
    assert [e.code for e in channel.outcomes()] == [Code.UNSUPPORTED_IN_DIALECT]
    assert not channel.sent()


def test_an_answer_without_a_number_is_ours_in_legacy_only() -> None:
    """In JSON-RPC another client of the role may have asked."""
    channel = opened().give(QueryDue(query()))
    channel.give(RequestAnswered(request_id=None, answer=Balances(((INITIATOR, 1), (RESPONDER, 2)))))
    assert not channel.outcomes()


@pytest.mark.parametrize(
    ("policy", "command"),
    [
        (replace(OPEN, commands=frozenset({"message"})), transfer()),
        (replace(OPEN, max_amount=4), transfer(5)),
        (replace(OPEN, max_fee=20_000), shutdown().model_copy(update={"fee": 20_001})),
    ],
)
def test_the_policy_refuses_before_anything_is_asked(policy: Policy, command: Command) -> None:
    """Denied commands never reach the node."""
    channel = opened(policy=policy).give(CommandDue(command))
    assert [e.code for e in channel.outcomes()] == [Code.POLICY_DENIED]
    assert not channel.sent()


def test_commands_on_a_closed_channel_fail_at_once() -> None:
    """Nothing hangs behind a close."""
    channel = opened().info("closing").info("closed_confirmed").give(CommandDue(transfer()))
    assert [e.code for e in channel.outcomes()] == [Code.CHANNEL_CLOSED]


# --- queries, unknown frames, time ----------------------------------------------------------------------


def test_a_query_is_answered_by_the_node_when_it_can_say() -> None:
    channel = opened().give(QueryDue(query()))
    channel.answer(AskBalances, Balances(((INITIATOR, 1000), (RESPONDER, 500))))
    (ending,) = channel.outcomes()
    assert ending.data["source"] == "node"
    assert ending.data["balances"] == {INITIATOR: 1000, RESPONDER: 500}


@pytest.mark.parametrize("dialect", [Dialect.JSON_RPC, Dialect.LEGACY_SEED])
def test_a_query_is_answered_from_the_journal_when_the_node_cannot_say(dialect: Dialect) -> None:
    """While something is outstanding, or in a dialect without queries."""
    channel = opened(dialect=dialect)
    if dialect is Dialect.JSON_RPC:
        channel.requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True))
    channel.give(QueryDue(query()))
    (ending,) = channel.outcomes()
    assert (ending.data["source"], ending.data["round"]) == ("journal", 1)


def test_an_unknown_method_becomes_an_event() -> None:
    """Nodes grow: what we do not know is passed on."""
    channel = opened().give(Unhandled(method="channels.brand.new", raw="{}"))
    assert channel.events() == ["unhandled.channels_brand_new"]


def test_a_garbage_frame_becomes_an_alarm_and_the_channel_lives_on() -> None:
    channel = opened().give(FrameRejected(reason="not JSON", raw="@@"))
    assert channel.events() == ["alarm.protocol_violation"]
    proposed(channel, transfer(), Tag.UPDATE, offchain(2), moved(5)).cosigned(offchain(2))
    assert channel.outcomes()[0].outcome is Outcome.SUCCEEDED


def test_the_nodes_idle_timer_is_answered() -> None:
    """A ping does not reach the FSM, a question does."""
    channel = opened().wait(241)
    assert channel.sent(AskBalances)


def test_the_stored_state_is_read_back_exactly() -> None:
    """A crash between any two inputs goes on from the same state."""
    channel = proposed(opened(), transfer(meta=["x"]), Tag.UPDATE, offchain(2), moved(5)).give(QueryDue(query()))
    assert decode(encode(channel.state)) == channel.state


def test_a_stored_state_of_another_version_is_refused() -> None:
    with pytest.raises(JournalUnavailable):
        decode(b"\x09{}")


def test_a_tick_without_anything_due_changes_nothing() -> None:
    """The worker skips the commit of such a step."""
    channel = opened()
    before = channel.state
    assert channel.give(Ticked()).state == before
    assert channel.last == ()
