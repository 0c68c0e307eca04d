"""What stands between the node's sockets and their clients: frames are lost, doubled, late, or the last, as ordered.

Rules hold for the channel and role they name, whichever socket carries the frames, until they met as many as they
say. Knows nothing of what a frame means; with no rule and nobody waiting it does not even look.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from bridge.sim.fault import Await, CutAt, Delay, Double, Freeze, OnFrames, Refuse, Reuse, Swallow, word_of
from bridge.sim.fsm import Fsm
from bridge.sim.tally import Direction


@dataclass(slots=True)
class Standing:
    """A rule and what is left of it."""

    rule: OnFrames
    skip: int
    left: int


@dataclass(frozen=True, slots=True)
class Passage:
    """What becomes of one frame."""

    copies: int = 1
    seconds: float = 0.0
    cuts: bool = False
    """The connection ends behind it."""
    refusal: int | None = None
    """A sign request that is answered with this code instead of being sent."""
    untold: int | None = None
    """A signature that its client keeps for later: what the node hears is this code."""


FREE = Passage()


@dataclass(slots=True)
class _Waiter:
    wanted: Await
    left: int
    done: asyncio.Future[None]


@dataclass
class Gate:
    """One for the whole node."""

    notice_seconds: float = 0.0
    """How long the end of a connection goes unnoticed."""
    _standing: list[Standing] = field(default_factory=list)
    _waiters: list[_Waiter] = field(default_factory=list)
    _frozen: list[Freeze] = field(default_factory=list)

    # --- orders -------------------------------------------------------------------------------------------

    def add(self, rule: OnFrames) -> None:
        self._standing.append(Standing(rule, 0 if isinstance(rule, Refuse | Reuse) else rule.skip, rule.frames))

    def freeze(self, order: Freeze) -> None:
        self._frozen.append(order)

    def thaw(self) -> None:
        self._frozen.clear()

    def clear(self) -> None:
        """No rule, nothing frozen or late. Whoever waits for a frame still does."""
        self.notice_seconds = 0.0
        self._standing.clear()
        self._frozen.clear()

    def is_frozen(self, fsm: Fsm) -> bool:
        return any(order.meets(fsm.channel_id, fsm.role) for order in self._frozen)

    async def crossed(self, wanted: Await) -> None:
        """Returns when so many such frames have crossed from this moment on."""
        waiter = _Waiter(wanted, wanted.count, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            await waiter.done
        finally:
            self._waiters.remove(waiter)

    def describe(self) -> list[dict[str, Any]]:
        """The rules that stand, and how many frames each has yet to meet."""
        rules = [entry.rule.model_dump(mode="json") | {"left": entry.left} for entry in self._standing]
        return [*rules, *(order.model_dump(mode="json") for order in self._frozen)]

    # --- frames -------------------------------------------------------------------------------------------

    def judge(self, fsm: Fsm, direction: Direction, text: str | bytes) -> Passage:
        """What becomes of this frame. Every rule that meets it is used up by one; the first that stands decides."""
        if not self._standing:
            return FREE
        frame = _read(text)
        found = [entry for entry in self._standing if _meets(entry.rule, fsm, direction, frame)]
        due = [entry for entry in found if not _passes(entry)]
        for entry in due:
            entry.left -= 1
        self._standing = [entry for entry in self._standing if entry.left > 0]
        return FREE if not due else _passage(due[0].rule)

    def note(self, fsm: Fsm, direction: Direction, text: str | bytes) -> None:
        """This frame crossed."""
        if not self._waiters:
            return
        word = word_of(_read(text))
        for waiter in self._waiters:
            wanted = waiter.wanted
            if wanted.meets(fsm.channel_id, fsm.role) and wanted.matches(direction, word):
                waiter.left -= 1
                if waiter.left == 0 and not waiter.done.done():
                    waiter.done.set_result(None)


def _meets(rule: OnFrames, fsm: Fsm, direction: Direction, frame: Any) -> bool:
    if not rule.meets(fsm.channel_id, fsm.role):
        return False
    word = word_of(frame)
    if isinstance(rule, Reuse):
        return direction == "to_node" and word == "update_ack" and "signed_tx" in frame.get("params", {})
    if isinstance(rule, Refuse):
        return direction == "from_node" and word.startswith("sign.") and word.endswith("_ack")
    return rule.matches(direction, word)


def _passes(entry: Standing) -> bool:
    """Whether the rule lets this one go by, as one of those it was told to skip."""
    if entry.skip == 0:
        return False
    entry.skip -= 1
    return True


def _passage(rule: OnFrames) -> Passage:
    match rule:
        case Swallow():
            return Passage(copies=0)
        case Double():
            return Passage(copies=2)
        case Delay(seconds=seconds):
            return Passage(seconds=seconds)
        case CutAt(side=side):
            return Passage(copies=1 if side == "after" else 0, cuts=True)
        case Refuse(code=code):
            return Passage(copies=0, refusal=code)
        case Reuse(code=code):
            return Passage(untold=code)


def _read(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
