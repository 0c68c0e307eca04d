"""A TLS front before a port that speaks none: what a proxy does before a real node.

Made by hand over memory buffers, because asyncio's own server ends a failed handshake with a reset and never sends
the alert that says why; a real one sends it.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

T = TypeVar("T")
CHUNK = 65_536
LINGER_SECONDS = 2.0


class _Tls:
    """One connection's server side."""

    def __init__(self, context: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def act(self, act: Callable[[], T]) -> T:
        """Does it as soon as enough was read; what it makes is sent, an alert too."""
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._reader.read(CHUNK)
                if not data:
                    raise EOFError from None
                self._incoming.write(data)
            finally:
                await self._flush()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            self._writer.write(self._outgoing.read())
            await self._writer.drain()


@asynccontextmanager
async def front(context: ssl.SSLContext, behind: int) -> AsyncIterator[int]:
    """Its port on `localhost`; `behind` is the plain port on 127.0.0.1."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(OSError, EOFError, asyncio.CancelledError):
                await _carry(_Tls(context, reader, writer), reader, writer, behind)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _carry(tls: _Tls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, behind: int) -> None:
    try:
        await tls.act(tls.object.do_handshake)
    except ssl.SSLError:
        # Closed with bytes unread, the socket would end in a reset that overtakes the alert.
        writer.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while await reader.read(CHUNK):
                    pass
        return
    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", behind)
    try:
        await _both(_inward(tls, inner_writer), _outward(tls, inner_reader))
    finally:
        inner_writer.close()


async def _both(*ways: Coroutine[object, object, None]) -> None:
    """Until one way ends: then the connection is over."""
    running = [asyncio.create_task(way) for way in ways]
    try:
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _inward(tls: _Tls, writer: asyncio.StreamWriter) -> None:
    while data := await tls.act(lambda: tls.object.read(CHUNK)):
        writer.write(data)
        await writer.drain()


async def _outward(tls: _Tls, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(CHUNK):
        await tls.act(lambda data=data: tls.object.write(data))  # type: ignore[misc]
