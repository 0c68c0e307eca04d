"""What is wrong with a configuration, as findings: where, what stands there, what should.

pydantic's errors are turned into ours, so that every finding looks the same whoever found it. A value under
a secret option, an unknown option's value, a whole table and what stands in a table's place are never repeated.
"""

import difflib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bridge.app.option import PathParts, find_model, find_section, is_secret, write_path
from bridge.errors import Finding

MAX_FOUND_BYTES = 200
SECRET = "a secret value"  # noqa: S105 - says that there is one
_PHRASES = ("Input should be ", "Value error, ", "String should ", "Value should ", "Assertion failed, ")
_EXPECTED: Mapping[str, str] = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "float_parsing": "a number",
    "float_type": "a number",
    "frozen_set_type": "a list",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "string_type": "a text",
    "tuple_type": "a list",
}
"""pydantic speaks of Python's types; a TOML file has others."""
_TABLES = frozenset({"dict_type", "model_type"})


def write_found(value: Any) -> str:
    """A value as the file would show it, at most 200 bytes of it."""
    match value:
        case None:
            return "nothing"
        case Mapping():
            return "a table"
        case list() | tuple():
            return "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    cut = text.encode()[:MAX_FOUND_BYTES].decode(errors="ignore")
    return cut if cut == text else f"{cut}…"


def find_mistakes(error: ValidationError, model: type[BaseModel], at: PathParts = ()) -> tuple[Finding, ...]:
    """One finding for each mistake pydantic saw. `at` is where the model stands in the file."""
    return tuple(_finding(details, model, at) for details in error.errors(include_url=False, include_context=False))


def _finding(details: ErrorDetails, model: type[BaseModel], at: PathParts) -> Finding:
    # A table's key that is wrong itself is marked so by pydantic; the file has no such word.
    location = tuple(part for part in details["loc"] if part != "[key]")
    path = write_path((*at, *location))
    match details["type"]:
        case "missing":
            return Finding(path, "nothing", _describe(model, location))
        case "extra_forbidden":
            return Finding(path, "an unknown option", _suggest(model, location))
    if details["type"] in _TABLES:  # whoever took the table for the option may have written its secret there
        return Finding(path, _name_kind(details["input"]), "a table")
    found = SECRET if _is_secret(model, location) else write_found(details["input"])
    return Finding(path, found, _EXPECTED.get(details["type"]) or _shorten(details["msg"]))


def _name_kind(value: Any) -> str:
    return "a text" if isinstance(value, str) else "a list" if isinstance(value, list) else "a single value"


def _shorten(message: str) -> str:
    for phrase in _PHRASES:
        message = message.removeprefix(phrase)
    return message


def _name(location: PathParts) -> str:
    """The option's own name: list positions behind it are inside its value."""
    return next((part for part in reversed(location) if isinstance(part, str)), "")


def _field(model: type[BaseModel], location: PathParts) -> FieldInfo | None:
    return find_section(model, location).model_fields.get(_name(location))


def _is_secret(model: type[BaseModel], location: PathParts) -> bool:
    field = _field(model, location)
    return field is not None and is_secret(field)


def _describe(model: type[BaseModel], location: PathParts) -> str:
    """What the option is for; of a section, what the whole section is."""
    field = _field(model, location)
    section = None if field is None else find_model(field.annotation)
    description = (None if field is None else field.description) or (None if section is None else section.__doc__)
    return " ".join((description or "a value").split())


def _suggest(model: type[BaseModel], location: PathParts) -> str:
    names = list(find_section(model, location).model_fields)
    close = difflib.get_close_matches(_name(location), names, n=1)
    return f"perhaps {close[0]}" if close else f"one of {', '.join(names)}"
