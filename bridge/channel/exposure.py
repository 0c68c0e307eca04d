"""What the peer may still use: transactions with our signature that came to nothing.

Off-chain one is of no use any more once another state of its round or above is co-signed; on chain once its
nonce is used or its ttl is past. Until then paying again elsewhere is not safe, and the next on-chain command
waits unless its author allows otherwise. Source: guarantees.md section 2, "Exposure".
"""

from collections.abc import Callable
from typing import Any

from bridge.channel.command import Deposit, Shutdown, Transfer, Withdraw
from bridge.channel.input import ChainReported, ChainSeen
from bridge.channel.state import Exposure, Operation
from bridge.channel.transaction import Transaction
from bridge.channel.turn import Turn
from bridge.errors import Code

ON_CHAIN = (Deposit, Withdraw, Shutdown)
MOST_EXPOSURES = 1_000
"""With so many even a transfer waits: a peer that refuses whatever we have signed must not let them grow for ever."""
MINED = ("channel_changed", "channel_closed")
"""`info` of an on_chain_tx that is in a block; the others are only on their way (observed)."""


def is_waiting(turn: Turn, operation: Operation) -> bool:
    """Whether this command must wait until no earlier transaction can be used any more, or not so many."""
    command, exposures = operation.command, turn.state.exposures
    if isinstance(command, ON_CHAIN):
        return bool(exposures) and not command.allow_exposed
    return isinstance(command, Transfer) and len(exposures) >= MOST_EXPOSURES


def tell_waiting(turn: Turn, operation: Operation) -> Turn:
    """Once: an operator's checkpoint clears an off-chain exposure, time clears one on chain."""
    if operation.waits_for_exposure:
        return turn
    exposures = turn.state.exposures
    sentence = "an earlier transaction with our signature may still be used; a checkpoint or allow_exposed ends this"
    if not isinstance(operation.command, ON_CHAIN):
        sentence = f"{len(exposures)} transactions with our signature may still be used; a checkpoint ends this"
    return turn.set_operation(waits_for_exposure=True).publish(
        "command",
        "waiting",
        command_id=operation.command.command_id,
        command=operation.command.kind,
        exposed=[exposure.command_id for exposure in exposures],
        sentence=sentence,
    )


def clear_by_state(turn: Turn, transaction: Transaction) -> Turn:
    """A co-signed state of that round or above takes the abandoned one its use."""
    round_ = transaction.round or 0
    return _clear(
        turn,
        lambda e: e.nonce is None and e.round is not None and e.round <= round_,
        {"cleared_by": transaction.hash},
    )


def clear_vouched(turn: Turn, transaction: Transaction) -> Turn:
    """An operator's word that a command has succeeded, against the state that was co-signed at its round."""
    round_ = transaction.round or 0
    for vouched in turn.state.vouched:
        if vouched.round == round_ and vouched.hash != transaction.hash:
            turn = turn.publish(
                "command",
                Code.OUTCOME_CORRECTED.value,
                command_id=vouched.command_id,
                outcome="failed",
                round=round_,
                tx_hash=transaction.hash,
            )
    return turn.set(vouched=tuple(v for v in turn.state.vouched if (v.round or 0) > round_))


def clear_by_chain(turn: Turn, seen: ChainSeen) -> Turn:
    """A used nonce counts for one transaction only; a ttl is the last block that may hold it."""
    return _clear(
        turn,
        lambda e: e.nonce is not None and (e.nonce <= seen.nonce or _is_past(e, seen.height)),
        {"height": seen.height, "nonce": seen.nonce},
    )


def _is_past(exposure: Exposure, height: int) -> bool:
    return bool(exposure.ttl) and height > (exposure.ttl or 0)


def see_mined(turn: Turn, report: ChainReported) -> Turn:
    """A transaction in a block: it may be the abandoned one, or one that used its nonce."""
    mined = report.transaction
    if report.info not in MINED:
        return turn
    used = next((e for e in turn.state.exposures if e.hash == mined.hash), None)
    if used is not None:
        turn = tell_used(turn, mined, report.raw)
    return _clear(turn, lambda e: _shares_nonce(e, mined), {"cleared_by": mined.hash})


def _shares_nonce(exposure: Exposure, mined: Transaction) -> bool:
    if exposure.nonce is None or mined.nonce is None:
        return False
    return exposure.hash == mined.hash or (exposure.account == mined.account and exposure.nonce <= mined.nonce)


def tell_used(turn: Turn, transaction: Transaction, raw: str) -> Turn:
    """What was told as failed has happened after all (observed on a real node): the books must know."""
    command_ids = [e.command_id for e in turn.state.exposures if e.hash == transaction.hash]
    turn = turn.publish(
        "alarm",
        Code.ABANDONED_STATE_USED.value,
        raw=raw,
        command_id=command_ids[0],
        round=transaction.round,
        tx_hash=transaction.hash,
    )
    return turn.publish(
        "command",
        Code.OUTCOME_CORRECTED.value,
        command_id=command_ids[0],
        outcome="succeeded",
        round=transaction.round,
        tx_hash=transaction.hash,
    )


def _clear(turn: Turn, is_cleared: Callable[[Exposure], bool], evidence: dict[str, Any]) -> Turn:
    cleared = tuple(exposure for exposure in turn.state.exposures if is_cleared(exposure))
    if not cleared:
        return turn
    turn = turn.set(exposures=tuple(e for e in turn.state.exposures if e not in cleared))
    for exposure in cleared:
        turn = turn.publish(
            "command",
            Code.EXPOSURE_CLEARED.value,
            command_id=exposure.command_id,
            round=exposure.round,
            tx_hash=exposure.hash,
            **evidence,
        )
    return turn
