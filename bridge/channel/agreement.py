"""A co-signed state: whose it is, and who waited for it.

Our FSM cannot sign without us, so a new state is one whose signature we handed over: our operation's, our
acknowledgement's, or one we had given up (observed: a refused signature can still be used). Any other was
signed by somebody else with our key, or is older than what we know: then everything stops.
"""

from bridge.channel.attempt import apply_moves, cosigned, void
from bridge.channel.effect import KeepState
from bridge.channel.loss import lose
from bridge.channel.proposal import settle
from bridge.channel.request import AskBalances
from bridge.channel.signature import close_request
from bridge.channel.state import Purpose, Stage
from bridge.channel.terms import Dialect
from bridge.channel.transaction import Transaction
from bridge.channel.turn import Turn
from bridge.errors import Code


def adopt(turn: Turn, transaction: Transaction, raw: str = "") -> Turn:
    """A co-signed state, reported or asked for. Ours, the peer's that we signed, or nobody's we know of."""
    held = turn.state.cosigned
    round_ = transaction.round or 0
    if held is not None and held.hash == transaction.hash:
        return turn
    if held is not None and (round_ < turn.state.round or not _is_explained(turn, transaction)):
        return _stop_at_foreign(turn, transaction, raw)
    return _accept(turn, transaction, raw)


def _is_explained(turn: Turn, transaction: Transaction) -> bool:
    """Our FSM cannot sign without us: a new state is one whose signature we forwarded, or one we abandoned."""
    operation, settling = turn.operation, turn.state.settling
    known = {held.hash for held in operation.handed_over} if operation is not None else set()
    known |= {settling.transaction.hash} if settling is not None else set()
    return transaction.hash in known | {exposure.hash for exposure in turn.state.exposures}


def _accept(turn: Turn, transaction: Transaction, raw: str) -> Turn:
    """The new truth, first; then whoever waited for it."""
    turn = _withdraw_outdated(turn)
    round_ = transaction.round or 0
    turn = turn.set(
        round=round_,
        cosigned=transaction,
        channel_id=turn.state.channel_id or transaction.channel_id,
        pause=0.0,
    ).do(KeepState(transaction))
    turn = turn.publish("info", "state", raw=raw, round=round_, tx_hash=transaction.hash, signed_tx=transaction.text)
    turn = _set_first_balances(turn, transaction)
    operation = turn.operation
    is_ours = operation is not None and any(held.hash == transaction.hash for held in operation.handed_over)
    if operation is not None and is_ours:
        turn = apply_moves(turn, operation, transaction)
    elif any(exposure.hash == transaction.hash for exposure in turn.state.exposures):
        turn = _tell_abandoned_used(turn, transaction, raw)
    if operation is not None:
        turn = cosigned(turn, operation, transaction)
    return clear_exposures(settle(turn, transaction), transaction)


def _withdraw_outdated(turn: Turn) -> Turn:
    """A request still with a signer was for the round that has just been taken."""
    opened = turn.state.open_request
    if opened is None or opened.tag.is_opening:
        return turn
    turn = close_request(turn, "withdrawn", reason="another state was co-signed")
    operation = turn.operation
    if operation is not None and operation.stage is Stage.AWAITING_SIGN:
        return void(turn, operation)
    return turn


def _tell_abandoned_used(turn: Turn, transaction: Transaction, raw: str) -> Turn:
    """A refused or conflicted transaction of ours was co-signed after all (observed on a real node)."""
    command_ids = [e.command_id for e in turn.state.exposures if e.hash == transaction.hash]
    turn = turn.set(initiator_balance=None, responder_balance=None)  # asked for at once, where the node can say
    turn = turn.publish(
        "alarm",
        Code.ABANDONED_STATE_USED.value,
        raw=raw,
        command_id=command_ids[0],
        round=transaction.round,
        tx_hash=transaction.hash,
    )
    if turn.terms.dialect is Dialect.LEGACY_SEED:
        return turn
    accounts = (turn.terms.initiator, turn.terms.responder)
    return turn.ask(lambda request_id: AskBalances(request_id, accounts), Purpose.BALANCES)


def _set_first_balances(turn: Turn, transaction: Transaction) -> Turn:
    if transaction.initiator_amount is None or transaction.responder_amount is None:
        return turn
    pushed = turn.terms.push_amount
    return turn.set(
        initiator_balance=transaction.initiator_amount - pushed,
        responder_balance=transaction.responder_amount + pushed,
    )


def _stop_at_foreign(turn: Turn, transaction: Transaction, raw: str) -> Turn:
    """The node holds a state we never signed, or an older one than ours: stop, tell, touch nothing."""
    sentence = f"the node is at round {transaction.round}, we know of round {turn.state.round}"
    turn = turn.publish(
        "alarm",
        Code.FOREIGN_STATE.value,
        raw=raw,
        sentence=sentence,
        round=transaction.round,
        tx_hash=transaction.hash,
        signed_tx=transaction.text,
    )
    return lose(close_request(turn, "withdrawn", reason=sentence), sentence, Code.NODE_RESTARTED)


def clear_exposures(turn: Turn, transaction: Transaction) -> Turn:
    """A co-signed state of that round or above takes the abandoned one its use."""
    round_ = transaction.round or 0
    cleared = tuple(e for e in turn.state.exposures if e.nonce is None and e.round is not None and e.round <= round_)
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
            cleared_by=transaction.hash,
        )
    return turn
