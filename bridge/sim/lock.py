"""Waiting for the chain: a create, deposit or withdrawal is co-signed and must become deep enough on both sides."""

from dataclasses import replace

from bridge.channel.transaction import Kind
from bridge.sim.event import AwaitingLock, Call, Event, PeerLocked, PeerReturned, Proposed, TransactionDeep
from bridge.sim.fsm import NOT_READY, Fsm, Verdict
from bridge.sim.request import Reply, RequestRefused


def await_lock(fsm: Fsm, state: AwaitingLock, event: Event) -> Verdict:
    """A signed reply kills here, whatever it signs; a trigger blocks its handler."""
    match event:
        case TransactionDeep():
            fsm.inform(f"own_{state.operation.flow.locked}")
            fsm.tell(PeerLocked())
            _advance(fsm, replace(state, is_locked=True))
        case PeerLocked():
            _advance(fsm, replace(state, is_peer_locked=True))
        case Reply(_, None):
            pass
        case Reply():
            fsm.end()
        case Call() if state.operation.kind is Kind.CREATE:
            raise RequestRefused(NOT_READY)
        case Call() | Proposed() | PeerReturned():
            return Verdict.POSTPONED
        case _:
            pass
    return Verdict.DONE


def _advance(fsm: Fsm, state: AwaitingLock) -> None:
    """Only when both sides are sure does the off-chain state change."""
    if not (state.is_locked and state.is_peer_locked):
        fsm.go(state)
        return
    fsm.inform(state.operation.flow.locked)
    if state.operation.kind is Kind.CREATE:
        fsm.open_up(announce=True)
        return
    fsm.adopt(state.operation)
    fsm.open_up(announce=False)
    fsm.show_state()
