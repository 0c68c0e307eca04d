"""A node that sends what is no frame: told each time, then a new socket, at last the end.

Five bad frames within a minute make the socket suspect; three such sockets make the node suspect, and a channel
whose node cannot be understood must not go on guessing. Source: guarantees.md section 8, rule 5.
"""

from bridge.channel.effect import Reconnect
from bridge.channel.input import FrameRejected
from bridge.channel.loss import lose
from bridge.channel.turn import Turn
from bridge.errors import Code

WINDOW_SECONDS = 60.0
MOST_FRAMES, MOST_RECONNECTS = 5, 3


def reject_frame(turn: Turn, rejected: FrameRejected) -> Turn:
    turn = turn.publish("alarm", Code.PROTOCOL_VIOLATION.value, raw=rejected.raw, sentence=rejected.reason)
    recent = (*(at for at in turn.state.bad_frames if at > turn.now - WINDOW_SECONDS), turn.now)
    if len(recent) < MOST_FRAMES:
        return turn.set(bad_frames=recent)
    turn = turn.set(bad_frames=(), violations=turn.state.violations + 1)
    if turn.state.violations < MOST_RECONNECTS:
        return turn.do(Reconnect("the node sent too much that is no frame"))
    return lose(turn, "the node's frames cannot be understood, over several sockets", Code.CONNECTION_LOST)
