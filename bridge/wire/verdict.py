"""A signer's reply against the request it answers: the checks before anything goes to the node.

The signature must verify for the expected account over exactly the transaction that was put to him
(guarantees.md 5.2). A detached signature is joined to the transaction here; a whole signed transaction must
be the one we would have built.
"""

import base64

from bridge.channel.input import BadReply, Declined, Signed
from bridge.channel.terms import SigningForm, Terms
from bridge.channel.transaction import Transaction
from bridge.errors import EncodingError, TransactionError
from bridge.wire.body import SignReplyBody
from bridge.wire.transaction import attach, check_reply


def accepted_forms(terms: Terms) -> tuple[SigningForm, ...]:
    """Today's nodes try both forms; the old ones know one."""
    if terms.dialect.is_legacy:
        return (terms.signing_form,)
    return (SigningForm.NETWORK_HASH, SigningForm.NETWORK_RAW)


def assess(terms: Terms, request: Transaction, reply: SignReplyBody) -> Signed | Declined | BadReply:
    """What the reply amounts to. Raises nothing, whatever the signer sent."""
    if reply.refusal is not None:
        return Declined(reply.refusal.reason)
    try:
        signed_tx = reply.signed_tx if reply.signed_tx is not None else _join(request, reply)
        checked = check_reply(request, signed_tx, terms.own, terms.network_id, accepted_forms(terms))
    except TransactionError as error:
        return BadReply(error.reason)
    except EncodingError:
        return BadReply("encoding")
    return Signed(checked, request.hash)


def _join(request: Transaction, reply: SignReplyBody) -> str:
    assert reply.signature is not None  # noqa: S101  # the model demands exactly one of the three
    return attach(request, base64.b64decode(reply.signature, validate=True))
