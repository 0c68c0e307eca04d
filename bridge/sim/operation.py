"""The operations both parties sign: asked for, signed, half-signed, refused, crossed.

Update, deposit, withdrawal and mutual close share their way up to both signatures; the create transaction joins
where its signature is asked for. What follows the second signature is in `cosign`. Source: protocol.md E.2 to E.14,
F.2, F.4; observed.md "Recovery".
"""

from bridge.channel.identifier import Account
from bridge.channel.terms import Role
from bridge.channel.transaction import Kind
from bridge.sim import closing, cosign, propose, reestablish, reuse
from bridge.sim.draft import Operation
from bridge.sim.event import (
    Acknowledged,
    AwaitingSignature,
    Call,
    Event,
    HalfSigned,
    PeerLocked,
    PeerRefused,
    PeerReturned,
    PeerUnattended,
    Proposed,
)
from bridge.sim.fsm import CONFLICT, CONFLICT_VALIDATION, CRASHED, NOT_READY, Fsm, Verdict
from bridge.sim.report import Complaint, SignWanted
from bridge.sim.request import INTERNAL_ERROR, Abort, Leave, Move, Reply, RequestRefused, Shutdown, Transfer
from bridge.wire import transaction
from bridge.wire.transaction import Signed

CONFLICT_PENDING, NOT_ALLOWED_NOW = 107, 1018
BOTH = 2
"""Signatures of a co-signed transaction."""


# --- open ---------------------------------------------------------------------------------------------------


def be_open(fsm: Fsm, event: Event) -> Verdict:
    """Signed replies, refusals and acknowledgements that come late are dropped without a word."""
    match event:
        case Call(Transfer() | Move() | Shutdown() as trigger):
            proposed = propose.draw(fsm, trigger)
            fsm.answer(event)
            ask(fsm, proposed, is_ours=True)
        case Call(Leave()):
            closing.leave(fsm, event)
        case Proposed(operation):
            _review(fsm, operation)
        case PeerReturned():
            reestablish.welcome(fsm, event)
        case PeerUnattended():
            reuse.use(fsm)
        case _:
            pass
    return Verdict.DONE


def ask(fsm: Fsm, operation: Operation, *, is_ours: bool) -> None:
    """Ask our client to sign. If it is away the request stays pending, and is never asked again."""
    tag = operation.flow.own if is_ours else operation.flow.ack
    fsm.go(AwaitingSignature(operation, is_ours))
    fsm.report(SignWanted(tag, operation.inner, operation.signatures, operation.updates))


def _review(fsm: Fsm, operation: Operation) -> None:
    """The peer proposes. An absent client cannot be asked, but what it signed earlier still counts."""
    objection = _object(fsm, operation)
    if fsm.client is not None and objection is None:
        fsm.inform(operation.flow.announced)
        ask(fsm, operation, is_ours=False)
    elif fsm.client is not None:
        fsm.fall_back(objection or CONFLICT, tell_peer=True)
    elif objection is None and len(operation.signatures) == BOTH:
        fsm.around.reused(fsm, operation)
        cosign.acknowledge(fsm, operation)
    elif operation.kind is not Kind.CLOSE_MUTUAL:
        fsm.fall_back(CONFLICT, tell_peer=True)
    # A shutdown to an absent client is met with silence until the peer's `timeout_accept`.


def _object(fsm: Fsm, operation: Operation) -> int | None:
    """The conflict code of a proposal that does not follow from our state."""
    if fsm.cosigned is None or fsm.parties is None:
        return CONFLICT_VALIDATION
    balances = fsm.cosigned.balances
    if operation.kind is Kind.CLOSE_MUTUAL:
        return None if balances.share_fee(operation.fee) == operation.balances else CONFLICT_VALIDATION
    if operation.round != fsm.round + 1:
        return CONFLICT
    after = balances.apply(operation.updates, fsm.parties)
    lowest = min(after.initiator, after.responder)
    return None if after == operation.balances and lowest >= fsm.parties.reserve else CONFLICT_VALIDATION


# --- our client is asked ------------------------------------------------------------------------------------


def await_signature(fsm: Fsm, state: AwaitingSignature, event: Event) -> Verdict:
    """Replies are matched by tag only, so a late one for an earlier request is taken for this one."""
    awaited = state.operation.flow.own if state.is_ours else state.operation.flow.ack
    match event:
        case Reply(_, None):
            return Verdict.DONE  # "good checksum, not a transaction": swallowed
        case Reply(tag, Signed() as signed) if tag is awaited:
            _judge(fsm, state, signed)
        case Call() if state.operation.kind is Kind.CREATE:
            raise RequestRefused(NOT_READY)
        case Call(Transfer() | Move()):
            _void(fsm, state, event)
        case Proposed(operation) if operation.kind is not Kind.CLOSE_MUTUAL:
            fsm.fall_back(CONFLICT, tell_peer=True)
        case Reply() | Call() | Proposed() | PeerRefused() | PeerReturned() | PeerLocked():
            return Verdict.POSTPONED
        case _:
            pass
    return Verdict.DONE


def abort(fsm: Fsm, event: Event, asked: Abort) -> None:
    """Our client refuses; also the probe, which voids exactly the request that waits. Raises RequestRefused."""
    state = fsm.state
    if not isinstance(state, AwaitingSignature) or state.operation.kind is Kind.CREATE:
        raise RequestRefused(NOT_ALLOWED_NOW)
    if asked.tag is not (state.operation.flow.own if state.is_ours else state.operation.flow.ack):
        raise RequestRefused(NOT_ALLOWED_NOW)
    fsm.answer(event)
    fsm.inform("aborted_update")
    if not state.is_ours:
        fsm.tell(PeerRefused(asked.code, fsm.round))
    fsm.open_up(announce=False)


def _void(fsm: Fsm, state: AwaitingSignature, event: Event) -> None:
    """A second trigger destroys the first, and itself."""
    if fsm.era.outlives_client:
        fsm.answer(event)
        fsm.fall_back(CONFLICT, tell_peer=not state.is_ours)
        return
    fsm.fall_back(CONFLICT, tell_peer=not state.is_ours)
    raise RequestRefused(CONFLICT_PENDING)


def _judge(fsm: Fsm, state: AwaitingSignature, signed: Signed) -> None:
    operation = state.operation
    if not _is_valid(fsm, state, signed):
        if operation.kind is Kind.CREATE:
            fsm.report(Complaint("bad_signature"))  # the request stays open
        else:
            fsm.fall_back(CONFLICT_VALIDATION, tell_peer=not state.is_ours)
        return
    fsm.is_bound = True
    ready = operation.sign(signed.signatures)
    if state.is_ours:
        cosign.send(fsm, ready)
    else:
        cosign.acknowledge(fsm, ready)


def _is_valid(fsm: Fsm, state: AwaitingSignature, signed: Signed) -> bool:
    """The same bytes, and exactly one valid signature of each who must have signed by now."""
    operation, parties = state.operation, fsm.parties
    if signed.inner != operation.inner or parties is None:
        return False
    found = list(signed.signatures)
    if fsm.era.is_bare:
        found = [*operation.signatures, *found]
    owners = [_owner(fsm, signature, operation.inner) for signature in found]
    both = sorted([parties.initiator, parties.responder])
    own = [parties.account(fsm.role)]
    if None in owners:
        return False
    names = sorted(owner for owner in owners if owner is not None)
    return names == both or (state.is_ours and names == own)


def _owner(fsm: Fsm, signature: bytes, inner: bytes) -> Account | None:
    if fsm.parties is None:
        return None
    for role in Role:
        account = fsm.parties.account(role)
        if transaction.verify(signature, inner, account, fsm.chain.network_id, fsm.era.forms):
            return account
    return None


# --- our signature is at the peer ---------------------------------------------------------------------------


def await_peer(fsm: Fsm, state: HalfSigned, event: Event) -> Verdict:
    match event:
        case Acknowledged(operation):
            if operation.inner == state.operation.inner:
                cosign.complete(fsm, operation)
        case PeerRefused(code, raised_at):
            fsm.fall_back(code, raised_at=raised_at)
        case Proposed() if state.operation.kind is Kind.CLOSE_MUTUAL:
            fsm.end(code=CRASHED)
        case Proposed():
            fsm.fall_back(CONFLICT, tell_peer=True)
        case Reply():
            return _take_stray(fsm, state)
        case Call(request):
            return _take_early(fsm, state, event, is_leave=isinstance(request, Leave))
        case PeerReturned() | PeerLocked():
            return Verdict.POSTPONED
        case _:
            pass
    return Verdict.DONE


def _take_stray(fsm: Fsm, state: HalfSigned) -> Verdict:
    """A signed reply nobody waits for is set aside while an update is half-signed, and kills elsewhere."""
    if state.operation.kind is Kind.OFFCHAIN:
        return Verdict.POSTPONED
    fsm.end()
    return Verdict.DONE


def _take_early(fsm: Fsm, state: HalfSigned, event: Event, *, is_leave: bool) -> Verdict:
    """A request in the middle of an operation: it blocks its handler, or is refused (protocol.md F.4)."""
    match state.operation.kind:
        case Kind.CREATE:
            raise RequestRefused(NOT_READY)
        case Kind.DEPOSIT | Kind.WITHDRAW if is_leave:
            fsm.answer(event)
            return Verdict.DONE
        case Kind.DEPOSIT | Kind.WITHDRAW:
            raise RequestRefused(INTERNAL_ERROR)
        case _:
            return Verdict.POSTPONED
