"""Our own commands on their way to the node: the head of the line, its checks, its trigger, its ending.

What the node then makes of an attempt is `attempt`.
"""

from datetime import UTC, datetime
from typing import Any, assert_never

from bridge.channel import letter
from bridge.channel.approval import ask_for_command
from bridge.channel.check import own_moves
from bridge.channel.command import Checkpoint, Command, Deposit, Message, Shutdown, Transfer, Withdraw
from bridge.channel.effect import Abandon, Conclude, Send
from bridge.channel.exposure import is_waiting, tell_waiting
from bridge.channel.identifier import Account, CommandId, RequestId, TransactionHash
from bridge.channel.policy import command_key, cost, deny_command, describe, is_granted, needs_approval
from bridge.channel.request import (
    AskBalances,
    AskDeposit,
    AskShutdown,
    AskTransfer,
    AskWithdraw,
    NodeRequest,
    SendMessage,
)
from bridge.channel.signature import drop_suspended
from bridge.channel.state import UNSETTLED, Exposure, Operation, Phase, Purpose, Stage, State
from bridge.channel.terms import Dialect, Terms
from bridge.channel.transaction import Transaction
from bridge.channel.turn import Turn
from bridge.errors import Code, Outcome

META_PREFIX = "channel-bridge:"
RECHECK_SECONDS = 5.0
"""When to ask the node again how something stands whose report is known to be lost."""
PATIENCE_SECONDS = 10.0
"""How long a report of what we signed may take before the node is asked; signers of the peer may take longer."""
PEER_SECONDS, CHAIN_SECONDS = 150.0, 420.0
"""Between two looks at what is waited for: longer than `timeout_accept` (120 s) and `timeout_funding_lock` (360 s).

Each question starts the FSM's timer anew (protocol.md F.1): asked too often, a wait for a silent peer never ends.
"""


def longest_wait(operation: Operation) -> float:
    """Seconds after our signature in which the node would have said something, however slow the peer or the chain."""
    return PEER_SECONDS if isinstance(operation.command, Transfer | Checkpoint) else CHAIN_SECONDS


def take(turn: Turn, command: Command, author: str = "", body_hash: str = "") -> Turn:
    """The head of the line enters the state. Whether it can run at once is `advance`'s business.

    An operator's checkpoint goes past what waits or is in doubt, a transfer past what is in doubt. In a channel that
    is over a command is answered at once, beside whatever is still in doubt there.
    """
    over = _refuse_over(turn)
    if over is not None:
        code, sentence = over
        command_id = CommandId(command.command_id)
        return turn.conclude(Conclude(command_id, command, Outcome.FAILED, code, sentence, turn.state.round or None))
    if turn.operation is not None:
        is_checkpoint = isinstance(command, Checkpoint)
        if is_checkpoint and isinstance(turn.operation.command, Checkpoint):
            return turn.conclude(Conclude(CommandId(command.command_id), command, Outcome.FAILED, *_ONE_CHECKPOINT))
        what = "an operator's checkpoint" if is_checkpoint else "the next transfer"
        turn = give_up(turn, turn.operation, f"{what} goes past it")
        turn = turn.set(parked=(*turn.state.parked, turn.operation))
    turn = turn.set(operation=Operation(command, since=turn.now, author=author, body_hash=body_hash))
    reason = _refuse_early(turn, command)
    return turn if reason is None else fail(turn, *reason)


def _refuse_early(turn: Turn, command: Command) -> tuple[Code, str] | None:
    has_fee = getattr(command, "fee", None) is not None
    if turn.terms.dialect.is_legacy and (has_fee or bool(getattr(command, "meta", None))):
        return Code.UNSUPPORTED_IN_DIALECT, "the legacy dialect has no word for a fee or a meta text"
    return _refuse_parties(turn, command)


def _refuse_parties(turn: Turn, command: Command) -> tuple[Code, str] | None:
    match command:
        case Transfer():
            parties = {command.from_account, command.to_account}
            if parties != {turn.terms.initiator, turn.terms.responder}:
                return Code.INVALID_ADDRESS, "a transfer goes between the two parties of the channel"
        case Message():
            if command.to_account != turn.terms.peer:
                return Code.INVALID_ADDRESS, "a message goes to the other party of the channel"
        case Deposit() | Withdraw() | Shutdown() | Checkpoint():
            pass
        case _:
            assert_never(command)
    return None


def advance(turn: Turn) -> Turn:
    """Run the head of the line if this is the moment: nothing else outstanding, and the channel answers."""
    if turn.operation is None and turn.state.parked:
        *others, latest = turn.state.parked
        turn = turn.set(operation=latest, parked=tuple(others))
    operation = turn.operation
    if operation is not None and operation.is_to_repeat:
        return _repeat(turn, operation)
    if operation is None or operation.stage is not Stage.JOURNALED:
        return turn
    reason = _refuse_now(turn, operation)
    if reason is not None:
        return fail(turn, *reason)
    denied = deny_command(turn, operation)
    if denied is not None:
        return deny(turn, "trigger", denied)
    if needs_approval(turn.terms, operation.command) and not is_granted(turn.terms.policy, operation.approval):
        return _await_approval(turn, operation)
    not_before = max(operation.not_before, turn.state.pause_until)
    if not turn.state.is_ready or turn.now < not_before or is_busy(turn) or _waits_for_union(turn, operation):
        return turn
    return tell_waiting(turn, operation) if is_waiting(turn, operation) else trigger(turn, operation)


def _repeat(turn: Turn, operation: Operation) -> Turn:
    """A letter the node may have taken already is not judged again: whatever refused it now would not be the truth."""
    if operation.command.is_expired(datetime.fromtimestamp(turn.now, UTC)):
        return end_unknown(turn, "its expires_at has passed before the node said that it took the message")
    if not turn.state.is_ready or turn.now < turn.state.pause_until or is_busy(turn):
        return turn
    return trigger(turn, operation)


def _waits_for_union(turn: Turn, operation: Operation) -> bool:
    """The peer stands a round above us: only a checkpoint of an operator's may show whether that is so."""
    return bool(turn.state.split_round) and not isinstance(operation.command, Checkpoint)


def deny(turn: Turn, at: str, sentence: str) -> Turn:
    """The policy forbids it, before the `trigger` or before the `forward` of its signature."""
    operation = _ending(turn)
    turn = turn.publish(
        "command",
        "policy_denied",
        command_id=operation.command.command_id,
        command=operation.command.kind,
        at_stage=at,
        sentence=sentence,
    )
    return fail(turn, Code.POLICY_DENIED, sentence)


def _await_approval(turn: Turn, operation: Operation) -> Turn:
    """Ask once, then wait for enough of them, a refusal, or the deadline."""
    approval = operation.approval
    if approval is None:
        return ask_for_command(turn, operation)
    if approval.denied_by:
        refused = {"refused_by": approval.denied_by, "reason": approval.reason}
        sentence = f"an approver refused: {approval.reason or 'no reason given'}"
        return fail(turn, Code.APPROVAL_DENIED, sentence, data=refused)
    if turn.now < approval.deadline:
        return turn
    given, needed = len(approval.approved_by), turn.terms.policy.approvals
    sentence = f"{given} of {needed} approvals came before the deadline"
    return fail(turn, Code.APPROVAL_TIMEOUT, sentence, data={"approved_by": list(approval.approved_by)})


def may_enter(terms: Terms, state: State, kind: str) -> bool:
    """Whether the head of the line, a command of that kind, may enter the state."""
    operation = state.operation
    if operation is None or state.is_over:
        return True
    if kind == Transfer.kind:
        return is_passable(terms, operation) and not state.split_round and _is_asked(state)
    return kind == Checkpoint.kind and operation.stage in (Stage.JOURNALED, Stage.IN_DOUBT)


def _is_asked(state: State) -> bool:
    """Whether the node has said where it stands, and nothing that may settle something is open."""
    return state.is_ready and not state.has_asked(*UNSETTLED)


def is_passable(terms: Terms, operation: Operation) -> bool:
    """Whether the next payment, of either side, may settle what became of this one (docs/adr/0026).

    The node has been asked, and stands at the round before it with nothing of it in hand, so the next state co-signed
    takes its round: there is no other evidence. A legacy node cannot be asked, and the chain tells of what goes there.
    """
    is_off_chain = isinstance(operation.command, Transfer | Checkpoint)
    can_pass = is_off_chain and not operation.is_half_signed and not terms.dialect.is_legacy
    return operation.stage is Stage.IN_DOUBT and can_pass


_ONE_CHECKPOINT = (
    Code.CHANNEL_BUSY,
    "a checkpoint is on its way or in doubt already: a later state or `resolve` settles it",
)


def is_busy(turn: Turn) -> bool:
    """Rule 1: one thing outstanding a channel, in either direction."""
    state = turn.state
    asking = state.has_asked(*UNSETTLED, Purpose.QUERY)
    return state.open_request is not None or state.settling is not None or asking


def _refuse_now(turn: Turn, operation: Operation) -> tuple[Code, str] | None:
    """What can end a waiting command: time, a closed channel, or a round that has moved on."""
    command, state = operation.command, turn.state
    if command.is_expired(datetime.fromtimestamp(turn.now, UTC)):
        return Code.EXPIRED, "the command's expires_at has passed before it was its turn"
    over = _refuse_over(turn)
    if over is not None:
        return over
    if state.is_ready and command.expect_round is not None and command.expect_round != state.round:
        return Code.ROUND_MISMATCH, f"the channel is at round {state.round}, not {command.expect_round}"
    return None


def _refuse_over(turn: Turn) -> tuple[Code, str] | None:
    """A channel that takes no operation any more."""
    if turn.state.phase in (Phase.CLOSING, Phase.CLOSED):
        return Code.CHANNEL_CLOSED, "the channel is closed or closing"
    if turn.state.phase is Phase.LOST:
        return Code.CHANNEL_NOT_OPEN, "the channel is lost: only an operator can settle it"
    return None


def trigger(turn: Turn, operation: Operation) -> Turn:
    """F2: the attempt and its base round are stored, then the node is asked."""
    turn, request = turn.number(lambda request_id: _request(turn, operation.command, request_id))
    key, amount = command_key(operation.command.command_id), cost(turn.terms, operation.command)
    turn = turn.set(outflow=turn.state.outflow.hold(key, amount))
    turn = turn.set_operation(
        stage=Stage.SENT,
        attempt=operation.attempt + 1,
        base_round=turn.state.round,
        request_id=request.request_id,
        since=turn.now,
        triggered_at=turn.now,
        transaction=None,
        doubt=None,
        recheck_at=None,
    )
    turn = turn.do(Send(request))
    if isinstance(operation.command, Message) and turn.terms.dialect is Dialect.LEGACY_LATE:
        # That dialect acknowledges no message. One socket is read in order, so the answer to a question put
        # behind the message shows that the node has read it.
        turn = turn.ask(lambda request_id: AskBalances(request_id, (turn.terms.own,)), Purpose.RECEIPT)
    return turn.publish(
        "command",
        "started",
        command_id=operation.command.command_id,
        command=operation.command.kind,
        attempt=operation.attempt + 1,
        approved_by=[] if operation.approval is None else list(operation.approval.approved_by),
        outflow=describe(turn),
    )


def _request(turn: Turn, command: Command, request_id: RequestId) -> NodeRequest:
    match command:
        case Transfer():
            sender, receiver = Account(command.from_account), Account(command.to_account)
            return AskTransfer(request_id, sender, receiver, command.amount, _meta(turn, command, request_id))
        case Checkpoint():
            return AskTransfer(request_id, turn.terms.own, turn.terms.peer, 0, _meta(turn, command, request_id))
        case Deposit():
            return AskDeposit(request_id, command.amount, command.fee)
        case Withdraw():
            return AskWithdraw(request_id, command.amount, command.fee)
        case Shutdown():
            return AskShutdown(request_id, command.fee)
        case Message():
            return SendMessage(request_id, turn.terms.peer, letter.write(command))
        case _:
            assert_never(command)


def sent_meta(turn: Turn, operation: Operation) -> tuple[str, ...]:
    """The meta texts the present attempt was triggered with."""
    command, request_id = operation.command, operation.request_id
    if request_id is None or not isinstance(command, Transfer | Checkpoint):
        return ()
    return _meta(turn, command, request_id)


def _meta(turn: Turn, command: Transfer | Checkpoint, request_id: RequestId) -> tuple[str, ...]:
    """The caller's texts and the number of our attempt; legacy updates carry none."""
    if turn.terms.dialect.is_legacy:
        return ()
    texts = command.meta if isinstance(command, Transfer) else ()
    return (*texts, f"{META_PREFIX}{request_id}")


def succeed(turn: Turn, *, hash_: TransactionHash | None = None, data: dict[str, Any] | None = None) -> Turn:
    """`hash_`: of the transaction that was co-signed, where it is not the one of the present attempt."""
    operation = _ending(turn)
    if hash_ is None and operation.transaction is not None:
        hash_ = operation.transaction.hash
    return _finish(turn, operation, Outcome.SUCCEEDED, hash_=hash_, data=data)


def abandon(turn: Turn, operation: Operation, evidence: str, *, is_exposed: bool = True) -> Turn:
    """Record why the attempt's signature comes to nothing, if it was forwarded: its round may be signed anew."""
    held = operation.transaction
    if operation.stage not in (Stage.SIGNED_SENT, Stage.IN_DOUBT) or held is None:
        return turn
    command_id = CommandId(operation.command.command_id)
    return turn.do(Abandon(held.round, held.hash, command_id, evidence, is_exposed))


def give_up(turn: Turn, operation: Operation, evidence: str) -> Turn:
    """What is in doubt stays in doubt, but its round may be signed anew: said once, on record."""
    if operation.stage is not Stage.IN_DOUBT or operation.is_passed:
        return turn
    return abandon(turn, operation, evidence).set_operation(is_passed=True)


def fail(turn: Turn, code: Code, sentence: str, *, data: dict[str, Any] | None = None) -> Turn:
    """Definitely not executed. After our signature has left, the peer may still use it: that is exposure."""
    operation = _ending(turn)
    turn = abandon(turn, operation, f"{code.value}: {sentence}")
    exposures = tuple(make_exposure(turn.terms, operation.command, held) for held in operation.handed_over)
    turn = turn.set(exposures=(*turn.state.exposures, *exposures))
    latest = exposures[-1] if exposures else None
    return _finish(turn, operation, Outcome.FAILED, code, sentence, exposure=latest, data=data)


def make_exposure(terms: Terms, command: Command, held: Transaction) -> Exposure:
    """That transaction of the command's, as what the peer may still use."""
    return Exposure(
        CommandId(command.command_id),
        held.round,
        held.hash,
        held.nonce,
        held.ttl,
        held.account,
        own_moves(terms, command, held),
    )


def never_delivered(turn: Turn, code: Code, sentence: str) -> Turn:
    """Failed although we signed, but the node is known to have kept the signature to itself: no exposure."""
    turn = abandon(turn, _ending(turn), "probe: it was still pending", is_exposed=False)
    return fail(turn.set_operation(stage=Stage.AWAITING_SIGN), code, sentence)


def doubt(turn: Turn, code: Code, sentence: str) -> Turn:
    """The outcome is open: said once, the line waits, evidence or an operator settles it."""
    operation = _ending(turn)
    if operation.stage is Stage.IN_DOUBT:
        return turn
    ending = Conclude(
        command_id=CommandId(operation.command.command_id),
        command=operation.command,
        outcome=Outcome.IN_DOUBT,
        code=code,
        sentence=sentence,
        round=turn.state.round,
        hash=None if operation.transaction is None else operation.transaction.hash,
    )
    again = None if turn.terms.dialect is Dialect.LEGACY_SEED else turn.now + RECHECK_SECONDS
    return turn.set_operation(stage=Stage.IN_DOUBT, since=turn.now, doubt=code, recheck_at=again).conclude(ending)


def say_again(turn: Turn, operation: Operation, sentence: str) -> Turn:
    """The node did not say whether it took the message: a letter is given to it again, any other ends with that."""
    is_letter = isinstance(operation.command, Message) and operation.command.is_letter
    return turn.set_operation(request_id=None) if is_letter else end_unknown(turn, sentence)


def end_unknown(turn: Turn, sentence: str) -> Turn:
    """Messages only: the node never said whether it took it."""
    return _finish(turn, _ending(turn), Outcome.UNKNOWN, Code.DELIVERY_UNKNOWN, sentence)


def _ending(turn: Turn) -> Operation:
    assert turn.operation is not None  # noqa: S101  # a caller's bug, not an input
    return turn.operation


def _finish(
    turn: Turn,
    operation: Operation,
    outcome: Outcome,
    code: Code | None = None,
    sentence: str = "",
    *,
    hash_: TransactionHash | None = None,
    exposure: Exposure | None = None,
    data: dict[str, Any] | None = None,
) -> Turn:
    ending = Conclude(
        command_id=CommandId(operation.command.command_id),
        command=operation.command,
        outcome=outcome,
        code=code,
        sentence=sentence,
        round=turn.state.round or None,
        hash=hash_ if exposure is None else exposure.hash,
        exposure=None if exposure is None else describe_exposure(exposure),
        data=data or {},
    )
    turn = turn.set(operation=None)
    if turn.state.suspended is not None and turn.state.suspended.cause == "command":
        turn = drop_suspended(turn, "its command has ended")
    return turn.conclude(ending)


def describe_exposure(exposure: Exposure) -> dict[str, Any]:
    """What clears it: for a transfer a later co-signed round, on chain the nonce's use or the ttl's end."""
    if exposure.nonce is None:
        return {"round": exposure.round, "tx_hash": exposure.hash}
    return {"nonce": exposure.nonce, "ttl": exposure.ttl, "tx_hash": exposure.hash}
