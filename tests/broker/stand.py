"""Two brokers behind one face, for the suite both have to pass: the one in memory, and a real RabbitMQ."""

import asyncio
from typing import Protocol

from bridge.app.bus import Bus, RabbitBus
from bridge.app.busclient import user_of
from bridge.broker.connection import Connection
from bridge.broker.private import PrivateBroker
from bridge.broker.topology import Topology, apply
from bridge.sim.broker import MemoryBroker
from bridge.sim.broker_session import MemorySession


class Stand(Protocol):
    user: str
    """Whom the sessions belong to."""

    async def declare(self, topology: Topology) -> None: ...

    async def delete(self, queue: str) -> None: ...

    def session(self) -> Bus: ...

    def cut(self, bus: Bus) -> None:
        """The session's connections end at this instant, without a word."""

    async def restart(self) -> None: ...

    async def clear(self) -> None:
        """Leave the broker as it was found."""


class MemoryStand:
    user = "alice"

    def __init__(self) -> None:
        self.broker = MemoryBroker()

    async def declare(self, topology: Topology) -> None:
        self.broker.declare(topology)

    async def delete(self, queue: str) -> None:
        self.broker.delete(queue)

    def session(self) -> Bus:
        return self.broker.session(self.user, call_seconds=20)

    def cut(self, bus: Bus) -> None:
        assert isinstance(bus, MemorySession)
        bus.drop()

    async def restart(self) -> None:
        self.broker.stop()
        await asyncio.sleep(0)
        self.broker.start()

    async def clear(self) -> None:
        return


class RabbitStand:
    """`private`: the broker behind the URL, if it is ours to restart."""

    def __init__(self, url: str, private: PrivateBroker | None) -> None:
        self._url = url
        self.private = private
        self._topologies: list[Topology] = []
        self.user = user_of(url)

    async def declare(self, topology: Topology) -> None:
        self._topologies.append(topology)
        await apply(self._url, topology)

    async def delete(self, queue: str) -> None:
        async with Connection(self._url, "suite") as connection:
            amqp_channel = await connection.amqp_channel()
            await (await amqp_channel.raw.get_underlay_channel()).queue_delete(queue)

    def session(self) -> Bus:
        return RabbitBus(self._url, name="suite", call_seconds=20)

    def cut(self, bus: Bus) -> None:
        assert isinstance(bus, RabbitBus)
        for connection in (bus._publishing, bus._consuming):
            connection.discard("cut by the test", connection.generation)

    async def restart(self) -> None:
        assert self.private is not None
        await self.private.restart()

    async def clear(self) -> None:
        async with Connection(self._url, "suite") as connection:
            amqp_channel = await connection.amqp_channel()
            underlay = await amqp_channel.raw.get_underlay_channel()
            for topology in self._topologies:
                for queue in topology.queues:
                    await underlay.queue_delete(queue.name)
                for exchange in topology.exchanges:
                    await underlay.exchange_delete(exchange.name)
