"""The fault proxy does to a connection what its words say: else the faults on the links prove nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from tests.faults.proxy import Crossing, Proxy, node_link, proxied
from tests.faults.split import Amqp, Direction, WebSocket

SECONDS = 5.0
MOMENT = 0.1
"""Long enough for loopback: what has not come by then was held."""


@dataclass
class Echo:
    """A server that gives back what it gets, and keeps it."""

    port: int = 0
    got: bytes = b""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1000):
                self.got += data
                self.news.set()
                writer.write(data)
                await writer.drain()
        self.ended.set()
        writer.close()


@asynccontextmanager
async def echoed() -> AsyncIterator[tuple[Echo, Proxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    async with server, proxied(echo.port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"hello")
        assert await asyncio.wait_for(reader.readexactly(5), SECONDS) == b"hello"
        try:
            yield echo, proxy, reader, writer
        finally:
            writer.transport.abort()


async def read(reader: asyncio.StreamReader, seconds: float = SECONDS) -> bytes | None:
    """What comes next; None when nothing does."""
    try:
        async with asyncio.timeout(seconds):
            return await reader.read(1000)
    except TimeoutError:
        return None


async def test_a_frozen_way_holds_everything_until_it_thaws() -> None:
    """client -> X server: the server hears nothing, then all of it; the connection lives."""
    async with echoed() as (echo, proxy, reader, writer):
        proxy.freeze(Direction.OUT)
        writer.write(b"later")
        assert await read(reader, MOMENT) is None
        assert echo.got == b"hello"
        proxy.thaw()
        assert await read(reader) == b"later"


async def test_the_other_way_of_a_frozen_link_is_open() -> None:
    """client X <- server: the server has it, the client hears nothing."""
    async with echoed() as (echo, proxy, reader, writer):
        proxy.freeze(Direction.BACK)
        writer.write(b"there")
        assert await read(reader, MOMENT) is None
        assert echo.got == b"hellothere"


async def test_a_reset_ends_both_ends() -> None:
    """Neither end may believe in a connection the network has ended."""
    async with echoed() as (echo, proxy, reader, _):
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), SECONDS)
        await asyncio.wait_for(echo.ended.wait(), SECONDS)


async def test_half_open_is_silence_and_the_next_connection_is_well() -> None:
    """What a lost route does: no end, no answer, and whoever connects anew is served."""
    async with echoed() as (echo, proxy, reader, writer):
        proxy.half_open()
        writer.write(b"lost")
        assert await read(reader, MOMENT) is None
        assert echo.got == b"hello"
        assert not echo.ended.is_set()
        again, other = await asyncio.open_connection("127.0.0.1", proxy.port)
        other.write(b"found")
        assert await read(again) == b"found"
        other.transport.abort()


async def test_a_cut_after_so_many_bytes_lets_just_those_pass() -> None:
    """The middle of a frame is where a reader that trusts lengths goes wrong."""
    async with echoed() as (echo, proxy, _, writer):
        proxy.cut_after(3, Direction.OUT)
        writer.write(b"payment")
        await asyncio.wait_for(echo.ended.wait(), SECONDS)
        assert echo.got == b"hellopay"
        again, other = await asyncio.open_connection("127.0.0.1", proxy.port)
        other.write(b"whole")
        assert await read(again) == b"whole"
        other.transport.abort()


async def test_a_delay_keeps_order_and_loses_nothing() -> None:
    """Late is not lost, and not swapped."""
    async with echoed() as (_, proxy, reader, writer):
        proxy.delay_seconds = MOMENT
        began = asyncio.get_running_loop().time()
        writer.write(b"slow")
        assert await read(reader) == b"slow"
        assert asyncio.get_running_loop().time() - began >= 2 * MOMENT


async def test_an_end_that_closes_closes_the_other() -> None:
    """A proxy that kept the other end open would hide every loss."""
    async with echoed() as (echo, _, _, writer):
        writer.close()
        await asyncio.wait_for(echo.ended.wait(), SECONDS)


async def test_a_watch_sees_the_texts_of_a_websocket_and_may_swallow_one() -> None:
    """The frame-aware faults stand on this: every text once, in its words, and nothing passes unasked."""
    seen: list[tuple[Direction, str]] = []

    async def watch(crossing: Crossing) -> None:
        if crossing.piece.word not in ("", "handshake"):
            seen.append((crossing.direction, crossing.piece.word))
        if crossing.piece.fields.get("id") != 2:
            await crossing.forward()

    async def answer(connection: ServerConnection) -> None:
        async for text in connection:
            await connection.send(text)

    async with serve(answer, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with (
            proxied(port, node_link, watch) as proxy,
            connect(f"ws://127.0.0.1:{proxy.port}/channel", compression=None, proxy=None) as socket,
        ):
            for number in (1, 2, 3):
                long = "x" * 70_000 if number == 3 else ""
                await socket.send(f'{{"method": "channels.update.new", "id": {number}, "long": "{long}"}}')
            first, second = await socket.recv(), await socket.recv()
            assert ('"id": 1' in str(first), '"id": 3' in str(second)) == (True, True)
            assert not proxy.errors
    assert seen.count((Direction.OUT, "update.new")) == 3
    assert seen.count((Direction.BACK, "update.new")) == 2


def test_a_publish_is_one_piece_however_it_is_cut() -> None:
    """Method, header and body belong together: a kill between them is no fault a broker ever sees as a publish."""
    data = publish("p.results", "alice.today", b'{"outcome": "succeeded"}')
    whole = b"AMQP\x00\x00\x09\x01" + data + frame(1, 1, ack(7))
    for size in (1, 5, 1000):
        splitter = Amqp(greets=True)
        pieces = [piece for start in range(0, len(whole), size) for piece in splitter.feed(whole[start : start + size])]
        assert [piece.word for piece in pieces] == ["", "basic.publish", "basic.ack"]
        published = pieces[1]
        assert (published.data, published.exchange, published.routing_key) == (data, "p.results", "alice.today")
        assert published.fields == {"outcome": "succeeded"}
        assert (pieces[2].delivery_tag, pieces[2].is_multiple) == (7, True)


def test_a_delivery_says_where_it_comes_from_and_its_tag() -> None:
    """The trace follows a delivery to its ack by this tag."""
    method = bytes([0, 60, 0, 60]) + short("consumer") + (5).to_bytes(8, "big") + b"\x00" + short("p.commands")
    data = content(3, method + short("today.transfer"), b"{}")
    (piece,) = Amqp(greets=False).feed(data)
    assert (piece.delivery_tag, piece.exchange, piece.amqp_channel) == (5, "p.commands", 3)
    assert (piece.routing_key, piece.body) == ("today.transfer", b"{}")


def test_the_pieces_put_together_are_the_bytes() -> None:
    """A proxy that loses a byte makes faults nobody ordered."""
    whole = b"HTTP/1.1 101 X\r\n\r\n" + b"\x81\x02{}" + b"\x89\x00" + b"\x81\x7e\x00\x80" + b"y" * 128
    splitter = WebSocket()
    pieces = [piece for start in range(len(whole)) for piece in splitter.feed(whole[start : start + 1])]
    assert b"".join(piece.data for piece in pieces) == whole
    assert [piece.word for piece in pieces] == ["handshake", "result", "", "text"]


def short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return bytes([kind]) + channel.to_bytes(2, "big") + len(payload).to_bytes(4, "big") + payload + b"\xce"


def ack(tag: int) -> bytes:
    return bytes([0, 60, 0, 80]) + tag.to_bytes(8, "big") + b"\x01"


def content(channel: int, method: bytes, body: bytes) -> bytes:
    header = bytes([0, 60, 0, 0]) + len(body).to_bytes(8, "big") + b"\x00\x00"
    return frame(1, channel, method) + frame(2, channel, header) + frame(3, channel, body)


def publish(exchange: str, key: str, body: bytes) -> bytes:
    return content(1, bytes([0, 60, 0, 40, 0, 0]) + short(exchange) + short(key) + b"\x01", body)
