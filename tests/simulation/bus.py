"""A process's way to the broker, watched: each publish, confirm, delivery and ack is a point, and may go wrong there.

Wraps a session of the in-memory broker and keeps to the same protocol, so that the bridge and the signer use it as
they use RabbitMQ. Never makes the bus better than a real one: what is lost here is lost with its session, and comes
again only if the broker would bring it again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Self

from bridge.errors import BrokerUnavailable
from bridge.wire.envelope import Envelope, Received
from tests.simulation.point import Action, Kind, Points
from tests.simulation.process import Process
from tests.simulation.trouble import Trouble

WAY_SECONDS = (0.0002, 0.004)
LATE_SECONDS = 3.0


class Wall:
    """What a watched session knows of the world."""

    def __init__(
        self,
        points: Points,
        process: Process,
        trouble: Trouble,
        random: Random,
        kill: Callable[[Process], None],
        drop: Callable[[], None],
    ) -> None:
        self.points = points
        self.process = process
        self.trouble = trouble
        self.random = random
        self.drop = drop
        """Lose the session: unsettled deliveries go back to their queues."""
        self._kill = kill

    async def way(self) -> None:
        await asyncio.sleep(self.random.uniform(*WAY_SECONDS))
        await self.live()

    async def live(self) -> None:
        """Returns to the living only: the dead wait until they are reaped."""
        if self.process.is_dead:
            await asyncio.get_running_loop().create_future()

    async def reach(self, kind: Kind, label: str, detail: bytes = b"") -> Action | None:
        """What is to be done here; a kill before it is done already."""
        action = self.points.reach(kind, self.process, label, detail)
        if action is Action.KILL_BEFORE:
            self._kill(self.process)
        await self.live()
        return action

    def kill_soon(self) -> None:
        """As soon as the code that runs lets go."""
        asyncio.get_running_loop().call_soon(self._kill, self.process)

    async def kill(self) -> None:
        self._kill(self.process)
        await self.live()


class WatchedPublisher:
    def __init__(self, inner: Any, wall: Wall) -> None:
        self._inner = inner
        self._wall = wall

    async def publish(self, envelope: Envelope) -> None:
        wall = self._wall
        label = f"{envelope.exchange.rpartition('.')[2]} {envelope.routing_key}"
        action = await wall.reach(Kind.PUBLISH, label, envelope.body)
        await wall.way()
        if action is Action.SWALLOW:
            wall.drop()
            raise BrokerUnavailable("lost on the way to the broker")
        wall.trouble.refuse()
        await self._inner.publish(envelope)
        if action is Action.DOUBLE:
            await self._inner.publish(envelope)
        if action is Action.KILL_AFTER:
            await wall.kill()
        if action is Action.LATE:
            await asyncio.sleep(LATE_SECONDS)
            raise BrokerUnavailable("no confirm in time")
        await wall.trouble.hold()
        await wall.way()
        action = await wall.reach(Kind.CONFIRM, label)
        if action is Action.KILL_AFTER:
            wall.kill_soon()


class WatchedDelivery:
    def __init__(self, inner: Any, wall: Wall) -> None:
        self._inner = inner
        self._wall = wall
        self._settled: bool | None = None

    @property
    def received(self) -> Received:
        received: Received = self._inner.received
        return received

    async def ack(self) -> bool:
        return await self._settle("ack", self._inner.ack)

    async def reject(self) -> bool:
        return await self._settle("reject", self._inner.reject)

    async def _settle(self, word: str, settle: Callable[[], Awaitable[bool]]) -> bool:
        """The second copy of a doubled delivery has nothing left to settle."""
        if self._settled is not None:
            return self._settled
        wall = self._wall
        action = await wall.reach(Kind.ACK, f"{word} {self.received.queue}")
        if action is Action.SWALLOW:
            wall.drop()
            return False
        self._settled = await settle()
        if action is Action.KILL_AFTER:
            await wall.kill()
        return self._settled


class WatchedConsumer:
    def __init__(self, inner: Any, wall: Wall) -> None:
        self._inner = inner
        self._wall = wall
        self._again: WatchedDelivery | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchedDelivery:
        while True:
            if self._again is not None:
                delivery, self._again = self._again, None
                return delivery
            delivery = WatchedDelivery(await self._inner.__anext__(), self._wall)
            if await self._arrives(delivery):
                return delivery

    async def _arrives(self, delivery: WatchedDelivery) -> bool:
        wall, received = self._wall, delivery.received
        await wall.way()
        action = await wall.reach(Kind.DELIVERY, f"{received.queue} {received.routing_key}", received.body)
        match action:
            case Action.SWALLOW:
                wall.drop()
                return False
            case Action.DOUBLE:
                self._again = delivery
            case Action.LATE:
                await asyncio.sleep(LATE_SECONDS)
                await wall.live()
            case Action.KILL_AFTER:
                wall.kill_soon()
        return True


class WatchedBus:
    """`inner`: a session of the in-memory broker, entered and left with this."""

    def __init__(self, inner: Any, wall: Wall) -> None:
        self._inner = inner
        self._wall = wall

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._inner.__aexit__(*error)

    def publisher(self) -> WatchedPublisher:
        return WatchedPublisher(self._inner.publisher(), self._wall)

    def consumer(self, queue: str, **options: Any) -> WatchedConsumer:
        return WatchedConsumer(self._inner.consumer(queue, **options), self._wall)

    async def refused(self) -> None:
        await self._inner.refused()
