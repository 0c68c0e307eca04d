"""The ends of a channel: the chain confirms a mutual close, or a client leaves."""

from bridge.sim.event import Call, Closing, Event, PeerLeft, TransactionDeep
from bridge.sim.fsm import Fsm, Verdict
from bridge.sim.report import Left, OnChain
from bridge.sim.request import INTERNAL_ERROR, Leave, RequestRefused
from bridge.wire import transaction


def await_close(fsm: Fsm, event: Event) -> Verdict:
    match event:
        case TransactionDeep():
            fsm.end("closed_confirmed")
        case Call(Leave()):
            fsm.answer(event)  # said "ok" and ignored
        case Call():
            raise RequestRefused(INTERNAL_ERROR)
        case _:
            pass
    return Verdict.DONE


def see(fsm: Fsm, signed: bytes) -> None:
    """A transaction of this channel is in a block."""
    fsm.seen = signed
    kind, _ = transaction.fields(transaction.unwrap(signed).inner)
    info = "channel_closed" if isinstance(fsm.state, Closing) else "channel_changed"
    fsm.report(OnChain(info, kind, signed))


def leave(fsm: Fsm, event: Event) -> None:
    """Our client goes, the state stays. The peer hears of both."""
    fsm.answer(event)
    fsm.tell(PeerLeft())
    if fsm.cosigned is not None:
        fsm.report(Left(fsm.cosigned.operation.signed))
    fsm.end()
