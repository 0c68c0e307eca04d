"""A node that sends what is no frame: told each time, then a new socket, at last the end.

Five bad frames within a minute make the socket suspect; three such sockets make the node suspect, and a channel
whose node cannot be understood must not go on guessing. Source: guarantees.md section 8, rule 5.
"""

from bridge.channel.effect import Reconnect
from bridge.channel.input import FrameRejected
from bridge.channel.loss import lose
from bridge.channel.turn import Turn
from bridge.errors import Code

FRAMES_SECONDS, MOST_FRAMES = 60.0, 5
SOCKETS_SECONDS, MOST_SOCKETS = 600.0, 3


def reject_frame(turn: Turn, rejected: FrameRejected) -> Turn:
    """What a suspect socket had sent besides is not looked at: it is being closed."""
    if turn.state.is_suspect:
        return turn
    turn = turn.publish("alarm", Code.PROTOCOL_VIOLATION.value, raw=rejected.raw, sentence=rejected.reason)
    frames = (*_since(turn.state.bad_frames, turn.now - FRAMES_SECONDS), turn.now)
    if len(frames) < MOST_FRAMES:
        return turn.set(bad_frames=frames)
    sockets = (*_since(turn.state.bad_sockets, turn.now - SOCKETS_SECONDS), turn.now)
    turn = turn.set(bad_frames=(), bad_sockets=sockets, is_suspect=True)
    if len(sockets) < MOST_SOCKETS:
        return turn.do(Reconnect("the node sent too much that is no frame"))
    return lose(turn, "the node's frames cannot be understood, over several sockets", Code.CONNECTION_LOST)


def _since(instants: tuple[float, ...], earliest: float) -> tuple[float, ...]:
    return tuple(at for at in instants if at > earliest)
