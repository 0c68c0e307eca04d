"""The end of a channel's life: the mutual close is confirmed, by the node or by the chain itself.

A node forgets a channel that is closed. A bridge that was away at that moment finds nobody to ask but the chain.
"""

from bridge.channel import proposal
from bridge.channel.command import Shutdown
from bridge.channel.effect import Rest
from bridge.channel.input import CloseSeen
from bridge.channel.operation import fail, succeed
from bridge.channel.request import Tag
from bridge.channel.signature import close_request
from bridge.channel.state import Operation, Phase, Stage, State
from bridge.channel.transaction import Transaction
from bridge.channel.turn import Turn
from bridge.errors import Code


def pending_close(state: State) -> Transaction | None:
    """A close we signed and have not seen confirmed."""
    if state.phase is Phase.CLOSED:
        return None
    for operation in state.operations:
        if _is_signed_close(operation) and operation.transaction is not None:
            return operation.transaction
    acknowledged = (*state.given, *(() if state.settling is None else (state.settling,)))
    return next((s.transaction for s in acknowledged if s.tag is Tag.SHUTDOWN_ACK), None)


def _is_signed_close(operation: Operation) -> bool:
    return isinstance(operation.command, Shutdown) and operation.stage in (Stage.SIGNED_SENT, Stage.IN_DOUBT)


def close_seen(turn: Turn, seen: CloseSeen) -> Turn:
    """The chain has it: nothing more is to be had from the node."""
    pending = pending_close(turn.state)
    if pending is None or pending.hash != seen.hash:
        return turn
    turn = turn.publish("info", "closed_on_chain", tx_hash=seen.hash)
    return close(turn).do(Rest())


def close(turn: Turn) -> Turn:
    """Confirmed on chain: the channel's life ends, and so does whatever waited for it."""
    turn = close_request(turn.set(phase=Phase.CLOSED), "withdrawn", reason="the channel is closed")
    acknowledged = (*turn.state.given, *(() if turn.state.settling is None else (turn.state.settling,)))
    for settling in acknowledged:
        if settling.tag is Tag.SHUTDOWN_ACK:
            turn = proposal.settle(turn, settling.transaction)
            break
    turn = turn.set(settling=None)
    operation = turn.operation
    if operation is None or operation.stage is Stage.JOURNALED:
        return turn
    if _is_signed_close(operation):
        return succeed(turn)
    signed = operation.stage in (Stage.SIGNED_SENT, Stage.IN_DOUBT)
    return fail(turn, Code.NOT_APPLIED if signed else Code.CHANNEL_CLOSED, "the channel was closed without it")
