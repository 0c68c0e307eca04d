"""When nothing more is to be had through the node: say so once, with what an owner needs to close on chain.

The line behind a lost channel is answered, so that nothing hangs; what the peer may hold stays in doubt.
"""

from bridge.channel.attempt import NO_SIGNATURE, void
from bridge.channel.command import Message
from bridge.channel.effect import Rest
from bridge.channel.exposure import ON_CHAIN
from bridge.channel.input import Conflicted
from bridge.channel.operation import doubt, end_unknown, fail
from bridge.channel.signature import drop_suspended
from bridge.channel.state import Operation, Phase, Stage
from bridge.channel.turn import Turn
from bridge.errors import Code


def require_recovery(turn: Turn, sentence: str) -> Turn:
    """The rescue kit: with a co-signed state and the proof of its balances the owner can close on chain."""
    settling, proven = turn.state.settling, turn.state.proven
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
        proven_round=None if proven is None else proven.round,
        proven_signed_tx=None if proven is None else proven.signed_tx,
        poi=None if proven is None else proven.poi,
    )


def split(turn: Turn, conflicted: Conflicted) -> Turn:
    """Rule 9: a conflict of a round above ours was raised by a peer that holds a co-signed state we lack.

    Told once. From here on the line waits: each further command would end as this one, with one more signature of ours
    for the same round. A state that both co-sign ends it; an operator's checkpoint is how to get one.
    """
    sentence = f"a conflict speaks of round {conflicted.round}: the peer holds a state we lack"
    turn = turn if turn.state.split_round else require_recovery(turn, sentence)
    turn = turn.set(split_round=conflicted.round)
    operation = turn.operation
    if operation is None or operation.stage is Stage.JOURNALED or isinstance(operation.command, Message):
        return turn
    return void(turn, operation) if operation.stage in NO_SIGNATURE else doubt(turn, Code.PEER_TIMEOUT, sentence)


def lose(turn: Turn, sentence: str, code: Code) -> Turn:
    """Nothing more can be done through the node. Told once; the line is answered, nothing hangs."""
    turn = require_recovery(turn.set(phase=Phase.LOST), sentence).set(settling=None)
    turn = drop_suspended(turn, sentence)
    operation = turn.operation
    if operation is not None and operation.stage is Stage.SIGNED_SENT:
        code = Code.AWAITING_CHAIN if isinstance(operation.command, ON_CHAIN) else code
        turn = doubt(turn, code, f"{sentence}; the peer may hold the signed state")
    elif operation is not None and operation.stage in NO_SIGNATURE:
        turn = _end_unsigned(turn, operation, sentence)
    return turn.do(Rest())


def pending_code(operation: Operation) -> Code:
    """What is waited for: the chain can still tell of an on-chain command."""
    return Code.AWAITING_CHAIN if isinstance(operation.command, ON_CHAIN) else Code.NODE_RESTARTED


def _end_unsigned(turn: Turn, operation: Operation, sentence: str) -> Turn:
    if isinstance(operation.command, Message):
        return end_unknown(turn, sentence)
    return fail(turn, Code.CHANNEL_NOT_OPEN, f"{sentence}; nothing was signed")
