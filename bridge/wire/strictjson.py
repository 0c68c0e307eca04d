"""JSON as a node writes it: one value, bounded in size, depth and digits, read in one way only.

Whatever the text, the result is a value or one `FrameError`. Unlike `strictbody`, which reads what clients
write, it tolerates what a node may grow: unknown and repeated keys, any number of values. Amounts are exact
integers; a fraction stays a float, which every model refuses where it wants an integer. Limits: guarantees.md
section 6 (4 MiB); depth and digits are ours, far above anything the protocol has.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from bridge.errors import FrameError
from bridge.wire.mask import excerpt, mask

MAX_FRAME_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64
MAX_INTEGER_DIGITS = 100
"""The largest number of the protocol has 78 (2^256)."""

# The closing quote may be missing: a string that never ends is then one token, and no text is scanned twice.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class ReadFrame:
    """A frame as JSON, and its text without secrets."""

    value: Any
    raw: str


def read_frame(text: str | bytes) -> ReadFrame:
    """The one JSON value of this text. Raises `FrameError` and nothing else."""
    try:
        return _read(text)
    except ValueError as error:
        raise FrameError(f"the frame is not JSON: {error}", excerpt(text)) from None


def write_json(value: object) -> str:
    """The compact form. Shared by both dialects, and for evidence of values that came from a frame."""
    return json.dumps(value, separators=(",", ":"))


def _read(text: str | bytes) -> ReadFrame:
    # A character has at least a byte, so an endless text is refused before it is encoded.
    if len(text) > MAX_FRAME_BYTES:
        raise ValueError(f"more than {MAX_FRAME_BYTES} bytes")
    data = text if isinstance(text, bytes) else text.encode()
    if len(data) > MAX_FRAME_BYTES:
        raise ValueError(f"more than {MAX_FRAME_BYTES} bytes")
    decoded = data.decode() if isinstance(text, bytes) else text
    _check_depth(decoded)
    value = json.loads(decoded, parse_int=_read_integer, parse_float=_read_float, parse_constant=_refuse_constant)
    if "\\u" in decoded:
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text: UnicodeEncodeError
    return ReadFrame(value, mask(decoded))


def _check_depth(text: str) -> None:
    """Before the parser sees it: nothing deeper than the limit is ever parsed, so no stack can overflow."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        match text[token.start()]:
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth -= 1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


def _read_integer(text: str) -> int:
    if len(text) > MAX_INTEGER_DIGITS:
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)


def _read_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number beyond all bounds")
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
