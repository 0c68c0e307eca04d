"""`channel-bridge transaction show`: what a transaction says, what is to be signed for it, and who has signed.

Reads the text alone and asks nobody, so it tells nothing of the chain or of the state behind a state hash. Prints
nothing itself. Facts: transactions.md sections 2 to 5.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bridge.channel.identifier import Account
from bridge.channel.terms import SigningForm
from bridge.channel.transaction import Kind, Transaction
from bridge.errors import EncodingError, TransactionError
from bridge.wire import encoding
from bridge.wire.generalized import created_channel, innermost
from bridge.wire.serialization import fields
from bridge.wire.signature import is_canonical, is_der, signing_payload, verify
from bridge.wire.transaction import read, signed_parts, signed_tx_hash, wrap

INNER_SUFFIX = "-inner_tx"
"""Behind the network id in what is signed for a transaction inside a paying_for_tx."""
INSIDE = "inside a paying_for_tx"


def describe(text: str, network_id: str, accounts: Sequence[Account]) -> dict[str, Any]:
    """JSON-ready. Signatures are tried against `accounts` and those the transaction names, in every form there is.

    Without a `network_id` only the form of the first nodes can be tried, and payloads of the others are absent.
    Raises EncodingError for a text that is broken or no transaction.
    """
    transaction = read(text.strip())
    parts = signed_parts(transaction)
    report: dict[str, Any] = {
        "kind": transaction.kind.value,
        "hash": transaction.hash,
        "signed_tx_hash": signed_tx_hash(encoding.decode(transaction.text, "tx")) if parts.signatures else None,
        "channel_id": transaction.channel_id,
        "fields": _fields(transaction, parts.inner),
        "signatures": [
            _signature(signature, parts.inner, network_id, _signers(transaction, accounts))
            for signature in parts.signatures
        ],
        "payloads": _payloads(parts.inner, network_id),
    }
    if transaction.kind is Kind.GA_META:
        report["inside"] = _inside(transaction, network_id, accounts)
    return report


def _inside(transaction: Transaction, network_id: str, accounts: Sequence[Account]) -> dict[str, Any] | None:
    """What the meta transactions of generalized accounts stand around; None where that is unreadable."""
    data = encoding.decode(transaction.text, "tx")
    try:
        found, created = innermost(data), created_channel(data)
    except TransactionError:
        return None
    report = describe(encoding.encode("tx", wrap(found.signatures, found.inner)), network_id, accounts)
    return report if created is None else report | {"channel_id": created}


def _fields(transaction: Transaction, inner: bytes) -> Mapping[str, Any]:
    """As they are serialized, under the node's names; of what we cannot read, its bytes."""
    if transaction.kind is Kind.OPAQUE:
        return {"bytes": inner.hex()}
    return {name: _write(value) for name, value in fields(inner)[1].items()}


def _write(value: object) -> Any:
    """Integers as decimal strings, bytes in hex: no reader rounds them."""
    match value:
        case bytes():
            return value.hex()
        case int():
            return str(value)
        case tuple():
            return [_write(part) for part in value]
        case _:
            return value


def _signers(transaction: Transaction, accounts: Iterable[Account]) -> list[Account]:
    named = (transaction.initiator, transaction.responder, transaction.account)
    return list(dict.fromkeys([*accounts, *(account for account in named if account is not None)]))


def _forms(network_id: str) -> Iterator[tuple[str, str, SigningForm]]:
    """How the form is called, the network id in it, and the form."""
    yield SigningForm.RAW.value, "", SigningForm.RAW
    if not network_id:
        return
    for form in (SigningForm.NETWORK_HASH, SigningForm.NETWORK_RAW):
        yield form.value, network_id, form
        yield f"{form.value}, {INSIDE}", network_id + INNER_SUFFIX, form


def _payloads(inner: bytes, network_id: str) -> dict[str, str]:
    """Base64 of exactly the bytes to sign, by form."""
    forms = _forms(network_id)
    return {name: b64encode(signing_payload(inner, network, form)).decode() for name, network, form in forms}


def _signature(signature: bytes, inner: bytes, network_id: str, signers: Iterable[Account]) -> dict[str, Any]:
    found = next(
        (
            (account, name)
            for account in signers
            for name, network, form in _forms(network_id)
            if _is_by(account, signature, inner, network, form)
        ),
        None,
    )
    return {
        "signature": signature.hex(),
        "account": None if found is None else found[0],
        "form": None if found is None else found[1],
        "sentence": "valid" if found is not None else _doubt(signature),
    }


def _is_by(account: Account, signature: bytes, inner: bytes, network_id: str, form: SigningForm) -> bool:
    try:
        return verify(signature, inner, account, network_id, (form,))
    except EncodingError:
        return False  # an id of another kind, as old transactions have; it is nobody's key


def _doubt(signature: bytes) -> str:
    if is_der(signature):
        return "of another curve: only Ed25519 is understood"
    if not is_canonical(signature):
        return "no signature in its canonical form"
    return "by none of the accounts that were tried, for this network"
