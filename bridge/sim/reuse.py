"""A refused signature that is used after all: what a dishonest client of one role does to the other's.

It signs an update, tells its node that it refuses, and keeps the transaction with both signatures. As soon as the
other role's client is away it proposes the same update again: the same round, so the same bytes, and the node opposite
takes what its client signed earlier (observed.md "A signature cannot be taken back"). Once another state of that round
is co-signed there is nothing left to use.
"""

from bridge.channel.transaction import Kind
from bridge.sim import cosign
from bridge.sim.event import AwaitingSignature
from bridge.sim.fsm import Fsm
from bridge.sim.request import Reply


def keep(fsm: Fsm, reply: Reply) -> bool:
    """Whether there was something to keep: an update of the peer's, signed as asked."""
    state, signed = fsm.state, reply.signed
    if not isinstance(state, AwaitingSignature) or state.is_ours or state.operation.kind is not Kind.OFFCHAIN:
        return False
    if signed is None or signed.inner != state.operation.inner:
        return False
    fsm.kept = state.operation.sign(signed.signatures)
    return True


def use(fsm: Fsm) -> None:
    """Of an FSM that is open: if there is something to use, and nobody opposite who could be asked."""
    kept, peer = fsm.kept, fsm.peer
    if kept is None or peer is None or peer.client is not None:
        return
    fsm.kept = None
    if kept.round == fsm.round + 1:
        cosign.send(fsm, kept)
