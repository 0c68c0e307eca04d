"""Who gets what at a mutual close: the present balances, the fee taken from both (transactions.md section 7).

The node compares neither the final amounts nor the fee of what a signer returns (section 6), so they are checked
before anybody is asked. Answers with a sentence when something differs, else None. Amounts in aettos.
"""

from bridge.channel.state import State
from bridge.channel.terms import Terms
from bridge.channel.transaction import Transaction


def check_close(terms: Terms, state: State, transaction: Transaction, fee: int | None = None) -> str | None:
    """`fee`: what our command asked for; None leaves it to the node, within the policy's limit."""
    found = (transaction.initiator_amount, transaction.responder_amount)
    if None in found or transaction.fee is None:
        return "the close does not say who gets what"
    if state.initiator_balance is None or state.responder_balance is None:
        return "the balances to close with are not known"
    if fee is not None and transaction.fee != fee:
        return f"the fee is {transaction.fee}, not {fee}"
    if transaction.fee > terms.policy.max_fee:
        return f"the fee is {transaction.fee}, above {terms.policy.max_fee}"
    wanted = share_fee(state.initiator_balance, state.responder_balance, transaction.fee)
    if wanted is None:
        return f"the fee is {transaction.fee}, more than the channel holds"
    return None if found == wanted else f"the close pays {found}, not {wanted} to initiator and responder"


def share_fee(initiator: int, responder: int, fee: int) -> tuple[int, int] | None:
    """Half the fee each, the odd unit from the initiator; what one lacks the other pays. None: both lack it."""
    if fee > initiator + responder:
        return None
    share = min(fee - fee // 2, initiator)
    rest = min(fee - share, responder)
    return initiator - (fee - rest), responder - rest
