"""`bridge.wire.signature`: which bytes are signed, and that a signature has one form and one signer."""

import json
from typing import Any

import nacl.bindings
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from bridge.channel.identifier import Account
from bridge.channel.terms import SigningForm
from bridge.errors import EncodingError
from bridge.wire import encoding
from bridge.wire.signature import ORDER, is_canonical, is_small_order, signing_payload, verify
from tests.wire.recorded import DATA

FORMS = {SigningForm.NETWORK_RAW: "signature_raw", SigningForm.NETWORK_HASH: "signature_hash"}
[VECTOR] = json.loads((DATA / "vectors.json").read_text())["signing"]
KEY = SigningKey(bytes.fromhex(VECTOR["seed"]))
ACCOUNT = encoding.account(bytes(KEY.verify_key))
OTHER = encoding.account(bytes(SigningKey(bytes(32)).verify_key))
NETWORK: str = VECTOR["network_id"]
INNER = bytes.fromhex(VECTOR["tx_hex"])
PRIME = 2**255 - 19
CURVE_D = -121665 * pow(121666, -1, PRIME) % PRIME


def sign(form: SigningForm) -> bytes:
    return KEY.sign(signing_payload(INNER, NETWORK, form)).signature


@pytest.mark.parametrize("form", FORMS)
def test_the_vector_is_reproduced(form: SigningForm) -> None:
    """The vector was made apart from this code: the bytes to sign are the node's."""
    assert bytes(KEY.verify_key).hex() == VECTOR["public_key"]
    assert sign(form).hex() == VECTOR[FORMS[form]]
    assert verify(bytes.fromhex(VECTOR[FORMS[form]]), INNER, ACCOUNT, NETWORK, [form])


@pytest.mark.parametrize("form", SigningForm)
def test_a_signature_holds_in_its_own_form_only(form: SigningForm) -> None:
    """Whoever accepts forms his node does not, forwards what the node refuses."""
    accepted = {other for other in SigningForm if verify(sign(form), INNER, ACCOUNT, NETWORK, [other])}
    assert accepted == {form}
    assert verify(sign(form), INNER, ACCOUNT, NETWORK, iter(SigningForm))
    assert not verify(sign(form), INNER, ACCOUNT, NETWORK, [])


@pytest.mark.parametrize("form", [SigningForm.NETWORK_RAW, SigningForm.NETWORK_HASH])
def test_a_signature_holds_for_one_transaction_account_and_network(form: SigningForm) -> None:
    """A signature made on a test network is worth nothing on the main one."""
    signature = sign(form)
    assert verify(signature, INNER, ACCOUNT, NETWORK, [form])
    assert not verify(signature, INNER + b"\0", ACCOUNT, NETWORK, [form])
    assert not verify(signature, INNER, OTHER, NETWORK, [form])
    assert not verify(signature, INNER, ACCOUNT, "ae_uat", [form])


@given(st.binary(max_size=130))
def test_any_bytes_are_no_signature_and_no_exception(signature: bytes) -> None:
    """They come from signers."""
    assert not verify(signature, INNER, ACCOUNT, NETWORK, SigningForm)


@given(st.integers(0, 511))
def test_a_changed_bit_is_noticed(place: int) -> None:
    """In either half of the signature."""
    changed = bytearray(sign(SigningForm.RAW))
    changed[place // 8] ^= 1 << place % 8
    assert not verify(bytes(changed), INNER, ACCOUNT, NETWORK, SigningForm)


@pytest.mark.parametrize("change", [lambda s: s[:-1], lambda s: s + b"\0", lambda s: b"\0" + s, lambda _: b""])
def test_a_signature_of_another_length_is_refused(change: Any) -> None:
    """The first bytes alone would verify if what follows were taken for the message's."""
    assert not verify(change(sign(SigningForm.RAW)), INNER, ACCOUNT, NETWORK, SigningForm)


def test_s_above_the_order_is_refused() -> None:
    """Adding the order to S gives a second signature for the same text, which a careless check accepts."""
    signature = sign(SigningForm.RAW)
    second = int.from_bytes(signature[32:], "little") + ORDER
    assert is_canonical(signature)
    assert not is_canonical(signature[:32] + second.to_bytes(32, "little"))
    assert is_canonical(bytes(32) + (ORDER - 1).to_bytes(32, "little"))
    assert not is_canonical(bytes(32) + ORDER.to_bytes(32, "little"))
    assert not verify(signature[:32] + second.to_bytes(32, "little"), INNER, ACCOUNT, NETWORK, SigningForm)


def test_a_broken_account_is_named() -> None:
    """Nothing can be verified against it; a silent False would blame the signer."""
    with pytest.raises(EncodingError):
        verify(sign(SigningForm.RAW), INNER, Account("ak_1"), NETWORK, SigningForm)


# --- weak keys ------------------------------------------------------------------------------------------

Point = tuple[int, int]


def add(one: Point, two: Point) -> Point:
    """On the curve of RFC 8032, in plain coordinates."""
    (x1, y1), (x2, y2) = one, two
    cross = CURVE_D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + cross, -1, PRIME)
    y = (y1 * y2 + x1 * x2) * pow(1 - cross, -1, PRIME)
    return x % PRIME, y % PRIME


def roots(square: int) -> set[int]:
    """The square roots modulo the prime, none or two (or zero)."""
    root = pow(square, (PRIME + 3) // 8, PRIME)
    candidates = {root, root * pow(2, (PRIME - 1) // 4, PRIME) % PRIME}
    return {value for root in candidates for value in (root, -root % PRIME) if value * value % PRIME == square % PRIME}


def small_order_points() -> set[Point]:
    """All points that eight times added give the neutral one, found from a point of order eight."""
    for y in range(2, 100):
        for x in roots((y * y - 1) * pow(CURVE_D * y * y + 1, -1, PRIME)):
            multiple = times(ORDER, (x, y))  # what is left of a point is of small order
            found = {times(factor, multiple) for factor in range(8)}
            if len(found) == 8:
                return found
    raise AssertionError("no point of order eight")


def times(factor: int, point: Point) -> Point:
    result: Point = (0, 1)
    while factor:
        if factor & 1:
            result = add(result, point)
        point, factor = add(point, point), factor >> 1
    return result


def spellings(point: Point) -> set[bytes]:
    """Each 32 bytes a decoder may take for the point: y itself, and y above the prime where it fits; either sign."""
    _, y = point
    values = {value for value in (y, y + PRIME) if value < 2**255}
    return {(value | sign << 255).to_bytes(32, "little") for value in values for sign in (0, 1)}


def test_every_key_of_small_order_is_known() -> None:
    """Worked out on the curve: for these keys a signature can be made without any secret."""
    weak = {key for point in small_order_points() for key in spellings(point)}
    assert len(weak) == 14
    assert all(map(is_small_order, weak))
    assert not is_small_order(bytes(KEY.verify_key))
    assert not is_small_order(bytes([2, *bytes(31)]))


def test_an_account_anybody_can_sign_for_signs_nothing() -> None:
    """For the neutral key, the point of any S together with that S verifies for every text."""
    neutral = encoding.account(bytes([1, *bytes(31)]))
    secret = bytes([5, *bytes(31)])
    forged = nacl.bindings.crypto_scalarmult_ed25519_base_noclamp(secret) + secret
    assert is_canonical(forged)
    assert not verify(forged, INNER, neutral, NETWORK, SigningForm)
