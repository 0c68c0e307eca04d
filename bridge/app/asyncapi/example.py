"""One worked example of every message: what the programs themselves wrote, kept in `examples.json` beside this file.

`python -m tests.contract.harvest` makes the file by running channels, bridges, signers and clients in virtual time.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Example:
    """`message` is its name in the contract, `body` the parsed JSON; of a dead letter the headers are what counts."""

    message: str
    exchange: str
    routing_key: str
    headers: dict[str, str]
    body: Any


@cache
def examples() -> dict[str, Example]:
    """By the message's name. Raises nothing: the file is part of the program and a test reads it."""
    text = files(__package__ or "").joinpath("examples.json").read_text(encoding="utf-8")
    return {entry["message"]: Example(**entry) for entry in json.loads(text)}
