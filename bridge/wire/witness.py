"""The state of each signature of a transaction: whose it is, over which bytes, or what is wrong with it.

Judges nothing: which signatures a transaction must have is for the channel to say.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bridge.channel.identifier import Account
from bridge.channel.terms import SigningForm
from bridge.channel.transaction import Transaction
from bridge.wire.signature import SIGNATURE_BYTES, is_canonical, verify
from bridge.wire.transaction import signed_parts


@dataclass(frozen=True, slots=True)
class SignatureState:
    """`signer` and `form` are set for a signature that holds, `flaw` is a sentence for any other."""

    signature: bytes
    signer: Account | None = None
    form: SigningForm | None = None
    flaw: str = ""


def signature_states(
    transaction: Transaction, accounts: Iterable[Account], network_id: str, forms: Sequence[SigningForm]
) -> tuple[SignatureState, ...]:
    """One state a signature, in their order. Raises EncodingError for an account that is none."""
    signed, parties = signed_parts(transaction), tuple(accounts)
    return tuple(_find(signature, signed.inner, parties, network_id, forms) for signature in signed.signatures)


def _find(
    signature: bytes, inner: bytes, accounts: tuple[Account, ...], network_id: str, forms: Sequence[SigningForm]
) -> SignatureState:
    for account in accounts:
        for form in forms:
            if verify(signature, inner, account, network_id, [form]):
                return SignatureState(signature, account, form)
    return SignatureState(signature, flaw=_flaw(signature))


def _flaw(signature: bytes) -> str:
    if len(signature) != SIGNATURE_BYTES:
        return f"{len(signature)} bytes, not {SIGNATURE_BYTES}"
    return "of none of the accounts" if is_canonical(signature) else "S is not below the group's order"
