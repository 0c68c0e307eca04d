"""The end of a channel's life: the close is confirmed, by the node or by the chain itself.

A node forgets a channel that is closed. A bridge that was away at that moment finds nobody to ask but the chain.
A mutual close pays out what both agreed on, so what was in doubt before it has not happened. One party alone may
close with any state it holds co-signed: then what was paid out tells which state that was.
"""

from bridge.channel import proposal
from bridge.channel.agreement import adopt
from bridge.channel.check import Moves, moves, own_moves
from bridge.channel.command import Message, Shutdown
from bridge.channel.effect import Rest
from bridge.channel.input import CloseSeen
from bridge.channel.operation import doubt, end_unknown, fail, succeed
from bridge.channel.request import Tag
from bridge.channel.signature import close_request
from bridge.channel.state import Exposure, Operation, Phase, Stage, State
from bridge.channel.transaction import Kind, Transaction
from bridge.channel.turn import Turn
from bridge.errors import Code


def pending_close(state: State) -> Transaction | None:
    """A close we signed and have not seen confirmed."""
    if state.phase is Phase.CLOSED:
        return None
    for operation in state.operations:
        if _is_signed_close(operation) and operation.transaction is not None:
            return operation.transaction
    return next((s.transaction for s in state.acknowledged if s.tag is Tag.SHUTDOWN_ACK), None)


def _is_signed_close(operation: Operation) -> bool:
    return isinstance(operation.command, Shutdown) and operation.stage in (Stage.SIGNED_SENT, Stage.IN_DOUBT)


def close_seen(turn: Turn, seen: CloseSeen) -> Turn:
    """The chain has it: nothing more is to be had from the node."""
    pending = pending_close(turn.state)
    if pending is None or pending.hash != seen.hash:
        return turn
    turn = turn.publish("info", "closed_on_chain", tx_hash=seen.hash)
    return close(turn.set(mined_close=turn.state.mined_close or pending)).do(Rest())


def close(turn: Turn) -> Turn:
    """Confirmed on chain: the channel's life ends, and so does whatever waited for it."""
    pending = pending_close(turn.state)
    turn = close_request(turn.set(phase=Phase.CLOSED), "withdrawn", reason="the channel is closed")
    final = turn.state.mined_close or pending  # reports may be lost: then it is the close we signed
    if final is not None and final.kind is Kind.SETTLE:
        turn = _settle_solo(turn, final)
    elif final is not None:
        turn = _settle_mutual(turn, final)
    turn = turn.set(settling=None)
    operation = turn.operation
    if operation is None or operation.stage in (Stage.JOURNALED, Stage.IN_DOUBT):
        return turn
    if operation.stage is Stage.SIGNED_SENT:
        return doubt(turn, Code.AWAITING_CHAIN, "the channel was closed, and nothing says with which state")
    if isinstance(operation.command, Message):
        return end_unknown(turn, "the channel was closed before the node said whether it took the message")
    return fail(turn, Code.CHANNEL_CLOSED, "the channel was closed without it")


def _settle_mutual(turn: Turn, final: Transaction) -> Turn:
    """What both agreed on was paid out: of all that was signed before only this close has happened."""
    signed = proposal.find_signed(turn.state, final.hash)
    return _end_all(turn if signed is None else proposal.settle(turn, signed.transaction), final)


def _settle_solo(turn: Turn, final: Transaction) -> Turn:
    """One party closed alone, and what was paid out is what the state it used had in it (observed)."""
    state = turn.state
    if state.initiator_balance is None or state.responder_balance is None:
        return turn
    if final.initiator_amount is None or final.responder_amount is None:
        return turn
    change = final.initiator_amount - state.initiator_balance, final.responder_amount - state.responder_balance
    if change == (0, 0):
        return _end_all(turn, final)
    used = _find_used(turn, change)
    return _tell_unexplained(turn, final) if used is None else _end_all(adopt(turn, used, is_at_hand=False), final)


def _find_used(turn: Turn, change: Moves) -> Transaction | None:
    """What the state beyond ours was made of: it bears our signature, whatever we told of it, and moves so much."""
    state = turn.state
    ours = [(held, own_moves(turn.terms, operation.command, held)) for operation, held in state.handed_over]
    ours += [(given.transaction, moves(turn.terms, given.transaction, given.updates)) for given in state.acknowledged]
    ours += [(_stand_in(told), told.moved) for told in (*state.exposures, *state.vouched) if told.nonce is None]
    return next((held for held, moved in ours if held.round == state.round + 1 and moved == change), None)


def _stand_in(told: Exposure) -> Transaction:
    """Of what came to nothing, or was vouched for, only this much is kept."""
    return Transaction("", wrapped=False, kind=Kind.OFFCHAIN, hash=told.hash, round=told.round)


def _tell_unexplained(turn: Turn, final: Transaction) -> Turn:
    """An older state perhaps, against which nobody protested in time. What is in doubt stays so."""
    state = turn.state
    return turn.publish(
        "alarm",
        Code.FOREIGN_STATE.value,
        sentence=f"one side closed alone: it paid out {final.initiator_amount} and {final.responder_amount}, round "
        f"{state.round} has {state.initiator_balance} and {state.responder_balance}, and nothing we signed explains it",
        round=state.round,
        tx_hash=final.hash,
        signed_tx=final.text,
    )


def _end_all(turn: Turn, final: Transaction) -> Turn:
    """Every operation beyond the line, now that it is known which state was paid out."""
    for operation in turn.state.operations:
        if operation.stage not in (Stage.SIGNED_SENT, Stage.IN_DOUBT):
            continue
        running, others = turn.operation, tuple(one for one in turn.state.parked if one is not operation)
        turn = turn.set(operation=operation, parked=others)
        signed = operation.transaction
        is_final = signed is not None and signed.hash == final.hash
        turn = succeed(turn) if is_final else fail(turn, Code.NOT_APPLIED, "the channel was closed without it")
        turn = turn.set(operation=None if running is operation else running)
    return turn
