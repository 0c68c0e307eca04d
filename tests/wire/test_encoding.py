"""`bridge.wire.encoding`: texts of every era are read, each has one spelling, all else is the named error."""

import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.errors import EncodingError
from bridge.wire.encoding import (
    ALPHABET,
    MAX_BASE58,
    account,
    account_key,
    decode,
    decode_any,
    encode,
    encode_legacy,
    normalize,
    to_legacy,
)

KEY = bytes.fromhex("64ae0e0862ded34b3a7bee2159b91486c2f48928764dbf13808a89a98b95af81")
ACCOUNT = "ak_mLjWgLbapr5CiVD2Q248aS2TQj9itXnoPv5tteXvZaJ8tdD2C"
BASE58 = ["ak", "ch", "ct", "ok", "nm", "cm", "th", "kh", "mh", "sg"]
BASE64 = ["tx", "ba", "cb", "pi", "ss", "cs", "ck", "cv"]
prefixes = st.sampled_from(BASE58 + BASE64)
FIXED = {prefix: 64 if prefix == "sg" else 32 for prefix in BASE58 if prefix != "nm"}


def test_account_is_the_key_the_chain_knows() -> None:
    """Key and text come from a real transcript: a slip in base58 or the checksum pays to nobody."""
    assert account(KEY) == ACCOUNT
    assert account_key(ACCOUNT) == KEY


@pytest.mark.parametrize("length", [0, 31, 33, 64, 65])
def test_account_of_another_length_is_refused(length: int) -> None:
    """The seed document holds accounts of 33 and 65 bytes: nothing can be verified against them."""
    with pytest.raises(EncodingError):
        account(bytes(length))
    with pytest.raises(EncodingError):
        account_key(encode("ak", bytes(length)))


@pytest.mark.parametrize(("prefix", "length"), FIXED.items())
def test_a_prefix_fixes_the_length(prefix: str, length: int) -> None:
    """A hash cut short with a checksum of its own would be a different hash."""
    assert decode(encode(prefix, bytes(length)), prefix) == bytes(length)
    with pytest.raises(EncodingError, match=str(length)):
        decode(encode(prefix, bytes(length - 1)), prefix)


@given(prefixes, st.binary(max_size=200))
@example("ba", b"")
@example("ak", b"\0\0\0")
@example("ak", b"\0" * 20 + b"\1")
def test_every_form_is_read_back(prefix: str, payload: bytes) -> None:
    """Today's form and the oldest hold the same payload, and each leads to the other."""
    today, legacy = encode(prefix, payload), encode_legacy(prefix, payload)
    assert decode_any(today) == decode_any(legacy) == (prefix, payload)
    assert normalize(legacy) == normalize(today) == today
    assert to_legacy(today) == to_legacy(legacy) == legacy


@pytest.mark.parametrize("prefix", BASE64)
def test_base58_behind_an_underscore_is_read(prefix: str) -> None:
    """Nodes 0.22 to 0.25 wrote that."""
    payload = bytes(range(100))
    transitional = encode_legacy(prefix, payload).replace("$", "_")
    assert decode(transitional, prefix) == payload
    assert normalize(transitional) == encode(prefix, payload)


def test_base64_behind_a_dollar_is_refused() -> None:
    """No node ever wrote it: the separator says base58."""
    with pytest.raises(EncodingError):
        decode(encode("tx", bytes(20)).replace("_", "$"), "tx")


@given(prefixes, st.binary(max_size=40), st.data())
def test_a_changed_character_is_noticed(prefix: str, payload: bytes, data: st.DataObject) -> None:
    """What the checksum is for: a mistyped account never becomes another account."""
    form = data.draw(st.sampled_from([encode, encode_legacy]))
    text = form(prefix, payload)
    place = data.draw(st.integers(3, len(text) - 1))
    other = data.draw(st.sampled_from(ALPHABET + "0OIl+/=_$ é"))
    changed = text[:place] + other + text[place + 1 :]
    if changed != text:
        with pytest.raises(EncodingError):
            decode_any(changed)


@given(st.one_of(st.text(), st.builds(lambda p, s, t: p + s + t, prefixes, st.sampled_from("_$"), st.text())))
def test_any_text_gives_a_value_or_the_named_error(text: str) -> None:
    """Texts come from nodes, clients and signers. What is read is the one spelling of its payload."""
    try:
        prefix, payload = decode_any(text)
    except EncodingError:
        return
    assert text in {
        encode(prefix, payload),
        encode_legacy(prefix, payload),
        encode_legacy(prefix, payload).replace("$", "_"),
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tx",
        "tx_",
        "tx$",
        ACCOUNT.replace("_", "-"),
        ACCOUNT.replace("_", ""),
        "zz_AAAA",
        "AK" + ACCOUNT[2:],
        ACCOUNT + " ",
        " " + ACCOUNT,
        ACCOUNT + "\n",
        "ba_Xfbg4g",
        "ba_Xfbg4h==",
        "ba_Xfbg\n4g==",
    ],
)
def test_nearly_right_is_wrong(text: str) -> None:
    """White space, a missing padding or spare bits would be a second spelling of the same value."""
    with pytest.raises(EncodingError):
        decode_any(text)


def test_an_empty_payload_is_a_payload() -> None:
    """Contracts return empty byte arrays: `ba_Xfbg4g==` is one."""
    assert decode("ba_Xfbg4g==", "ba") == b""


def test_another_prefix_is_refused() -> None:
    """A channel's id where an account belongs has the right length and is still wrong."""
    with pytest.raises(EncodingError, match="ak, not ch"):
        decode(ACCOUNT, "ch")


@pytest.mark.parametrize("write", [encode, encode_legacy])
def test_an_unknown_prefix_is_not_written(write: Callable[[str, bytes], str]) -> None:
    """Nobody could read it."""
    with pytest.raises(EncodingError):
        write("xx", b"")


def test_what_a_broken_base64_is_told_is_about_base64() -> None:
    """Base58 is only tried after it: its complaint about `+` would lead the reader astray."""
    with pytest.raises(EncodingError, match="base64"):
        decode_any("tx_+AA")
    with pytest.raises(EncodingError, match="checksum"):
        decode_any(encode("tx", bytes(6))[:-4] + "AAAA")


def test_a_long_base58_is_refused_and_not_computed() -> None:
    """Its cost grows with the square: a frame of 4 MiB would hold up every channel for minutes."""
    started = time.process_time()
    with pytest.raises(EncodingError, match="too long"):
        decode_any("tx$" + "z" * (MAX_BASE58 + 1))
    with pytest.raises(EncodingError, match="base64"):
        decode_any("tx_!" + "z" * 4_000_000)
    assert time.process_time() - started < 1
