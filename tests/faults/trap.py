"""One crossing of two links, and what happens there: counted from `arm` on, sprung once.

At a node's frame: the bridge is killed before or after it, it is lost on a socket that lives on, comes twice, or
arrives late: one end has lost the connection already when the frame reaches the other. At a method of the broker the
bridge is killed before or after it, or the connection ends there with it or without it: nothing else can happen on a
connection that keeps count of its methods. Frames and methods without a meaning (pings, heartbeats) do not count.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from tests.faults.journal_home import Bridge
from tests.faults.proxy import Crossing
from tests.faults.split import Direction

METHODS = frozenset({"basic.publish", "basic.deliver", "basic.ack"})
LATE_SECONDS = 1.0


class Action(StrEnum):
    KILL_BEFORE = "kill before"
    KILL_AFTER = "kill after"
    SWALLOW = "swallow"
    DOUBLE = "double"
    LATE = "late"
    CUT_BEFORE = "cut before"
    CUT_AFTER = "cut after"


KILLS = (Action.KILL_BEFORE, Action.KILL_AFTER)
AT_FRAMES = (*KILLS, Action.SWALLOW, Action.DOUBLE, Action.LATE)
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
    happened: asyncio.Event = field(default_factory=asyncio.Event)
    seen_at: float = 0.0
    """When the latest crossing was, armed or not: seconds of the loop's clock."""

    def arm(self, bridge: Bridge, number: int) -> None:
        self.bridge, self.number, self.count = bridge, number, 0
        self.is_armed, self.sprung, self.action = True, "", None
        self.happened.clear()

    def disarm(self) -> None:
        self.is_armed = False

    async def see_node(self, crossing: Crossing) -> None:
        await self._see(crossing, crossing.piece.word not in ("", "handshake"), AT_FRAMES)

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
            case Action.LATE:
                await self._come_late(crossing)
            case Action.CUT_BEFORE:
                connection.reset()
            case Action.CUT_AFTER:
                await crossing.forward()
                connection.reset()

    async def _come_late(self, crossing: Crossing) -> None:
        """The sender's end is gone first. A frame of the bridge arrives when it is back, if that is soon."""
        connection, proxy = crossing.connection, crossing.connection.proxy
        before = proxy.accepted
        if crossing.direction is Direction.OUT:
            connection.end_client()
        else:
            connection.end_server()
        with suppress(TimeoutError):
            async with asyncio.timeout(LATE_SECONDS):
                while proxy.accepted == before:
                    proxy.news.clear()
                    await proxy.news.wait()
        await crossing.forward()
        connection.reset()
