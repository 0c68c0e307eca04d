"""Signatures against the parties of a channel: the peer's before a signer is asked, a signer's before it goes on.

The signature must verify for the expected account over exactly the transaction that was put to him
(guarantees.md 5.2). A detached signature is joined to the transaction here; a whole signed transaction must
be the one we would have built.
"""

import base64
from dataclasses import replace

from bridge.channel.identifier import TransactionHash
from bridge.channel.input import BadReply, Declined, FrameRejected, NodeInput, Signed, SignRequested
from bridge.channel.request import Tag
from bridge.channel.terms import SigningForm, Terms
from bridge.channel.transaction import Transaction
from bridge.errors import Code, EncodingError, FrameError, TransactionError
from bridge.wire.body import Refusal, SignReplyBody
from bridge.wire.dialect import Codec
from bridge.wire.transaction import attach, check_reply
from bridge.wire.witness import signature_states


def accepted_forms(terms: Terms) -> tuple[SigningForm, ...]:
    """Today's nodes try both forms; the old ones know one."""
    if terms.dialect.is_legacy:
        return (terms.signing_form,)
    return (SigningForm.NETWORK_HASH, SigningForm.NETWORK_RAW)


def read_input(codec: Codec, terms: Terms, text: str | bytes) -> NodeInput | FrameRejected:
    """What a text from the node is to this channel. Raises nothing, whatever the text."""
    try:
        return identify(terms, codec.decode(text))
    except FrameError as error:
        tag = None if error.tag is None else Tag(error.tag)
        return FrameRejected(reason=error.reason, raw=error.excerpt, tag=tag)


def identify(terms: Terms, input_: NodeInput) -> NodeInput:
    """A sign request with the parties that signed it so far filled in; anything else as it is."""
    if not isinstance(input_, SignRequested):
        return input_
    parties, forms = (terms.initiator, terms.responder), accepted_forms(terms)
    states = signature_states(input_.transaction, parties, terms.network_id, forms)
    return replace(input_, signers=tuple(state.signer for state in states))


def assess(terms: Terms, request: Transaction, reply: SignReplyBody) -> Signed | Declined | BadReply:
    """What the reply amounts to. Raises nothing, whatever the signer sent."""
    if reply.refusal is not None:
        return Declined(_reason(reply.refusal))
    try:
        signed_tx = reply.signed_tx if reply.signed_tx is not None else _join(request, reply)
        checked = check_reply(request, signed_tx, terms.own, terms.network_id, accepted_forms(terms))
    except TransactionError as error:
        return _bad(error)
    except EncodingError:
        return BadReply("encoding")
    return Signed(checked, request.hash, tuple(map(TransactionHash, reply.replaces or ())))


def _reason(refusal: Refusal) -> str:
    return refusal.reason if refusal.code is None else f"{refusal.code}: {refusal.reason}"


def _bad(error: TransactionError) -> BadReply:
    """The stable words of guarantees.md section 7; another curve has a code of its own."""
    if error.reason == Code.UNSUPPORTED_SIGNATURE:
        return BadReply("signatures", Code.UNSUPPORTED_SIGNATURE)
    return BadReply(error.reason)


def _join(request: Transaction, reply: SignReplyBody) -> str:
    assert reply.signature is not None  # noqa: S101  # the model demands exactly one of the three
    return attach(request, base64.b64decode(reply.signature, validate=True))
