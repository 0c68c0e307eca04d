"""When nothing more is to be had through the node: say so once, with what an owner needs to close on chain.

The line behind a lost channel is answered, so that nothing hangs; what the peer may hold stays in doubt.
"""

from bridge.channel.attempt import NO_SIGNATURE
from bridge.channel.command import Message
from bridge.channel.effect import Rest
from bridge.channel.operation import doubt, end_unknown, fail
from bridge.channel.state import Operation, Phase, Stage
from bridge.channel.turn import Turn
from bridge.errors import Code


def require_recovery(turn: Turn, sentence: str) -> Turn:
    """The rescue kit: with the co-signed state its owner can close on chain."""
    settling = turn.state.settling
    held = turn.state.cosigned or (None if settling is None else settling.transaction)
    return turn.publish(
        "alarm",
        Code.RECOVERY_REQUIRED.value,
        sentence=sentence,
        round=turn.state.round,
        signed_tx=None if held is None else held.text,
        tx_hash=None if held is None else held.hash,
        initiator_balance=turn.state.initiator_balance,
        responder_balance=turn.state.responder_balance,
    )


def lose(turn: Turn, sentence: str, code: Code) -> Turn:
    """Nothing more can be done through the node. Told once; the line is answered, nothing hangs."""
    turn = require_recovery(turn.set(phase=Phase.LOST), sentence).set(settling=None)
    operation = turn.operation
    if operation is not None and operation.stage is Stage.SIGNED_SENT:
        turn = doubt(turn, code, f"{sentence}; the peer may hold the signed state")
    elif operation is not None and operation.stage in NO_SIGNATURE:
        turn = _end_unsigned(turn, operation, sentence)
    return turn.do(Rest())


def _end_unsigned(turn: Turn, operation: Operation, sentence: str) -> Turn:
    if isinstance(operation.command, Message):
        return end_unknown(turn, sentence)
    return fail(turn, Code.CHANNEL_NOT_OPEN, f"{sentence}; nothing was signed")
