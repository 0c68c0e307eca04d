"""From one signature to two, and what each kind of operation does then.

The acknowledger gets there first: for a moment, or for good if his word is lost, only he holds the new state.
"""

from bridge.channel.transaction import Kind
from bridge.sim.draft import Operation
from bridge.sim.event import Acknowledged, AwaitingLock, Closing, HalfSigned, Proposed
from bridge.sim.fsm import Fsm
from bridge.sim.report import OnChain
from bridge.wire import transaction

MAX_META_BYTES = 65_200
"""More than this beside an update does not reach the peer, nor does anything after it (observed.md, Errors)."""


def send(fsm: Fsm, operation: Operation) -> None:
    """Our signature goes to the peer."""
    if operation.kind is Kind.CREATE and fsm.parties is not None:
        payer, nonce = fsm.parties.initiator, transaction.fields(operation.inner)[1]["nonce"]
        fsm.find_channel(transaction.channel_id(payer, int(str(nonce)), fsm.parties.responder))
    if sum(len((update.data or "").encode()) for update in operation.updates) > MAX_META_BYTES:
        fsm.is_blocked = True
    fsm.go(HalfSigned(operation))
    fsm.tell(Proposed(operation))


def acknowledge(fsm: Fsm, operation: Operation) -> None:
    """Both signed, here at the acknowledger's."""
    if operation.is_on_chain:
        fsm.report(OnChain(operation.flow.created, operation.kind, operation.signed))
    _settle(fsm, operation, is_acknowledger=True)


def complete(fsm: Fsm, operation: Operation) -> None:
    """Both signed, and the proposer knows."""
    if operation.kind is Kind.CREATE:
        fsm.inform("funding_signed", fsm_id=True)
    if operation.is_on_chain:
        fsm.report(OnChain(operation.flow.signed, operation.kind, operation.signed))
    _settle(fsm, operation, is_acknowledger=False)


def _settle(fsm: Fsm, operation: Operation, *, is_acknowledger: bool) -> None:
    """An update counts at once; the others wait for the chain, to which the proposer takes them (a close: both)."""
    if operation.kind in (Kind.OFFCHAIN, Kind.CREATE):
        fsm.adopt(operation)
    if is_acknowledger:
        fsm.tell(Acknowledged(operation))
    match operation.kind:
        case Kind.OFFCHAIN:
            fsm.open_up(announce=False)
            fsm.show_state()
            return
        case Kind.CLOSE_MUTUAL:
            fsm.inform("closing")
            fsm.push(operation)
            fsm.go(Closing(operation))
        case _:
            if not is_acknowledger:
                fsm.push(operation)
            fsm.go(AwaitingLock(operation))
    fsm.watch(operation)
