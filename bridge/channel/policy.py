"""The policy of a channel, applied: to our commands and to the peer's proposals, each time with a reason.

Asked before the node is asked, and again before a signature leaves us: a policy that was made stricter meanwhile
counts for what is still under way. Deny by default: what no line of the policy allows is refused. Source:
guarantees.md 5.3.
"""

from bridge.channel.check import Moves, check_proposal, moves
from bridge.channel.command import Checkpoint, Command, Deposit, Message, Shutdown, Transfer, Withdraw
from bridge.channel.effect import Abandon, Conclude, RecordForward
from bridge.channel.outflow import DAY, HOUR
from bridge.channel.request import Tag
from bridge.channel.state import Approval, OpenRequest, Operation, State
from bridge.channel.terms import Policy, Role, Terms
from bridge.channel.transaction import Transaction, Update
from bridge.channel.turn import Turn
from bridge.errors import Outcome

MEETING = (Tag.UPDATE_ACK, Tag.DEPOSIT_ACK)
"""What is not agreed on with a party the policy does not name. Withdrawing and closing lead away from it."""


def command_key(command_id: str) -> str:
    """The name a command's outflow is held under. No command can be named like a proposal."""
    return f"command:{command_id}"


def proposal_key(hash_: str) -> str:
    return f"proposal:{hash_}"


def cost(terms: Terms, command: Command) -> int:
    """What a command gives to the peer, in aettos. Deposits and withdrawals stay ours; fees have their own limit."""
    return command.amount if isinstance(command, Transfer) and command.from_account == terms.own else 0


def loss(terms: Terms, transaction: Transaction, updates: tuple[Update, ...] | None) -> int:
    """What a proposal of the peer takes from us, in aettos."""
    moved: Moves | None = moves(terms, transaction, updates)
    if moved is None:
        return 0
    return max(0, -(moved[0] if terms.role is Role.INITIATOR else moved[1]))


def deny_command(turn: Turn, operation: Operation) -> str | None:
    """Why the policy does not let this command run; None: it does."""
    command = operation.command
    return _deny_kind(turn.terms, command) or _deny_outflow(
        turn, command_key(command.command_id), cost(turn.terms, command)
    )


def _deny_kind(terms: Terms, command: Command) -> str | None:
    policy = terms.policy
    amount, fee = getattr(command, "amount", 0), getattr(command, "fee", None)
    if isinstance(command, Checkpoint):
        return None  # an operator's, and it moves nothing
    if command.kind not in policy.commands:
        return f"the policy of this channel allows no {command.kind}"
    if amount > policy.max_amount:
        return f"the amount is above the policy's {policy.max_amount} aettos"
    if fee is not None and fee > policy.max_fee:
        return f"the fee is above the policy's {policy.max_fee} aettos"
    if isinstance(command, Transfer | Message | Deposit) and not policy.is_counterparty(terms.peer):
        return "the other party is none of the policy's counterparties"
    return None


def _deny_outflow(turn: Turn, key: str, amount: int) -> str | None:
    """The rolling limits, with everything that may still be paid counted as paid."""
    if amount == 0:
        return None
    policy, outflow = turn.terms.policy, turn.state.outflow
    for name, seconds, most in (("hour", HOUR, policy.outflow_per_hour), ("day", DAY, policy.outflow_per_day)):
        before = outflow.within(seconds, turn.now, but=key)
        if before + amount > most:
            return f"{before} aettos went out in the last {name}: {amount} more are above the policy's {most}"
    return None


def deny_proposal(turn: Turn, tag: Tag, transaction: Transaction, updates: tuple[Update, ...] | None) -> str | None:
    """Why the policy does not let a proposal of the peer reach a signer, or its signature leave us."""
    denied = check_proposal(turn.terms, turn.state, tag, transaction, updates)
    if denied is not None:
        return denied
    policy, amount = turn.terms.policy, loss(turn.terms, transaction, updates)
    if tag in MEETING and not policy.is_counterparty(turn.terms.peer):
        return "the other party is none of the policy's counterparties"
    if amount > policy.max_amount:
        return f"it would take {amount} from us, above the policy's {policy.max_amount} aettos"
    return _deny_outflow(turn, proposal_key(transaction.hash), amount)


def needs_approval(terms: Terms, command: Command) -> bool:
    """Whether people must agree: what moves more of ours than the threshold, to wherever."""
    if isinstance(command, Checkpoint | Message | Shutdown):
        return False
    amount = command.amount if isinstance(command, Deposit | Withdraw) else cost(terms, command)
    return is_above(terms.policy, amount)


def is_above(policy: Policy, amount: int) -> bool:
    return policy.approval_threshold is not None and amount > policy.approval_threshold


def is_granted(policy: Policy, approval: Approval | None) -> bool:
    """Enough of those count whom the policy names today."""
    if approval is None or approval.denied_by:
        return False
    return len(policy.approvers.intersection(approval.approved_by)) >= policy.approvals


def describe(turn: Turn) -> dict[str, int]:
    """The figures a decision was made on, for its event: what counts against each limit afterwards."""
    outflow = turn.state.outflow
    return {
        "hour_amount": outflow.within(HOUR, turn.now),
        "day_amount": outflow.within(DAY, turn.now),
    }


def deny_forward(turn: Turn, opened: OpenRequest) -> str | None:
    """The second look, when the signature is there: whether it may still leave us."""
    policy, operation = turn.terms.policy, turn.operation
    if opened.cause == "command" and operation is not None:
        needed, approval = needs_approval(turn.terms, operation.command), operation.approval
        denied = deny_command(turn, operation)
    elif opened.cause == "peer_proposal":
        needed = is_above(policy, loss(turn.terms, opened.transaction, opened.updates))
        approval = opened.approval
        denied = deny_proposal(turn, opened.tag, opened.transaction, opened.updates)
    else:
        return None  # the opening: its amounts and parties are the configuration's own
    if denied is None and needed and not is_granted(policy, approval):
        return "it lacks approvals by those whom the policy names now"
    return denied


def settle(before: State, turn: Turn) -> Turn:
    """After a step: what was held and is under way no longer is paid, or released where it is known not to be."""
    live = _live_keys(turn.state)
    outflow = turn.state.outflow
    for held in outflow.held:
        if held.key not in live:
            void = _is_void(before, turn, held.key)
            outflow = outflow.release(held.key) if void else outflow.spend(held.key, turn.now)
    return turn if outflow is turn.state.outflow else turn.set(outflow=outflow)


def _live_keys(state: State) -> set[str]:
    """All that may still be paid: what is under way or in doubt, and what was given up and may yet be used."""
    request = state.open_request
    settlings = (state.settling, *state.given)
    return {
        *(command_key(operation.command.command_id) for operation in state.operations),
        *(command_key(exposure.command_id) for exposure in state.exposures),
        *(() if request is None else (proposal_key(request.transaction.hash),)),
        *(proposal_key(settling.transaction.hash) for settling in settlings if settling is not None),
    }


def _is_void(before: State, turn: Turn, key: str) -> bool:
    """Failed with nothing left that the peer could use; or a proposal that nobody signed, or whose signature stayed."""
    ends = [effect for effect in turn.effects if isinstance(effect, Conclude)]
    if any(command_key(end.command_id) == key for end in ends):
        failed = (end for end in ends if end.outcome is Outcome.FAILED and end.exposure is None)
        return any(command_key(end.command_id) == key for end in failed)
    kept = [effect for effect in turn.effects if isinstance(effect, Abandon) and not effect.is_exposed]
    if any(proposal_key(abandon.hash) == key for abandon in kept):
        return True
    return key.startswith("proposal:") and not _was_signed(before, turn, key)


def _was_signed(before: State, turn: Turn, key: str) -> bool:
    settlings = (before.settling, *before.given)
    signed = [settling.transaction.hash for settling in settlings if settling is not None]
    signed += [effect.hash for effect in turn.effects if isinstance(effect, RecordForward)]
    return any(proposal_key(hash_) == key for hash_ in signed)
