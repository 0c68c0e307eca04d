"""What happens on the bridge's own link to the broker, while the broker itself and everybody else are well."""

import asyncio
from collections.abc import Collection

from tests.faults.proxy import Connection, Crossing, Proxy
from tests.faults.split import Direction


class Unconfirmed:
    """A watch under which publishes pass, and nothing comes back on a connection that has published."""

    def __init__(self) -> None:
        self.withheld = 0
        """Answers to publishes that were held back; they come late, if the bridge has not hung up by then."""
        self._publishing: set[Connection] = set()
        self._passes = asyncio.Event()
        self._passes.set()

    def withhold(self) -> None:
        self._passes.clear()

    def relent(self) -> None:
        self._passes.set()

    async def see(self, crossing: Crossing) -> None:
        if crossing.piece.word == "basic.publish":
            self._publishing.add(crossing.connection)
        if crossing.direction is Direction.BACK and crossing.connection in self._publishing:
            self.withheld += not self._passes.is_set()
            await self._passes.wait()
        await crossing.forward()


class Torn:
    """A watch under which the next message of a direction ends its connection, five bytes before its own end."""

    def __init__(self) -> None:
        self.due: Direction | None = None
        self._torn = asyncio.Event()

    async def tear(self, direction: Direction) -> None:
        """Returns once it has happened."""
        self.due = direction
        self._torn.clear()
        await self._torn.wait()

    async def see(self, crossing: Crossing) -> None:
        piece, direction = crossing.piece, crossing.direction
        if direction is self.due and piece.word in ("basic.publish", "basic.deliver"):
            self.due = None
            crossing.connection.proxy.cut_after(len(piece.data) - 5, direction)
            self._torn.set()
        await crossing.forward()


async def gone(link: Proxy, connections: Collection[Connection]) -> None:
    """Both ends of these connections have given them up."""
    while link.connections & set(connections):
        link.news.clear()
        await link.news.wait()
