"""A TCP proxy that can hurt a link: freeze either way, reset, half-open, cut after so many bytes, delay.

With a splitter it knows what crosses: a `watch` is given each piece and passes it on, or does not. Plain asyncio; it
never changes a byte by itself. What it does to a connection, both ends see as a network would do it.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.faults.split import Amqp, Bytes, Direction, Piece, Splitter, WebSocket

CHUNK = 65_536
AT_ONCE = struct.pack("ii", 1, 0)

Cut = Callable[[Direction], Splitter]


@dataclass(eq=False)
class Connection:
    """One client of the proxy and its way to the server."""

    proxy: "Proxy"
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    head: bytes = b""
    """A WebSocket's opening request, once it crossed."""
    is_silent: bool = False
    """Half-open: everything is taken and nothing passed on."""
    ended: set[Direction] = field(default_factory=set)
    """Ways on which nothing more comes: whoever sends there is gone."""
    latest: bytes | None = None
    """What was passed on to the server last."""

    async def write(self, direction: Direction, data: bytes) -> None:
        """Passes it on, as the faults of the moment allow. What the other end no longer takes is lost."""
        if direction is Direction.OUT:
            if self.latest is data:
                self.proxy.doubled.append(data)
            self.latest = data
        await self.proxy.way[direction].wait()
        if self.proxy.delay_seconds:
            await asyncio.sleep(self.proxy.delay_seconds)
        if self.is_silent:
            return
        data, is_last = self.proxy.take_room(direction, data)
        target = self.server if direction is Direction.OUT else self.client
        with contextlib.suppress(ConnectionError):
            target.write(data)
            await target.drain()
            self.proxy.passed[direction] += len(data)
        if is_last:
            self.reset()

    def reset(self) -> None:
        """Both ends get a reset; what is on its way is lost. May be called twice."""
        self.end_client()
        self.end_server()

    @property
    def has_client(self) -> bool:
        """Whether the client is still there, as far as the network told."""
        return Direction.OUT not in self.ended

    @property
    def has_server(self) -> bool:
        return Direction.BACK not in self.ended

    def end_client(self) -> None:
        """The client's end alone: what it wrote before may still reach the server."""
        _abort(self.client)

    def end_server(self) -> None:
        """The server's end alone: what it wrote before may still reach the client."""
        _abort(self.server)


def _abort(writer: asyncio.StreamWriter) -> None:
    plain = writer.get_extra_info("socket")
    if plain is not None and plain.fileno() >= 0:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    writer.transport.abort()


@dataclass(frozen=True, slots=True)
class Crossing:
    """One piece on its way; it is on the other side once `forward` has returned."""

    connection: Connection
    direction: Direction
    piece: Piece

    async def forward(self) -> None:
        await self.connection.write(self.direction, self.piece.data)


Watch = Callable[[Crossing], Awaitable[None]]


async def forward(crossing: Crossing) -> None:
    """The watch that only lets pass."""
    await crossing.forward()


@dataclass(eq=False)
class Proxy:
    """`async with proxied(port) as proxy`; the client connects to `proxy.port`."""

    upstream: int
    cut: Cut = lambda _: Bytes()
    watch: Watch = forward
    port: int = 0
    delay_seconds: float = 0.0
    """Each piece, both ways; their order stays."""
    connections: set[Connection] = field(default_factory=set)
    accepted: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at each connection, when one is gone, and when one is cut in the middle."""
    passed: dict[Direction, int] = field(default_factory=lambda: dict.fromkeys(Direction, 0))
    """Bytes."""
    way: dict[Direction, asyncio.Event] = field(default_factory=lambda: {way: asyncio.Event() for way in Direction})
    room: dict[Direction, int | None] = field(default_factory=lambda: dict.fromkeys(Direction))
    """Bytes until the connection that carries the last of them is cut, that one alone; None: no end."""
    doubled: list[bytes] = field(default_factory=list)
    """What the watch passed on to the server twice: the client has sent it once."""
    swallowed: list[bytes] = field(default_factory=list)
    """What the client has sent and the watch has not passed on."""
    errors: list[BaseException] = field(default_factory=list)
    """Of the watch: they end the connection, and whoever owns the proxy has to look."""

    def freeze(self, *directions: Direction) -> None:
        """Nothing passes that way, connections stay; new ones too are taken. Both ways if none is named."""
        for direction in directions or tuple(Direction):
            self.way[direction].clear()

    def thaw(self) -> None:
        for event in self.way.values():
            event.set()

    def reset(self) -> None:
        for connection in tuple(self.connections):
            connection.reset()

    def half_open(self) -> None:
        """The connections of this moment stay open for both ends and carry nothing any more; later ones are well."""
        for connection in self.connections:
            connection.is_silent = True

    def cut_after(self, count: int, direction: Direction) -> None:
        """The connection that carries the `count`-th byte from here on ends with it; the others are well."""
        self.room[direction] = count

    def take_room(self, direction: Direction, data: bytes) -> tuple[bytes, bool]:
        """What may still pass of it, and whether its connection ends there."""
        room = self.room[direction]
        if room is None:
            return data, False
        is_last = len(data) >= room
        self.room[direction] = None if is_last else room - len(data)
        if is_last:
            self.news.set()
        return data[:room], is_last

    def heal(self) -> None:
        self.thaw()
        self.delay_seconds = 0.0
        self.room = dict.fromkeys(Direction)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.transport.abort()
            return
        connection = Connection(self, writer, server_writer)
        self.connections.add(connection)
        self.accepted += 1
        self.news.set()
        pumps = [
            asyncio.create_task(self._pump(connection, Direction.OUT, reader)),
            asyncio.create_task(self._pump(connection, Direction.BACK, server_reader)),
        ]
        try:
            await asyncio.wait(pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            self.connections.discard(connection)
            self.news.set()
            writer.transport.abort()
            server_writer.transport.abort()

    async def _pump(self, connection: Connection, direction: Direction, reader: asyncio.StreamReader) -> None:
        """An end that closes closes the other, unless nothing passes to it."""
        try:
            await self._pass_on(connection, direction, reader)
        except ConnectionError:
            if not connection.is_silent:
                connection.reset()
        except Exception as error:  # the outermost frame of the task: whoever owns the proxy looks at `errors`
            self.errors.append(error)
            connection.reset()
        else:
            await self.way[direction].wait()
            if not connection.is_silent:
                (connection.server if direction is Direction.OUT else connection.client).close()

    async def _pass_on(self, connection: Connection, direction: Direction, reader: asyncio.StreamReader) -> None:
        splitter = self.cut(direction)
        try:
            while data := await reader.read(CHUNK):
                for piece in splitter.feed(data):
                    if piece.word == "handshake" and direction is Direction.OUT:
                        connection.head = piece.body
                    await self.watch(Crossing(connection, direction, piece))
                    if direction is Direction.OUT and connection.latest is not piece.data:
                        self.swallowed.append(piece.data)
        finally:
            connection.ended.add(direction)


@asynccontextmanager
async def proxied(upstream: int, cut: Cut | None = None, watch: Watch = forward) -> AsyncIterator[Proxy]:
    """A proxy on loopback before that port."""
    proxy = Proxy(upstream, watch=watch) if cut is None else Proxy(upstream, cut, watch)
    proxy.thaw()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.thaw()
        proxy.reset()
        await server.wait_closed()


def node_link(_: Direction) -> Splitter:
    return WebSocket()


def broker_link(direction: Direction) -> Splitter:
    return Amqp(greets=direction is Direction.OUT)
