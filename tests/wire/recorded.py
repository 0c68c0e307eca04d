"""What real nodes and clients said: the corpus and the recordings of tests/data, one entry a frame."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent.parent / "data"


@dataclass(frozen=True)
class Recorded:
    """One line of a file: `to_node`, `from_node` or `connect`, with the frame or the query parameters."""

    source: str
    who: str
    direction: str
    frame: Any

    @property
    def text(self) -> str:
        return json.dumps(self.frame)


@cache
def recording(name: str) -> tuple[Recorded, ...]:
    return tuple(_read(DATA / "recordings" / f"{name}.jsonl"))


@cache
def corpus(name: str) -> tuple[Recorded, ...]:
    return tuple(_read(DATA / "corpus" / f"{name}.jsonl"))


@cache
def everything() -> tuple[Recorded, ...]:
    """All frames of both dialects, of every file."""
    paths = [*sorted((DATA / "recordings").glob("*.jsonl")), *sorted((DATA / "corpus").glob("*.jsonl"))]
    return tuple(line for path in paths for line in _read(path))


def from_node(lines: tuple[Recorded, ...]) -> tuple[Recorded, ...]:
    return tuple(line for line in lines if line.direction == "from_node")


def to_node(lines: tuple[Recorded, ...]) -> tuple[Recorded, ...]:
    return tuple(line for line in lines if line.direction == "to_node")


def _read(path: Path) -> Iterator[Recorded]:
    for text in path.read_text().splitlines():
        line = json.loads(text)
        direction = line["dir"] if "dir" in line else line["kind"]
        frame = line["frame"] if "dir" in line else line["data"]
        if direction in {"from_node", "to_node", "connect"} and frame is not None:
            yield Recorded(f"{path.stem}:{line['seq']}", line["who"], direction, frame)
