"""The life of a sign request: put to a signer, warned about, answered, refused, or overtaken.

At most one is open a channel. A reply is forwarded only to the request open right now and before its
deadline; whatever else arrives is told to the signer and goes nowhere (protocol.md F.2: a stray signed reply
can close a channel).
"""

from dataclasses import replace
from typing import Any

from bridge.channel import approval
from bridge.channel.abandonment import abandoned, put_aside
from bridge.channel.check import moves
from bridge.channel.effect import AskSignature, RecordForward, RefuseReply, SignRequest
from bridge.channel.identifier import CommandId, SignRequestId
from bridge.channel.input import BadReply, Signed, SignReplied, SignRequested
from bridge.channel.request import Refuse, SendSignature, Tag
from bridge.channel.state import OpenRequest, State
from bridge.channel.transaction import Transaction
from bridge.channel.turn import Turn
from bridge.errors import Code

NOT_ALLOWED = 1
"""Error code told to the node: this is not what was asked for (`validation error`)."""
BUSY = 4
"""Error code told to the node: not at this moment (`abort`). Also the probe."""
DECLINED = 128
"""Error code told to the node: our side does not want it (first of the user-defined range)."""
REFUSED = "refused"
"""How a request ends that its signer declined: of it there is no signature."""
MAX_BAD_REPLIES = 5
WARNINGS = (0.5, 0.8)
APPROVERS_SHARE = 0.5
"""Of the time for an acknowledgement: how much of it the approvers may take at most."""


def open_request(
    turn: Turn,
    requested: SignRequested,
    cause: str,
    *,
    needs_approval: bool = False,
) -> Turn:
    """F3: ask a signer, or first the approvers. The deadline is ours and always below the node's and the peer's timers,
    which run since the frame came: it does so too, however long the step before it took.

    The identical request of a socket that was lost meanwhile goes on under its id, with any answer under way.
    """
    tag, transaction = requested.tag, requested.transaction
    own = not (tag.is_acknowledgement or tag.is_opening)
    seconds = turn.terms.sign_seconds if own else turn.terms.acknowledge_seconds
    began = turn.now if requested.arrived_at is None else min(turn.now, requested.arrived_at)
    earlier = turn.state.suspended
    if earlier is not None and _is_same(turn, earlier, tag, transaction, cause):
        # A process before this one may have set it by a clock that was ahead.
        earlier = replace(
            earlier, opened_at=min(earlier.opened_at, began), deadline=min(earlier.deadline, began + seconds)
        )
        return turn.set(open_request=earlier, suspended=None).publish("sign", "resumed", **_name(earlier))
    turn = drop_suspended(turn, "another request came")
    sign_request_id = SignRequestId(f"{turn.terms.name}.{turn.state.next_sign}.{transaction.hash[:16]}")
    opened = OpenRequest(
        sign_request_id, tag, transaction, requested.updates, cause, began, began + seconds, is_asked=False
    )
    turn = turn.set(open_request=opened, next_sign=turn.state.next_sign + 1)
    return _ask_approvers(turn, opened) if needs_approval else ask_signer(turn, opened)


def ask_signer(turn: Turn, opened: OpenRequest) -> Turn:
    """The open request goes to its signer, now that nothing stands before it."""
    request = _describe(turn, opened)
    return (
        turn.set(open_request=replace(opened, is_asked=True))
        .do(AskSignature(request))
        .publish(
            "sign",
            "requested",
            sign_request_id=opened.sign_request_id,
            tag=opened.tag.value,
            cause=opened.cause,
            tx_hash=opened.transaction.hash,
            target_round=opened.transaction.round,
            deadline=opened.deadline,
            command_id=request.command_id,
        )
    )


def _ask_approvers(turn: Turn, opened: OpenRequest) -> Turn:
    """A proposal of the peer: what is left of its time must do for the signer."""
    seconds = min(turn.terms.policy.approval_timeout, (opened.deadline - opened.opened_at) * APPROVERS_SHARE)
    before, after = _balances(turn, opened)
    turn, asked = approval.ask(
        turn,
        opened.transaction.hash,
        "",
        seconds,
        cause=opened.cause,
        command_id=None,
        tag=opened.tag.value,
        tx_hash=opened.transaction.hash,
        target_round=opened.transaction.round,
        balances_before=before,
        balances_after=after,
    )
    return turn.set(open_request=replace(opened, approval=asked))


def _is_same(turn: Turn, earlier: OpenRequest, tag: Tag, transaction: Transaction, cause: str) -> bool:
    same = (earlier.tag, earlier.transaction.hash, earlier.cause) == (tag, transaction.hash, cause)
    return same and turn.now < earlier.deadline


def _name(opened: OpenRequest) -> dict[str, Any]:
    return {"sign_request_id": opened.sign_request_id, "tag": opened.tag.value, "tx_hash": opened.transaction.hash}


def suspend(turn: Turn, reason: str) -> Turn:
    """The socket is gone, the signer still busy. A node that lives on asks for the same bytes again."""
    opened = turn.state.open_request
    if opened is None:
        return turn
    if opened.tag.is_opening or turn.terms.dialect.is_legacy or not opened.is_asked:
        return close_request(turn, "withdrawn", reason=reason)
    return turn.set(open_request=None, suspended=opened).publish("sign", "suspended", **_name(opened), reason=reason)


def drop_suspended(turn: Turn, reason: str) -> Turn:
    """Nobody will ask for this again; an answer that comes later is late."""
    earlier = turn.state.suspended
    if earlier is None:
        return turn
    held = turn.state.held
    if held is not None and isinstance(held.verdict, BadReply):
        turn = turn.do(RefuseReply(held.sign_request_id, held.author, held.verdict.code, held.verdict.reason))
    turn = put_aside(turn, earlier)
    turn = turn.set(suspended=None, held=None, closed_request=earlier.sign_request_id)
    return turn.publish("sign", "withdrawn", **_name(earlier), reason=reason)


def asked_for(state: State, sign_request_id: SignRequestId) -> OpenRequest | None:
    """The request a reply may belong to: the open one, or the one whose socket was lost."""
    requests = (state.open_request, state.suspended)
    return next((r for r in requests if r is not None and r.sign_request_id == sign_request_id), None)


def hold(turn: Turn, replied: SignReplied) -> Turn | None:
    """Keep the answer to a suspended request for when it is asked again; None: it is no such answer.

    Bad ones are refused and counted, as if the socket had lived on; the one too many is kept, and judged then.
    """
    earlier = turn.state.suspended
    if earlier is None or earlier.sign_request_id != replied.sign_request_id or turn.now >= earlier.deadline:
        return None
    if turn.state.held is not None:
        reason = "the request has its answer"
        return turn.do(RefuseReply(replied.sign_request_id, replied.author, Code.SIGN_REPLY_DUPLICATE, reason))
    if isinstance(replied.verdict, BadReply) and earlier.bad_replies + 1 < MAX_BAD_REPLIES:
        earlier, refusal = _count(earlier, replied, replied.verdict)
        return turn.set(suspended=earlier).do(refusal)
    return turn.set(held=replied)


def take_held(turn: Turn) -> tuple[Turn, SignReplied | None]:
    """The answer that was given while the request had no socket, once it is open again."""
    held, opened = turn.state.held, turn.state.open_request
    if held is None or opened is None or opened.sign_request_id != held.sign_request_id:
        return turn, None
    return turn.set(held=None), held


def _describe(turn: Turn, opened: OpenRequest) -> SignRequest:
    before, after = _balances(turn, opened)
    operation = turn.operation if opened.cause == "command" else None
    return SignRequest(
        sign_request_id=opened.sign_request_id,
        account=turn.terms.own,
        tag=opened.tag,
        transaction=opened.transaction,
        cause=opened.cause,
        command_id=None if operation is None else CommandId(operation.command.command_id),
        opened_at=opened.opened_at,
        deadline=opened.deadline,
        updates=opened.updates,
        balances_before=before,
        balances_after=after,
        channel_id=turn.state.channel_id,
        abandoned=abandoned(turn.state, opened.transaction),
    )


def _balances(turn: Turn, opened: OpenRequest) -> tuple[dict[str, int] | None, dict[str, int] | None]:
    """What a person wants to see beside the transaction: before and, where it can be told, after."""
    initiator, responder = turn.state.initiator_balance, turn.state.responder_balance
    if initiator is None or responder is None:
        return None, None
    terms = turn.terms
    before: dict[str, int] = {terms.initiator: initiator, terms.responder: responder}
    moved = moves(terms, opened.transaction, opened.updates)
    if moved is None:
        return before, None
    return before, {terms.initiator: initiator + moved[0], terms.responder: responder + moved[1]}


def close_request(turn: Turn, name: str, **data: Any) -> Turn:
    """The open request is settled or void; a reply that comes now is late."""
    opened = turn.state.open_request
    if opened is None:
        return turn
    turn = turn if name == REFUSED else put_aside(turn, opened)
    return turn.set(open_request=None, closed_request=opened.sign_request_id).publish(
        "sign",
        name,
        sign_request_id=opened.sign_request_id,
        tag=opened.tag.value,
        tx_hash=opened.transaction.hash,
        **data,
    )


def refuse_node(turn: Turn, tag: Tag, code: int) -> Turn:
    """Say no to the node. Legacy has no word for it: there the request lapses, and an event says so."""
    if turn.terms.dialect.is_legacy or tag.is_opening:
        return turn.publish("sign", "lapses", tag=tag.value, sentence=_LAPSE)
    return turn.tell(lambda request_id: Refuse(request_id, tag, code))


def refuse_mismatch(turn: Turn, tag: Tag, raw: str, sentence: str) -> Turn:
    """It is not what was asked for, or nobody can read it: told, refused, and shown to no signer (5.1)."""
    turn = turn.publish("sign", "mismatch", raw=raw, tag=tag.value, sentence=sentence)
    return refuse_node(turn, tag, NOT_ALLOWED)


_LAPSE = (
    "this dialect cannot refuse a signature: the request stays open at the node until its timer ends it, "
    "and with it the channel's session"
)


def refuse_reply(turn: Turn, replied: SignReplied) -> Turn:
    """A reply to a request that is not open: say which kind of not."""
    settled = replied.sign_request_id == turn.state.closed_request
    code = Code.SIGN_REPLY_LATE if settled else Code.SIGN_REQUEST_UNKNOWN
    reason = "the request was settled before" if settled else "no such request is open on this channel"
    return turn.do(RefuseReply(replied.sign_request_id, replied.author, code, reason))


def is_open(turn: Turn, replied: SignReplied) -> bool:
    opened = turn.state.open_request
    if opened is None or opened.sign_request_id != replied.sign_request_id or turn.now >= opened.deadline:
        return False
    if not opened.is_asked:
        return False  # nobody was asked: whoever guessed the id answers nothing
    return opened.transaction.round in (None, turn.state.round + 1)  # I2


def forward(turn: Turn, opened: OpenRequest, signed: Signed, author: str) -> Turn:
    """F4: the ledger row first, then the node. Sent once; afterwards only the state is asked."""
    operation = turn.operation if opened.cause == "command" else None
    record = RecordForward(
        tag=opened.tag,
        round=opened.transaction.round,
        hash=opened.transaction.hash,
        signed_tx=signed.signed_tx,
        command_id=None if operation is None else CommandId(operation.command.command_id),
        attempt=0 if operation is None else operation.attempt,
    )
    replaced = {"replaces": list(signed.replaces)} if signed.replaces else {}
    turn = close_request(turn, "forwarded", signer=author, **replaced)
    not_after = None if opened.cause == "command" else opened.deadline
    return turn.do(record).tell(lambda request_id: SendSignature(request_id, opened.tag, signed.signed_tx), not_after)


def count_bad_reply(turn: Turn, opened: OpenRequest, replied: SignReplied, bad: BadReply) -> Turn:
    """A reply that failed the checks: told to its signer; the request stays open."""
    opened, refusal = _count(opened, replied, bad)
    return turn.set(open_request=opened).do(refusal)


def _count(opened: OpenRequest, replied: SignReplied, bad: BadReply) -> tuple[OpenRequest, RefuseReply]:
    refusal = RefuseReply(opened.sign_request_id, replied.author, bad.code, bad.reason)
    return replace(opened, bad_replies=opened.bad_replies + 1), refusal


def warn(turn: Turn) -> Turn:
    """Announce 50 % and 80 % of the time to a deadline."""
    opened = turn.state.open_request
    if opened is None or opened.announced >= len(WARNINGS):
        return turn
    if turn.now < warning_at(opened):
        return turn
    data: dict[str, Any] = {
        "sign_request_id": opened.sign_request_id,
        "tag": opened.tag.value,
        "deadline": opened.deadline,
        "elapsed_percent": int(WARNINGS[opened.announced] * 100),
    }
    turn = turn.set(open_request=replace(opened, announced=opened.announced + 1)).publish("sign", "expiring", **data)
    return warn(turn)


def warning_at(opened: OpenRequest) -> float:
    """When the next warning is due; the deadline itself once both were given. Before that, the approvers' deadline."""
    if not opened.is_asked and opened.approval is not None:
        return opened.approval.deadline
    if opened.announced >= len(WARNINGS):
        return opened.deadline
    return opened.opened_at + WARNINGS[opened.announced] * (opened.deadline - opened.opened_at)
