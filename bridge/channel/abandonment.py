"""What signers may have signed for a round that is free again: told to them when the round is signed anew.

A signer keeps a guard of its own and signs a second transaction for a round only if the first is declared
abandoned. A mutual close has no round; all closes of a channel are alternatives as those of a round are. The ledger
knows what was handed to the node; a signer may besides have signed what never came that far, since its answer was
late, lost or not wanted any more. So every request that leaves a signer's hands is put aside here, and declared once
its signature can no longer go to the node, or the node's evidence against it is kept (I4).
"""

from bridge.channel.identifier import TransactionHash
from bridge.channel.state import OpenRequest, PutAside, Stage, State
from bridge.channel.transaction import Transaction
from bridge.channel.turn import Turn

MOST_PUT_ASIDE = 256
"""The newest are kept: so many transactions at one round are a day of a signer that never answers."""


def put_aside(turn: Turn, opened: OpenRequest) -> Turn:
    """The signer may have signed this."""
    transaction = opened.transaction
    if not opened.is_asked:
        return turn
    entry = PutAside(transaction.round, transaction.hash)
    others = tuple(other for other in turn.state.put_aside if other != entry)
    return turn.set(put_aside=(*others, entry)[-MOST_PUT_ASIDE:])


def forget_below(turn: Turn, round_: int) -> Turn:
    """A state was co-signed. Its own round stays known: both sides may yet agree on the one before it.

    A close stays known for as long as the channel is open: no later state takes it its use.
    """
    kept = (entry for entry in turn.state.put_aside if entry.round is None or entry.round >= round_)
    return turn.set(put_aside=tuple(kept))


def abandoned(state: State, transaction: Transaction) -> tuple[TransactionHash, ...]:
    """The other transactions of this round, or other closes, of which no signature counts for us; oldest first."""
    kept = {transaction.hash, *_live(state)}
    return tuple(entry.hash for entry in state.put_aside if entry.round == transaction.round and entry.hash not in kept)


def _live(state: State) -> set[TransactionHash]:
    """Handed to the node, and no evidence against it yet. What another command or proposal went past has its own."""
    operation, settling = state.operation, state.settling
    live = set() if settling is None else {settling.transaction.hash}
    is_out = operation is not None and operation.stage in (Stage.SIGNED_SENT, Stage.IN_DOUBT)
    if operation is not None and is_out and not operation.is_passed:
        live |= {operation.transaction.hash} if operation.transaction is not None else set()
    return live
