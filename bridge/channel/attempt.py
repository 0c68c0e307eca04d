"""What becomes of our attempt at the node: asked to sign, refused, void, co-signed, or not known.

    JOURNALED -> SENT -> AWAITING_SIGN -> SIGNED_SENT -> succeeded
        ^          |            |              |-------> failed, with exposure
        +-- void --+------------+              +-------> IN_DOUBT until there is evidence

A timeout after a signature left us is never `failed`. The proofs are those of guarantees.md section 2.
"""

from hashlib import blake2b
from typing import assert_never

from bridge.channel.check import OWN_TAGS, check_command, check_frame, own_moves
from bridge.channel.command import Checkpoint, Message, Transfer
from bridge.channel.input import (
    BadReply,
    Conflicted,
    Declined,
    RequestRefused,
    Signed,
    SignReplied,
    SignRequested,
)
from bridge.channel.operation import (
    PATIENCE_SECONDS,
    abandon,
    deny,
    doubt,
    end_unknown,
    fail,
    longest_wait,
    never_delivered,
    say_again,
    sent_meta,
    succeed,
)
from bridge.channel.policy import deny_forward
from bridge.channel.request import Refuse, Tag
from bridge.channel.signature import (
    BUSY,
    DECLINED,
    MAX_BAD_REPLIES,
    REFUSED,
    close_request,
    count_bad_reply,
    forward,
    open_request,
    refuse_mismatch,
    refuse_node,
)
from bridge.channel.state import OpenRequest, Operation, Purpose, Stage
from bridge.channel.terms import Dialect, Terms
from bridge.channel.transaction import Transaction
from bridge.channel.turn import Turn
from bridge.errors import Code

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
RETURN_SECONDS = 10.0
"""A peer that let our signature time out may be away, and our update has kept it from coming back (observed). Longer
than the longest pause between two of its tries, and no pause is longer.
"""
RECEIPT_SECONDS = 2.0
"""How long an old node may complain about a message before we stop waiting for it."""
MOST_TRIGGERS = 30
"""A trigger that is voided so often, by silence or lost links, is given back to its author: it may be the cause."""
UNSETTLED_SECONDS = 5.0
"""So long after a gap the peer may still be taking over, and then refuses whatever is proposed to it."""
LEGACY_PATIENCE = 3
"""A legacy trigger cannot be probed: it gets this many times `trigger_seconds`."""
RETRIED_CODES = frozenset({2, 4})
TIMEOUT_CODE = 3
ONCHAIN_CODE = 5
NO_SIGNATURE = frozenset({Stage.SENT, Stage.AWAITING_SIGN})


def is_own(operation: Operation | None, tag: Tag) -> bool:
    return operation is not None and OWN_TAGS.get(type(operation.command)) is tag


def request_signature(turn: Turn, requested: SignRequested) -> Turn:
    """The node wants our signature for one of our own commands: only for the one just triggered."""
    operation = turn.operation
    if is_own(operation, requested.tag) and _is_with_signer(turn, requested):
        return turn  # the same frame twice: to refuse the second would void the first
    if operation is None or not _is_awaited(operation, requested.tag):
        return _refuse_unexpected(turn, requested.tag, requested.raw)
    mismatch = check_frame(turn.terms, turn.state, requested) or check_command(
        turn.terms, turn.state, operation.command, requested.transaction, requested.updates, sent_meta(turn, operation)
    )
    if mismatch is not None:
        return _refuse_mismatch(turn, requested.tag, requested.raw, mismatch)
    turn = turn.set_operation(
        stage=Stage.AWAITING_SIGN, since=turn.now, base_round=turn.state.round, transaction=requested.transaction
    )
    return open_request(turn, requested, "command")


def _is_with_signer(turn: Turn, requested: SignRequested) -> bool:
    """Another trigger of ours would show: its number is among the meta texts, and nothing else gives these bytes."""
    opened = turn.state.open_request
    asked = (requested.tag, requested.transaction.hash, requested.updates)
    return opened is not None and (opened.tag, opened.transaction.hash, opened.updates) == asked


def _is_awaited(operation: Operation, tag: Tag) -> bool:
    return is_own(operation, tag) and operation.stage is Stage.SENT


def _refuse_unexpected(turn: Turn, tag: Tag, raw: str) -> Turn:
    operation = turn.operation
    turn = turn.publish("sign", "unexpected", raw=raw, tag=tag.value)
    if operation is not None and operation.stage in NO_SIGNATURE:
        turn = void(close_request(turn, "withdrawn", reason="another sign request came"), operation)
    return refuse_node(turn, tag, BUSY)


def _refuse_mismatch(turn: Turn, tag: Tag, raw: str, mismatch: str) -> Turn:
    turn = refuse_mismatch(turn, tag, raw, mismatch)
    return fail(turn, Code.SIGN_REQUEST_MISMATCH, f"the node asks to sign something else: {mismatch}")


def refuse_unreadable(turn: Turn, tag: Tag, raw: str, sentence: str) -> Turn:
    """The node waits for a signature under what nobody can read."""
    if turn.operation is None or not _is_awaited(turn.operation, tag):
        return _refuse_unexpected(turn, tag, raw)
    return _refuse_mismatch(turn, tag, raw, sentence)


def answer(turn: Turn, opened: OpenRequest, replied: SignReplied) -> Turn:
    """A signer's reply to the open request of our own command."""
    match replied.verdict:
        case Signed() as signed:
            denied = deny_forward(turn, opened)
            if denied is not None:
                turn = refuse_node(close_request(turn, "denied", sentence=denied), opened.tag, DECLINED)
                return deny(turn, "forward", denied)
            turn = forward(turn, opened, signed, replied.author)
            again = turn.now + _patience(turn)
            return turn.set_operation(stage=Stage.SIGNED_SENT, since=turn.now, recheck_at=again)
        case Declined(reason):
            turn = refuse_node(close_request(turn, REFUSED, reason=reason), opened.tag, DECLINED)
            return fail(turn, Code.SIGN_REFUSED, f"the signer refused: {reason}")
        case BadReply() as bad:
            turn = count_bad_reply(turn, opened, replied, bad)
            if opened.bad_replies + 1 < MAX_BAD_REPLIES:
                return turn
            turn = refuse_node(close_request(turn, "misbehaved"), opened.tag, DECLINED)
            unsupported = bad.code is Code.UNSUPPORTED_SIGNATURE
            code = Code.UNSUPPORTED_SIGNATURE if unsupported else Code.SIGNER_MISBEHAVED
            return fail(turn, code, f"{MAX_BAD_REPLIES} replies failed the checks: the last by {bad.reason}")
        case _:
            assert_never(replied.verdict)


def _patience(turn: Turn) -> float:
    """Until the node is asked what became of our signature; one that answers nothing is waited for past its timers."""
    if turn.operation is None or turn.terms.answers_live:
        return PATIENCE_SECONDS
    return longest_wait(turn.operation)


def lapse(turn: Turn, opened: OpenRequest) -> Turn:
    """The deadline passed without a reply: refuse, never just forget."""
    turn = refuse_node(close_request(turn, "expired"), opened.tag, BUSY)
    return fail(turn, Code.SIGN_TIMEOUT, "no signer answered before the deadline")


def void(turn: Turn, operation: Operation, evidence: str = "", *, is_exposed: bool = True, took: float = 0.0) -> Turn:
    """The attempt came to nothing: the command waits at the head of its line again.

    If our signature was out by then it stays remembered: that very transaction may yet be co-signed. Unless the
    node is known to have kept it to itself.
    """
    turn = abandon(turn, operation, evidence, is_exposed=is_exposed)
    turn = pause(turn, took)
    return turn.set_operation(
        stage=Stage.JOURNALED,
        since=turn.now,
        not_before=turn.state.pause_until,
        request_id=None,
        recheck_at=None,
        is_half_signed=False,
        transaction=None,
        signed_before=operation.handed_over if is_exposed else operation.signed_before,
    )


def pause(turn: Turn, took: float = 0.0) -> Turn:
    """Each conflict after another makes the next trigger wait longer (rule 8).

    `took`: how long the attempt had lived when it met another. Two sides whose pauses are shorter than that, because
    their signers are slow, meet again and again. So the initiator goes first, and the responder after the time an
    operation takes here.
    """
    seconds = min(max(turn.state.pause * 2, FIRST_PAUSE, took * 2, turn.state.pace * 2), LONGEST_PAUSE)
    share = 0.25 + 0.25 * _spread(turn) if turn.is_initiator else 1.0 + 0.5 * _spread(turn)
    return turn.set(pause=seconds, pause_until=turn.now + max(FIRST_PAUSE, seconds * share))


def let_return(turn: Turn) -> Turn:
    """Nothing is triggered until a peer that was away has had its chance: else it is shut out for two minutes more."""
    return turn.set(pause_until=max(turn.state.pause_until, turn.now + RETURN_SECONDS))


def give_way(turn: Turn, operation: Operation) -> Turn:
    """Ours is through after it had met the peer's: the next turn is his, for as long as one takes."""
    took = turn.now - operation.triggered_at
    turn = turn.set(pace=took)
    if not operation.collisions:
        return turn
    return turn.set(pause_until=turn.now + min(max(took * 1.5, FIRST_PAUSE), LONGEST_PAUSE))


def _spread(turn: Turn) -> float:
    """Between 0 and 1, another for each side and attempt: two sides that met must not meet again in step.

    Drawn from what the state counts anyway, so that the same step still gives the same result.
    """
    mark = f"{turn.terms.name}:{turn.state.next_request}:{turn.state.round}"
    return int.from_bytes(blake2b(mark.encode(), digest_size=4).digest(), "big") / 2**32


def refused_by_node(turn: Turn, operation: Operation, refused: RequestRefused) -> Turn:
    """The node would not even begin: an error answer to our trigger."""
    if isinstance(operation.command, Message) and operation.command.is_letter and operation.attempt > 1:
        return end_unknown(turn, "the node refuses the message now, and may have taken it before")
    if "conflict" in refused.reasons:
        # Older nodes answer a second request so, besides the conflict they report to both sides.
        return retry_or_fail(turn, operation, Conflicted(round=turn.state.round, raw=refused.raw))
    if "not_ready" in refused.reasons and operation.attempt < MOST_TRIGGERS:
        return void(turn, operation)  # the funding is not locked yet: `open` may have gone to a lost socket
    reasons = ", ".join(refused.reasons) or "no reason given"
    insufficient = "insufficient_balance" in refused.reasons
    code = Code.INSUFFICIENT_BALANCE if insufficient else Code.NODE_REJECTED
    data = {"node_codes": list(refused.codes), "node_reasons": list(refused.reasons)}
    return fail(turn, code, f"the node refused the request: {reasons}", data=data)


def is_answer(turn: Turn, operation: Operation, refused: RequestRefused) -> bool:
    """Whether an error answers our trigger. Legacy errors have no id: they belong to the trigger on its way."""
    if operation.stage is not Stage.SENT or operation.is_to_repeat:
        return False
    if turn.terms.dialect.is_legacy:
        return True
    return refused.request_id == operation.request_id


def conflict(turn: Turn, operation: Operation, conflicted: Conflicted) -> Turn:
    """The node says the operation is void. What that means depends on whether a signature of ours is out."""
    if operation.stage is Stage.IN_DOUBT and _is_refusal(operation, conflicted):
        return retry_or_fail(turn, operation, conflicted)
    if operation.is_half_signed:
        return turn.set_operation(is_half_signed=False)  # whatever became of it, the node has let go of it
    if operation.stage in (Stage.JOURNALED, Stage.IN_DOUBT) or isinstance(operation.command, Message):
        return turn  # what is in doubt is settled by a state, never by somebody's word about another operation
    if operation.stage in NO_SIGNATURE:
        return retry_or_fail(turn, operation, conflicted)
    if conflicted.code == TIMEOUT_CODE:
        return doubt(turn, Code.PEER_TIMEOUT, "the peer did not answer in time; it may still hold the state")
    return retry_or_fail(turn, operation, conflicted)


def _is_refusal(operation: Operation, conflicted: Conflicted) -> bool:
    """Of a transaction on its way to the chain: the FSM does nothing else until that is locked or refused."""
    is_refusal = conflicted.code != TIMEOUT_CODE and conflicted.round == operation.base_round
    return operation.doubt is Code.AWAITING_CHAIN and is_refusal


def retry_or_fail(turn: Turn, operation: Operation, conflicted: Conflicted, *, was_cut: bool = False) -> Turn:
    """The attempt is void. A transfer goes to the head of its line again; whatever was signed stays remembered.

    Of a gap, what cut our link has often cut the peer's: a conflict soon after it says that the peer takes over, not
    that two proposals met. It counts as an attempt only. So does one whose report went to a lost socket and was read
    in the node's memory (`was_cut`), and that one, where it is not retried, proves no more than that nothing happened.
    """
    retried = isinstance(operation.command, Transfer | Checkpoint) and conflicted.code in RETRIED_CODES
    by_gap = was_cut or operation.triggered_at < turn.state.back_at + UNSETTLED_SECONDS
    has_room = operation.attempt < MOST_TRIGGERS if by_gap else operation.collisions < turn.terms.conflict_retries
    if retried and turn.terms.conflict_retries and has_room:
        turn = turn.set_operation(collisions=operation.collisions + (not by_gap))
        evidence = f"conflict {conflicted.code} at round {conflicted.round}"
        return void(turn, operation, evidence, took=turn.now - operation.triggered_at)
    data = {"node_code": conflicted.code, "attempts": operation.attempt}
    if conflicted.code == ONCHAIN_CODE:
        return fail(turn, Code.ONCHAIN_REJECTED, "the chain refused the transaction", data=data)
    if conflicted.code in RETRIED_CODES or operation.stage in NO_SIGNATURE:
        code = Code.NOT_APPLIED if was_cut else Code.CONFLICT
        return fail(turn, code, f"the operation met another one ({conflicted.message})", data=data)
    return fail(turn, Code.PEER_REFUSED, f"the peer refused ({conflicted.message})", data=data)


def cosigned(turn: Turn, operation: Operation, transaction: Transaction, *, is_owner: bool) -> Turn:
    """A new co-signed state while our operation is out. `is_owner`: it is this operation's."""
    if is_owner:
        return succeed(give_way(turn, operation), hash_=transaction.hash)
    if operation.stage not in (Stage.SIGNED_SENT, Stage.IN_DOUBT):
        return turn
    if transaction.round is not None and transaction.round > operation.base_round:
        return fail(turn, Code.SUPERSEDED, "another transaction was co-signed at that round")
    return turn


def apply_moves(turn: Turn, operation: Operation, transaction: Transaction) -> Turn:
    """The balances after our own operation was co-signed as that transaction."""
    moved = own_moves(turn.terms, operation.command, transaction)
    return turn if moved is None else shift(turn, moved)


def shift(turn: Turn, moved: tuple[int, int]) -> Turn:
    state = turn.state
    if state.initiator_balance is None or state.responder_balance is None:
        return turn
    return turn.set(
        initiator_balance=state.initiator_balance + moved[0],
        responder_balance=state.responder_balance + moved[1],
    )


def watch(turn: Turn, operation: Operation) -> Turn:
    """What time alone does to an attempt (rule 6, and messages nobody acknowledges)."""
    if operation.stage is not Stage.SENT or operation.is_to_repeat or turn.now < watched_until(turn.terms, operation):
        return turn
    if isinstance(operation.command, Message):
        sentence = "the node did not say whether it took the message"
        may_learn = operation.attempt < MOST_TRIGGERS and turn.terms.dialect is not Dialect.LEGACY_SEED
        return say_again(turn, operation, sentence) if may_learn else end_unknown(turn, sentence)
    if turn.terms.dialect.is_legacy:
        return fail(turn, Code.TRIGGER_LOST, "the node never asked for a signature")
    if turn.state.has_asked(Purpose.PROBE):
        return turn
    return probe(turn, OWN_TAGS[type(operation.command)])


def watched_until(terms: Terms, operation: Operation) -> float:
    """How long a trigger may stay without a sign request, or a message without its receipt."""
    if isinstance(operation.command, Message):
        return operation.since + (RECEIPT_SECONDS if terms.dialect.is_legacy else terms.trigger_seconds)
    return operation.since + terms.trigger_seconds * (LEGACY_PATIENCE if terms.dialect.is_legacy else 1)


def probe(turn: Turn, tag: Tag) -> Turn:
    """Ask by refusing: `ok` means it was pending and is now void, 1018 means it was not pending."""
    return turn.ask(lambda request_id: Refuse(request_id, tag, BUSY), Purpose.PROBE)


def probed(turn: Turn, operation: Operation, *, was_pending: bool) -> Turn:
    """The probe's answer for our own operation."""
    earlier = turn.state.suspended
    has_lapsed = earlier is not None and earlier.cause == "command" and turn.now >= earlier.deadline
    if operation.stage in NO_SIGNATURE and has_lapsed:
        return fail(turn, Code.SIGN_TIMEOUT, "no signer answered before the deadline")
    if operation.stage in NO_SIGNATURE and operation.attempt >= MOST_TRIGGERS:
        turn = close_request(turn, "withdrawn", reason="the attempt was voided")
        return fail(turn, Code.TRIGGER_LOST, f"{operation.attempt} attempts, and the node never went on with one")
    if operation.stage in NO_SIGNATURE:
        return void(close_request(turn, "withdrawn", reason="the attempt was voided"), operation)
    if was_pending:
        if isinstance(operation.command, Transfer | Checkpoint):
            # The node still waited for it, so this signature reached nobody and exposes nothing.
            return void(turn, operation, "probe: it was still pending", is_exposed=False)
        return never_delivered(turn, Code.NOT_APPLIED, "the node never passed our signature on")
    return turn
