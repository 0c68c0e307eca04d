"""A real WebSocket server in the part of a node, and the listener of a link under test."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from bridge.errors import Code
from bridge.node.link import Address, Link, Timing

SECRET = "ba_SecretOfTheNodeSecretOfTheNodeSecretOfTheNode000"
QUICK = Timing(
    ping=0.1, pong=0.2, opening=2.0, sending=0.3, closing=0.3, first_delay=0.01, longest_delay=0.04, short_life=0.0
)
"""A node's minutes in milliseconds."""

# The server's own log would print the addresses we look for.
_silent = logging.getLogger("tests.node.server")
_silent.disabled = True


@dataclass(slots=True)
class Node:
    """What the server saw, and the sockets it has. `greet` handles each new one before it is read."""

    port: int = 0
    paths: list[str] = field(default_factory=list)
    frames: asyncio.Queue[str | bytes] = field(default_factory=asyncio.Queue)
    sockets: list[ServerConnection] = field(default_factory=list)
    codes: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    greet: Callable[[ServerConnection], Awaitable[None]] | None = None
    answer: Callable[[ServerConnection, Request], Awaitable[Response | None]] | None = None
    server: Server | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/channel"

    @property
    def socket(self) -> ServerConnection:
        """The newest."""
        return self.sockets[-1]

    async def handshake(self, socket: ServerConnection, request: Request) -> Response | None:
        self.paths.append(request.path)
        return None if self.answer is None else await self.answer(socket, request)

    async def talk(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        if self.greet is not None:
            await self.greet(socket)
        try:
            while True:
                self.frames.put_nowait(await socket.recv())
        except ConnectionClosed as closed:
            self.codes.put_nowait(1006 if closed.rcvd is None else closed.rcvd.code)


@asynccontextmanager
async def run_node(port: int = 0, context: ssl.SSLContext | None = None) -> AsyncIterator[Node]:
    node = Node()
    server = await serve(
        node.talk, "127.0.0.1", port, process_request=node.handshake, ssl=context, logger=_silent, ping_interval=None
    )
    async with server:
        node.server = server
        node.port = next(iter(server.sockets)).getsockname()[1]
        yield node
        for socket in node.sockets:
            socket.transport.abort()


Told = tuple[object, ...]


@dataclass(slots=True)
class Ear:
    """A listener that keeps what it is told, in order."""

    told: asyncio.Queue[Told] = field(default_factory=asyncio.Queue)
    waited: list[float] = field(default_factory=list)
    """Of each frame, in order."""

    def link_up(self, resumed: bool) -> None:
        self.told.put_nowait(("up", resumed))

    def received(self, text: str | bytes, waited: float) -> None:
        self.waited.append(waited)
        self.told.put_nowait(("received", text))

    def link_down(self, code: int, reason: str) -> None:
        self.told.put_nowait(("down", code, reason))

    def link_failed(self, attempts: int, reason: str, code: Code) -> None:
        self.told.put_nowait(("failed", attempts, reason, code))

    async def next(self) -> Told:
        async with asyncio.timeout(10):
            return await self.told.get()


def always(
    url: str, query: Mapping[str, str] | None = None, *, resumed: bool = False
) -> Callable[[], Awaitable[tuple[Address, bool]]]:
    async def address() -> tuple[Address, bool]:
        return Address(url, query or {}), resumed

    return address


@asynccontextmanager
async def running(link: Link) -> AsyncIterator[asyncio.Task[None]]:
    """`link.run()` in a task that is over when the test is."""
    task = asyncio.create_task(link.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
