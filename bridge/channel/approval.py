"""People agree first: the question to the approvers, their answers, and what becomes of it.

Asked for before the node is asked, while the command is at the head of its line, or before a signer sees a proposal
of the peer that takes much from us. An answer counts once, for this question only, from a user the policy names and
never from who asked. What follows from it is decided where the command or the proposal stands. Source:
guarantees.md 5.3.
"""

from dataclasses import replace
from typing import Any

from bridge.channel.effect import RefuseApproval
from bridge.channel.identifier import ApprovalRequestId
from bridge.channel.input import ApprovalGiven
from bridge.channel.policy import is_granted
from bridge.channel.state import Approval, Operation, State
from bridge.channel.turn import Turn
from bridge.errors import Code


def ask(turn: Turn, body_hash: str, requester: str, seconds: float, **data: Any) -> tuple[Turn, Approval]:
    """The question, told to the approvers with what they decide on (`data`). Keep what is returned with its cause."""
    number = turn.state.next_approval
    request_id = ApprovalRequestId(f"{turn.terms.name}.a{number}.{body_hash[:16]}")
    approval = Approval(request_id, body_hash, requester, turn.now + seconds)
    policy = turn.terms.policy
    return turn.set(next_approval=number + 1).publish(
        "command",
        "approval_requested",
        approval_request_id=request_id,
        body_hash=body_hash,
        requester=requester or None,
        needed=policy.approvals,
        approvers=sorted(policy.approvers - {requester}),
        deadline=approval.deadline,
        **data,
    ), approval


def ask_for_command(turn: Turn, operation: Operation) -> Turn:
    """The approvers see the whole command."""
    command = operation.command
    turn, approval = ask(
        turn,
        operation.body_hash,
        operation.author,
        turn.terms.policy.approval_timeout,
        cause="command",
        command_id=command.command_id,
        command=command.kind,
        body=command.model_dump(mode="json", by_alias=True, exclude_none=True),
    )
    return turn.set_operation(approval=approval)


def receive(turn: Turn, given: ApprovalGiven) -> Turn:
    """Count an answer, or tell its author why not. The same answer twice is one."""
    approval = _find(turn.state, given.approval_request_id)
    refusal = _refuse(turn, approval, given)
    if refusal is not None:
        return _tell_refused(turn, given, *refusal)
    assert approval is not None  # noqa: S101  # refused above
    if given.is_approved and given.author in approval.approved_by:
        return turn
    if given.is_approved:
        answered = replace(approval, approved_by=(*approval.approved_by, given.author))
    else:
        answered = replace(approval, denied_by=given.author, reason=given.reason)
    return _replace(turn, answered).publish(
        "command",
        "approval_given" if given.is_approved else "approval_denied",
        approval_request_id=approval.approval_request_id,
        body_hash=approval.body_hash,
        by=given.author,
        reason=given.reason or None,
        given=len(answered.approved_by),
        needed=turn.terms.policy.approvals,
    )


def close(before: State, turn: Turn) -> Turn:
    """After a step: a question whose cause is gone is settled, so that an answer that comes now is told so."""
    now = {approval.approval_request_id for approval in _all(turn.state)}
    gone = [one.approval_request_id for one in _all(before) if one.approval_request_id not in now]
    return turn.set(closed_approval=gone[-1]) if gone else turn


def _refuse(turn: Turn, approval: Approval | None, given: ApprovalGiven) -> tuple[Code, str] | None:
    """Who may not answer learns nothing else."""
    policy = turn.terms.policy
    if given.author not in policy.approvers:
        return Code.FORBIDDEN, "the policy of this channel does not name you as an approver"
    if approval is None:
        if given.approval_request_id == turn.state.closed_approval:
            return Code.APPROVAL_LATE, "the request was settled before"
        return Code.APPROVAL_UNKNOWN, "no such approval is asked for on this channel"
    if given.author == approval.requester:
        return Code.FORBIDDEN, "nobody approves what he asked for himself"
    if given.body_hash != approval.body_hash:
        return Code.APPROVAL_MISMATCH, "the request is for another body hash"
    if approval.denied_by or is_granted(policy, approval):
        return Code.APPROVAL_LATE, "the request was settled before"
    if turn.now >= approval.deadline:
        return Code.APPROVAL_LATE, "the deadline has passed"
    return None


def _tell_refused(turn: Turn, given: ApprovalGiven, code: Code, reason: str) -> Turn:
    turn = turn.do(RefuseApproval(given.approval_request_id, given.author, code, reason))
    return turn.publish(
        "command",
        "approval_refused",
        approval_request_id=given.approval_request_id,
        by=given.author,
        code=code,
        sentence=reason,
    )


def _all(state: State) -> tuple[Approval, ...]:
    """Of the head of the line, of what it went past, of a proposal."""
    causes = (*state.operations, state.open_request, state.suspended)
    return tuple(cause.approval for cause in causes if cause is not None and cause.approval is not None)


def _find(state: State, request_id: ApprovalRequestId) -> Approval | None:
    return next((one for one in _all(state) if one.approval_request_id == request_id), None)


def _replace(turn: Turn, answered: Approval) -> Turn:
    """The answer goes where the question stands."""
    for index, operation in enumerate(turn.state.parked):
        if operation.approval is not None and operation.approval.approval_request_id == answered.approval_request_id:
            parked = list(turn.state.parked)
            parked[index] = replace(operation, approval=answered)
            return turn.set(parked=tuple(parked))
    for name in ("operation", "open_request", "suspended"):
        cause = getattr(turn.state, name)
        if cause is None or cause.approval is None:
            continue
        if cause.approval.approval_request_id == answered.approval_request_id:
            return turn.set(**{name: replace(cause, approval=answered)})
    return turn
