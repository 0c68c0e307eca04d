"""The other side's proposals, and the two signatures that open a channel.

A proposal reaches a signer only when nothing of ours is outstanding and the policy allows it; otherwise the
node is told no at once. An acknowledgement given late leaves the two sides at different rounds for ever
(observed on a real node), so the deadline is short and past it the answer is no.
"""

from typing import assert_never

from bridge.channel.attempt import shift
from bridge.channel.check import check_frame, check_opening, check_peer, moves
from bridge.channel.effect import Abandon
from bridge.channel.identifier import TransactionHash
from bridge.channel.input import BadReply, Declined, Signed, SignReplied, SignRequested
from bridge.channel.operation import PATIENCE_SECONDS, give_up, is_passable
from bridge.channel.policy import deny_forward, deny_proposal, is_above, is_granted, loss, proposal_key
from bridge.channel.request import Tag
from bridge.channel.signature import (
    BUSY,
    DECLINED,
    MAX_BAD_REPLIES,
    REFUSED,
    ask_signer,
    close_request,
    count_bad_reply,
    forward,
    open_request,
    refuse_mismatch,
    refuse_node,
)
from bridge.channel.state import UNSETTLED, OpenRequest, Phase, Settling, Stage, State
from bridge.channel.transaction import Kind, Transaction
from bridge.channel.turn import Turn
from bridge.errors import Code

FAMILIES = {
    Kind.OFFCHAIN: ("transfer", "received"),
    Kind.DEPOSIT: ("deposit", "acknowledged"),
    Kind.WITHDRAW: ("withdraw", "acknowledged"),
    Kind.CLOSE_MUTUAL: ("shutdown", "acknowledged"),
}


def request_opening(turn: Turn, requested: SignRequested) -> Turn:
    """The create transaction. The node knows no refusal here: a wrong one is published and left to lapse."""
    if turn.state.settling is not None or turn.state.open_request is not None:
        # One signature opens one channel: a second one could lock the coins twice.
        turn = turn.publish("sign", "unexpected", raw=requested.raw, tag=requested.tag.value)
        return refuse_node(turn, requested.tag, BUSY)
    mismatch = check_frame(turn.terms, turn.state, requested) or check_opening(turn.terms, requested.transaction)
    if mismatch is not None:
        return refuse_mismatch(turn, requested.tag, requested.raw, mismatch)
    turn = turn.set(phase=Phase.OPENING)
    return open_request(turn, requested, "opening")


def request_acknowledgement(turn: Turn, requested: SignRequested) -> Turn:
    """The peer proposes. Rule 1: only when nothing else is outstanding in either direction."""
    if _is_known(turn, requested):
        return turn  # the same frame twice: to refuse the second would void the first
    if _is_outstanding(turn, requested.tag):
        turn = turn.publish("sign", "busy", raw=requested.raw, tag=requested.tag.value)
        return refuse_node(turn, requested.tag, BUSY)
    tag, proposed = requested.tag, requested.transaction
    mismatch = check_frame(turn.terms, turn.state, requested) or check_peer(
        turn.terms, turn.state, tag, proposed, requested.updates
    )
    if mismatch is not None:
        return refuse_mismatch(turn, requested.tag, requested.raw, mismatch)
    denied = deny_proposal(turn, requested.tag, requested.transaction, requested.updates)
    if denied is not None:
        turn = turn.publish("sign", "denied", raw=requested.raw, tag=requested.tag.value, sentence=denied)
        return refuse_node(turn, requested.tag, DECLINED)
    if turn.operation is not None:
        turn = give_up(turn, turn.operation, "the peer proposes another state of its round")
    lost = loss(turn.terms, requested.transaction, requested.updates)
    turn = turn.set(outflow=turn.state.outflow.hold(proposal_key(requested.transaction.hash), lost))
    return open_request(turn, requested, "peer_proposal", needs_approval=is_above(turn.terms.policy, lost))


def watch_approval(turn: Turn) -> Turn:
    """A proposal that waits for people: on to the signer with enough of them, no with a refusal or at the deadline."""
    opened = turn.state.open_request
    if opened is None or opened.is_asked or opened.approval is None:
        return turn
    if is_granted(turn.terms.policy, opened.approval):
        return ask_signer(turn, opened)
    if opened.approval.denied_by:
        data = {"code": Code.APPROVAL_DENIED, "sentence": opened.approval.reason, "by": opened.approval.denied_by}
        return refuse_node(close_request(turn, "denied", **data), opened.tag, DECLINED)
    if turn.now < opened.approval.deadline:
        return turn
    data = {"code": Code.APPROVAL_TIMEOUT, "sentence": "too few approvals came before the deadline"}
    return refuse_node(close_request(turn, "denied", **data), opened.tag, BUSY)


def _is_known(turn: Turn, requested: SignRequested) -> bool:
    """It is with a signer already, or its signature is on its way."""
    pending = (turn.state.open_request, turn.state.settling)
    wanted = (requested.tag, requested.transaction.hash)
    return any(known is not None and (known.tag, known.transaction.hash) == wanted for known in pending)


def aborted(turn: Turn) -> Turn:
    """`aborted_update`: the node has given up what it asked us to acknowledge, whatever we have sent meanwhile."""
    opened = turn.state.open_request
    if opened is not None and opened.tag.is_acknowledgement:
        turn = close_request(turn, "withdrawn", reason="the node gave the request up")
    return forget(turn, "the node reported that it gave the update up")


def _is_outstanding(turn: Turn, tag: Tag) -> bool:
    """What is in doubt is outstanding to nobody once our node asks for our part of another payment: it has let go."""
    state = turn.state
    operation = state.operation
    beyond_line = operation is not None and operation.stage is not Stage.JOURNALED
    if operation is not None and tag is Tag.UPDATE_ACK and is_passable(turn.terms, operation):
        beyond_line = False
    asking = state.has_asked(*UNSETTLED)
    return beyond_line or asking or state.open_request is not None or state.settling is not None


def answer(turn: Turn, opened: OpenRequest, replied: SignReplied) -> Turn:
    """A signer's reply to a proposal or an opening."""
    match replied.verdict:
        case Signed() as signed:
            denied = deny_forward(turn, opened)
            if denied is not None:
                return refuse_node(close_request(turn, "denied", sentence=denied), opened.tag, DECLINED)
            turn = forward(turn, opened, signed, replied.author)
            # The id follows from the create transaction: the node tells it only once both have signed.
            channel_id = turn.state.channel_id or opened.transaction.channel_id
            again = turn.now + PATIENCE_SECONDS if turn.terms.answers_live and not opened.tag.is_opening else None
            settling = Settling(opened.tag, opened.transaction, opened.updates, turn.now, again)
            return turn.set(settling=settling, channel_id=channel_id)
        case Declined(reason):
            return refuse_node(close_request(turn, REFUSED, reason=reason), opened.tag, DECLINED)
        case BadReply() as bad:
            turn = count_bad_reply(turn, opened, replied, bad)
            if opened.bad_replies + 1 < MAX_BAD_REPLIES:
                return turn
            return refuse_node(close_request(turn, "misbehaved"), opened.tag, DECLINED)
        case _:
            assert_never(replied.verdict)


def lapse(turn: Turn, opened: OpenRequest) -> Turn:
    """Nobody answered in time: say no. Never acknowledge late."""
    return refuse_node(close_request(turn, "expired"), opened.tag, BUSY)


def settle(turn: Turn, transaction: Transaction, *, is_owned: bool = False) -> Turn:
    """A co-signed state: if it is the proposal we signed, it has happened.

    `is_owned`: a command of ours had the same bytes co-signed and counts for it. The amount moved once.
    """
    settling = find_signed(turn.state, transaction.hash)
    turn = turn.set(given=tuple(g for g in turn.state.given if not _is_past(g, transaction)))
    if settling is None:
        return turn
    if settling is turn.state.settling:
        turn = turn.set(settling=None)
    if settling.tag.is_opening or is_owned:
        return turn
    turn = turn.set(latest_given=settling)
    moved = moves(turn.terms, settling.transaction, settling.updates)
    if moved is not None:
        turn = shift(turn, moved)
    family, name = FAMILIES[settling.transaction.kind]
    own_change = None if moved is None else (moved[0] if turn.is_initiator else moved[1])
    return turn.publish(
        family,
        name,
        round=transaction.round,
        tx_hash=transaction.hash,
        **{"from": turn.terms.peer},
        amount=None if moved is None else max(abs(moved[0]), abs(moved[1])),
        own_change=own_change,
        own_balance=turn.own_balance,
    )


def never_delivered(turn: Turn) -> Turn:
    """The node still waited for our signature and has been refused: it reached nobody."""
    settling = turn.state.settling
    if settling is None:
        return turn
    return _abandon(turn, settling, "probe: it was still pending", is_exposed=False).set(settling=None)


def withhold(turn: Turn) -> Turn:
    """Our signature was not sent in time and reached nobody: the answer is no."""
    settling = turn.state.settling
    if settling is None:
        return turn
    turn = _abandon(turn, settling, "it was not sent in time", is_exposed=False)
    turn = turn.set(settling=None).publish(
        "sign", "withheld", tag=settling.tag.value, tx_hash=settling.transaction.hash, sentence=_WITHHELD
    )
    return refuse_node(turn, settling.tag, BUSY)


_WITHHELD = "the signature came in time and was stored too late: it was not sent"


def _abandon(turn: Turn, settling: Settling, evidence: str, *, is_exposed: bool) -> Turn:
    signed = settling.transaction
    return turn.do(Abandon(signed.round, signed.hash, None, evidence, is_exposed))


def find_signed(state: State, hash_: TransactionHash) -> Settling | None:
    """The acknowledgement of ours with these bytes, whether the node still works on it or called it void.

    One that was void and then signed anew, over the next socket, is the one the node works on.
    """
    return next((settling for settling in state.acknowledged if settling.transaction.hash == hash_), None)


def _is_past(settling: Settling, transaction: Transaction) -> bool:
    """One state a round counts: what another one took the place of is of no use to anybody."""
    return (settling.transaction.round or 0) <= (transaction.round or 0)


def forget(turn: Turn, evidence: str) -> Turn:
    """What we signed for the peer is void, the node says. The peer may hold it co-signed: so it stays known."""
    settling = turn.state.settling
    if settling is None or settling.tag.is_opening:
        return turn  # one signature opens one channel: nothing makes room for a second
    return _abandon(turn, settling, evidence, is_exposed=True).set(settling=None, given=(*turn.state.given, settling))
