"""The rescue kit: beside the latest co-signed state, the node's proof of the balances in it.

A node that is killed loses the channel; with these two its owner closes on chain. The node is asked for the proof
a moment after a round, when the channel is idle, and every so many rounds under load. Never in the way of a
payment: the answer counts only if no other state came meanwhile. With each proof the node is asked for the balances
too, and the books are compared with them. Source: guarantees.md section 3, observed.md "Node crash".
"""

from bridge.channel.input import Proof
from bridge.channel.request import AskBalances, AskProof
from bridge.channel.state import Asked, Attachment, Phase, Proven, Purpose, Stage, State
from bridge.channel.terms import Dialect, Terms
from bridge.channel.turn import Turn

IDLE_SECONDS = 1.0
AGAIN_SECONDS = 60.0
"""How long a node that gave no proof is left alone."""


def wants_proof(terms: Terms, state: State) -> bool:
    """Whether the latest state has none."""
    if terms.dialect is Dialect.LEGACY_SEED or state.phase is not Phase.OPEN or state.cosigned is None:
        return False
    behind = state.round - (0 if state.proven is None else state.proven.round)
    return behind > 0 and state.attachment is Attachment.READY and not state.has_asked(Purpose.PROOF)


def proof_at(terms: Terms, state: State) -> float:
    """When to ask: at once after so many rounds, else when nothing has moved for a moment."""
    behind = state.round - (0 if state.proven is None else state.proven.round)
    idle_at = state.cosigned_at + (0.0 if behind >= terms.proof_rounds else IDLE_SECONDS)
    return max(idle_at, state.proof_not_before)


def ask_proof(turn: Turn) -> Turn:
    state = turn.state
    moving = turn.operation is not None and turn.operation.stage is not Stage.JOURNALED
    if moving or not wants_proof(turn.terms, state) or turn.now < proof_at(turn.terms, state):
        return turn
    parties = (turn.terms.initiator, turn.terms.responder)
    turn = turn.set(proof_not_before=turn.now + AGAIN_SECONDS)
    return turn.ask(lambda request_id: AskProof(request_id, parties), Purpose.PROOF)


def keep_proof(turn: Turn, asked: Asked, proof: Proof) -> Turn:
    """It proves the state the node had when asked: that is ours only if none came since."""
    cosigned = turn.state.cosigned
    if cosigned is None or turn.state.cosigned_at > asked.since:
        return turn.set(proof_not_before=0.0)
    proven = Proven(turn.state.round, cosigned.text, proof.poi)
    turn = turn.set(proven=proven, proof_not_before=0.0)
    turn = turn.publish("info", "proof", round=proven.round, tx_hash=cosigned.hash, poi=proven.poi)
    parties = (turn.terms.initiator, turn.terms.responder)
    return turn.ask(lambda request_id: AskBalances(request_id, parties), Purpose.BALANCES)
