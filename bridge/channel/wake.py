"""When time alone will next change something, so that nobody has to tick in vain."""

from bridge.channel import attempt
from bridge.channel.attach import watched_until
from bridge.channel.proof import proof_at, wants_proof
from bridge.channel.signature import warning_at
from bridge.channel.state import Attachment, Phase, Stage, State
from bridge.channel.terms import Dialect, Terms

ANSWER_SECONDS = 10.0
"""A node answers queries at once; one that does not is asked over a new socket (protocol.md F.5)."""


def wants_keep_alive(terms: Terms, state: State) -> bool:
    return (
        state.phase is Phase.OPEN and state.attachment is Attachment.READY and terms.dialect is not Dialect.LEGACY_SEED
    )


def keep_alive_at(terms: Terms, state: State) -> float:
    return state.heard_at + terms.keep_alive_seconds


def next_wake(terms: Terms, state: State, after: float) -> float | None:
    """When time alone will next change something; None: never. The worker gives a `Ticked` then.

    `after` is the `now` of the latest step: what was due by then has been dealt with, or waits for an input.
    """
    instants: list[float] = [asked.since + ANSWER_SECONDS for asked in state.asked]
    if state.open_request is not None:
        instants.append(warning_at(state.open_request))
    if wants_keep_alive(terms, state):
        instants.append(keep_alive_at(terms, state))
    if (waited := watched_until(state)) is not None:
        instants.append(waited)
    if wants_proof(terms, state):
        instants.append(proof_at(terms, state))
    if state.peer_awaited_until is not None:
        instants.append(state.peer_awaited_until)
    settling = state.settling
    if settling is not None and settling.recheck_at is not None and state.attachment is Attachment.READY:
        instants.append(settling.recheck_at)
    instants.extend(_operation_instants(terms, state))
    return min((instant for instant in instants if instant > after), default=None)


def _operation_instants(terms: Terms, state: State) -> list[float]:
    operation = state.operation
    if operation is None:
        return []
    instants: list[float] = []
    is_first = operation.stage is Stage.JOURNALED
    if operation.command.expires_at is not None and (is_first or operation.is_to_repeat):
        instants.append(operation.command.expires_at.timestamp() + 0.001)
    if is_first:
        if operation.approval is not None:
            instants.append(operation.approval.deadline)
        if state.is_ready:
            instants.append(max(operation.not_before, state.pause_until))
    if operation.stage is Stage.SENT and state.attachment is Attachment.READY:
        instants.append(state.pause_until if operation.is_to_repeat else attempt.watched_until(terms, operation))
    if operation.recheck_at is not None and state.attachment is Attachment.READY:
        instants.append(operation.recheck_at)
    return instants
