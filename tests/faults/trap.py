"""One crossing of two links, and what happens there: counted from `arm` on, sprung once.

At a node's frame: the bridge is killed before or after it, it is lost on a socket that lives on, comes twice, or late:
whoever sent it has lost the connection already. A late frame of the bridge reaches the node when the same link, of
that channel and role, comes back: `overtaken` right before the node sees it return, `late` after its handshake went
through. Where the node ends the older socket with that handshake nothing can come late, and is not said to have: it is
drawn again. A late frame of the node arrives a moment after the node's end is gone, and what was sent behind it too:
the bridge knows of no loss until then, and cannot come back before. At a method of the broker the bridge is killed
before or after it, or the connection ends there with it or without it: nothing else can happen on a connection that
keeps count of its methods. Frames and methods without a meaning (pings, heartbeats) do not count.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from tests.faults.journal_home import Bridge
from tests.faults.proxy import Connection, Crossing
from tests.faults.split import Direction

METHODS = frozenset({"basic.publish", "basic.deliver", "basic.ack"})
LATE_SECONDS = 1.0
MOMENT = 0.05
"""Long enough for loopback: what the node has not ended by then it keeps, and what it got it has read."""
BACK_SECONDS = 20.0
"""A link comes back at once; one that must keep quiet for a minute is not waited for."""


class Action(StrEnum):
    KILL_BEFORE = "kill before"
    KILL_AFTER = "kill after"
    SWALLOW = "swallow"
    DOUBLE = "double"
    OVERTAKEN = "overtaken"
    LATE = "late"
    CUT_BEFORE = "cut before"
    CUT_AFTER = "cut after"


KILLS = (Action.KILL_BEFORE, Action.KILL_AFTER)
AT_FRAMES = {
    Direction.OUT: (*KILLS, Action.SWALLOW, Action.DOUBLE, Action.OVERTAKEN, Action.LATE),
    Direction.BACK: (*KILLS, Action.SWALLOW, Action.DOUBLE, Action.LATE),
}
AT_METHODS = (*KILLS, Action.CUT_BEFORE, Action.CUT_AFTER)


@dataclass
class Trap:
    random: Random
    without: frozenset[Action] = frozenset()
    """What is not drawn."""
    bridge: Bridge | None = None
    number: int = 0
    """Where it is sprung; 0: nowhere."""
    count: int = 0
    is_armed: bool = False
    sprung: str = ""
    """What happened, in words; empty as long as nothing did."""
    action: Action | None = None
    """What was drawn. None: nothing, or it could not be done."""
    happened: asyncio.Event = field(default_factory=asyncio.Event)
    is_done: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while no frame is being held back."""
    whose: Callable[[Connection], str] = lambda _: ""
    """The channel and role a node's connection belongs to."""
    returns: "_Return | None" = None
    """What a held frame waits for."""
    seen_at: float = 0.0
    """When the latest crossing was, armed or not: seconds of the loop's clock."""

    def arm(self, bridge: Bridge, number: int) -> None:
        self.bridge, self.number, self.count = bridge, number, 0
        self.is_armed, self.sprung, self.action = True, "", None
        self.happened.clear()
        self.is_done.set()

    def disarm(self) -> None:
        self.is_armed = False

    async def see_node(self, crossing: Crossing) -> None:
        if crossing.piece.word == "handshake" and self.returns is not None:
            await self._see_return(crossing, self.returns)
        else:
            await self._see(crossing, crossing.piece.word not in ("", "handshake"), AT_FRAMES[crossing.direction])

    async def see_broker(self, crossing: Crossing) -> None:
        await self._see(crossing, crossing.piece.word in METHODS, AT_METHODS)

    async def _see(self, crossing: Crossing, counts: bool, actions: tuple[Action, ...]) -> None:
        if counts:
            self.seen_at = asyncio.get_running_loop().time()
        if self.is_armed and counts:
            self.count += 1
            if self.count == self.number:
                self.action = self.random.choice([action for action in actions if action not in self.without])
                self.sprung = f"{self.action} {crossing.direction} {crossing.piece.word} ({self.number})"
                self.happened.set()
                await self._spring(crossing, self.action)
                return
        await crossing.forward()

    async def _spring(self, crossing: Crossing, action: Action) -> None:
        assert self.bridge is not None
        connection = crossing.connection
        match action:
            case Action.KILL_BEFORE:
                self.bridge.process.kill()
                connection.reset()
            case Action.KILL_AFTER:
                await crossing.forward()
                self.bridge.process.kill()
            case Action.SWALLOW:
                pass
            case Action.DOUBLE:
                await crossing.forward()
                await crossing.forward()
            case Action.OVERTAKEN | Action.LATE:
                await self._come_late(crossing, action)
            case Action.CUT_BEFORE:
                connection.reset()
            case Action.CUT_AFTER:
                await crossing.forward()
                connection.reset()

    async def _come_late(self, crossing: Crossing, action: Action) -> None:
        """The sender's end is gone first. What then does not reach the other end was not late: it is drawn again."""
        self.is_done.clear()
        try:
            if crossing.direction is Direction.BACK:
                crossing.connection.end_server()
                await asyncio.sleep(LATE_SECONDS)
                arrived = crossing.connection.has_client
            else:
                arrived = await self._has_returned(crossing, action)
            if arrived:
                await crossing.forward()
                await asyncio.sleep(MOMENT)
            else:
                self.action, self.sprung = None, f"not {self.sprung}"
            if crossing.direction is Direction.OUT or not arrived:
                crossing.connection.reset()
        finally:
            if self.returns is not None:
                self.returns.passes.set()
            self.returns = None
            self.is_done.set()

    async def _has_returned(self, crossing: Crossing, action: Action) -> bool:
        """Whether the same link came so far, and the node still has the older socket then."""
        self.returns = _Return(self.whose(crossing.connection), crossing.connection, action)
        crossing.connection.end_client()
        with suppress(TimeoutError):
            async with asyncio.timeout(BACK_SECONDS):
                await self.returns.came.wait()
        await asyncio.sleep(MOMENT)
        return self.returns.came.is_set() and crossing.connection.has_server

    async def _see_return(self, crossing: Crossing, returns: "_Return") -> None:
        """A handshake of the link that is waited for is held at the very place where the late frame comes between."""
        is_same = crossing.connection is not returns.older and self.whose(crossing.connection) == returns.whose
        if is_same and crossing.direction is returns.direction:
            returns.came.set()
            await returns.passes.wait()
        await crossing.forward()


@dataclass(frozen=True, slots=True)
class _Return:
    """A link that is to come back."""

    whose: str
    older: Connection
    action: Action
    came: asyncio.Event = field(default_factory=asyncio.Event)
    passes: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def direction(self) -> Direction:
        """Of the handshake: its request, before the node has seen it, or the node's answer to it."""
        return Direction.OUT if self.action is Action.OVERTAKEN else Direction.BACK
