"""A frame that is said to have come late did: after the same link's return, on the socket that had been lost before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

from tests.faults.proxy import Connection, node_link, proxied
from tests.faults.trap import Action, Trap

SECONDS = 5.0
TEXT = '{"method": "channels.update.new", "id": 1}'


@dataclass
class Node:
    """Keeps what it hears and when: a word for each handshake and each text, with the link's name."""

    evicts: bool
    told: list[str] = field(default_factory=list)
    sockets: dict[str, ServerConnection] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        name = socket.request.path
        older, self.sockets[name] = self.sockets.get(name), socket
        self._tell(f"{name} up")
        if older is not None and self.evicts:
            older.transport.abort()
        try:
            async for _ in socket:
                self._tell(f"{name} text")
        finally:
            self._tell(f"{name} down")

    def _tell(self, word: str) -> None:
        self.told.append(word)
        self.news.set()

    async def until(self, word: str) -> None:
        async with asyncio.timeout(SECONDS):
            while word not in self.told:
                self.news.clear()
                await self.news.wait()


class Chosen:
    """Chance that draws one thing."""

    def __init__(self, action: Action) -> None:
        self.action = action

    def choice(self, among: list[Action]) -> Action:
        assert self.action in among
        return self.action


@dataclass
class Line:
    node: Node
    trap: Trap
    port: int

    def connect(self, name: str) -> connect:
        return connect(f"ws://127.0.0.1:{self.port}{name}", compression=None, proxy=None)


def name_of(connection: Connection) -> str:
    return connection.head.split(b" ")[1].decode()


@asynccontextmanager
async def lined(action: Action, *, evicts: bool) -> AsyncIterator[Line]:
    """A trap on the first frame between clients and node."""
    node, chance, bridge = Node(evicts), Chosen(action), Chosen(action)
    random: Any = chance
    killed: Any = bridge
    trap = Trap(random, whose=name_of)
    trap.arm(killed, 1)
    async with (
        serve(node.serve, "127.0.0.1", 0) as server,
        proxied(next(iter(server.sockets)).getsockname()[1], node_link, trap.see_node) as proxy,
    ):
        yield Line(node, trap, proxy.port)
        assert not proxy.errors


async def lose(socket: ClientConnection, trap: Trap) -> None:
    """The first frame is sent, and its sender finds the connection gone."""
    await socket.send(TEXT)
    await asyncio.wait_for(socket.wait_closed(), SECONDS)
    assert not trap.is_done.is_set()


async def test_a_late_frame_waits_for_the_return_of_its_own_link() -> None:
    """lost a --text--> ...  b returns: nothing  a returns: the text arrives, on the older socket."""
    async with lined(Action.LATE, evicts=False) as line, line.connect("/a") as older:
        await lose(older, line.trap)
        async with line.connect("/b"):
            assert not line.trap.is_done.is_set()
            async with line.connect("/a"):
                await asyncio.wait_for(line.trap.is_done.wait(), SECONDS)
                assert line.node.told[:4] == ["/a up", "/b up", "/a up", "/a text"]
                assert line.trap.action is Action.LATE


async def test_an_overtaken_frame_arrives_before_its_link_is_seen_to_return() -> None:
    """What the network still carried when the sender had given it up, and is the last the older socket says."""
    async with lined(Action.OVERTAKEN, evicts=True) as line, line.connect("/a") as older:
        await lose(older, line.trap)
        async with line.connect("/a"):
            await asyncio.wait_for(line.trap.is_done.wait(), SECONDS)
            assert line.node.told[:2] == ["/a up", "/a text"]
            assert line.trap.action is Action.OVERTAKEN


async def test_a_frame_nobody_could_take_any_more_was_not_late() -> None:
    """A node that ends the older socket with the handshake hears nothing late: that is drawn again, not counted."""
    async with lined(Action.LATE, evicts=True) as line, line.connect("/a") as older:
        await lose(older, line.trap)
        async with line.connect("/a"):
            await asyncio.wait_for(line.trap.is_done.wait(), SECONDS)
            await line.node.until("/a down")
            assert "/a text" not in line.node.told
            assert line.trap.action is None
            assert line.trap.sprung
