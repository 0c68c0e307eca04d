"""The bus as the running parts see it: publish an envelope, read a queue, settle what was read.

The bridge and the signer know these four protocols and nothing of AMQP. `RabbitBus` is the real thing; the
in-memory broker of `bridge.sim.broker` keeps the same promises, and one suite of tests holds both to them
(`tests/broker/test_suite.py`). Never do here: decide what to publish, retry, or acknowledge by itself.
"""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Protocol, Self

from bridge.broker.connection import CALL_SECONDS, Connection
from bridge.broker.consumer import PREFETCH, Consumer
from bridge.broker.publisher import Publisher
from bridge.wire.envelope import Envelope, Received


class Delivery(Protocol):
    """One delivered message. Unsettled when the process dies or the session is lost, it comes again, marked so."""

    @property
    def received(self) -> Received: ...

    async def ack(self) -> bool:
        """It is done. False if the session it came with is gone: it comes again."""
        ...

    async def reject(self) -> bool:
        """Poison: to the queue's dead letters. False as for `ack`."""
        ...


class Consumes(Protocol):
    """`async for delivery in consumer`, for ever, in the queue's order, over every loss of session or consumer."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Delivery:
        """The next delivery, however long that takes. Raises `BrokerRefused` when waiting cannot help."""
        ...

    def stop(self) -> None:
        """Ends the iteration. Does not block."""
        ...

    async def close(self, settle_seconds: float = 0.0) -> None:
        """Stops, waits so long for what was handed out, and returns the rest to the queue in its order."""
        ...


class Publishes(Protocol):
    async def publish(self, envelope: Envelope) -> None:
        """Returns when the broker has routed and stored it.

        Raises `Unroutable` (stored nowhere), `Nacked` (a queue is full), `BrokerRefused` (repeating cannot help)
        or `BrokerUnavailable`: the outcome is unknown, publish it again with the same `ce-id`.
        """
        ...


class Bus(Protocol):
    """One process's way to the broker. Entered once; what it gave ends with it."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: object) -> None: ...

    def publisher(self) -> Publishes: ...

    def consumer(self, queue: str, *, prefetch: int = PREFETCH, source: str | None = None) -> Consumes:
        """Deliveries that did not come straight from the exchange `source` are rejected, not handed out."""
        ...

    async def refused(self) -> None:
        """Raises `BrokerRefused` once the broker has refused us for good; waits as long as that takes.

        Whoever runs for long watches it: a publish that is refused is tried again, and nobody else would tell.
        """
        ...


class RabbitBus:
    """RabbitMQ over two connections, so that a blocked publisher never silences a consumer.

    `name` stands before `publish` and `consume` in the names the broker shows for them.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        name: str = "",
        ssl_context: ssl.SSLContext | None = None,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._publishing, self._consuming = (
            Connection(urls, f"{name} {what}".strip(), ssl_context=ssl_context, call_seconds=call_seconds)
            for what in ("publish", "consume")
        )

    async def __aenter__(self) -> Self:
        """Waits for both. Raises `BrokerRefused`, or `BrokerUnavailable` when none came in time."""
        async with AsyncExitStack() as stack:
            for connection in self.connections:
                await stack.enter_async_context(connection)
            stack.pop_all()  # `__aexit__` closes them
        return self

    async def __aexit__(self, *error: object) -> None:
        """Both at once: a broker that is frozen answers neither goodbye."""
        await asyncio.gather(*(connection.__aexit__(*error) for connection in self.connections))

    @property
    def connections(self) -> tuple[Connection, Connection]:
        """The publishing and the consuming one: to be looked at."""
        return self._publishing, self._consuming

    async def refused(self) -> None:
        waiting = [asyncio.ensure_future(connection.refused()) for connection in self.connections]
        try:
            await asyncio.gather(*waiting)
        finally:
            for one in waiting:
                one.cancel()

    def replace_urls(self, urls: str | Sequence[str], ssl_context: ssl.SSLContext | None = None) -> None:
        """New addresses, passwords or certificates, from the next connect on. What is connected stays."""
        for connection in (self._publishing, self._consuming):
            connection.replace_urls(urls, ssl_context)

    def publisher(self) -> Publisher:
        return Publisher(self._publishing)

    def consumer(self, queue: str, *, prefetch: int = PREFETCH, source: str | None = None) -> Consumer:
        return Consumer(self._consuming, queue, prefetch=prefetch, source=source)
