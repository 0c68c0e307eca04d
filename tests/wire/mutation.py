"""Real frames with a part replaced, lost, or a byte changed: what fuzzing of a dialect starts from."""

import json
from typing import Any

from hypothesis import strategies as st

from bridge.channel.input import NodeInput
from bridge.errors import FrameError
from bridge.wire.dialect import Codec
from tests.wire.recorded import Recorded

_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(["tx_", "tx$1", "ch_", "ak_1", "ok", "", "ba_x", "sign", "update", -1, 10**60]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["data", "tx", "signed_tx", "id", "code", "message"]), inner, max_size=3),
    ),
    max_leaves=5,
)


def _places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        found += [place for key, part in value.items() for place in _places(part, (*path, key))]
    if isinstance(value, list):
        found += [place for index, part in enumerate(value[:3]) for place in _places(part, (*path, index))]
    return found


def _holder(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def one_of_each(lines: tuple[Recorded, ...]) -> tuple[Recorded, ...]:
    """The shortest frame of every shape: damage is worth as much there, and costs less."""
    shortest: dict[str, Recorded] = {}
    for line in sorted(lines, key=lambda line: len(line.text)):
        shortest.setdefault(_shape(line.frame), line)
    return tuple(shortest.values())


def _shape(value: Any) -> str:
    """Names and kinds, and the words that say which frame it is."""
    if isinstance(value, dict):
        words = [str(value[key]) for key in ("method", "action", "tag", "event", "op") if key in value]
        parts = [f"{key}:{_shape(part)}" for key, part in sorted(value.items()) if key != "request"]
        return f"{words}{parts}"
    return (
        f"[{','.join(sorted({_shape(part) for part in value}))}]" if isinstance(value, list) else type(value).__name__
    )


@st.composite
def mutated(draw: st.DrawFn, lines: tuple[Recorded, ...]) -> str | bytes:
    """One real frame, damaged once or twice in its structure, and sometimes in its bytes."""
    frame = json.loads(draw(st.sampled_from(lines)).text)
    for _ in range(draw(st.integers(1, 2))):
        places = _places(frame)
        if not places:
            break
        *before, last = draw(st.sampled_from(places))
        holder = _holder(frame, tuple(before))
        if draw(st.booleans()):
            holder[last] = draw(_VALUES)
        else:
            del holder[last]
    text = json.dumps(frame)
    if draw(st.integers(0, 3)):
        return text
    data = bytearray(text.encode())
    data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


def outcome(codec: Codec, text: str | bytes) -> NodeInput | FrameError:
    """What became of a text; anything but an input or a `FrameError` passes through and fails the test."""
    try:
        return codec.decode(text)
    except FrameError as error:
        return error
