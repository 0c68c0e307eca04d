"""After a gap: where the node stands against where we left off, and so what became of the one operation.

The tables of guarantees.md section 3. Nothing is sent again to find out: the state is asked, the probe asks by
refusing, the node's own memory is read, and what no evidence settles stays in doubt until there is some.
"""

from dataclasses import replace
from functools import partial

from bridge.channel.agreement import adopt, roll_back
from bridge.channel.attach import ask_state, reattached
from bridge.channel.attempt import NO_SIGNATURE, TIMEOUT_CODE, probe, retry_or_fail
from bridge.channel.check import OWN_TAGS
from bridge.channel.command import Checkpoint, Message, Transfer
from bridge.channel.effect import Reconnect
from bridge.channel.exposure import ON_CHAIN
from bridge.channel.input import Conflicted, History, OffchainState
from bridge.channel.operation import CHAIN_SECONDS, RECHECK_SECONDS, doubt, fail, longest_wait, say_again
from bridge.channel.proposal import forget
from bridge.channel.request import CONFLICTS, AskBalances, AskHistory, Refuse, Tag
from bridge.channel.signature import BUSY
from bridge.channel.state import UNSETTLED, Attachment, Operation, Phase, Purpose, Stage
from bridge.channel.turn import Turn
from bridge.errors import Code

AWAY_SECONDS = 150.0
"""How long a peer that was away before a new attach is waited for: longer than `timeout_accept` (120 s)."""


def state_answered(turn: Turn, found: OffchainState, purpose: Purpose) -> Turn:
    """Where the node stands, against where we left off: settle what was in flight, then go on."""
    if found.signed is None:
        return turn.do(Reconnect("the node answered no state"))
    turn = roll_back(turn, found.signed) if purpose is Purpose.REESTABLISH else turn
    turn = adopt(turn, found.signed)
    if turn.state.phase is Phase.LOST or purpose is Purpose.CROSSED:
        return turn
    if purpose is Purpose.REESTABLISH:
        turn = turn.set(split_round=0)
    if purpose is not Purpose.RECHECK and not _may_be_mined(turn, purpose):
        turn = forget(turn, f"the node stands at round {turn.state.round}")
    turn = _settle_operation(turn, found, purpose)
    if purpose is Purpose.RECHECK:
        return _look_for_acknowledgement(turn)
    if purpose is Purpose.TAKE_OVER:
        turn = _ask_what_was_missed(turn)
    if turn.state.peer_is_away:
        turn = turn.set(peer_awaited_until=turn.now + AWAY_SECONDS)
    accounts = (turn.terms.initiator, turn.terms.responder)
    turn = turn.set(phase=Phase.OPEN if turn.state.phase is Phase.OPENING else turn.state.phase)
    return reattached(turn).ask(lambda request_id: AskBalances(request_id, accounts), Purpose.BALANCES)


def _may_be_mined(turn: Turn, purpose: Purpose) -> bool:
    """What we signed for the peer and goes to the chain: before it is locked the node stands at the round before.

    Unless both sides have just agreed on that round.
    """
    settling = turn.state.settling
    return purpose is Purpose.TAKE_OVER and settling is not None and settling.tag is not Tag.UPDATE_ACK


def _look_for_acknowledgement(turn: Turn) -> Turn:
    """What we signed for the peer is not co-signed and nobody said why: perhaps the node never got it."""
    settling = turn.state.settling
    if settling is None or settling.tag.is_opening or turn.terms.dialect.is_legacy:
        return turn
    return turn.ask(partial(Refuse, tag=settling.tag, code=BUSY), Purpose.LOOK_ACK)


ACKNOWLEDGEMENTS = (Tag.UPDATE_ACK, Tag.DEPOSIT_ACK, Tag.WITHDRAW_ACK, Tag.SHUTDOWN_ACK)


def _ask_what_was_missed(turn: Turn) -> Turn:
    """A proposal the dead socket was asked about would block the channel: each is refused, should it be there.

    The peer tries again, and the identical request finds the signer's answer. And the node's memory is counted,
    so that a conflict it remembers from now on is known to be a later one (rule 5).
    """
    if turn.terms.dialect.is_legacy:
        return turn
    for tag in ACKNOWLEDGEMENTS:
        turn = turn.ask(partial(Refuse, tag=tag, code=BUSY), Purpose.PROBE_ACK)
    operation = turn.operation
    if operation is not None and operation.stage is Stage.SIGNED_SENT:
        return turn  # its own history is asked for once the probe has missed
    return turn.ask(AskHistory, Purpose.COUNT)


def count_again(turn: Turn) -> Turn:
    """After a conflict that was reported: what is newer in the node's memory from then on we have missed.

    The answer comes on the same socket, so it knows of each conflict that was reported before it.
    """
    if turn.terms.dialect.is_legacy or turn.state.attachment is not Attachment.READY:
        return turn
    return turn.ask(AskHistory, Purpose.COUNT)


def history_counted(turn: Turn, history: History) -> Turn:
    """Everything in it is known of; what will be newer than its newest is not.

    A conflict nobody told us of, while what we signed for the peer is not co-signed, is what became of that.
    """
    missed = [code for code, round_, _ in _missed(turn, history) if round_ in (None, turn.state.round)]
    newest = max((time for _, _, time in history.conflicts), default=turn.state.conflict_mark)
    turn = turn.set(conflict_mark=newest)
    return forget(turn, f"the node remembers a conflict {missed[0]} of round {turn.state.round}") if missed else turn


def _missed(turn: Turn, history: History) -> list[tuple[int, int | None, str]]:
    """Entries since the memory was last read, which is after each conflict that was reported to us."""
    return [entry for entry in history.conflicts if entry[2] > turn.state.conflict_mark]


def _is_cut(turn: Turn, history: History) -> bool:
    """The node tells its latest reports only: whether one that counts may stand before the oldest of these."""
    is_full = len(history.conflicts) >= CONFLICTS
    return is_full and min(time for _, _, time in history.conflicts) > turn.state.conflict_mark


def _settle_operation(turn: Turn, found: OffchainState, purpose: Purpose) -> Turn:
    """The tables of guarantees.md section 3, for the one operation that was beyond the line."""
    operation = turn.operation
    if operation is None or operation.stage is Stage.JOURNALED:
        return turn
    if isinstance(operation.command, Message):
        return say_again(turn, operation, "the link was lost before the node said whether it took the message")
    if operation.stage in NO_SIGNATURE:
        return _settle_unsigned(turn, operation)
    half, signed = found.half_signed, operation.transaction
    is_held = half is not None and signed is not None and half.hash == signed.hash
    if operation.stage is Stage.IN_DOUBT:
        turn = turn.set_operation(is_half_signed=is_held)
    if is_held:
        return turn if purpose is Purpose.RECHECK else turn.set_operation(recheck_at=turn.now + RECHECK_SECONDS)
    if purpose is Purpose.REESTABLISH and isinstance(operation.command, Transfer | Checkpoint):
        return fail(turn, Code.NOT_APPLIED, "both sides agreed again on the state before it")
    return _settle_signed(turn, operation, purpose)


def _settle_unsigned(turn: Turn, operation: Operation) -> Turn:
    """Nothing was signed. JSON-RPC: void it and ask again. Legacy: its FSM is gone and it is not repeated."""
    if turn.terms.dialect.is_legacy:
        return fail(turn, Code.TRIGGER_LOST, "the node's session ended before anything was signed")
    return probe(turn, OWN_TAGS[type(operation.command)])


def _settle_signed(turn: Turn, operation: Operation, purpose: Purpose) -> Turn:
    """We signed, and the node neither has it nor waits for the peer's part of it."""
    if turn.terms.dialect.is_legacy:
        if purpose is Purpose.RECHECK:
            return _lose_patience(turn, operation)  # nothing was lost, and this dialect knows no probe
        return doubt(turn, Code.LEGACY_NO_EVIDENCE, "the socket was lost after our signature")
    if operation.stage is Stage.IN_DOUBT:
        return turn
    tag = OWN_TAGS[type(operation.command)]
    if purpose is Purpose.RECHECK:
        return turn.ask(partial(Refuse, tag=tag, code=BUSY), Purpose.LOOK)
    return probe(turn.set_operation(recheck_at=turn.now + RECHECK_SECONDS), tag)


def _lose_patience(turn: Turn, operation: Operation) -> Turn:
    """Past the longest timer of the peer's side something would have been reported: our signature may be lost."""
    if turn.now < operation.since + _patience(turn, operation):
        return turn
    return doubt(turn, Code.LEGACY_NO_EVIDENCE, "the node says nothing of what we signed, and cannot be asked")


def probe_missed(turn: Turn, operation: Operation) -> Turn:
    """1018 after a signature: it was consumed. The node's own memory tells whether it was refused meanwhile."""
    return turn.ask(AskHistory, Purpose.HISTORY)


def history_answered(turn: Turn, history: History) -> Turn:
    """Rule 5: a timeout, or no report at all, proves nothing; any other conflict at our base does."""
    operation = turn.operation
    if operation is None or operation.stage is not Stage.SIGNED_SENT:
        return turn
    missed = [code for code, round_, _ in _missed(turn, history) if round_ in (None, operation.base_round)]
    is_whole = not _is_cut(turn, history)
    turn = history_counted(turn, history)
    if not missed or TIMEOUT_CODE in missed or not is_whole:
        if isinstance(operation.command, ON_CHAIN):
            return doubt(turn, Code.AWAITING_CHAIN, "the transaction may be on its way to the chain")
        return doubt(
            turn,
            Code.CONNECTION_LOST,
            "the link was lost after our signature and no report says how it ended",
        )
    return retry_or_fail(turn, operation, Conflicted(round=operation.base_round, code=missed[0]), was_cut=True)


def looked_in_vain(turn: Turn, operation: Operation) -> Turn:
    """1018 while nothing was lost: consumed. How a transfer ended the node remembers; the chain may take its time."""
    return probe_missed(turn, operation) if isinstance(operation.command, Transfer | Checkpoint) else turn


def recheck(turn: Turn) -> Turn:
    """A report that does not come may have gone to a lost socket: ask the state, ever more slowly."""
    if turn.state.attachment is not Attachment.READY or turn.state.has_asked(*UNSETTLED):
        return turn
    operation, settling = turn.operation, turn.state.settling
    if operation is not None and _is_due(turn, operation.recheck_at):
        if not turn.terms.answers_live:
            return _lose_patience(turn, operation)
        again = turn.now + _patience(turn, operation)
        return ask_state(turn.set_operation(recheck_at=again), Purpose.RECHECK)
    if settling is not None and _is_due(turn, settling.recheck_at):
        again = turn.now + CHAIN_SECONDS
        return ask_state(turn.set(settling=replace(settling, recheck_at=again)), Purpose.RECHECK)
    return turn


def _is_due(turn: Turn, at: float | None) -> bool:
    return at is not None and turn.now >= at


def _patience(turn: Turn, operation: Operation) -> float:
    if operation.stage is Stage.IN_DOUBT:
        return min(max(RECHECK_SECONDS, turn.now - operation.since), CHAIN_SECONDS)
    return longest_wait(operation)
