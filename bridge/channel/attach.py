"""From a socket to a channel that answers, and what a lost socket means for what was going on.

The order is fixed (guarantees.md section 3): attach with the newest credential, store the credential the node
gives, ask its state, settle the one operation in flight (`settlement`), then go on. Nothing is ever sent again
blindly: a reconnect replays nothing, a second trigger destroys the first, a stray signed reply can close the
channel.
"""

from dataclasses import replace

from bridge.channel.attempt import NO_SIGNATURE, RETURN_SECONDS, void
from bridge.channel.command import Message
from bridge.channel.effect import KeepFsmId, Reconnect, Rest
from bridge.channel.identifier import fingerprint
from bridge.channel.input import InfoReported, LinkDown, LinkFailed, LinkUp
from bridge.channel.loss import lose, pending_code, require_recovery
from bridge.channel.operation import CHAIN_SECONDS, doubt, say_again
from bridge.channel.query import from_journal
from bridge.channel.request import AskState
from bridge.channel.signature import close_request, suspend
from bridge.channel.state import Attachment, Phase, Purpose, Stage, State, mark_down
from bridge.channel.terms import Dialect
from bridge.channel.turn import Turn
from bridge.errors import Code

ALARM_SECONDS, ALARM_ATTEMPTS = 150.0, 5
"""After so long, and so many tries, an attach is called lost. Longer than `timeout_accept` (120 s)."""
CLOSED_SECONDS, SILENT_SECONDS = 1.0, 65.0
NORMAL, ABNORMAL = 1000, 1006
"""Close codes: as a node ends a socket, and of one that ended without its close frame."""
BAD_CREDENTIAL = 1016
"""The node's data code for an `fsm_id` it does not know."""
UP_SECONDS = 10.0
"""A node that takes a socket of a living channel says `fsm_up` at once."""
OPEN_SECONDS = 30.0
"""`open` follows `channel_reestablished` at once (observed)."""
MOST_DROPS, DROPS_SECONDS, YIELD_SECONDS = 3, 60.0, 60.0
"""So many sockets torn from a working channel in so long look like a second client: then we yield for a while."""


def link_up(turn: Turn, up: LinkUp) -> Turn:
    """A socket. JSON-RPC says `fsm_up` next; legacy says nothing, or `open` once both sides are back."""
    turn = turn.set(attachment=Attachment.CONNECTED, presented=up.presented, connected_at=turn.now)
    if not turn.terms.dialect.is_legacy:
        return turn
    if up.resumed:
        return turn.set(attachment=Attachment.REESTABLISHING, reestablished=True)
    return _attached(turn.set(attachment=Attachment.READY, phase=Phase.OPENING))


def fsm_up(turn: Turn, info: InfoReported) -> Turn:
    """F6. With the credential we showed the FSM lived on; with another the node has begun a new one for us."""
    turn = turn.set(uses_previous=False, refusals=0)
    if info.fsm_id is not None:
        turn = turn.do(KeepFsmId(info.fsm_id))
    if not turn.state.is_resumable:
        return _attached(turn.set(attachment=Attachment.READY, phase=Phase.OPENING))
    rotated = info.fsm_id is not None and fingerprint(info.fsm_id) != turn.state.presented
    if rotated or info.channel_id is None:
        return turn.set(attachment=Attachment.REESTABLISHING, reestablished=True, conflict_mark="")
    return ask_state(turn.set(attachment=Attachment.ASKING), Purpose.TAKE_OVER)


def credential_refused(turn: Turn) -> Turn:
    """S1: a refused try may have rotated the credential, so the newest and the one before it are shown in turn."""
    return turn.set(uses_previous=not turn.state.uses_previous)


def ask_state(turn: Turn, purpose: Purpose) -> Turn:
    return turn.ask(AskState, purpose)


def _attached(turn: Turn) -> Turn:
    """First attach of this opening."""
    return turn.set(down_since=None, failed_attaches=0, alarmed=False, heard_at=turn.now).publish(
        "link", "attached", role=turn.terms.role.value, dialect=turn.terms.dialect.value
    )


def reattached(turn: Turn) -> Turn:
    """The channel answers again: say how long we were blind and where it stands."""
    state = turn.state
    blind = 0.0 if state.down_since is None else round(turn.now - state.down_since, 3)
    turn = turn.set(attachment=Attachment.READY, down_since=None, failed_attaches=0, alarmed=False)
    turn = turn.set(back_at=turn.now, heard_at=turn.now)
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
    began = turn.now if turn.state.down_since is None else turn.state.tried_from
    turn = _yield_when_torn(_keep_quiet(_mark_down(turn, was, down), down), was, down)
    quiet = max(0.0, turn.state.quiet_until - turn.now)
    # Not for ever: sockets that are taken and cut would hide a dead channel for hours.
    is_owed = quiet > CLOSED_SECONDS and turn.state.failed_attaches <= ALARM_ATTEMPTS
    turn = turn.set(tried_from=began + (quiet if is_owed else 0.0))
    if was is not Attachment.CONNECTED:
        turn = turn.publish("link", "detached", code=down.code, sentence=down.reason, quiet_seconds=quiet)
    if turn.state.is_over:
        return turn.do(Rest())
    if _is_stranded(turn):
        return lose(turn, "the link was lost after our opening signature", Code.CONNECTION_LOST)
    if not turn.state.is_resumable or (turn.state.cosigned is None and turn.state.settling is None):
        turn = turn.set(phase=Phase.NEW, settling=None, channel_id=None)
        return close_request(turn, "withdrawn", reason="the link was lost")
    turn = _keep_letter(suspend(turn, "the link was lost"))
    if turn.terms.dialect is Dialect.LEGACY_SEED:
        return lose(turn, "this dialect has nothing to resume a channel with", Code.LEGACY_NO_EVIDENCE)
    return _alarm_when_long(turn)


def _keep_letter(turn: Turn) -> Turn:
    """A letter that is on its way is said again, unless its time passes before the link is back."""
    operation = turn.operation
    if operation is None or operation.stage is not Stage.SENT or not isinstance(operation.command, Message):
        return turn
    return say_again(turn, operation, "the link was lost") if operation.command.is_letter else turn


def take_over(turn: Turn) -> Turn:
    """S0: this process owns the channel now; the socket there was is another's, or an earlier one's."""
    # Whoever asked before is asked for anew by the worker: those questions are not answered here.
    turn = _wait_anew(turn.set(asked=(), drops=()))
    turn = link_down(turn, LinkDown(1006, "the process that held the link is gone"))
    turn = turn.set(drops=())
    return turn.do(Rest()) if turn.state.is_over else turn


def _wait_anew(turn: Turn) -> Turn:
    """Pauses of an earlier process begin again, none longer than it was: one of our clocks may have stood wrong.

    Within a process clocks do not jump; between two the hour may have been set either way.
    """
    state = turn.state
    if state.attachment is Attachment.DOWN and state.down_since is not None:
        quiet = min(max(0.0, state.quiet_until - state.down_since), SILENT_SECONDS)
        turn = turn.set(quiet_until=turn.now + quiet, down_since=min(state.down_since, turn.now))
    now, latest, longest = turn.now, turn.now + RETURN_SECONDS, turn.now + CHAIN_SECONDS
    is_untried = state.attachment is Attachment.DOWN and state.down_since is not None and not state.failed_attaches
    if state.settling is not None:
        turn = turn.set(settling=replace(state.settling, recheck_at=_at_most(state.settling.recheck_at, longest)))
    if state.operation is not None:
        turn = turn.set_operation(
            not_before=min(state.operation.not_before, latest),
            since=min(state.operation.since, now),
            recheck_at=_at_most(state.operation.recheck_at, longest),
        )
    return turn.set(
        pause_until=min(state.pause_until, latest),
        tried_from=now if is_untried else min(state.tried_from, now),
        cosigned_at=min(state.cosigned_at, now),
        proof_not_before=min(state.proof_not_before, longest),
        peer_awaited_until=_at_most(state.peer_awaited_until, longest),
    )


def _at_most(at: float | None, latest: float) -> float | None:
    return None if at is None else min(at, latest)


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


def _yield_when_torn(turn: Turn, was: Attachment, down: LinkDown) -> Turn:
    """Two clients of one channel throw each other out for ever: never fight (guarantees.md section 3)."""
    if was is not Attachment.READY or down.code != ABNORMAL:
        return turn
    drops = (*(at for at in turn.state.drops if at > turn.now - DROPS_SECONDS), turn.now)
    if len(drops) < MOST_DROPS:
        return turn.set(drops=drops)
    turn = turn.set(drops=(), quiet_until=max(turn.state.quiet_until, turn.now + YIELD_SECONDS))
    return turn.publish(
        "alarm",
        Code.OWNER_CONFLICT.value,
        sentence=f"the socket was torn away {MOST_DROPS} times in {DROPS_SECONDS:g} s: another client may use this "
        f"channel's credential, or the network is bad; the next attach is in {YIELD_SECONDS:g} s",
    )


def _mark_down(turn: Turn, was: Attachment, down: LinkDown) -> Turn:
    failed = turn.state.failed_attaches + (0 if was is Attachment.READY else 1)
    refusals = turn.state.refusals + (1 if was is Attachment.CONNECTED and down.code == NORMAL else 0)
    return replace(turn, state=mark_down(turn.state, turn.now)).set(failed_attaches=failed, refusals=refusals)


def link_failed(turn: Turn, failed: LinkFailed) -> Turn:
    since = turn.state.down_since if turn.state.down_since is not None else turn.now
    turn = turn.set(down_since=since, failed_attaches=max(turn.state.failed_attaches, failed.attempts), refusals=0)
    turn = turn.publish("link", "unreachable", attempts=failed.attempts, sentence=failed.reason, code=failed.code.value)
    return _alarm_when_long(turn)


def watch(turn: Turn) -> Turn:
    """What time does to a channel that is attached and does not come up: a report was lost, or the peer stays away."""
    state = turn.state
    if _awaits_fsm(state) and turn.now >= state.connected_at + UP_SECONDS:
        return turn.set(connected_at=turn.now).do(Reconnect("the node took the socket and did not say that it is up"))
    if state.attachment is not Attachment.REESTABLISHING:
        return turn
    if state.agreed_at is not None and turn.now >= state.agreed_at + OPEN_SECONDS:
        return turn.set(agreed_at=None).do(Reconnect("both sides agreed and the channel did not open"))
    due = _alarm_at(state)
    if state.alarmed or due is None or turn.now < due:
        return turn
    return _alarm(turn, "the peer has not come back after the link was lost")


def watched_until(state: State) -> float | None:
    """When time alone has something to say about such a channel."""
    if _awaits_fsm(state):
        return state.connected_at + UP_SECONDS
    if state.attachment is not Attachment.REESTABLISHING:
        return None
    if state.agreed_at is not None:
        return state.agreed_at + OPEN_SECONDS
    return None if state.alarmed else _alarm_at(state)


def _alarm_at(state: State) -> float | None:
    """When so much has been tried in vain that operators must know."""
    return None if state.down_since is None else max(state.down_since, state.tried_from) + ALARM_SECONDS


def _awaits_fsm(state: State) -> bool:
    """`fsm_up` brings the credential and begins the take-over: without it nothing would ever be asked."""
    return state.attachment is Attachment.CONNECTED and state.is_resumable


def _alarm_when_long(turn: Turn) -> Turn:
    """A channel nobody can attach to: the operator needs the latest co-signed state now, not later."""
    state = turn.state
    has_signed = state.cosigned is not None or state.settling is not None
    due = _alarm_at(state)
    if state.alarmed or not has_signed or due is None:
        return turn
    if state.failed_attaches < ALARM_ATTEMPTS or turn.now < due:
        return turn
    if state.refusals >= ALARM_ATTEMPTS:
        turn = turn.set(alarmed=True)
        return lose(turn, "the node answers and knows this channel no more", Code.NODE_RESTARTED)
    return _alarm(turn, "the channel could not be attached again")


def _alarm(turn: Turn, sentence: str) -> Turn:
    """Told once an outage: the kit, and that what we signed has no verdict yet."""
    turn = require_recovery(turn.set(alarmed=True), sentence)
    operation = turn.operation
    if operation is None or operation.stage is not Stage.SIGNED_SENT:
        return turn
    return doubt(turn, pending_code(operation), "the node cannot be asked what became of it")


def opened(turn: Turn) -> Turn:
    """`open`: the channel is usable, for the first time or again."""
    state = turn.state
    first = state.cosigned is None
    turn = turn.set(phase=Phase.OPEN, peer_is_away=False, peer_awaited_until=None, agreed_at=None)
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
