"""Keeps one WebSocket to one node, for one role of one channel.

The reader hands bytes over and does nothing else: a client that stops reading for longer than its own ping
allows closes its socket (measured), so the bus must never be able to hold it up. Only a node that floods, or one
that sends more than can be stored, is read more slowly, in pauses shorter than that; when no more may wait, its
socket is cut. Where to connect is asked anew at each try, because a refused try may have rotated the credential.
Two sockets of one link never exist: the next is opened some time after the last one ended, never in the same instant
(measured: that can lose the channel). Facts: guarantees.md section 3, observed.md "Reconnect", pitfalls.md rows 10
and 18 to 23.

Never do here: decode a frame, decide about a channel, log an address (it holds the credential).
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlencode

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from bridge.errors import Code, NodeUnavailable
from bridge.node.handshake import open_socket
from bridge.node.pace import Backlog, Pace, Room
from bridge.wire.mask import mask

log = logging.getLogger(__name__)

MAX_FRAME_BYTES = 4 * 1024 * 1024
NORMAL, ABNORMAL = 1000, 1006
NO_ROOM = "the node sent more than could be stored in time"


@dataclass(frozen=True, slots=True)
class Address:
    """`url` without a query; the query's values are given unescaped and may hold a credential."""

    url: str
    query: Mapping[str, str] = field(repr=False)
    context: ssl.SSLContext | None = field(default=None, repr=False)
    """Of a `wss` address; None: the system's authorities."""

    @property
    def uri(self) -> str:
        """Both together. A secret: never shown."""
        return f"{self.url}?{urlencode(self.query)}"


class Listener(Protocol):
    """Who is told. Plain functions: none may block or raise, each returns at once."""

    def link_up(self, resumed: bool) -> None:
        """A socket. `resumed` is what `address()` said of it. Followed by exactly one `link_down`."""
        ...

    def received(self, text: str | bytes, waited: float) -> None:
        """One frame, in order; bytes only if it is no UTF-8. `waited`: so many seconds ago, at most, it was sent.

        The way through the network is not counted; 0.0, mostly, if it was read as soon as it came.
        """
        ...

    def link_down(self, code: int, reason: str) -> None:
        """The close code the node gave or confirmed: then it knows of the end. 1006: it may not yet."""
        ...

    def link_failed(self, attempts: int, reason: str, code: Code) -> None:
        """No socket. Told at the first try of an outage and at each doubling: enough to see, too little to flood."""
        ...


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, all of them."""

    ping: float = 15.0
    """The node closes a socket without a client frame after 60 s; protocol pings count."""
    pong: float = 10.0
    opening: float = 10.0
    sending: float = 10.0
    closing: float = 5.0
    first_delay: float = 0.25
    """Shortest pause between two sockets; the longest possible pause doubles from here to `longest_delay`."""
    longest_delay: float = 8.0
    short_life: float = 5.0
    """A link that lived less counts as a failed try: a node that takes each socket to close it is not hammered."""


@dataclass(frozen=True, slots=True, eq=False)
class _Life:
    """One socket from `link_up` to `link_down`."""

    socket: ClientConnection
    backlog: Backlog = field(default_factory=Backlog)
    paused: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the listener was told."""

    async def catch_up(self) -> None:
        """After each pause, until the socket ends: finds out when nothing waits at the node any more."""
        loop = asyncio.get_running_loop()
        with suppress(ConnectionClosed):  # told by whoever reads
            while True:
                await self.paused.wait()
                self.paused.clear()
                while self.backlog.is_behind:
                    asked_at = loop.time()
                    await (await self.socket.ping())
                    self.backlog.ponged(asked_at)


class Link:
    """`run()` in one task; everything else from any other task of the same event loop.

    `address()` gives where to connect and whether an existing channel is resumed there. Each frame takes of `room`;
    whoever keeps frames gives one, and gives back what is done with.
    """

    def __init__(
        self,
        address: Callable[[], Awaitable[tuple[Address, bool]]],
        listener: Listener,
        *,
        timing: Timing | None = None,
        max_frame_bytes: int = MAX_FRAME_BYTES,
        pace: Pace | None = None,
        room: Room | None = None,
    ) -> None:
        self._address = address
        self._listener = listener
        self._timing = timing or Timing()
        self._pace = pace or Pace(longest=self._timing.pong / 2)
        self._room = room or Room()
        self._is_slowed = False
        self._max_frame_bytes = max_frame_bytes
        self._life: _Life | None = None
        self._failures = 0
        self._is_closed = False
        self._wanted, self._unwanted = asyncio.Event(), asyncio.Event()
        self._wanted.set()

    @property
    def is_up(self) -> bool:
        return self._life is not None

    async def run(self) -> None:
        """Connects, reads, and connects again, until `close()` or cancelled; cancelled, it drops the socket at once.

        Raises only what `address()` or the listener raises, but a NodeUnavailable of theirs is a failed try.
        """
        delays = wait_random_exponential(
            multiplier=2 * self._timing.first_delay, max=self._timing.longest_delay, min=self._timing.first_delay
        )
        while not self._is_closed:
            await self._wanted.wait()
            # Begins to count anew after each link that lived.
            retrying = AsyncRetrying(retry=retry_if_exception_type(NodeUnavailable), wait=delays, sleep=self._pause)
            async for attempt in retrying:
                with attempt:
                    await self._live_once()
            if not self._is_closed:
                await asyncio.sleep(self._timing.first_delay)  # also when a rest ends as soon as it began

    async def _pause(self, seconds: float) -> None:
        """So long, or until no link is wanted."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._unwanted.wait()

    async def _live_once(self) -> None:
        """One socket, from its opening to its end. Raises NodeUnavailable if there was none, or only briefly."""
        if self._unwanted.is_set():
            return
        try:
            opened = await self._open()
        except NodeUnavailable as error:
            self._tell_failure(error)
            raise
        if opened is not None:
            await self._live(*opened)

    def _tell_failure(self, error: NodeUnavailable) -> None:
        self._failures += 1
        if self._failures.bit_count() == 1:
            self._listener.link_failed(self._failures, str(error), error.code)

    async def _open(self) -> tuple[ClientConnection, bool] | None:
        """None if meanwhile no link is wanted any more."""
        address, resumed = await self._address()
        if self._unwanted.is_set():
            return None
        timing = self._timing
        socket = await open_socket(
            address.uri,
            context=address.context,
            max_frame_bytes=self._max_frame_bytes,
            opening=timing.opening,
            closing=timing.closing,
            ping=timing.ping,
            pong=timing.pong,
        )
        if self._unwanted.is_set():
            await self._close(socket)
            return None
        return socket, resumed

    async def _live(self, socket: ClientConnection, resumed: bool) -> None:
        loop = asyncio.get_running_loop()
        born = loop.time()
        self._failures = 0
        self._life = life = _Life(socket)
        code, reason = ABNORMAL, ""
        catching_up = asyncio.create_task(life.catch_up())
        try:
            self._listener.link_up(resumed)
            code, reason = await self._read(life)
        finally:
            catching_up.cancel()
            # Nothing of this socket may outlive its `link_down`: the next one would fight with it.
            socket.transport.abort()
            self._life = None
            self._listener.link_down(code, reason)
            life.ended.set()
        if loop.time() - born < self._timing.short_life and self._wanted.is_set():
            raise NodeUnavailable("the link ended soon after it began")

    async def _read(self, life: _Life) -> tuple[int, str]:
        """Hands over every frame until the socket ends, or until no more may wait; how it ended.

        A frame without room was read and is lost, as what is still under way: whoever attaches anew asks.
        """
        loop, pause = asyncio.get_running_loop(), 0.0
        try:
            while True:
                frame = await self._receive(life, pause)
                pause = 0.0
                if frame is not None:
                    text = _text(frame)
                    if not self._room.take(text):
                        log.warning("link_has_no_room", extra={"bytes_waiting": self._room.held})
                        return ABNORMAL, NO_ROOM
                    now = loop.time()
                    self._listener.received(text, life.backlog.waited(now))
                    pause = max(self._pace.note(now), self._room.pause(self._pace.longest))
        except ConnectionClosed as closed:
            if closed.rcvd is not None:
                return closed.rcvd.code, mask(closed.rcvd.reason)
            return ABNORMAL, "" if closed.sent is None else closed.sent.reason

    async def _receive(self, life: _Life, pause: float) -> bytes | None:
        """The next frame; after a flood only what was taken from the network already, or None once the pause is over.

        What the node sends meanwhile piles up at the node. Frames are never held back, so a pause begins when all
        that was read is handed over, and the node's pong is read after it at the latest.
        """
        socket, loop = life.socket, asyncio.get_running_loop()
        if not pause:
            return await socket.recv(decode=False)
        if not self._is_slowed:
            self._is_slowed = True
            figures = {"frames_per_second": self._pace.rate, "bytes_waiting": self._room.held}
            log.warning("link_reads_slowly", extra=figures)
        begun = loop.time()
        socket.transport.pause_reading()
        try:
            async with asyncio.timeout(pause):
                return await socket.recv(decode=False)
        except TimeoutError:
            return None
        finally:
            socket.transport.resume_reading()
            life.backlog.pause(begun, loop.time())
            life.paused.set()

    async def send(self, text: str) -> None:
        """Written to the socket when it returns. Bounded.

        Raises NodeUnavailable: without a socket nothing was sent; else whether it arrived is unknown, and the
        socket is dropped.
        """
        if self._life is None:
            raise NodeUnavailable("no socket to the node")
        socket = self._life.socket
        try:
            async with asyncio.timeout(self._timing.sending):
                await socket.send(text)
        except (ConnectionClosed, TimeoutError) as error:
            socket.transport.abort()
            raise NodeUnavailable(f"the socket to the node is gone: {type(error).__name__}") from None

    async def reconnect(self, reason: str) -> None:
        """Close the socket with 1000, if there is one; `run` opens another. `reason` is for the log."""
        log.info("link_reconnects", extra={"reason": reason})
        await self._drop()

    async def rest(self) -> None:
        """Close the socket with 1000 and open none until `wake`. May be called twice."""
        self._wanted.clear()
        self._unwanted.set()
        await self._drop()

    def wake(self) -> None:
        """Ends a rest; otherwise, and after `close`, does nothing."""
        if not self._is_closed:
            self._unwanted.clear()
            self._wanted.set()

    async def close(self) -> None:
        """Close the socket with 1000, wait (bounded) for the node's confirmation, and let `run` end.

        An address that is being asked for, or a handshake under way, is not interrupted: cancel `run` for that.
        """
        self._is_closed = True
        self._unwanted.set()
        await self._drop()
        self._wanted.set()  # `run` may be waiting for it

    async def _drop(self) -> None:
        """Returns after `link_down` was told."""
        if (life := self._life) is not None:
            await self._close(life.socket)
            await life.ended.wait()

    async def _close(self, socket: ClientConnection) -> None:
        """Bounded once more from outside: the library's own bound was not always one."""
        socket.transport.resume_reading()  # it may be in a pause, and the confirmation is to be read
        try:
            async with asyncio.timeout(self._timing.closing + 1):
                await socket.close(NORMAL)
        except TimeoutError:
            log.warning("link_close_not_confirmed")
        finally:
            socket.transport.abort()


def _text(frame: bytes) -> str | bytes:
    """What is no UTF-8 is handed over as it came: it is evidence, and no reason to lose the socket."""
    try:
        return frame.decode()
    except UnicodeDecodeError:
        return frame
