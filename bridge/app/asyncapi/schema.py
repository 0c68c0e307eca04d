"""JSON Schemas of every message, made from the models; for one document together, or one file a group.

What we publish may grow, so its schemas allow fields they do not name and require all that are always there; what
others write to us is refused with a field we do not know. `closed` gives the form our own tests hold us to.
"""

import json
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bridge.app.asyncapi.message import MESSAGES, Message, groups
from bridge.wire.body import EventBody, ResultBody, SignRequestBody, TransactionBody, UpdateBody

Schema = dict[str, Any]
SHARED = "#/components/schemas/"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_WHOLE = (EventBody, ResultBody, SignRequestBody, TransactionBody, UpdateBody)
"""Written with all their fields, those with a default too."""


def definitions() -> dict[str, Schema]:
    """A schema a model, by the model's name; they refer to each other under `SHARED`."""
    models: dict[type[BaseModel], Literal["serialization", "validation"]] = {EventBody: "serialization"}
    for message in MESSAGES:
        models[message.model] = "serialization" if message.is_published else "validation"
    _, made = models_json_schema(list(models.items()), by_alias=True, ref_template=f"{SHARED}{{model}}")
    schemas: dict[str, Schema] = made["$defs"]
    for model in _WHOLE:
        schema = schemas[model.__name__]
        schema["required"] = list(schema["properties"])
    return {name: _plain(schemas[name]) for name in sorted(schemas)}


def _plain(value: Any) -> Any:
    """Descriptions on one line, without the marks of a docstring; pydantic's titles say nothing new."""
    if isinstance(value, dict):
        return {
            key: " ".join(child.split()) if key == "description" and isinstance(child, str) else _plain(child)
            for key, child in value.items()
            if not (key == "title" and isinstance(child, str))
        }
    return [_plain(child) for child in value] if isinstance(value, list) else value


def payload(message: Message) -> Schema:
    """The schema of a message's body, or of a dead letter's headers."""
    if message.event is None:
        return {"$ref": f"{SHARED}{message.model.__name__}"}
    name: Schema = {"type": "string"} if message.event.is_open else {"const": message.event.name}
    facts = {
        "family": {"const": message.event.family},
        "name": name,
        "data": {"$ref": f"{SHARED}{message.model.__name__}"},
    }
    return {"allOf": [{"$ref": f"{SHARED}{EventBody.__name__}"}, {"type": "object", "properties": facts}]}


def standalone(schema: Schema, shared: Mapping[str, Schema]) -> Schema:
    """The same schema with all it refers to under its own `$defs`."""
    wanted: dict[str, Schema] = {}
    _gather(schema, shared, wanted)
    whole = {"$schema": DIALECT, **schema, "$defs": {name: wanted[name] for name in sorted(wanted)}}
    moved: Schema = json.loads(json.dumps(whole).replace(SHARED, "#/$defs/"))
    return moved


def _gather(value: Any, shared: Mapping[str, Schema], wanted: dict[str, Schema]) -> None:
    for name in re.findall(rf'"{re.escape(SHARED)}([^"]+)"', json.dumps(value)):
        if name not in wanted:
            wanted[name] = shared[name]
            _gather(shared[name], shared, wanted)


def files() -> dict[str, Schema]:
    """File name to schema: one a command and a family of events, and one for each other message."""
    shared = definitions()
    made: dict[str, Schema] = {}
    for group, messages in groups():
        one = payload(messages[0]) if len(messages) == 1 else _any_of(messages)
        made[f"{group}.json"] = {"title": group, **standalone(one, shared)}
    return made


def _any_of(messages: Iterable[Message]) -> Schema:
    """A node's own word may be any, so more than one line of a family may fit."""
    return {"anyOf": [{"title": message.subject, **payload(message)} for message in messages]}


def write(directory: Path) -> None:
    """Write every schema file, and remove those of messages that are no more."""
    directory.mkdir(parents=True, exist_ok=True)
    made = files()
    for old in set(directory.glob("*.json")) - {directory / name for name in made}:
        old.unlink()
    for name, schema in made.items():
        (directory / name).write_text(render(schema), encoding="utf-8")


def render(schema: Schema) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def closed(schema: Schema) -> Schema:
    """The same schema, refusing every field it does not name: what we publish today has no other."""
    copy = deepcopy(schema)
    _close(copy)
    return copy


def _close(value: Any) -> None:
    if isinstance(value, dict):
        is_part = "const" in value.get("properties", {}).get("family", {})
        if "properties" in value and not is_part:
            value.setdefault("additionalProperties", False)
        for child in value.values():
            _close(child)
    elif isinstance(value, list):
        for child in value:
            _close(child)
