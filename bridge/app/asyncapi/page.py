"""`docs/messages.md`: every message for people, its fields and an example, made from the models as the document is."""

import json
from collections.abc import Iterator
from typing import Any

from bridge.app.asyncapi.example import examples
from bridge.app.asyncapi.message import MESSAGES, Message
from bridge.app.asyncapi.schema import SHARED, Schema, definitions

_HEAD = """\
# Messages

Made from the program itself by `python -m bridge.app.reference docs`; do not edit. Every message of
[the bus contract](contract.md) with its fields, and an example that our programs wrote. Of an event the fields and the
example are those under `data`; what stands around it is [the same for all](#around-every-event). A field marked `?` may
be missing.
"""
_TITLES = {
    "commands": "Commands",
    "results": "Results",
    "sign-requests": "Sign requests",
    "sign-replies": "Sign replies",
    "approvals": "Approvals",
    "events": "Events",
    "dead-letters": "Dead letters",
}


def markdown() -> str:
    shared = definitions()
    lines = [_HEAD]
    for exchange, title in _TITLES.items():
        lines.append(f"## {title}\n")
        if exchange == "events":
            lines += ["### Around every event\n", *_fields(shared["EventBody"], shared)]
        for message in MESSAGES:
            if message.exchange == exchange:
                lines += _section(message, shared)
    return "\n".join(lines)


def _section(message: Message, shared: dict[str, Schema]) -> Iterator[str]:
    yield f"### `{message.subject}`\n"
    yield f"{message.summary}\n"
    yield from _fields(shared[message.model.__name__], shared)
    example = examples()[message.name]
    yield f"Routing key `{example.routing_key}`:\n"
    yield f"```json\n{json.dumps(_shown(message, example.body, example.headers), indent=2, ensure_ascii=False)}\n```\n"


def _shown(message: Message, body: Any, headers: dict[str, str]) -> Any:
    if message.exchange == "dead-letters":
        return headers
    return body["data"] if message.event is not None else body


def _fields(schema: Schema, shared: dict[str, Schema]) -> Iterator[str]:
    properties = schema.get("properties", {})
    if not properties:
        yield "No fields.\n"
        return
    required = schema.get("required", ())
    yield "| field | form | meaning |"
    yield "| --- | --- | --- |"
    for name, field in properties.items():
        mark = "" if name in required else "?"
        yield f"| `{name}`{mark} | {_form(field, shared)} | {_meaning(field, shared)} |"
    yield ""


def _meaning(field: Schema, shared: dict[str, Schema]) -> str:
    text = field.get("description") or _follow(field, shared).get("description", "")
    return str(text).replace("|", "\\|")


def _follow(field: Schema, shared: dict[str, Schema]) -> Schema:
    return shared[field["$ref"].removeprefix(SHARED)] if "$ref" in field else field


def _form(field: Schema, shared: dict[str, Schema]) -> str:
    """In words; `or null` where it may be."""
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_form(part, shared) for part in field["anyOf"]))
    if "$ref" in field:
        target = _follow(field, shared)
        return "object" if "properties" in target else _form(target, shared)
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"]) if len(field["enum"]) <= _MOST_WORDS else "a code"
    match field.get("type"):
        case "array":
            return f"list of {_form(field.get('items', {}), shared)}"
        case "string":
            return "digits" if "0-9]" in field.get("pattern", "") and "a-f" not in field["pattern"] else "text"
        case str(word):
            return {"integer": "whole number", "boolean": "true or false"}.get(word, word)
        case _:
            return "any"


_MOST_WORDS = 20
