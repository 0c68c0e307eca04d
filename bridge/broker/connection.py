"""One connection to RabbitMQ, kept up by our own supervisor.

The library's robust connection is not used: it waits a fixed 5 s, knows one host, and repeats fatal errors for
ever (pitfalls.md rows 7 to 9). Here a connection is replaced, never repaired: each one has a generation
number, whatever was opened on it dies with it, and a call that does not end in time throws it away.

Publishing and consuming use two `Connection` objects, so that a blocked publisher never silences a consumer.
Never do here: retry a call, remember a message, log a URL with its password.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import Self

import aio_pika.abc
from yarl import URL

from bridge.broker import decoding
from bridge.broker.failure import FIRST_DELAY_SECONDS, backoff, named
from bridge.broker.transport import RawConnection
from bridge.errors import BrokerRefused, BrokerUnavailable

HEARTBEAT_SECONDS = 10
CALL_SECONDS = 30.0
CONNECT_SECONDS = 10.0
CLOSE_SECONDS = 1.0
"""Part of the 25 seconds a bridge has to stop. The socket is cut then; what was confirmed or acked is safe."""
BLOCKED_CHECK_SECONDS = 1.0
SHORT_LIFE_SECONDS = 2.0

log = logging.getLogger(__name__)

# At DEBUG these print whole frames, signed transactions among them (pitfalls.md row 18).
for _name in ("aiormq", "aio_pika"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)
decoding.install()


@dataclass(frozen=True, slots=True, eq=False)
class _Live:
    """One established connection. `lost` holds the reason once it is over."""

    generation: int
    raw: RawConnection
    user: str
    lost: asyncio.Future[str]


@dataclass(frozen=True, slots=True, eq=False)
class AmqpChannel:
    """A channel of AMQP on one generation of the connection. Dead as soon as `lost` is done."""

    generation: int
    user: str
    raw: aio_pika.abc.AbstractChannel
    lost: asyncio.Future[str]


class Connection:
    """Keeps one connection up. Either `async with`, or `run()` in a task of the caller's.

    `urls` are tried in order, each try begins behind the last host that worked. The user in the URL is the
    one the broker vouches for; with certificates (`?auth=EXTERNAL`) it must be written there as well.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        name: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        call_seconds: float = CALL_SECONDS,
        heartbeat_seconds: int = HEARTBEAT_SECONDS,
    ) -> None:
        self._urls = [urls] if isinstance(urls, str) else list(urls)
        self._name = name
        self._ssl_context = ssl_context
        self._heartbeat_seconds = heartbeat_seconds
        self._host = 0
        self._live: _Live | None = None
        self._changed = asyncio.Event()
        self._refused: BrokerRefused | None = None
        self._ended = asyncio.Event()
        self._failure = ""
        self._task: asyncio.Task[None] | None = None
        self.call_seconds = call_seconds
        self.generation = 0
        """How many times a connection was established: 1 for the first one."""
        self.failures = 0
        """Failed tries since it was last up: a gauge."""
        self.is_blocked = False
        """The broker has no memory or disk left and reads nothing: a gauge, at most 1 s old."""

    @property
    def is_up(self) -> bool:
        return self._live is not None

    @property
    def name(self) -> str:
        return self._name

    @property
    def user(self) -> str:
        """The broker's user of the connection that is up, or of the next one tried."""
        if self._live is not None:
            return self._live.user
        return _user_of(URL(self._urls[self._host % len(self._urls)]))

    @property
    def broker_version(self) -> str:
        """What the broker that is connected calls its version; empty while there is none."""
        transport = None if self._live is None else self._live.raw.transport
        told = {} if transport is None else transport.connection.server_properties
        return str(told.get("version") or "")

    def replace_urls(self, urls: str | Sequence[str], ssl_context: ssl.SSLContext | None = None) -> None:
        """Takes new addresses, passwords or certificates. They count from the next connect on.

        After a refusal there is none: whoever holds this ends by `refused`, and the next process reads the new ones.
        """
        self._urls = [urls] if isinstance(urls, str) else list(urls)
        self._ssl_context = ssl_context
        self._host = 0

    async def __aenter__(self) -> Self:
        """Starts the supervisor and waits for the first connection.

        Raises `BrokerRefused`, or `BrokerUnavailable` after `call_seconds` without one.
        """
        self._task = asyncio.create_task(self._run_quietly(), name=f"broker-{self._name}")
        try:
            await self.wait_up()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run_quietly(self) -> None:
        # A refusal reaches those who wait in `refused` or `wait_up`; a task nobody awaits must not end in an error.
        with contextlib.suppress(BrokerRefused):
            await self.run()

    async def run(self) -> None:
        """Connects and reconnects until cancelled. Raises `BrokerRefused` when repeating cannot help."""
        try:
            while True:
                async for attempt in backoff(self._count_failure):
                    with attempt:
                        await self._connect_and_stay()
        except BrokerRefused as error:
            self._refused = error
            self._changed.set()
            self._ended.set()
            log.error("broker_refused", extra={"connection": self._name, "reason": str(error)})  # noqa: TRY400
            raise

    def _count_failure(self, reason: str) -> None:
        self.failures += 1
        self._failure = reason
        if self.failures == 1:
            log.warning("broker_unavailable", extra={"connection": self._name, "reason": reason})

    async def _connect_and_stay(self) -> None:
        """Returns when a connection that lived for a while is lost; raises when it could not be made, or not kept."""
        live = await self._connect()
        loop = asyncio.get_running_loop()
        born = loop.time()
        try:
            reason = await self._watch(live)
        finally:
            await self._take_down(live)
        if loop.time() - born < SHORT_LIFE_SECONDS:
            raise BrokerUnavailable(f"the connection was lost at once: {reason}")
        log.warning("broker_connection_lost", extra={"connection": self._name, "reason": reason})
        # All clients of a broker that restarts come back in the same instant otherwise.
        await asyncio.sleep(SystemRandom().uniform(0, FIRST_DELAY_SECONDS))

    async def _connect(self) -> _Live:
        last: BrokerUnavailable | None = None
        for _ in self._urls:
            url = URL(self._urls[self._host % len(self._urls)])
            try:
                return await self._connect_to(url)
            except BrokerRefused:
                raise
            except BrokerUnavailable as error:
                last = error
                self._host += 1
        raise last or BrokerUnavailable("no address of a broker is configured")

    async def _connect_to(self, url: URL) -> _Live:
        asked = url.update_query(
            {"heartbeat": self._heartbeat_seconds, "name": f"channel-bridge {self._name}", **url.query}
        )
        raw = RawConnection(asked, self._ssl_context)
        where = f"connecting to {url.host}:{url.port}"
        try:
            async with named(where):
                await raw.connect(timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            raise BrokerUnavailable(f"{where}: no answer in {CONNECT_SECONDS:g} s") from error
        except BrokerUnavailable as error:
            raise raw.socket.refusal() or await raw.socket.overhear(where) or error from error
        finally:
            raw.socket.opened()
            if not raw.connected.is_set():
                raw.socket.cut()
                await raw.close()
        return self._take_up(raw, url)

    def _take_up(self, raw: RawConnection, url: URL) -> _Live:
        self.generation += 1
        live = _Live(self.generation, raw, _user_of(url), asyncio.get_running_loop().create_future())
        raw.close_callbacks.add(lambda _, error: self._lose(live, f"closed: {error}"))
        self._live = live
        self.failures = 0
        self._changed.set()
        if raw.transport is None or raw.transport.connection.is_closed:
            self._lose(live, "closed while it was being set up")
        log.info("broker_connected", extra={"connection": self._name, "generation": live.generation})
        return live

    async def _watch(self, live: _Live) -> str:
        """The reason the connection was lost. Keeps the gauge meanwhile (pitfalls.md row 6)."""
        while not live.lost.done():
            await asyncio.wait([live.lost], timeout=BLOCKED_CHECK_SECONDS)
            self.is_blocked = not live.lost.done() and await live.raw.is_blocked()
        return live.lost.result()

    async def _take_down(self, live: _Live) -> None:
        self._lose(live, "closed by us")
        self.is_blocked = False
        # Measured: on a stuck socket the library's close does not even end when it is cancelled, only by the cut.
        cut = asyncio.get_running_loop().call_later(CLOSE_SECONDS, live.raw.socket.cut)
        try:
            with contextlib.suppress(TimeoutError, BrokerUnavailable):
                async with asyncio.timeout(CLOSE_SECONDS), named("closing"):
                    await live.raw.close()
        finally:
            cut.cancel()
            live.raw.socket.cut()

    def _lose(self, live: _Live, reason: str) -> None:
        """From here on nobody is given this connection any more. May be called twice."""
        if not live.lost.done():
            live.lost.set_result(reason)
        if self._live is live:
            self._live = None
            self._changed.clear()

    async def wait_up(self) -> None:
        """Waits for a connection. Raises `BrokerRefused`, or `BrokerUnavailable` after `call_seconds`."""
        await self._wait_live()

    async def _wait_live(self) -> _Live:
        try:
            async with asyncio.timeout(self.call_seconds):
                while self._live is None and self._refused is None:
                    await self._changed.wait()
        except TimeoutError as error:
            last = f": {self._failure}" if self._failure else ""
            raise BrokerUnavailable(f"no connection to the broker within {self.call_seconds:g} s{last}") from error
        if self._live is None:
            raise self._refusal()
        return self._live

    async def refused(self) -> None:
        """Raises `BrokerRefused` once the broker has refused us for good; waits as long as that takes."""
        await self._ended.wait()
        raise self._refusal()

    def _refusal(self) -> BrokerRefused:
        """One for each who asks: an error that is raised twice gathers the frames of both."""
        refused = self._refused or BrokerRefused()
        told = type(refused)(str(refused))
        told.__cause__ = refused
        return told

    async def amqp_channel(self, *, confirms: bool = True) -> AmqpChannel:
        """Opens a channel of AMQP, waiting for the connection first. Few and long-lived: pitfalls.md row 13."""
        live = await self._wait_live()
        async with self.bounded("opening an AMQP channel", live.generation):
            raw = live.raw.channel(publisher_confirms=confirms, on_return_raises=confirms)
            await raw.initialize()
        return AmqpChannel(live.generation, live.user, raw, live.lost)

    @contextlib.asynccontextmanager
    async def bounded(self, what: str, generation: int) -> AsyncIterator[None]:
        """Runs broker calls of one generation, for at most `call_seconds`.

        Raises `BrokerRefused` or `BrokerUnavailable`. When the time is over the outcome is unknown and the
        connection is thrown away, because the library's own timeouts do not bound a stalled socket.
        """
        try:
            async with asyncio.timeout(self.call_seconds), named(what):
                yield
        except TimeoutError as error:
            self.discard(f"{what} took longer than {self.call_seconds:g} s", generation)
            raise BrokerUnavailable(f"{what}: no answer within {self.call_seconds:g} s") from error

    def discard(self, reason: str, generation: int) -> None:
        """Throws the connection away, unless a later one has taken its place. Does not block."""
        live = self._live
        if live is not None and live.generation == generation:
            self._lose(live, reason)
            live.raw.socket.cut()


def _user_of(url: URL) -> str:
    return url.user or "guest"
