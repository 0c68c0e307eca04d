"""What an event means in a state: the table of the FSM, one row a state.

What is the same in every state (questions, messages, refusals, the client's and the peer's going) stands first. A
behaviour returns whether the event is done or postponed until the state changes, or raises `RequestRefused`, which
the asking client gets. Source: protocol.md F.1, F.2, F.4, corrected by observed.md.
"""

from typing import assert_never

from bridge.channel.terms import Role
from bridge.channel.transaction import Kind
from bridge.sim import closing, lock, opening, operation, question, reestablish
from bridge.sim.event import (
    Accepted,
    AwaitingLock,
    AwaitingPeer,
    AwaitingReturn,
    AwaitingSignature,
    Call,
    Client,
    ClientGone,
    Closing,
    Ended,
    Event,
    HalfSigned,
    Open,
    PeerGone,
    PeerLeft,
    PeerSaid,
    PeerUnattended,
    Returning,
    TimedOut,
    TransactionSeen,
)
from bridge.sim.fsm import CONFLICT_TIMEOUT, Fsm, Verdict
from bridge.sim.report import Delivered, Left
from bridge.sim.request import Abort, AskBalances, AskHistory, AskProof, AskState, Message


def take(fsm: Fsm, event: Event) -> Verdict:
    """What every state does alike, then what this one does."""
    match event:
        case ClientGone(client):
            _lose_client(fsm, client)
        case Call(AskState() | AskBalances() | AskProof() | AskHistory() as request):
            fsm.answer(event, question.answer(fsm, request))
        case Call(Message(receiver, text)):
            question.send_message(fsm, receiver, text)
            fsm.answer(event)
        case Call(Abort() as abort):
            operation.abort(fsm, event, abort)
        case PeerSaid(text):
            _deliver(fsm, text)
        case PeerLeft():
            if fsm.cosigned is not None:
                fsm.report(Left(fsm.cosigned.operation.signed))
        case PeerGone():
            _lose_peer(fsm)
        case TransactionSeen(signed):
            closing.see(fsm, signed)
        case TimedOut(state):
            if state is fsm.state:
                _time_out(fsm)
        case _:
            return _take_in_state(fsm, event)
    return Verdict.DONE


def _take_in_state(fsm: Fsm, event: Event) -> Verdict:
    match fsm.state:
        case AwaitingPeer():
            return opening.await_peer(fsm, event)
        case Accepted():
            return opening.await_create(fsm, event)
        case AwaitingSignature() as state:
            return operation.await_signature(fsm, state, event)
        case HalfSigned() as state:
            return operation.await_peer(fsm, state, event)
        case AwaitingLock() as state:
            return lock.await_lock(fsm, state, event)
        case Open():
            return operation.be_open(fsm, event)
        case Closing():
            return closing.await_close(fsm, event)
        case AwaitingReturn():
            return reestablish.await_initiator(fsm, event)
        case Returning():
            return reestablish.await_responder(fsm, event)
        case Ended():
            return Verdict.DONE
        case _:
            assert_never(fsm.state)


def _deliver(fsm: Fsm, text: str) -> None:
    """A message to an absent client is lost, although its sender was told "ok"."""
    if fsm.parties is not None:
        other = Role.RESPONDER if fsm.is_initiator else Role.INITIATOR
        fsm.report(Delivered(fsm.parties.account(other), fsm.parties.account(fsm.role), text))


def _lose_client(fsm: Fsm, client: Client) -> None:
    """An FSM of today lives on alone, unless it was born of a reestablish or has nothing signed."""
    if client is not fsm.client:
        return  # another one took over
    fsm.client = None
    fsm.history.note_disconnect()
    if fsm.is_returned or not fsm.is_bound or not fsm.era.outlives_client:
        fsm.end()
    elif fsm.peer is not None and fsm.peer.kept is not None:
        fsm.tell(PeerUnattended())


def _lose_peer(fsm: Fsm) -> None:
    """The initiator's end leaves a responder who keeps running; every other end is shared."""
    if isinstance(fsm.state, Closing):
        fsm.peer = None  # the chain alone decides from here on
        return
    stays = fsm.era.outlives_client and not fsm.is_initiator and fsm.opening.keep_running
    if not stays or fsm.cosigned is None:
        fsm.end()
        return
    fsm.peer = None
    fsm.inform("peer_disconnected")
    running = AwaitingSignature | HalfSigned | AwaitingLock
    # A deposit that waits for the chain is void here too, though it may yet be mined (recorded).
    if isinstance(fsm.state, running) and fsm.state.operation.kind is not Kind.CREATE:
        fsm.open_up(announce=False)


def _time_out(fsm: Fsm) -> None:
    """Recover what can be recovered (protocol.md F.1); end everything else."""
    match fsm.state:
        case AwaitingSignature(asked, is_ours) if _recovers(asked.kind, is_ours=is_ours):
            fsm.fall_back(CONFLICT_TIMEOUT)
        case HalfSigned(asked) if asked.kind is not Kind.CREATE:
            fsm.turn_away()
            fsm.fall_back(CONFLICT_TIMEOUT, tell_peer=True)
        case AwaitingLock(asked) if asked.kind is not Kind.CREATE:
            fsm.fall_back(CONFLICT_TIMEOUT)
        case _:
            fsm.end("timeout")


def _recovers(kind: Kind, *, is_ours: bool) -> bool:
    return kind is not Kind.CREATE and (is_ours or kind is not Kind.CLOSE_MUTUAL)
