"""The socket under one connection: it can be cut at once, and it hears why the broker turned us away.

The library hides both: closing a stalled connection waits for it, and a refusal while a vhost is being opened
arrives as "invalid frame". Facts: pitfalls.md rows 4 and 7; the reply code 530 of AMQP 0-9-1.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import aio_pika
import pamqp.exceptions
import pamqp.frame
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from pamqp import commands
from yarl import URL

from bridge.errors import BrokerRefused, BrokerUnavailable, BrokerUntrusted
from bridge.tls import explain

SILENCE_SECONDS = 30
"""How long written bytes may stay unacknowledged by the other machine before the kernel gives up."""
FAREWELL_SECONDS = 5
"""How long a broker that is told nothing may take to say what it has against our certificate."""
_REFUSALS = (403, 530)
_FRAME_HEAD = 1


class _Ear:
    """Passes a reader on and keeps the last frame read, until told that nobody listens any more."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._frame = b""
        self.is_listening = True

    def at_eof(self) -> bool:
        return self._reader.at_eof()

    @property
    def has_heard(self) -> bool:
        """Whether the broker has said anything at all."""
        return bool(self._frame)

    async def read(self, count: int = -1) -> bytes:
        return await self._reader.read(count)

    async def readexactly(self, count: int) -> bytes:
        data = await self._reader.readexactly(count)
        if self.is_listening:
            # The library reads the first byte of each frame alone.
            self._frame = data if count == _FRAME_HEAD else self._frame + data
        return data

    def closing(self) -> commands.Connection.Close | None:
        """The broker's word of farewell, if that was the last it said."""
        try:
            _, _, frame = pamqp.frame.unmarshal(self._frame)
        except (pamqp.exceptions.PAMQPException, ValueError):
            return None
        return frame if isinstance(frame, commands.Connection.Close) else None


class Transport(TransportFactory):
    """Opens the socket of one connection and keeps hold of it."""

    def __init__(self, scheme: str) -> None:
        self._has_tls = scheme == "amqps"
        self._inner: TransportFactory = TLSTransportFactory() if self._has_tls else TCPTransportFactory()
        self._open: Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._ear: _Ear | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._open = partial(self._inner.create, url, **kwargs)
        reader, writer = await self._open()
        self._writer, self._ear = writer, _Ear(reader)
        raw = writer.get_extra_info("socket")
        if raw is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_SECONDS * 1000)
        return cast("asyncio.StreamReader", self._ear), writer

    def opened(self) -> None:
        """The handshake is over: from here on frames are the library's business alone."""
        if self._ear is not None:
            self._ear.is_listening = False

    def refusal(self) -> BrokerUnavailable | None:
        """Why the broker ended the handshake, in its own words. None if it did not say.

        A limit on connections is the one refusal that passes by itself.
        """
        frame = self._ear.closing() if self._ear is not None else None
        if frame is None:
            return None
        fatal = frame.reply_code in _REFUSALS and "limit" not in str(frame.reply_text)
        kind = BrokerRefused if fatal else BrokerUnavailable
        return kind(f"the broker turned us away: {frame.reply_code} {frame.reply_text}")

    async def overhear(self, what: str) -> BrokerUnavailable | None:
        """Why the broker ended a TLS connection before its first word; None if that is not what happened.

        In TLS 1.3 our certificate is judged after our side of the handshake, and RabbitMQ resets what it closes: the
        reset hides the alert once we have written something. So the socket is opened once more, and nothing is said.
        """
        if not self._has_tls or self._open is None or self._ear is None or self._ear.has_heard:
            return None
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                reader, writer = await self._open()
                try:
                    await reader.read(1)
                finally:
                    writer.transport.abort()
        except (OSError, TimeoutError) as error:
            reason = explain(error)
            return None if reason is None else BrokerUntrusted(f"{what}: {reason}")
        return None

    def cut(self) -> None:
        """Drops the socket at once, unsent bytes included. Does not block. May be called twice."""
        if self._writer is not None:
            self._writer.transport.abort()


class RawConnection(aio_pika.Connection):
    """The library's plain connection on a transport of ours."""

    def __init__(self, url: URL, ssl_context: ssl.SSLContext | None) -> None:
        super().__init__(url, ssl_context=ssl_context)
        self.socket = Transport(url.scheme)
        self.kwargs["transport_factory"] = self.socket

    async def is_blocked(self) -> bool:
        """Whether the broker has said that it reads nothing. The library tells only by not being `ready`."""
        if self.transport is None:
            return False
        try:
            async with asyncio.timeout(0.01):
                await self.transport.connection.ready()
        except TimeoutError:
            return True
        return False
