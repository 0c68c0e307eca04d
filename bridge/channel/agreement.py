"""A co-signed state: whose it is, and who waited for it.

Our FSM cannot sign without us, so a new state is one whose signature we handed over: our operation's, our
acknowledgement's, or one we had given up (observed: a refused signature can still be used). Any other was
signed by somebody else with our key, or is older than what we know: then everything stops.
"""

from bridge.channel.abandonment import forget_below
from bridge.channel.attempt import apply_moves, cosigned, shift, void
from bridge.channel.check import moves
from bridge.channel.effect import Abandon, KeepState
from bridge.channel.exposure import clear_by_state, clear_vouched, tell_used
from bridge.channel.loss import lose
from bridge.channel.proposal import FAMILIES, find_signed, settle
from bridge.channel.request import AskBalances
from bridge.channel.signature import close_request, drop_suspended
from bridge.channel.state import Operation, Purpose, Stage
from bridge.channel.terms import Dialect
from bridge.channel.transaction import Transaction
from bridge.channel.turn import Turn
from bridge.errors import Code


def adopt(turn: Turn, transaction: Transaction, raw: str = "", *, is_at_hand: bool = True) -> Turn:
    """A co-signed state, reported or asked for. Ours, the peer's that we signed, or nobody's we know of.

    `is_at_hand`: with the signatures of both. What is only concluded from something else can close nothing on chain.
    """
    held = turn.state.cosigned
    round_ = transaction.round or 0
    if held is not None and held.hash == transaction.hash:
        return turn
    if held is not None and (round_ < turn.state.round or not _is_explained(turn, transaction)):
        return _stop_at_foreign(turn, transaction, raw)
    turn = _accept(turn, transaction, raw)
    return turn.do(KeepState(transaction)) if is_at_hand else turn


def infer(turn: Turn, asked: Transaction) -> Turn:
    """A node that answers no question builds on what it has: asked to sign two rounds ahead, the one between is there.

    It cannot stand there without a signature of ours, so if only one transaction of that round bears one, that is it.
    What was told as failed bears one too.
    """
    between = turn.state.round + 1
    if turn.terms.answers_live or asked.round != between + 1:
        return turn
    ours = [held for _, held in turn.state.handed_over]
    ours += [settling.transaction for settling in turn.state.acknowledged]
    found = {held.hash: held for held in ours if held.round == between}
    told = {exposure.hash for exposure in (*turn.state.exposures, *turn.state.vouched) if exposure.round == between}
    if len(found) != 1 or not told <= found.keys():
        return turn
    return adopt(turn, next(iter(found.values())), is_at_hand=False)


def roll_back(turn: Turn, agreed: Transaction) -> Turn:
    """Both sides came back to the state before the peer's latest proposal: his side had lost our acknowledgement.

    Observed after a reestablish. What was told as received is told as reverted; the peer's client may hold the
    state co-signed all the same, so it stays known.
    """
    given, before = turn.state.latest_given, turn.state.before
    if given is None or before is None or agreed.hash != before.hash:
        return turn
    undone = given.transaction
    evidence = "both sides agreed on the state before it"
    turn = turn.do(Abandon(undone.round, undone.hash, None, evidence, is_exposed=True))
    moved = moves(turn.terms, undone, given.updates)
    if moved is not None:
        turn = shift(turn, (-moved[0], -moved[1]))
    turn = turn.set(
        round=before.round or 0, cosigned=before, before=None, latest_given=None, given=(*turn.state.given, given)
    ).do(KeepState(before))
    return turn.publish(
        FAMILIES[undone.kind][0],
        "reverted",
        round=undone.round,
        tx_hash=undone.hash,
        own_change=None if moved is None else -(moved[0] if turn.is_initiator else moved[1]),
        own_balance=turn.own_balance,
        sentence=evidence,
    )


def _is_explained(turn: Turn, transaction: Transaction) -> bool:
    """Our FSM cannot sign without us: a new state is one whose signature we forwarded, or one we abandoned."""
    ours = {held.hash for _, held in turn.state.handed_over}
    told = {exposure.hash for exposure in (*turn.state.exposures, *turn.state.vouched)}
    return transaction.hash in ours | told or find_signed(turn.state, transaction.hash) is not None


def _find_owner(turn: Turn, transaction: Transaction) -> Operation | None:
    """The one command whose state this is: the same balances at the same round are the same bytes, whoever asked.

    The first that handed it over. The amount moved once, so what another command or proposal wanted has not happened.
    """
    return next((operation for operation, held in turn.state.handed_over if held.hash == transaction.hash), None)


def _accept(turn: Turn, transaction: Transaction, raw: str) -> Turn:
    """The new truth, first; then whoever waited for it."""
    turn = _withdraw_outdated(turn)
    round_ = transaction.round or 0
    turn = forget_below(turn, round_)
    turn = turn.set(
        round=round_,
        cosigned=transaction,
        before=turn.state.cosigned,
        latest_given=None,
        channel_id=turn.state.channel_id or transaction.channel_id,
        pause=0.0,
        pause_until=0.0,
        split_round=0,
        cosigned_at=turn.now,
    )
    turn = turn.publish("info", "state", raw=raw, round=round_, tx_hash=transaction.hash, signed_tx=transaction.text)
    owner = _find_owner(turn, transaction)
    is_vouched = any(exposure.hash == transaction.hash for exposure in turn.state.vouched)
    turn = _set_first_balances(turn, transaction)
    turn = _move_balances(turn, owner, transaction, raw)
    turn = _settle_operations(turn, None if is_vouched else owner, transaction)
    turn = settle(turn, transaction, is_owned=is_vouched or owner is not None)
    return clear_vouched(clear_by_state(turn, transaction), transaction)


def _move_balances(turn: Turn, owner: Operation | None, transaction: Transaction, raw: str) -> Turn:
    """Ours moves what its command says; one that was told as failed moves it too, and the books must know."""
    vouched = next((exposure for exposure in turn.state.vouched if exposure.hash == transaction.hash), None)
    if vouched is not None:
        return shift(turn, vouched.moved) if vouched.moved is not None else _ask_balances(turn)
    if owner is not None:
        return apply_moves(turn, owner, transaction)
    if any(exposure.hash == transaction.hash for exposure in turn.state.exposures):
        return _see_abandoned_used(turn, transaction, raw)
    return turn


def _settle_operations(turn: Turn, owner: Operation | None, transaction: Transaction) -> Turn:
    """Also what was in doubt when another command went past it: this state is the evidence."""
    running, parked = turn.operation, turn.state.parked
    left: list[Operation] = []
    for operation in parked:
        turn = turn.set(operation=operation, parked=())
        turn = cosigned(turn, operation, transaction, is_owner=operation is owner)
        left += [] if turn.operation is None else [turn.operation]
    turn = turn.set(parked=tuple(left), operation=running)
    return turn if running is None else cosigned(turn, running, transaction, is_owner=running is owner)


def _withdraw_outdated(turn: Turn) -> Turn:
    """A request still with a signer was for the round that has just been taken."""
    turn = drop_suspended(turn, "another state was co-signed")
    opened = turn.state.open_request
    if opened is None or opened.tag.is_opening:
        return turn
    turn = close_request(turn, "withdrawn", reason="another state was co-signed")
    operation = turn.operation
    if operation is not None and operation.stage is Stage.AWAITING_SIGN:
        return void(turn, operation)
    return turn


def _see_abandoned_used(turn: Turn, transaction: Transaction, raw: str) -> Turn:
    """A refused or conflicted transaction of ours was co-signed after all (observed on a real node).

    What it moves is known, and the books follow at once: an answer of the node counts for nothing while the next
    payment is under way, and under load there is always one.
    """
    used = next(exposure for exposure in turn.state.exposures if exposure.hash == transaction.hash)
    turn = tell_used(turn, transaction, raw)
    if used.moved is not None:
        return _ask(shift(turn, used.moved))
    return _ask_balances(turn)


def _ask_balances(turn: Turn) -> Turn:
    return _ask(turn.set(initiator_balance=None, responder_balance=None))  # asked for at once, where the node can say


def _ask(turn: Turn) -> Turn:
    if turn.terms.dialect is Dialect.LEGACY_SEED or turn.state.is_over:
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
