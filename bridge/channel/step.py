"""`step`: the one function that decides.

    step(terms, state, input, now) -> (state, effects)

Pure: the same arguments always give the same result. The caller commits the new state together with
everything the effects publish, and only then performs; if the commit fails it throws both away.

The table below is the whole transition function, one row an input. What a row does is in the module named
after it: `attach` (the link), `settlement` (the truth after a gap), `agreement` (co-signed states), `operation`
and `attempt` (our commands), `proposal` (the peer's), `signature` (the signer's part), `query`. After every row
the same three things follow: warnings and deadlines, what time does to an attempt, and the head of the line if
this is its moment; at the end what has changed goes into the books (`bookkeeping`). `wake` says when time alone is
worth a step.
"""

from dataclasses import replace
from typing import assert_never

from bridge.channel import (
    agreement,
    approval,
    attach,
    attempt,
    bookkeeping,
    ending,
    exposure,
    letter,
    policy,
    proof,
    proposal,
    query,
    resolution,
    settlement,
)
from bridge.channel.command import Message
from bridge.channel.effect import Effect, Reconnect
from bridge.channel.exposure import ON_CHAIN
from bridge.channel.input import (
    Accepted,
    ApprovalGiven,
    Balances,
    ChainReported,
    ChainSeen,
    ChannelErrored,
    ChannelLeft,
    CloseSeen,
    CommandDue,
    Conflicted,
    Frame,
    FrameRejected,
    History,
    InfoReported,
    Input,
    LinkDown,
    LinkFailed,
    LinkUp,
    MessageReceived,
    OffchainState,
    Proof,
    QueryDue,
    RequestAnswered,
    RequestRefused,
    ResolveDue,
    SignReplied,
    SignRequested,
    StateUpdated,
    TakenOver,
    Ticked,
    Unhandled,
    Withheld,
)
from bridge.channel.loss import split
from bridge.channel.operation import advance, is_busy, succeed, take
from bridge.channel.request import AskBalances, AskHistory
from bridge.channel.signature import close_request, hold, is_open, refuse_mismatch, refuse_reply, take_held, warn
from bridge.channel.state import UNSETTLED, Asked, Attachment, Phase, Purpose, Stage, State
from bridge.channel.terms import Dialect, Terms
from bridge.channel.transaction import Kind
from bridge.channel.turn import Turn
from bridge.channel.violation import reject_frame
from bridge.channel.wake import ANSWER_SECONDS, keep_alive_at, wants_keep_alive


def step(terms: Terms, state: State, input_: Input, now: float) -> tuple[State, tuple[Effect, ...]]:
    """What the channel becomes, and what it wants done. Never raises for anything the outside did."""
    turn = _decide(Turn(terms, now, state), input_)
    turn, held = take_held(turn)
    if held is not None:
        turn = _replied(turn, held)
    turn = advance(_watch(turn))
    turn = bookkeeping.keep(state, policy.settle(state, approval.close(state, turn)))
    return turn.state, turn.effects


def _decide(turn: Turn, input_: Input) -> Turn:  # noqa: C901  # a table, one row an input
    if isinstance(input_, Frame) and turn.state.attachment is Attachment.DOWN:
        return turn  # a frame of a socket that is already gone; what it said is asked for at the next attach
    match input_:
        case InfoReported():
            return _info(turn, input_)
        case SignRequested():
            return _sign_requested(turn, input_)
        case StateUpdated():
            return agreement.adopt(turn, input_.transaction, input_.raw)
        case Conflicted():
            return _conflicted(turn, input_)
        case ChainReported():
            return _chain(turn, input_)
        case MessageReceived():
            return letter.hear(turn, input_)
        case ChannelLeft(raw=raw):
            return turn.publish("info", "leave", raw=raw)
        case ChannelErrored(message=message, raw=raw):
            return turn.publish("error", "channel", raw=raw, message=message)
        case RequestRefused():
            return _refused(turn, input_)
        case RequestAnswered():
            return _answered(turn, input_)
        case Unhandled(method=method, raw=raw):
            return turn.publish("unhandled", _word(method), raw=raw, method=method)
        case FrameRejected():
            return _rejected(turn, input_)
        case TakenOver():
            return attach.take_over(turn)
        case LinkUp():
            return attach.link_up(turn, input_)
        case LinkDown():
            return attach.link_down(turn, input_)
        case LinkFailed():
            return attach.link_failed(turn, input_)
        case CommandDue(command, author, body_hash):
            return take(turn, command, author, body_hash)
        case ApprovalGiven():
            return approval.receive(turn, input_)
        case QueryDue(asked):
            return query.begin(turn, asked)
        case ResolveDue():
            return resolution.resolve(turn, input_)
        case Withheld():
            return proposal.withhold(turn)
        case ChainSeen():
            return exposure.clear_by_chain(turn, input_)
        case CloseSeen():
            return ending.close_seen(turn, input_)
        case SignReplied():
            return _replied(turn, input_)
        case Ticked():
            return turn
        case _:
            assert_never(input_)


# --- from the node --------------------------------------------------------------------------------------


def _info(turn: Turn, info: InfoReported) -> Turn:
    turn = turn.set(heard_at=turn.now, channel_id=turn.state.channel_id or info.channel_id)
    turn = turn.publish("info", _word(info.event), raw=info.raw, event=info.event)
    match info.event:
        case "fsm_up" if not turn.terms.dialect.is_legacy:
            return attach.fsm_up(turn, info)
        case "channel_reestablished":
            return turn.set(agreed_at=turn.now)
        case "open":
            return attach.opened(turn)
        case "peer_disconnected":
            return attach.peer_disconnected(turn)
        case "aborted_update":
            had_signed = turn.state.settling is not None
            turn = proposal.aborted(turn)
            return _ask_if_crossed(turn) if had_signed else turn
        case "closing":
            return turn.set(phase=Phase.CLOSING)
        case "closed_confirmed" | "close_mutual":
            return ending.close(turn)
        case _:
            return turn


def _sign_requested(turn: Turn, requested: SignRequested) -> Turn:
    turn = turn.set(channel_id=turn.state.channel_id or requested.channel_id, heard_at=turn.now)
    if requested.tag.is_opening:
        return proposal.request_opening(turn, requested)
    turn = agreement.infer(turn, requested.transaction)
    if requested.tag.is_acknowledgement:
        return _look_if_behind(proposal.request_acknowledgement(turn, requested), requested)
    return attempt.request_signature(turn, requested)


def _look_if_behind(turn: Turn, requested: SignRequested) -> Turn:
    """A proposal two rounds above ours: a report was lost on a live socket, and it was refused. The node can tell."""
    state, proposed = turn.state, requested.transaction.round
    is_ahead = proposed is not None and proposed > state.round + 1
    if not is_ahead or state.attachment is not Attachment.READY or state.has_asked(Purpose.RECHECK):
        return turn
    return turn if turn.terms.dialect is Dialect.LEGACY_SEED else attach.ask_state(turn, Purpose.RECHECK)


def _rejected(turn: Turn, rejected: FrameRejected) -> Turn:
    """What is no frame, and still may leave the node waiting for a signature: then it is told no."""
    was_suspect = turn.state.is_suspect
    turn = reject_frame(turn, rejected)
    if rejected.tag is None or was_suspect or turn.state.is_suspect:
        return turn
    if rejected.tag.is_opening or rejected.tag.is_acknowledgement:
        return refuse_mismatch(turn, rejected.tag, rejected.raw, rejected.reason)
    return attempt.refuse_unreadable(turn, rejected.tag, rejected.raw, rejected.reason)


def _conflicted(turn: Turn, conflicted: Conflicted) -> Turn:
    """Rule 3: a conflict closes the open sign request. Then each thing in flight learns of it."""
    turn = turn.publish(
        "conflict",
        "reported",
        raw=conflicted.raw,
        round=conflicted.round,
        code=conflicted.code,
        message=conflicted.message,
    )
    turn = close_request(turn, "withdrawn", reason="the node reported a conflict")
    operation = turn.operation
    had_signed = turn.state.settling is not None or (operation is not None and operation.stage is Stage.SIGNED_SENT)
    turn = proposal.forget(turn, f"conflict {conflicted.code} at round {conflicted.round}")
    if conflicted.round > turn.state.round:
        turn = split(turn, conflicted)
    elif operation is not None:
        turn = attempt.conflict(turn, operation, conflicted)
    turn = settlement.count_again(turn)
    if not had_signed:
        return turn
    turn = _after_signature(turn)
    return attempt.let_return(turn) if conflicted.code == attempt.TIMEOUT_CODE else turn


def _after_signature(turn: Turn) -> Turn:
    """Rule 4: the signature may have crossed the report; until the node says where it stands nothing is signed.

    Rule 8: and the next command waits a moment.
    """
    if turn.operation is None or turn.operation.stage is not Stage.JOURNALED:
        turn = attempt.pause(turn)
    return _ask_if_crossed(turn)


def _ask_if_crossed(turn: Turn) -> Turn:
    if turn.terms.dialect is Dialect.LEGACY_SEED or turn.state.attachment is not Attachment.READY:
        return turn
    return attach.ask_state(turn, Purpose.CROSSED)


def _chain(turn: Turn, report: ChainReported) -> Turn:
    transaction = report.transaction
    if transaction.kind in (Kind.CLOSE_MUTUAL, Kind.SETTLE):
        turn = turn.set(mined_close=transaction)
    return exposure.see_mined(turn, report).publish(
        "chain",
        _word(transaction.kind.value.removeprefix("channel_")),
        raw=report.raw,
        info=report.info,
        type=transaction.kind.value,
        tx=transaction.text,
        tx_hash=transaction.hash,
        amount=transaction.amount,
        fee=transaction.fee,
        nonce=transaction.nonce,
    )


def _refused(turn: Turn, refused: RequestRefused) -> Turn:
    asked = _find(turn, refused.request_id)
    if asked is not None and asked.purpose in PROBES:
        return _probed(_drop(turn, asked), asked, was_pending=False)  # "not pending" is an answer, not an error
    turn = turn.publish(
        "error",
        "request",
        raw=refused.raw,
        codes=list(refused.codes),
        reasons=list(refused.reasons),
        request=refused.request,
    )
    if turn.state.attachment is Attachment.CONNECTED and attach.BAD_CREDENTIAL in refused.codes:
        return attach.credential_refused(turn)
    operation = turn.operation
    if asked is not None:
        turn = _drop(turn, asked)
        if asked.purpose is Purpose.QUERY:
            return query.refused(turn, asked, refused.reasons)
        if asked.purpose is Purpose.HISTORY:
            return settlement.history_answered(turn, History(()))
        if asked.purpose in (Purpose.TAKE_OVER, Purpose.REESTABLISH):
            return turn.do(Reconnect("the node refused the state query"))
        return turn
    if operation is not None and attempt.is_answer(turn, operation, refused):
        return attempt.refused_by_node(turn, operation, refused)
    return turn


def _answered(turn: Turn, answered: RequestAnswered) -> Turn:
    turn = turn.set(heard_at=turn.now)
    operation = turn.operation
    if operation is not None and answered.request_id is not None and answered.request_id == operation.request_id:
        is_message = isinstance(operation.command, Message) and operation.stage is Stage.SENT
        return succeed(turn) if is_message else turn
    asked = _find(turn, answered.request_id, answered)
    if asked is None:
        return turn
    return _settle_answer(_drop(turn, asked), asked, answered)


def _settle_answer(turn: Turn, asked: Asked, answered: RequestAnswered) -> Turn:
    match asked.purpose, answered.answer:
        case Purpose.QUERY, answer:
            return query.answered(turn, asked, answer)
        case ((Purpose.PROBE | Purpose.LOOK | Purpose.PROBE_ACK | Purpose.LOOK_ACK), Accepted()):
            return _probed(turn, asked, was_pending=True)
        case Purpose.RECEIPT, _:
            return succeed(turn) if _is_receipt(turn, asked) else turn
        case (
            Purpose.TAKE_OVER | Purpose.REESTABLISH | Purpose.RECHECK | Purpose.CROSSED
        ) as purpose, OffchainState() as found:
            return settlement.state_answered(turn, found, purpose)
        case ((Purpose.TAKE_OVER | Purpose.REESTABLISH), _):
            return turn.do(Reconnect("the node answered no state"))
        case Purpose.HISTORY, History() as history:
            return settlement.history_answered(turn, history)
        case Purpose.HISTORY, _:
            return settlement.history_answered(turn, History(()))
        case Purpose.COUNT, History() as history:
            return settlement.history_counted(turn, history)
        case Purpose.COUNT, Balances(entries=()):  # an empty list: the node has forgotten what it once reported
            return settlement.history_counted(turn, History(()))
        case Purpose.PROOF, Proof() as answer:
            return proof.keep_proof(turn, asked, answer)
        case _, Balances(entries):
            return _set_balances(turn, asked, dict(entries))
        case _:
            return turn


def _is_receipt(turn: Turn, asked: Asked) -> bool:
    """The answer to the question put right behind the message on its way."""
    operation = turn.operation
    if operation is None or operation.stage is not Stage.SENT or operation.request_id is None:
        return False
    return isinstance(operation.command, Message) and asked.request_id == operation.request_id + 1


def _set_balances(turn: Turn, asked: Asked, entries: dict[str, int]) -> Turn:  # keys are accounts
    """What the node says counts, unless a state came since it was asked or one is on its way."""
    terms = turn.terms
    if turn.state.cosigned_at > asked.since:
        return turn
    moving = turn.operation is not None and turn.operation.stage is not Stage.JOURNALED
    if terms.initiator not in entries or terms.responder not in entries or is_busy(turn) or moving:
        return turn
    named = (entries[terms.initiator], entries[terms.responder])
    proven = turn.state.proven
    if proven is not None and proven.round == turn.state.round:
        turn = turn.set(proven=replace(proven, balances=named))
    return turn.set(initiator_balance=named[0], responder_balance=named[1])


PROBES = (Purpose.PROBE, Purpose.LOOK, Purpose.PROBE_ACK, Purpose.LOOK_ACK)


def _probed(turn: Turn, asked: Asked, *, was_pending: bool) -> Turn:
    if asked.purpose is Purpose.LOOK_ACK:
        return proposal.never_delivered(turn) if was_pending else turn.ask(AskHistory, Purpose.COUNT)
    if asked.purpose is Purpose.PROBE_ACK:
        return turn
    operation = turn.operation
    if operation is None or operation.stage in (Stage.JOURNALED, Stage.IN_DOUBT):
        return turn
    if was_pending or operation.stage is not Stage.SIGNED_SENT:
        return attempt.probed(turn, operation, was_pending=was_pending)
    missed = settlement.looked_in_vain if asked.purpose is Purpose.LOOK else settlement.probe_missed
    return missed(turn, operation)


_KINDS = {"AskState": OffchainState, "AskBalances": Balances, "AskProof": Proof}
"""What answers which question, for the dialect whose answers carry no number."""


def _find(turn: Turn, request_id: int | None, answered: RequestAnswered | None = None) -> Asked | None:
    """The question an answer belongs to: by number, in legacy by kind and order."""
    if request_id is not None:
        return next((asked for asked in turn.state.asked if asked.request_id == request_id), None)
    if answered is None or not turn.terms.dialect.is_legacy:
        return None
    found = type(answered.answer)
    return next((asked for asked in turn.state.asked if _KINDS.get(asked.kind) is found), None)


def _drop(turn: Turn, asked: Asked) -> Turn:
    return turn.set(asked=tuple(other for other in turn.state.asked if other is not asked))


def _word(text: str) -> str:
    """A routing key's last part: the node's word, with nothing in it that a topic would read as a sign."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in text.lower())[:64] or "_"


# --- from signers and the clock -------------------------------------------------------------------------


def _replied(turn: Turn, replied: SignReplied) -> Turn:
    opened = turn.state.open_request
    if opened is None or not is_open(turn, replied):
        return hold(turn, replied) or refuse_reply(turn, replied)
    if opened.cause == "command":
        return attempt.answer(turn, opened, replied)
    return proposal.answer(turn, opened, replied)


def _watch(turn: Turn) -> Turn:
    """Warnings, deadlines, unanswered questions, and what time does to an attempt."""
    turn = warn(proposal.watch_approval(turn))
    opened = turn.state.open_request
    if opened is not None and turn.now >= opened.deadline:
        own = opened.cause == "command"
        turn = attempt.lapse(turn, opened) if own else proposal.lapse(turn, opened)
    if turn.state.peer_awaited_until is not None and turn.now >= turn.state.peer_awaited_until:
        turn = turn.set(peer_is_away=False, peer_awaited_until=None)
    turn = attach.watch(_expire_questions(turn))
    operation = turn.operation
    if operation is not None and turn.state.attachment is Attachment.READY:
        turn = attempt.watch(turn, operation)
    return _keep_alive(proof.ask_proof(settlement.recheck(turn)))


def _expire_questions(turn: Turn) -> Turn:
    expired = [asked for asked in turn.state.asked if turn.now >= asked.since + ANSWER_SECONDS]
    for asked in expired:
        turn = _drop(turn, asked)
        if asked.purpose is Purpose.QUERY and asked.query is not None:
            turn = query.from_journal(turn, asked.query)
        elif asked.purpose in UNSETTLED and asked.purpose is not Purpose.RECHECK:
            turn = turn.do(Reconnect("the node did not answer a question"))
    return turn


def _is_moving(turn: Turn) -> bool:
    """Whether the FSM works on something of ours. What may be on its way to the chain counts: each question starts
    the FSM's timer anew, and it would wait for a lock that never comes for ever.
    """
    operation = turn.operation
    if operation is None or operation.stage is Stage.JOURNALED:
        return False
    return operation.stage is not Stage.IN_DOUBT or isinstance(operation.command, ON_CHAIN)


def _keep_alive(turn: Turn) -> Turn:
    """Pings do not reach the FSM; a question does, and puts its idle timer back."""
    if not wants_keep_alive(turn.terms, turn.state) or turn.now < keep_alive_at(turn.terms, turn.state):
        return turn
    if _is_moving(turn) or is_busy(turn):
        return turn
    parties = (turn.terms.initiator, turn.terms.responder)
    return turn.set(heard_at=turn.now).ask(lambda request_id: AskBalances(request_id, parties), Purpose.BALANCES)
