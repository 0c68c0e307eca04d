"""Holds what the bus carried to the published schemas, in their closed form: a field nobody described is a fault."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from bridge.app.asyncapi.message import MESSAGES, Message, find_message
from bridge.app.asyncapi.schema import closed, definitions, payload, standalone


@cache
def _validators() -> dict[str, Draft202012Validator]:
    shared = definitions()
    schemas = {message.name: closed(standalone(payload(message), shared)) for message in MESSAGES}
    return {name: Draft202012Validator(schema) for name, schema in schemas.items()}


def complaints(exchange: str, routing_key: str, body: Any) -> list[str]:
    """What in this message is not as the contract says; `exchange` without its prefix. Empty if all is well."""
    message = find_message(exchange, routing_key)
    if message is None:
        return [f"{exchange} {routing_key}: the contract knows no such message"]
    return complaints_of(message, body)


def complaints_of(message: Message, body: Any) -> list[str]:
    found = sorted(_validators()[message.name].iter_errors(body), key=lambda error: error.json_path)
    return [f"{message.name} {error.json_path}: {error.message}" for error in found]


def letter_complaints(headers: Mapping[str, Any]) -> list[str]:
    """The same for a dead letter of the bridge's own, whose headers are the message."""
    own = {key: value for key, value in headers.items() if not key.startswith("ce-")}
    message = find_message("dead-letters", "")
    assert message is not None
    return complaints_of(message, own)
