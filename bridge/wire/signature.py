"""Ed25519 signatures of transactions: which bytes are signed, and whether a signature is an account's.

Holds no key and makes no signature. Refuses what the curve's mathematics would let pass for more than one signature
or more than one signer. Source: transactions.md section 4, guarantees.md 5.2.
"""

import hashlib
from collections.abc import Iterable
from typing import assert_never

import nacl.bindings
import nacl.exceptions

from bridge.channel.identifier import Account
from bridge.channel.terms import SigningForm
from bridge.wire.encoding import account_key

SIGNATURE_BYTES = 64
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the group that signatures live in, called L in RFC 8032."""

_SIGN_BIT = 0x80
_SMALL_ORDER = frozenset(
    bytes.fromhex(text)
    for text in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)
"""Keys whose order divides eight, written without the sign bit: five points, two of them in a second spelling."""


def blake2b(data: bytes) -> bytes:
    """The chain's hash: 32 bytes."""
    return hashlib.blake2b(data, digest_size=32).digest()


def signing_payload(inner: bytes, network_id: str, form: SigningForm) -> bytes:
    """Exactly the bytes to sign, for a serialized transaction without signatures."""
    match form:
        case SigningForm.NETWORK_HASH:
            return network_id.encode() + blake2b(inner)
        case SigningForm.NETWORK_RAW:
            return network_id.encode() + inner
        case SigningForm.RAW:
            return inner
        case _:
            assert_never(form)


def verify(signature: bytes, inner: bytes, account: Account, network_id: str, forms: Iterable[SigningForm]) -> bool:
    """Whether the account signed the transaction in one of the forms. Raises EncodingError for a broken account."""
    key = account_key(account)
    if not is_canonical(signature) or is_small_order(key):
        return False
    return any(_verifies(signature, signing_payload(inner, network_id, form), key) for form in forms)


def is_canonical(signature: bytes) -> bool:
    """64 bytes, and S below the group's order: otherwise one signature could be written in several ways."""
    return len(signature) == SIGNATURE_BYTES and int.from_bytes(signature[32:], "little") < ORDER


def is_der(signature: bytes) -> bool:
    """Written as ECDSA signatures are: two integers in one DER sequence. The form before 0.13, on another curve."""
    is_sequence = signature[:1] == b"\x30" and signature[1:2] == bytes([max(len(signature) - 2, 0) & 0xFF])
    return len(signature) != SIGNATURE_BYTES and is_sequence and signature[2:3] == b"\x02"


def is_small_order(key: bytes) -> bool:
    """A key (32 bytes) for which anybody can make a signature that verifies."""
    return key[:31] + bytes([key[31] & ~_SIGN_BIT]) in _SMALL_ORDER


def _verifies(signature: bytes, message: bytes, key: bytes) -> bool:
    try:
        nacl.bindings.crypto_sign_open(signature + message, key)
    except nacl.exceptions.BadSignatureError:
        return False
    return True
