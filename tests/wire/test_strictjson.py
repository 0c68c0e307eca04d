"""The reader below both dialects: one value or one named error, in time that grows with the text only."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import FrameError
from bridge.wire.strictjson import MAX_DEPTH, MAX_FRAME_BYTES, MAX_INTEGER_DIGITS, read_frame, write_json

_JSON: st.SearchStrategy[object] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**90), 10**90),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    ),
    max_leaves=20,
)


@given(_JSON, st.booleans())
def test_what_is_json_is_read_as_it_is(value: object, is_bytes: bool) -> None:
    """Strict is not fussy: numbers stay exact, texts stay whole."""
    text = json.dumps(value)
    assert read_frame(text.encode() if is_bytes else text).value == value
    assert json.loads(write_json(value)) == value


@pytest.mark.parametrize("depth", [1, MAX_DEPTH])
def test_nesting_up_to_the_limit_is_read(depth: int) -> None:
    """The deepest frame a node ever sent had eight levels."""
    text = "[" * depth + "]" * depth
    assert read_frame(text).raw == text
    with pytest.raises(FrameError, match="nested"):
        read_frame("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


def test_many_brackets_beside_each_other_are_read() -> None:
    """Breadth is no depth, and brackets in a text are none."""
    value: list[object] = [[{}] for _ in range(500)] + ['[{"\\' * 100]
    assert read_frame(json.dumps(value)).value == value


def test_integers_up_to_the_limit_are_exact() -> None:
    """Amounts exceed 2^53 every day."""
    assert read_frame("9" * MAX_INTEGER_DIGITS).value == 10**MAX_INTEGER_DIGITS - 1
    for digits in (MAX_INTEGER_DIGITS + 1, 4_301, 1_000_000):
        with pytest.raises(FrameError, match="digits"):
            read_frame("9" * digits)


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e999", '"\\ud800"', '{"\\udc00":1}', '"a', '"\n"', "01", "1 2", ""]
)
def test_what_only_some_call_json_is_refused(text: str) -> None:
    """Two readers must not differ about one frame."""
    with pytest.raises(FrameError, match="not JSON"):
        read_frame(text)


def test_a_whole_surrogate_pair_is_a_character() -> None:
    """Half a pair is refused, a whole one is an emoji."""
    assert read_frame('"\\ud83d\\ude00"').value == "\N{GRINNING FACE}"


def test_the_limit_counts_bytes() -> None:
    """A text of fewer characters can be too large as well."""
    fitting = '"' + "x" * (MAX_FRAME_BYTES - 2) + '"'
    assert len(read_frame(fitting).raw) == MAX_FRAME_BYTES
    for text in (fitting + " ", fitting.encode() + b" ", '"' + "é" * (MAX_FRAME_BYTES // 2) + '"'):
        with pytest.raises(FrameError, match="bytes"):
            read_frame(text)


@pytest.mark.parametrize("unit", ["[", "{", '"', "\\", '\\"', '"fsm_id"', '\\"fsm_id', "'fsm_id'", "ba_", "fsm_id="])
@pytest.mark.timeout(10)
def test_no_text_takes_long(unit: str) -> None:
    """Four mebibytes made to be slow: the socket of every other channel waits meanwhile."""
    text = (unit * (MAX_FRAME_BYTES // len(unit)))[: MAX_FRAME_BYTES - 2]
    for made in (text, '"' + text):
        with pytest.raises(FrameError):
            read_frame(made)
