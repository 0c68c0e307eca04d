"""Numbered points: every instant at which something crosses a wall, and what a schedule wants done there.

A frame between bridge and node, a publish, its confirm, a delivery, an ack, a commit: each is one point, numbered in
the order of the run. The same seed gives the same numbers, so a failing number is a reproduction. The digest over all
of them tells whether two runs were the same run.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tests.simulation.process import Process


class Kind(StrEnum):
    FRAME = "frame"
    PUBLISH = "publish"
    CONFIRM = "confirm"
    DELIVERY = "delivery"
    ACK = "ack"
    COMMIT = "commit"


class Action(StrEnum):
    """What a schedule may do at a point."""

    KILL_BEFORE = "kill-before"
    KILL_AFTER = "kill-after"
    SWALLOW = "swallow"
    """It is lost on the way: a frame in silence, on the bus with the session."""
    DOUBLE = "double"
    LATE = "late"
    """A frame comes only after the reconnect; on the bus the answer comes too late to count."""


KILLS = (Action.KILL_BEFORE, Action.KILL_AFTER)
ACTIONS: Mapping[Kind, tuple[Action, ...]] = {
    Kind.FRAME: tuple(Action),
    Kind.PUBLISH: tuple(Action),
    Kind.CONFIRM: KILLS,
    Kind.DELIVERY: (*KILLS, Action.SWALLOW, Action.DOUBLE, Action.LATE),
    Kind.ACK: (*KILLS, Action.SWALLOW),
    Kind.COMMIT: KILLS,
}
"""What makes sense where."""


def fit(order: Action | int | None, kind: Kind) -> Action | None:
    """What an order means at such a point: an action only where it makes sense, a number always one that does."""
    actions = ACTIONS[kind]
    if isinstance(order, int):
        return actions[order % len(actions)]
    return order if order in actions else None


@dataclass(frozen=True, slots=True)
class Point:
    number: int
    kind: Kind
    process: str
    label: str
    at: float
    """Virtual seconds."""

    def __str__(self) -> str:
        return f"{self.number} {self.kind} {self.process} {self.label}"


@dataclass
class Points:
    """Counts from `begin` on; before it and after `end` nothing is numbered, and nothing is done."""

    orders: Mapping[int, Action | int]
    time: Callable[[], float]
    is_traced: bool = False
    seen: list[Point] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """The trace, if one is wanted."""
    struck: int = 0
    """How many orders were carried out."""
    _is_counting: bool = False
    _digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def begin(self) -> None:
        self._is_counting = True

    def end(self) -> None:
        self._is_counting = False

    def heal(self) -> None:
        """Points are numbered still, nothing is done at them any more."""
        self.orders = {}

    def reach(self, kind: Kind, process: Process | None, label: str, detail: bytes = b"") -> Action | None:
        """This instant has come; what shall be done. A dead process reaches nothing."""
        if process is not None and process.is_dead:
            return None
        name = "outside" if process is None else process.name
        if not self._is_counting or process is None:
            self.note(f"{kind} {name} {label}", detail)
            return None
        point = Point(len(self.seen), kind, name, label, self.time())
        self.seen.append(point)
        action = fit(self.orders.get(point.number), kind)
        self.struck += action is not None
        self.note(f"#{point}" + (f" <<< {action}" if action else ""), detail)
        return action

    def note(self, text: str, detail: bytes = b"") -> None:
        """Something worth a line that is no point."""
        line = f"{self.time():.6f} {text}"
        self._digest.update(line.encode())
        self._digest.update(detail)
        if self.is_traced:
            self.lines.append(f"{line}  {detail[:240].decode(errors='replace')}".rstrip())

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()
