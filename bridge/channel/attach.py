"""From a socket to a channel that answers, and from a lost socket to the truth about what was in flight.

The order is fixed (guarantees.md section 3): attach with the newest credential, store the credential the node
gives, ask its state, settle the one operation in flight, then go on. Nothing is ever sent again blindly: a
reconnect replays nothing, a second trigger destroys the first, a stray signed reply can close the channel.
"""

from dataclasses import replace

from bridge.channel.attempt import NO_SIGNATURE, apply_moves, cosigned, probe, void
from bridge.channel.check import OWN_TAGS
from bridge.channel.command import Message, Transfer
from bridge.channel.effect import KeepFsmId, KeepState, Reconnect, Rest
from bridge.channel.identifier import fingerprint
from bridge.channel.input import History, InfoReported, LinkDown, LinkFailed, LinkUp, OffchainState
from bridge.channel.operation import doubt, end_unknown, fail
from bridge.channel.proposal import forget, settle
from bridge.channel.query import from_journal
from bridge.channel.request import AskBalances, AskHistory, AskState
from bridge.channel.signature import close_request
from bridge.channel.state import Attachment, Operation, Phase, Purpose, Stage, mark_down
from bridge.channel.terms import Dialect
from bridge.channel.transaction import Transaction
from bridge.channel.turn import Turn
from bridge.errors import Code

ALARM_SECONDS, ALARM_ATTEMPTS = 150.0, 5
"""After so long, and so many tries, an attach is called lost. Longer than `timeout_accept` (120 s)."""
AWAY_SECONDS = 150.0
"""How long a peer that was away before a new attach is waited for: longer than `timeout_accept` (120 s)."""
RECHECK_SECONDS = 5.0
CLOSED_SECONDS, SILENT_SECONDS = 1.0, 65.0
ABNORMAL = 1006
"""The close code of a socket that ended without the node's close frame."""
TIMEOUT_CODE = 3


def link_up(turn: Turn, up: LinkUp) -> Turn:
    """A socket. JSON-RPC says `fsm_up` next; legacy says nothing, or `open` once both sides are back."""
    turn = turn.set(attachment=Attachment.CONNECTED, presented=up.presented)
    if not turn.terms.dialect.is_legacy:
        return turn
    if up.resumed:
        return turn.set(attachment=Attachment.REESTABLISHING, reestablished=True)
    return _attached(turn.set(attachment=Attachment.READY, phase=Phase.OPENING))


def fsm_up(turn: Turn, info: InfoReported) -> Turn:
    """F6. With the credential we showed the FSM lived on; with another the node has begun a new one for us."""
    if info.fsm_id is not None:
        turn = turn.do(KeepFsmId(info.fsm_id))
    if not turn.state.is_resumable:
        return _attached(turn.set(attachment=Attachment.READY, phase=Phase.OPENING))
    rotated = info.fsm_id is not None and fingerprint(info.fsm_id) != turn.state.presented
    if rotated or info.channel_id is None:
        return turn.set(attachment=Attachment.REESTABLISHING, reestablished=True)
    return ask_state(turn.set(attachment=Attachment.ASKING), Purpose.TAKE_OVER)


def ask_state(turn: Turn, purpose: Purpose) -> Turn:
    return turn.ask(AskState, purpose)


def _attached(turn: Turn) -> Turn:
    """First attach of this opening."""
    return turn.set(down_since=None, failed_attaches=0, alarmed=False, heard_at=turn.now).publish(
        "link", "attached", role=turn.terms.role.value, dialect=turn.terms.dialect.value
    )


def _reattached(turn: Turn) -> Turn:
    """The channel answers again: say how long we were blind and where it stands."""
    state = turn.state
    blind = 0.0 if state.down_since is None else round(turn.now - state.down_since, 3)
    turn = turn.set(attachment=Attachment.READY, down_since=None, failed_attaches=0, alarmed=False, heard_at=turn.now)
    return turn.publish(
        "link",
        "reattached",
        blind_seconds=blind,
        reestablished=state.reestablished,
        round=state.round,
        tx_hash=None if state.cosigned is None else state.cosigned.hash,
        initiator_balance=state.initiator_balance,
        responder_balance=state.responder_balance,
    )


def link_down(turn: Turn, down: LinkDown) -> Turn:
    """The socket is gone. What a signer is busy with is void; what the peer may hold is asked for later."""
    was = turn.state.attachment
    if was is Attachment.DOWN:
        return turn
    for asked in turn.state.asked:
        if asked.query is not None:
            turn = from_journal(turn, asked.query)
    turn = _keep_quiet(_mark_down(turn, was), down)
    if was is not Attachment.CONNECTED:
        quiet = max(0.0, turn.state.quiet_until - turn.now)
        turn = turn.publish("link", "detached", code=down.code, sentence=down.reason, quiet_seconds=quiet)
    if turn.state.is_over:
        return turn.do(Rest())
    if _is_stranded(turn):
        return _lose(turn, "the link was lost after our opening signature", Code.CONNECTION_LOST)
    if not turn.state.is_resumable or (turn.state.cosigned is None and turn.state.settling is None):
        turn = turn.set(phase=Phase.NEW, settling=None, channel_id=None)
        return close_request(turn, "withdrawn", reason="the link was lost")
    turn = close_request(turn, "withdrawn", reason="the link was lost")
    if turn.terms.dialect is Dialect.LEGACY_SEED:
        return _lose(turn, "this dialect has nothing to resume a channel with", Code.LEGACY_NO_EVIDENCE)
    return _alarm_when_long(turn)


def take_over(turn: Turn) -> Turn:
    """S0: this process owns the channel now; the socket there was is another's, or an earlier one's."""
    # Whoever asked before is asked for anew by the worker: those questions are not answered here.
    turn = link_down(turn.set(asked=()), LinkDown(1006, "the process that held the link is gone"))
    return turn.do(Rest()) if turn.state.is_over else turn


def _is_stranded(turn: Turn) -> bool:
    """Our opening signature is out and there is no way back to the channel it may open: never sign another."""
    state = turn.state
    if state.cosigned is not None or state.settling is None:
        return False
    return turn.terms.dialect.is_legacy or state.channel_id is None


def _keep_quiet(turn: Turn, down: LinkDown) -> Turn:
    """After a reestablish the node finds the initiator's FSM no more: attached too early it begins a second one.

    As soon as that one's saved state is older than the peer's, the channel is lost for ever (observed). So the
    initiator waits until the old socket is surely gone at the node: a moment where the node itself closed it,
    else longer than the 60 s after which a node closes a silent one.
    """
    state = turn.state
    if not state.reestablished or not turn.is_initiator or turn.terms.dialect is not Dialect.JSON_RPC:
        return turn
    seconds = SILENT_SECONDS if down.code == ABNORMAL else CLOSED_SECONDS
    return turn.set(quiet_until=turn.now + seconds)


def _mark_down(turn: Turn, was: Attachment) -> Turn:
    failed = turn.state.failed_attaches + (0 if was is Attachment.READY else 1)
    return replace(turn, state=mark_down(turn.state, turn.now)).set(failed_attaches=failed)


def link_failed(turn: Turn, failed: LinkFailed) -> Turn:
    since = turn.state.down_since if turn.state.down_since is not None else turn.now
    turn = turn.set(down_since=since, failed_attaches=max(turn.state.failed_attaches, failed.attempts))
    turn = turn.publish("link", "unreachable", attempts=failed.attempts, sentence=failed.reason)
    return _alarm_when_long(turn)


def _alarm_when_long(turn: Turn) -> Turn:
    """A channel nobody can attach to: the operator needs the latest co-signed state now, not later."""
    state = turn.state
    has_signed = state.cosigned is not None or state.settling is not None
    if state.alarmed or not has_signed or state.down_since is None:
        return turn
    if state.failed_attaches < ALARM_ATTEMPTS or turn.now - state.down_since < ALARM_SECONDS:
        return turn
    return _require_recovery(turn.set(alarmed=True), "the channel could not be attached again")


def _require_recovery(turn: Turn, sentence: str) -> Turn:
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


def _lose(turn: Turn, sentence: str, code: Code) -> Turn:
    """Nothing more can be done through the node. Told once; the line is answered, nothing hangs."""
    turn = _require_recovery(turn.set(phase=Phase.LOST), sentence).set(settling=None)
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


def opened(turn: Turn) -> Turn:
    """`open`: the channel is usable, for the first time or again."""
    state = turn.state
    first = state.cosigned is None
    turn = turn.set(phase=Phase.OPEN, peer_is_away=False, peer_awaited_until=None)
    if first and state.attachment is Attachment.READY:
        return turn
    if turn.terms.dialect is Dialect.LEGACY_SEED:
        return turn.set(attachment=Attachment.READY)
    return ask_state(turn.set(attachment=Attachment.ASKING), Purpose.REESTABLISH)


def peer_disconnected(turn: Turn) -> Turn:
    """Rule 7: our node has dropped every open request, without a conflict. No trigger until `open`."""
    turn = close_request(turn.set(peer_is_away=True), "withdrawn", reason="the peer's side is gone")
    operation = turn.operation
    if operation is not None and operation.stage in NO_SIGNATURE and not isinstance(operation.command, Message):
        return void(turn, operation)
    return turn


# --- the state query's answer ---------------------------------------------------------------------------


def state_answered(turn: Turn, found: OffchainState, purpose: Purpose) -> Turn:
    """Where the node stands, against where we left off: settle what was in flight, then go on."""
    if found.signed is None:
        return turn.do(Reconnect("the node answered no state"))
    turn = adopt(turn, found.signed)
    if turn.state.phase is Phase.LOST:
        return turn
    turn = forget(turn)
    turn = _settle_operation(turn, found, purpose)
    if purpose is Purpose.RECHECK:
        return turn
    if turn.state.peer_is_away:
        turn = turn.set(peer_awaited_until=turn.now + AWAY_SECONDS)
    accounts = (turn.terms.initiator, turn.terms.responder)
    turn = turn.set(phase=Phase.OPEN if turn.state.phase is Phase.OPENING else turn.state.phase)
    return _reattached(turn).ask(lambda request_id: AskBalances(request_id, accounts), Purpose.BALANCES)


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
    return _lose(close_request(turn, "withdrawn", reason=sentence), sentence, Code.NODE_RESTARTED)


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


def _settle_operation(turn: Turn, found: OffchainState, purpose: Purpose) -> Turn:
    """The tables of guarantees.md section 3, for the one operation that was beyond the line."""
    operation = turn.operation
    if operation is None or operation.stage is Stage.JOURNALED:
        return turn
    if isinstance(operation.command, Message):
        return end_unknown(turn, "the link was lost before the node said whether it took the message")
    if operation.stage in NO_SIGNATURE:
        return _settle_unsigned(turn, operation)
    half = found.half_signed
    if half is not None and operation.transaction is not None and half.hash == operation.transaction.hash:
        return turn.set_operation(recheck_at=turn.now + RECHECK_SECONDS)
    if purpose is Purpose.REESTABLISH and isinstance(operation.command, Transfer):
        return fail(turn, Code.NOT_APPLIED, "both sides agreed again on the state before it")
    return _settle_signed(turn, operation)


def _settle_unsigned(turn: Turn, operation: Operation) -> Turn:
    """Nothing was signed. JSON-RPC: void it and ask again. Legacy: its FSM is gone and it is not repeated."""
    if turn.terms.dialect.is_legacy:
        return fail(turn, Code.TRIGGER_LOST, "the node's session ended before anything was signed")
    return probe(turn, OWN_TAGS[type(operation.command)])


def _settle_signed(turn: Turn, operation: Operation) -> Turn:
    """We signed, and the node neither has it nor waits for the peer's part of it."""
    if turn.terms.dialect.is_legacy:
        return doubt(turn, Code.LEGACY_NO_EVIDENCE, "the socket was lost after our signature")
    if operation.stage is Stage.IN_DOUBT:
        return turn
    return probe(turn.set_operation(recheck_at=turn.now + RECHECK_SECONDS), OWN_TAGS[type(operation.command)])


def probe_missed(turn: Turn, operation: Operation) -> Turn:
    """1018 after a signature: it was consumed. For a transfer the node's own memory tells how it ended."""
    if isinstance(operation.command, Transfer):
        return turn.ask(AskHistory, Purpose.HISTORY)
    turn = turn.set_operation(recheck_at=turn.now + RECHECK_SECONDS)
    return doubt(turn, Code.AWAITING_CHAIN, "the transaction may be on its way to the chain")


def history_answered(turn: Turn, history: History) -> Turn:
    """Rule 5: a timeout, or no report at all, proves nothing; any other conflict at our base does."""
    operation = turn.operation
    if operation is None or operation.stage is not Stage.SIGNED_SENT:
        return turn
    codes = [code for code, round_ in history.conflicts if round_ in (None, operation.base_round)]
    if not codes or TIMEOUT_CODE in codes:
        return doubt(
            turn,
            Code.CONNECTION_LOST,
            "the link was lost after our signature and no report says how it ended",
        )
    return fail(turn, Code.NOT_APPLIED, "the node reports a conflict and the round before it")


def recheck(turn: Turn) -> Turn:
    """The report may have gone to a lost socket: ask the state again from time to time."""
    operation = turn.operation
    if operation is None or operation.recheck_at is None or turn.now < operation.recheck_at:
        return turn
    if turn.state.attachment is not Attachment.READY or turn.state.has_asked(Purpose.RECHECK, Purpose.PROBE):
        return turn
    turn = turn.set_operation(recheck_at=turn.now + RECHECK_SECONDS)
    return ask_state(turn, Purpose.RECHECK)
