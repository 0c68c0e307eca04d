"""Reads the settings' models: which options there are, where they stand, and what a reader must know.

The reference page and the findings of a wrong configuration are both made from this, so they cannot disagree
with what is accepted.
"""

import inspect
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import annotated_types
from pydantic import BaseModel, SecretStr, StringConstraints
from pydantic.fields import FieldInfo

from bridge.signing.policy import Unit

PathParts = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Option:
    """One option. `range` and `unit` are "" where there is none; `default` is None where it must be given."""

    name: str
    form: str
    unit: str
    range: str
    default: Any
    is_required: bool
    meaning: str


def write_path(parts: PathParts) -> str:
    """`("channels", 2, "initiator")` as `channels[2].initiator`, the way the file is counted: from 0."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def find_model(annotation: Any) -> type[BaseModel] | None:
    """The section behind an annotation: itself, or what a list or table of sections holds."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in typing.get_args(annotation) if (model := find_model(part))), None)


def find_section(model: type[BaseModel], parts: PathParts) -> type[BaseModel]:
    """The section an option at this path stands in: the innermost the path passes through."""
    for part in parts[:-1]:
        if isinstance(part, int) or part not in model.model_fields:
            continue
        inner = find_model(model.model_fields[part].annotation)
        if inner is None:
            break
        model = inner
    return model


def is_secret(field: FieldInfo) -> bool:
    return SecretStr in _parts(field.annotation)


def _parts(annotation: Any) -> Iterator[Any]:
    """The annotation and everything inside it."""
    yield annotation
    for inner in typing.get_args(annotation):
        yield from _parts(inner)


def options(model: type[BaseModel]) -> tuple[Option, ...]:
    """The options of one section, those of sections inside it aside."""
    return tuple(
        _option(name, field) for name, field in model.model_fields.items() if find_model(field.annotation) is None
    )


def _option(name: str, field: FieldInfo) -> Option:
    metadata = [*field.metadata, *_metadata(field.annotation)]
    return Option(
        name=name,
        form=_form(field.annotation),
        unit=next((item.name for item in metadata if isinstance(item, Unit)), ""),
        range=", ".join(_ranges(metadata)),
        default=None if field.is_required() else field.get_default(call_default_factory=True),
        is_required=field.is_required(),
        meaning=" ".join((field.description or "").split()),
    )


def _metadata(annotation: Any) -> Iterator[Any]:
    """What is written beside a type further inside: `X | None` and lists keep it there."""
    for part in _parts(annotation):
        for item in getattr(part, "__metadata__", ()):
            yield item
            if isinstance(item, FieldInfo):
                yield from item.metadata


def _ranges(metadata: Sequence[Any]) -> Iterator[str]:
    for item in metadata:
        match item:
            case annotated_types.Ge(ge=bound):
                yield f"at least {bound:,}"
            case annotated_types.Le(le=bound):
                yield f"at most {bound:,}"
            case annotated_types.MinLen(min_length=bound):
                yield f"length at least {bound}"
            case annotated_types.MaxLen(max_length=bound):
                yield f"length at most {bound}"
            case StringConstraints(pattern=str(pattern)):
                yield f"`{pattern}`"
            case _:
                pass


_WORDS: dict[Any, str] = {
    str: "text",
    SecretStr: "text, secret",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
}


def _form(annotation: Any) -> str:
    """What to write there, in words."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _form(inner[0])
    if origin is typing.Literal:
        return ", ".join(f"`{word}`" for word in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_form(part) for part in inner if part is not types.NoneType)
    if origin in (tuple, frozenset):
        return f"list of: {_form(inner[0])}"
    if isinstance(annotation, typing.NewType):
        return _form(annotation.__supertype__)
    if inspect.isclass(annotation) and issubclass(annotation, StrEnum):
        return ", ".join(f"`{member}`" for member in annotation)
    return _WORDS[annotation]
