"""Check-encoded texts (`ak_…`, `ch_…`, `tx_…`): a prefix, a separator, and bytes with a checksum, both ways.

Nodes of every era are read; today's form is written, or the oldest one for the nodes that want it. A text has one
spelling in each form: what is read and written again is what came. Source: transactions.md section 1.
"""

import base64
import binascii
import hashlib
from functools import lru_cache

from bridge.channel.identifier import Account
from bridge.errors import EncodingError

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
CHECKSUM_BYTES = 4
MAX_BASE58 = 200_000
"""Characters. Base58 costs the square of its length: a longer text is refused, not computed."""

_DIGITS = {character: value for value, character in enumerate(ALPHABET)}
KEPT = 256
"""Accounts remembered either way: they are the same few again and again, and only valid ones, so all are short."""
_STRIDE = 10
"""Digits computed at a time: 58**10 fits a machine word, which makes the square ten times smaller."""
_BASE64 = frozenset({"tx", "ba", "cb", "pi", "ss", "cs", "ck", "cv"})
_BASE58 = frozenset({"ak", "ch", "ct", "ok", "nm", "cm", "th", "kh", "mh", "sg"})
_LENGTHS = {"ak": 32, "ch": 32, "ct": 32, "ok": 32, "cm": 32, "th": 32, "kh": 32, "mh": 32, "sg": 64}


def checksum(payload: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:CHECKSUM_BYTES]


def encode(prefix: str, payload: bytes) -> str:
    """Today's form. Raises EncodingError for a prefix there is not, never for the payload."""
    data = payload + checksum(payload)
    text = base64.b64encode(data).decode() if prefix in _BASE64 else _write_base58(data)
    return f"{_known(prefix)}_{text}"


def encode_legacy(prefix: str, payload: bytes) -> str:
    """The form of nodes before 0.22: `$`, and base58 for everything. Raises EncodingError as `encode` does."""
    return f"{_known(prefix)}${_write_base58(payload + checksum(payload))}"


def decode(text: str, prefix: str) -> bytes:
    """The payload, of exactly the length its prefix asks for. Raises EncodingError."""
    found, payload = decode_any(text)
    if found != prefix:
        raise EncodingError(f"the prefix is {found}, not {prefix}")
    length = _LENGTHS.get(prefix)
    if length is not None and len(payload) != length:
        raise EncodingError(f"{prefix} holds {length} bytes, not {len(payload)}")
    return payload


def decode_any(text: str) -> tuple[str, bytes]:
    """Prefix and payload of a text of any era; the length of the payload is not checked. Raises EncodingError."""
    prefix, separator, body = text[:2], text[2:3], text[3:]
    _known(prefix)
    if separator not in {"_", "$"}:
        raise EncodingError("neither _ nor $ follows the prefix")
    if separator == "$" or prefix in _BASE58:
        return prefix, _check(_read_base58(body))
    try:
        return prefix, _check(_read_base64(body))
    except EncodingError as error:
        return prefix, _read_transitional(body, error)


def normalize(text: str) -> str:
    """Any era's text in today's form, the payload unchanged. Raises EncodingError."""
    return encode(*decode_any(text))


def to_legacy(text: str) -> str:
    """Any era's text in the oldest form, the payload unchanged. Raises EncodingError."""
    return encode_legacy(*decode_any(text))


@lru_cache(KEPT)
def account(key: bytes) -> Account:
    """Raises EncodingError unless the key has 32 bytes."""
    length = _LENGTHS["ak"]
    if len(key) != length:
        raise EncodingError(f"a public key has {length} bytes, not {len(key)}")
    return Account(encode("ak", key))


@lru_cache(KEPT)
def account_key(account: str) -> bytes:
    """The 32 bytes of an account's public key. Raises EncodingError."""
    return decode(account, "ak")


def _known(prefix: str) -> str:
    if prefix not in _BASE58 | _BASE64:
        raise EncodingError("the text begins with no known prefix")
    return prefix


def _check(data: bytes) -> bytes:
    payload, found = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if checksum(payload) != found:  # as well when there are fewer than four bytes in all
        raise EncodingError("the checksum does not hold")
    return payload


def _read_transitional(body: str, first: EncodingError) -> bytes:
    """Nodes 0.22 to 0.25 wrote base58 behind `_`. Whoever wrote something else meant today's base64."""
    try:
        return _check(_read_base58(body))
    except EncodingError:
        raise first from None


def _read_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EncodingError("not base64") from error
    if base64.b64encode(data).decode() != text:
        raise EncodingError("not the canonical base64")
    return data


def _read_base58(text: str) -> bytes:
    if len(text) > MAX_BASE58:
        raise EncodingError("too long for base58")
    number = 0
    for start in range(0, len(text), _STRIDE):
        part = text[start : start + _STRIDE]
        number = number * 58 ** len(part) + _read_digits(part)
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _read_digits(text: str) -> int:
    number = 0
    for character in text:
        if character not in _DIGITS:
            raise EncodingError(f"{character!r} is no base58 character")
        number = number * 58 + _DIGITS[character]
    return number


def _write_base58(data: bytes) -> str:
    number = int.from_bytes(data, "big")
    parts: list[str] = []
    while number:
        number, rest = divmod(number, 58**_STRIDE)
        parts.append(_write_digits(rest))
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(parts)).lstrip("1")


def _write_digits(number: int) -> str:
    """Exactly `_STRIDE` digits, the front filled with the digit zero, which is `1`."""
    digits = []
    for _ in range(_STRIDE):
        number, rest = divmod(number, 58)
        digits.append(ALPHABET[rest])
    return "".join(reversed(digits))
