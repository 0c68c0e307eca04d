"""Configurations as files: what a test holds as a table, written the way a person would."""

import json
from typing import Any


def to_toml(value: Any) -> str:
    """JSON's literals and lists are TOML's too; tables are written inline, without what is None."""
    if isinstance(value, dict):
        given = ((name, item) for name, item in value.items() if item is not None)
        return "{" + ", ".join(f"{json.dumps(name)} = {to_toml(item)}" for name, item in given) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    return json.dumps(value)
