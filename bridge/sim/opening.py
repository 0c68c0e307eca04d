"""Opening a channel up to the signatures on its create transaction (protocol.md A.8)."""

from bridge.channel.terms import Role
from bridge.channel.transaction import Kind
from bridge.sim import draft, operation
from bridge.sim.event import Accepted, Call, Event, PeerMet, Proposed
from bridge.sim.fsm import NOT_READY, Fsm, Verdict
from bridge.sim.request import RequestRefused
from bridge.wire import transaction


def await_peer(fsm: Fsm, event: Event) -> Verdict:
    """Initiator and responder met: they agree, or both end."""
    match event:
        case PeerMet(peer) if not fsm.opening.agrees(peer.opening):
            fsm.end()
        case PeerMet(peer):
            _greet(fsm, peer)
        case Call():
            raise RequestRefused(NOT_READY)
        case _:
            pass
    return Verdict.DONE


def await_create(fsm: Fsm, event: Event) -> Verdict:
    match event:
        case Proposed(proposed) if proposed.kind is Kind.CREATE and fsm.parties is not None:
            initiator, responder = fsm.parties.initiator, fsm.parties.responder
            nonce = int(str(transaction.fields(proposed.inner)[1]["nonce"]))
            fsm.find_channel(transaction.channel_id(initiator, nonce, responder))
            fsm.inform("funding_created", fsm_id=True)
            operation.ask(fsm, proposed, is_ours=False)
        case Call():
            raise RequestRefused(NOT_READY)
        case _:
            pass
    return Verdict.DONE


def _greet(fsm: Fsm, peer: Fsm) -> None:
    initiator = fsm.opening.initiator or peer.opening.initiator
    if initiator is None:
        fsm.end()  # both said "any": nobody pays
        return
    fsm.peer, fsm.parties = peer, fsm.opening.parties(initiator)
    if fsm.role is Role.RESPONDER:
        fsm.inform("channel_open")
        fsm.go(Accepted())
        return
    fsm.inform("channel_accept")
    nonce = fsm.opening.nonce or fsm.chain.next_nonce(initiator)
    operation.ask(fsm, draft.create(fsm.opening, initiator, nonce), is_ours=True)
