"""JSON as the bus may write it: one object, bounded in every direction, read in one way only.

It knows shapes and sizes, not commands. Whatever the bytes, the result is an object or one `BodyError`
(too_large, malformed, too_deep, in that order); no text of an error holds more of the input than a path.
Numbers that are not plain whole numbers stay text (`Numeral`), so that the rule for amounts, not the JSON
reader, judges a number of 5,000 digits. Limits: guarantees.md section 6.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from bridge.errors import BodyError, Code

MAX_INTEGER_DIGITS = 28
MAX_PATH_BYTES = 200
"""No error echoes more of the input than this."""

# The closing quote may be missing: a string that never ends is then one token, and no text is scanned twice.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """How big one body may be. Bytes are UTF-8; `depth` counts nested objects and arrays."""

    body_bytes: int
    string_bytes: int = 65_000
    depth: int = 16
    values: int = 2_000
    key_bytes: int = 128


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number that is no plain integer of at most 28 digits: signed, with fraction or exponent, or longer."""

    text: str


def read_object(body: bytes, limits: Limits) -> dict[str, Any]:
    """The one JSON object in these bytes. Raises `BodyError` and nothing else."""
    if len(body) > limits.body_bytes:
        raise BodyError(Code.TOO_LARGE, f"the body has more than {limits.body_bytes} bytes")
    text = _decode(body)
    # Before the parser sees it: nothing deeper than the limit is ever parsed, so no stack can overflow.
    if max(_depths(text), default=0) > limits.depth:
        raise BodyError(Code.TOO_DEEP, f"the body nests deeper than {limits.depth} levels")
    value = _parse(text)
    if not isinstance(value, dict):
        raise BodyError(Code.MALFORMED, "the body is not a JSON object")
    _inspect(value, limits)
    return value


def write_path(path: Path) -> str:
    """`meta[0]`, `refusal.reason`; at most 200 bytes, because keys are the author's words."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return clip(text)


def clip(text: str) -> str:
    """At most 200 bytes of a text that came from outside, cut between characters."""
    data = text.encode("utf-8", "replace")
    return text if len(data) <= MAX_PATH_BYTES else data[:MAX_PATH_BYTES].decode("utf-8", "ignore")


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BodyError(Code.MALFORMED, f"the body is not UTF-8 at byte {error.start}") from error


def _depths(text: str) -> Iterator[int]:
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        if token[0] in ("[", "{"):
            depth += 1
            yield depth
        elif token[0] in ("]", "}"):
            depth -= 1


def _parse(text: str) -> Any:
    try:
        return json.loads(
            text,
            object_pairs_hook=_join_pairs,
            parse_int=_read_integer,
            parse_float=Numeral,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        sentence = f"the body is not one JSON value: {error.msg} (character {error.pos})"
        raise BodyError(Code.MALFORMED, sentence) from error


def _join_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    joined = dict(pairs)
    if len(joined) < len(pairs):
        raise BodyError(Code.MALFORMED, "an object has the same key twice")
    return joined


def _read_integer(text: str) -> int | Numeral:
    # A sign is kept as text too: "-0" would otherwise pass for a fee of nothing.
    return int(text) if text.isdigit() and len(text) <= MAX_INTEGER_DIGITS else Numeral(text)


def _refuse_constant(_text: str) -> NoReturn:
    raise BodyError(Code.MALFORMED, "NaN and Infinity are not JSON")


def _inspect(root: Any, limits: Limits) -> None:
    """Judge every key and string. What is malformed is told before what is only too big."""
    too_deep: BodyError | None = None
    for count, (path, value) in enumerate(_walk(root), start=1):
        found = _measure(path, value, limits)
        if found is None and count > limits.values:
            found = BodyError(Code.TOO_DEEP, f"the body has more than {limits.values} values")
        too_deep = too_deep or found
    if too_deep is not None:
        raise too_deep


def _walk(root: Any) -> Iterator[tuple[Path, Any]]:
    """Every value with its path, in the order of the text."""
    stack: list[tuple[Path, Any]] = [((), root)]
    while stack:
        path, value = stack.pop()
        yield path, value
        if isinstance(value, dict):
            stack.extend([((*path, key), child) for key, child in value.items()][::-1])
        elif isinstance(value, list):
            stack.extend([((*path, index), child) for index, child in enumerate(value)][::-1])


def _measure(path: Path, value: Any, limits: Limits) -> BodyError | None:
    key = path[-1] if path and isinstance(path[-1], str) else ""
    key_bytes = _count_bytes(key, path[:-1])
    string_bytes = _count_bytes(value, path) if isinstance(value, str) else 0
    if key_bytes > limits.key_bytes:
        return BodyError(Code.TOO_DEEP, f"a key has more than {limits.key_bytes} bytes", write_path(path))
    if string_bytes > limits.string_bytes:
        return BodyError(Code.TOO_DEEP, f"a string has more than {limits.string_bytes} bytes", write_path(path))
    return None


def _count_bytes(text: str, path: Path) -> int:
    if "\0" in text:
        raise BodyError(Code.MALFORMED, "a string holds U+0000", write_path(path))
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise BodyError(Code.MALFORMED, "a string holds half a surrogate pair", write_path(path)) from error
