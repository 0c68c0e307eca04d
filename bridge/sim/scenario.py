"""A scenario is a list: `[open, update, cut, wait 2, heal]`. It is read from TOML or JSON, checked whole, then played.

Each entry is a fault or a pause of `fault`, as a table with `do`, or in short as one text: the name and, for `wait`,
`at` and `mine`, a number. Two words of its own: `open` (until a channel says so) and `update` (until a state is
co-signed). Steps follow one another; what a step names wrongly is found before the first is taken.
"""

import asyncio
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bridge.sim.fault import AnyStep, At, Await, Fault, Pause, Wait
from bridge.sim.nemesis import carry_out
from bridge.sim.server import SimulatedNode

_STEPS: TypeAdapter[list[Fault | Pause]] = TypeAdapter(list[AnyStep])

_NUMBERS = {"wait": "seconds", "at": "second", "mine": "blocks"}
"""The one number a short entry may have."""
_WORDS: Mapping[str, Mapping[str, Any]] = {
    "open": {"do": "await", "word": "info.open"},
    "update": {"do": "await", "word": "update"},
}


class ScenarioInvalid(Exception):
    """Not one of ours. Says every mistake, a line each, by its place in the list."""


def parse(steps: Any) -> list[Fault | Pause]:
    """A list of texts and tables. Raises ScenarioInvalid."""
    if not isinstance(steps, list) or not steps:
        raise ScenarioInvalid("steps: a list with at least one step is wanted")
    try:
        return _STEPS.validate_python([_expand(step) for step in steps])
    except ValidationError as error:
        raise ScenarioInvalid("\n".join(_explain(finding) for finding in error.errors())) from None


def read(path: Path) -> list[Fault | Pause]:
    """A file with `steps`, TOML unless it ends in .json; in JSON the list alone will do. Raises ScenarioInvalid."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ScenarioInvalid(f"{path}: {error}") from error
    if isinstance(content, dict):
        if strange := sorted(content.keys() - {"steps"}):
            raise ScenarioInvalid(f"{path}: unknown: {', '.join(strange)}; only steps is read")
        content = content.get("steps")
    return parse(content)


def _expand(step: Any) -> Any:
    """A short entry as a table; whatever else is left for the check to refuse."""
    if not isinstance(step, str):
        return step
    word, _, number = step.strip().partition(" ")
    if word in _WORDS and not number:
        return _WORDS[word]
    return {"do": word} | ({_NUMBERS.get(word, "number"): number.strip()} if number else {})


def _explain(finding: Any) -> str:
    place, *rest = finding["loc"]
    path = ".".join(str(part) for part in rest)
    return f"steps[{place}]{'.' + path if path else ''}: {finding['msg']}"


@dataclass
class Scenario:
    """One list being played. `position` is the step it is at; as many as there are when it is over."""

    steps: list[Fault | Pause]
    position: int = 0

    @property
    def is_over(self) -> bool:
        return self.position == len(self.steps)

    async def play(self, node: SimulatedNode) -> None:
        began = asyncio.get_running_loop().time()
        for step in self.steps:
            match step:
                case Wait(seconds=seconds):
                    await asyncio.sleep(seconds)
                case At(second=second):
                    await asyncio.sleep(max(0.0, began + second - asyncio.get_running_loop().time()))
                case Await():
                    await node.gate.crossed(step)
                case _:
                    await carry_out(node, step)
            self.position += 1
