"""An operator's word on what is in doubt, on evidence the bridge cannot see. The last resort, and audited.

Only a command that is in doubt at this moment can be settled so; one that evidence has settled meanwhile keeps
the outcome the evidence gave.
"""

from bridge.channel.effect import Conclude
from bridge.channel.identifier import CommandId
from bridge.channel.input import ResolveDue
from bridge.channel.operation import fail, make_exposure, succeed
from bridge.channel.state import Operation, Stage, State
from bridge.channel.turn import Turn
from bridge.errors import Code, Outcome


def find_doubtful(state: State, command_id: str) -> Operation | None:
    """The command of that id, if it is in doubt."""
    for operation in state.operations:
        if operation.command.command_id == command_id:
            return operation if operation.stage is Stage.IN_DOUBT else None
    return None


def resolve(turn: Turn, due: ResolveDue) -> Turn:
    """Settle the target, then answer the operator. Both outcomes name who decided and why."""
    asked = due.resolve
    command_id = CommandId(asked.command_id)
    target = find_doubtful(turn.state, asked.target)
    if target is None:
        sentence = "the target is not in doubt: evidence may have settled it before"
        return turn.conclude(Conclude(command_id, asked, Outcome.FAILED, Code.SUPERSEDED, sentence))
    running, others = turn.operation, tuple(operation for operation in turn.state.parked if operation is not target)
    decision = {"by": due.author, "outcome": asked.outcome, "reason": asked.reason}
    turn = turn.publish("audit", "resolved", command_id=asked.target, **decision)
    if running is not target:
        turn = turn.set(operation=target, parked=others)
    turn = _settle(turn, due)
    if running is not target:
        turn = turn.set(operation=running)
    return turn.conclude(Conclude(command_id, asked, Outcome.SUCCEEDED, data={"target": asked.target}))


def _vouch(turn: Turn) -> Turn:
    """Remembers what bears our signature: the node may show that very state later, and it is no stranger's."""
    operation = turn.operation
    if operation is None:
        return turn
    held_over = tuple(
        make_exposure(turn.terms, operation.command, held) for held in operation.handed_over if held.round is not None
    )
    return turn.set(vouched=(*turn.state.vouched, *held_over))


def _settle(turn: Turn, due: ResolveDue) -> Turn:
    data = {"resolved_by": due.author, "reason": due.resolve.reason}
    if due.resolve.outcome == "succeeded":
        return succeed(_vouch(turn), data=data)
    return fail(turn, Code.NOT_APPLIED, "an operator has settled it", data=data)
