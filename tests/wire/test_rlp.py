"""`bridge.wire.rlp`: one form for each value, everything else refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import TransactionError
from bridge.wire.rlp import MAX_DEPTH, Item, decode, encode

items: st.SearchStrategy[Item] = st.recursive(
    st.one_of(st.binary(max_size=3), st.binary(min_size=50, max_size=300)),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("item", "written"),
    [
        (b"", "80"),
        (b"\x00", "00"),
        (b"\x7f", "7f"),
        (b"\x80", "8180"),
        (b"dog", "83646f67"),
        ([], "c0"),
        ([b"cat", b"dog"], "c88363617483646f67"),
        ([[], [[]], [[], [[]]]], "c7c0c1c0c3c0c1c0"),
        (b"a" * 55, "b7" + "61" * 55),
        (b"a" * 56, "b838" + "61" * 56),
        ([b"a"] * 55, "f7" + "61" * 55),
        ([b"a"] * 56, "f838" + "61" * 56),
        (b"a" * 256, "b90100" + "61" * 256),
    ],
)
def test_values_have_their_known_form(item: Item, written: str) -> None:
    """The published examples of the format, and the lengths at which its form changes."""
    assert encode(item).hex() == written
    assert decode(bytes.fromhex(written)) == item


@given(items)
def test_what_is_written_is_read_back(item: Item) -> None:
    """Nested lists and strings of every length class."""
    assert decode(encode(item)) == item


@given(st.one_of(st.binary(), st.binary(min_size=1).map(lambda data: bytes([0xC0 + min(len(data), 55)]) + data)))
def test_any_bytes_give_a_value_with_one_form_or_the_named_error(data: bytes) -> None:
    """A signature covers bytes: a second form of the same fields would be another transaction."""
    try:
        item = decode(data)
    except TransactionError:
        return
    assert encode(item) == data


@given(items, st.data())
def test_cut_or_lengthened_bytes_are_refused(item: Item, data: st.DataObject) -> None:
    """Nothing may hide behind a transaction, and half of one is none."""
    written = encode(item)
    end = data.draw(st.integers(0, len(written) - 1))
    for changed in (written[:end], written + b"\0", written + written):
        with pytest.raises(TransactionError):
            decode(changed)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("", "end too early"),
        ("8100", "a single byte"),
        ("817f", "a single byte"),
        ("b800", "shortest"),
        ("b837" + "61" * 55, "shortest"),
        ("b90038" + "61" * 56, "shortest"),
        ("f837" + "61" * 55, "shortest"),
        ("bf" + "ff" * 8, "end too early"),
        ("b8", "shortest"),
        ("b9ff", "end too early"),
        ("82", "end too early"),
        ("c161ff", "behind the value"),
        ("c3c3616161", "beyond the list|end too early"),
        ("c4c1c26161", "beyond the list"),
    ],
)
def test_other_forms_are_refused(written: str, sentence: str) -> None:
    """Each rule that makes the form the only one."""
    with pytest.raises(TransactionError, match=sentence) as caught:
        decode(bytes.fromhex(written))
    assert caught.value.reason == "encoding"


def test_deep_nesting_is_refused_and_does_not_end_the_process() -> None:
    """A list in a list in a list costs the sender a byte a level, and us a stack frame."""
    item: Item = []
    for _ in range(MAX_DEPTH - 1):
        item = [item]
    assert decode(encode(item)) == item
    with pytest.raises(TransactionError, match="deep"):
        decode(encode([item]))
    with pytest.raises(TransactionError):
        decode(b"\xf8" * 100_000)
