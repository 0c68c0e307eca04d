"""The parameters a channel is opened with, as a node's URL names them; the same in every dialect but for two names.

Text to text, nothing escaped. Source: protocol.md A.2.
"""

from bridge.channel.terms import Terms


def write_opening(terms: Terms) -> dict[str, str]:
    """Who, how much and for how long; then the configuration's own parameters, which win."""
    return {
        "initiator_id": terms.initiator,
        "responder_id": terms.responder,
        "initiator_amount": str(terms.initiator_amount),
        "responder_amount": str(terms.responder_amount),
        "push_amount": str(terms.push_amount),
        "channel_reserve": str(terms.channel_reserve),
        "lock_period": str(terms.lock_period),
        **terms.opening,
    }
