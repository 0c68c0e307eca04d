"""Which of the channel's timers runs in which state (protocol.md F.1)."""

from bridge.channel.terms import Role
from bridge.sim.event import (
    Accepted,
    AwaitingLock,
    AwaitingPeer,
    AwaitingReturn,
    AwaitingSignature,
    Closing,
    Ended,
    HalfSigned,
    Open,
    Returning,
    State,
)
from bridge.sim.parameter import Opening


def timer_of(state: State, opening: Opening) -> str | None:
    """The opening parameter that bounds the stay; None where the FSM may stay for ever."""
    keeps = opening.role is Role.RESPONDER and opening.keep_running
    match state:
        case AwaitingPeer():
            is_initiator = opening.role is Role.INITIATOR
            return "timeout_initialized" if is_initiator else _unless("timeout_awaiting_open", keeps=keeps)
        case Accepted():
            return "timeout_funding_create"
        case AwaitingSignature():
            return "timeout_sign"
        case HalfSigned(operation):
            return operation.flow.timer
        case AwaitingLock():
            return "timeout_funding_lock"
        case Open() | AwaitingReturn():
            return _unless("timeout_idle", keeps=keeps)
        case Closing():
            return "timeout_idle"
        case Returning():
            return "timeout_accept"
        case Ended():
            return None


def _unless(name: str, *, keeps: bool) -> str | None:
    return None if keeps else name
