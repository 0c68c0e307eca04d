"""One process's way to the in-memory broker: publish with confirms, consume, settle, lose the connection, come back.

The same shape and the same promises as `bridge.app.bus.Bus`. Publishing and consuming have a line each, as the real
bus has two connections: a confirm that does not come in time costs the one, not the other. Every call gives way to
the event loop at least once, because a real one does. Never does: repeat a publish, acknowledge by itself.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Self

from bridge.errors import BrokerUnavailable
from bridge.sim.broker_queue import Entry, Subscription
from bridge.wire.envelope import Envelope, Received

if TYPE_CHECKING:
    from bridge.sim.broker import MemoryBroker

CALL_SECONDS = 30.0
PREFETCH = 32
RECONNECT_SECONDS = 0.1
"""How long a cut line, or a consumer the broker has cancelled, stays away."""
ASK_AGAIN_SECONDS = 0.2
"""How long until a consumer looks again for a queue that is not there."""


class _Line:
    """One connection. Each loss ends what waits for an answer on it; then it comes back by itself."""

    def __init__(self, broker: "MemoryBroker") -> None:
        self._broker = broker
        self._back_at = 0.0
        self._closed = False
        self._lost: asyncio.Future[None] | None = None
        self.subscriptions: list[Subscription] = []

    async def up(self) -> "asyncio.Future[None]":
        """Waits until there is a connection; what it returns is done once that connection is lost."""
        loop = asyncio.get_running_loop()
        while True:
            if self._closed:
                await loop.create_future()
            await self._broker.running.wait()
            wait = self._back_at - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            elif self._broker.running.is_set() and not self._closed:
                break
        if self._lost is None:
            self._lost = loop.create_future()
        return self._lost

    def lose(self) -> None:
        """The broker takes back what is unsettled here. Does not block."""
        self._back_at = asyncio.get_running_loop().time() + RECONNECT_SECONDS
        if self._lost is not None:
            self._lost.set_result(None)
            self._lost = None
        lost, self.subscriptions = self.subscriptions, []
        for subscription in lost:
            subscription.lose()

    def close(self) -> None:
        self._closed = True
        self.lose()


class MemorySession:
    """A bus: `async with broker.session(user) as bus`. Comes back after each loss until it is left."""

    def __init__(self, broker: "MemoryBroker", user: str, call_seconds: float) -> None:
        self._broker = broker
        self._call_seconds = call_seconds
        self._publishing = _Line(broker)
        self._consuming = _Line(broker)
        self.user = user

    async def __aenter__(self) -> Self:
        """Raises `BrokerUnavailable` when the broker does not come up in time."""
        try:
            async with asyncio.timeout(self._call_seconds):
                await self._publishing.up()
                await self._consuming.up()
        except TimeoutError as error:
            raise BrokerUnavailable(f"no connection to the broker within {self._call_seconds:g} s") from error
        self._broker.enter(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """For good, at this instant, as when the process dies. May be called twice; calls on their way never return."""
        self._broker.leave(self)
        self._publishing.close()
        self._consuming.close()

    def publisher(self) -> "MemoryPublisher":
        return MemoryPublisher(self._broker, self._publishing, self.user, self._call_seconds)

    def consumer(self, queue: str, *, prefetch: int = PREFETCH, source: str | None = None) -> "MemoryConsumer":
        return MemoryConsumer(self._broker, self._consuming, queue, prefetch, source)

    async def refused(self) -> None:
        """Here nobody ever is."""
        await asyncio.get_running_loop().create_future()

    def drop(self) -> None:
        """Both lines are cut at this instant: unsettled deliveries go back, publishes on their way are unknown."""
        self._publishing.lose()
        self._consuming.lose()


class MemoryPublisher:
    """Many tasks may publish at once; their order is not kept."""

    def __init__(self, broker: "MemoryBroker", line: _Line, user: str, call_seconds: float) -> None:
        self._broker = broker
        self._line = line
        self._user = user
        self._call_seconds = call_seconds

    async def publish(self, envelope: Envelope) -> None:
        """Raises as `bridge.app.bus.Publishes` says; after `call_seconds` without a confirm the line is cut."""
        if self._broker.is_blocked:
            raise BrokerUnavailable("the broker is out of memory or disk and takes nothing: not sent")
        try:
            async with asyncio.timeout(self._call_seconds):
                lost = await self._line.up()
        except TimeoutError as error:
            raise BrokerUnavailable(f"no connection to the broker within {self._call_seconds:g} s") from error
        await asyncio.sleep(0)
        if lost.done():
            raise BrokerUnavailable(f"publishing {envelope.routing_key}: the connection was lost under the call")
        landed = self._broker.accept(self._user, self._seal(envelope), mandatory=envelope.mandatory)
        try:
            await self._confirmed(lost, envelope.routing_key)
        finally:
            # Safe on disk even if nobody is there any more to hear of it.
            if self._broker.confirming.is_set():
                self._broker.confirm(landed)

    def _seal(self, envelope: Envelope) -> Received:
        return Received(
            exchange=envelope.exchange,
            routing_key=envelope.routing_key,
            body=envelope.body,
            headers=dict(envelope.headers),
            user_id=self._user,
            message_id=str(self._broker.number()),
            correlation_id=envelope.correlation_id,
            reply_to=envelope.reply_to,
            type=envelope.type,
            content_type=envelope.content_type,
        )

    async def _confirmed(self, lost: "asyncio.Future[None]", key: str) -> None:
        await asyncio.sleep(0)
        confirming = self._broker.confirming
        if not confirming.is_set():
            confirm: asyncio.Future[Any] = asyncio.ensure_future(confirming.wait())
            try:
                await asyncio.wait([confirm, lost], timeout=self._call_seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                confirm.cancel()
        if lost.done():
            raise BrokerUnavailable(f"publishing {key}: the connection was lost under the call")
        if not confirming.is_set():
            self._line.lose()
            raise BrokerUnavailable(f"publishing {key}: no answer within {self._call_seconds:g} s")


class MemoryDelivery:
    """One delivered message, of one subscription."""

    def __init__(
        self, received: Received, entry: Entry, subscription: Subscription, consumer: "MemoryConsumer"
    ) -> None:
        self.received = received
        self._entry = entry
        self._subscription = subscription
        self._consumer = consumer

    async def ack(self) -> bool:
        return await self._consumer.settle(self._subscription, self._entry, is_rejected=False)

    async def reject(self) -> bool:
        return await self._consumer.settle(self._subscription, self._entry, is_rejected=True)


class MemoryConsumer:
    """`async for delivery in consumer`, over every loss, as the real one."""

    def __init__(self, broker: "MemoryBroker", line: _Line, queue: str, prefetch: int, source: str | None) -> None:
        self._broker = broker
        self._line = line
        self._queue = queue
        self._prefetch = prefetch
        self._source = source
        self._subscription: Subscription | None = None
        self._handed_out: set[int] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = asyncio.Event()
        self.strays = 0
        self.dropped_acks = 0

    @property
    def is_consuming(self) -> bool:
        return self._subscription is not None and not self._subscription.is_lost

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> MemoryDelivery:
        while not self._stopping.is_set():
            subscription = await self._subscribed()
            if subscription is None:
                break
            entry = await subscription.waiting.get()
            if subscription.is_lost:
                await self._resume()
            elif entry is not None and not self._stopping.is_set():
                delivery = MemoryDelivery(entry.deliver(subscription.queue), entry, subscription, self)
                if not self._is_stray(delivery.received):
                    self._handed_out.add(entry.position)
                    self._idle.clear()
                    return delivery
                self.strays += 1
                await delivery.reject()
        raise StopAsyncIteration

    def _is_stray(self, received: Received) -> bool:
        return self._source is not None and (received.exchange != self._source or "x-death" in received.headers)

    async def _subscribed(self) -> Subscription | None:
        """None if it is stopped before it could subscribe."""
        while self._subscription is None and not self._stopping.is_set():
            await self._unless_stopped(self._line.up())
            queue = self._broker.find(self._queue)
            if self._stopping.is_set():
                break
            if queue is None:
                await self._unless_stopped(asyncio.sleep(ASK_AGAIN_SECONDS))
            else:
                self._subscription = queue.subscribe(self._prefetch)
                self._line.subscriptions.append(self._subscription)
        return self._subscription

    async def _unless_stopped(self, waiting: Coroutine[Any, Any, object]) -> None:
        tasks = [asyncio.ensure_future(waiting), asyncio.ensure_future(self._stopping.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _resume(self) -> None:
        """Forgets a lost subscription: what it had delivered comes again, on the next one."""
        self._forget_all()
        if not self._stopping.is_set():
            await asyncio.sleep(RECONNECT_SECONDS)

    def _forget_all(self) -> None:
        self._subscription = None
        self._handed_out.clear()
        self._idle.set()

    def stop(self) -> None:
        self._stopping.set()
        if self._subscription is not None:
            self._subscription.waiting.put_nowait(None)

    async def close(self, settle_seconds: float = 0.0) -> None:
        self.stop()
        if settle_seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settle_seconds):
                    await self._idle.wait()
        if self._subscription is not None:
            self._subscription.lose()
            self._forget_all()

    async def settle(self, subscription: Subscription, entry: Entry, *, is_rejected: bool) -> bool:
        """Called by a delivery, not by you."""
        await asyncio.sleep(0)
        if entry.position not in subscription.unsettled:
            self.dropped_acks += 1
            return False
        subscription.queue.settle(subscription, entry, is_rejected=is_rejected)
        self._handed_out.discard(entry.position)
        if not self._handed_out:
            self._idle.set()
        return True
