"""A channel whose FSM is gone comes back from its saved state (protocol.md A.3, E.9).

The responder must listen before the initiator comes. States that differ kill both sides, for ever.
"""

import asyncio

from bridge.sim.event import AwaitingReturn, Call, Ended, Event, PeerGone, PeerReturned, Reestablished
from bridge.sim.fsm import Fsm, Verdict
from bridge.sim.request import INTERNAL_ERROR, RequestRefused

NO_PEER_SECONDS = 0.5
"""How long an initiator's FSM tries to reach a responder who is not there."""


def await_initiator(fsm: Fsm, event: Event) -> Verdict:
    match event:
        case PeerReturned():
            welcome(fsm, event)
        case Call():
            raise RequestRefused(INTERNAL_ERROR)
        case _:
            pass
    return Verdict.DONE


def await_responder(fsm: Fsm, event: Event) -> Verdict:
    match event:
        case Reestablished():
            fsm.inform("channel_reestablished")
            fsm.open_up(announce=True)
        case Call():
            raise RequestRefused(INTERNAL_ERROR)
        case _:
            pass
    return Verdict.DONE


def welcome(fsm: Fsm, event: PeerReturned) -> None:
    """The responder compares. One who has a living peer does not look."""
    if isinstance(event.peer.state, Ended):
        return
    if fsm.peer is not None and not isinstance(fsm.state, AwaitingReturn):
        give_up_soon(event.peer)
        return
    if fsm.cosigned is None or fsm.cosigned.operation.signed != event.signed:
        event.peer.post(PeerGone())
        fsm.end()
        return
    fsm.peer, fsm.is_blocked = event.peer, False
    fsm.inform("channel_reestablished")
    fsm.open_up(announce=True)
    event.peer.post(Reestablished())


def give_up_soon(fsm: Fsm) -> None:
    asyncio.get_running_loop().call_later(NO_PEER_SECONDS, fsm.post, PeerGone())
