"""Takes deliveries from one queue, over every loss of the connection, the channel or the consumer itself.

Facts: pitfalls.md rows 1, 9, 11 and 15. The broker may cancel a consumer and leave everything looking open; an
ack belongs to the channel that delivered and to no later one; unread deliveries of a lost channel come again.
Back-pressure is the prefetch: a caller that settles nothing gets no more than that.

Never do here: acknowledge by itself, declare a queue, requeue as flow control.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Any, Self

import aiormq.abc
from pamqp.commands import Basic

from bridge.broker.connection import AmqpChannel, Connection
from bridge.broker.failure import backoff, named
from bridge.errors import BrokerUnavailable
from bridge.wire.envelope import Received

PREFETCH = 32
SHORT_LIFE_SECONDS = 1.0
CHECK_SECONDS = 15.0


@dataclass(slots=True, eq=False)
class _Subscription:
    """One consumer on one AMQP channel. Everything in it dies together."""

    amqp_channel: AmqpChannel
    underlay: aiormq.abc.AbstractChannel
    number: int
    born: float
    waiting: asyncio.Queue["Delivery | None"] = field(default_factory=asyncio.Queue)
    is_lost: bool = False
    loss: str = ""

    def lose(self, reason: str) -> None:
        """Wakes the reader with nothing. May be called twice."""
        if not self.is_lost:
            self.is_lost = True
            self.loss = reason
            self.waiting.put_nowait(None)


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One delivered message. Settle it with `ack` or `reject`, after what it caused is committed.

    Unsettled when the process dies or the connection is lost, it comes again, marked `redelivered`.
    """

    received: Received
    generation: int
    tag: int
    _consumer: "Consumer"
    _subscription: _Subscription

    async def ack(self) -> bool:
        """Tells the broker it is done. False if the delivery is of a lost connection: it comes again."""
        return await self._consumer.settle(self._subscription, "ack", self.tag)

    async def reject(self) -> bool:
        """Sends it to the queue's dead-letter exchange: for poison only. False as for `ack`."""
        return await self._consumer.settle(self._subscription, "reject", self.tag)


class Consumer:
    """`async for delivery in consumer`, for ever; several at once over one connection are fine.

    `source`: the exchange deliveries must come from, straight. Whoever may write an exchange may also bind it
    to another, or dead-letter into it, and so slip in messages that no permission on routing keys has judged.
    Such strays are rejected to the dead letters and counted.
    """

    def __init__(
        self,
        connection: Connection,
        queue: str,
        *,
        prefetch: int = PREFETCH,
        source: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self._connection = connection
        self._queue = queue
        self._prefetch = prefetch
        self._source = source
        self._arguments = dict(arguments or {})
        self._check_seconds = check_seconds
        self._subscription: _Subscription | None = None
        self._unsettled: set[int] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = asyncio.Event()
        self.generation = 0
        """How many times it subscribed. A delivery of an earlier generation cannot be settled any more."""
        self.dropped_acks = 0
        """Settlements that came too late, or were lost with the connection: those deliveries come again."""
        self.strays = 0
        self.failures = 0
        """Failed subscriptions in a row: a gauge."""

    @property
    def queue(self) -> str:
        return self._queue

    @property
    def is_consuming(self) -> bool:
        return self._subscription is not None and not self._subscription.is_lost

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery:
        """The next delivery, however long that takes. Raises `BrokerRefused` when waiting cannot help."""
        while not self._stopping.is_set():
            subscription = await self._subscribed()
            if subscription is None:
                break
            delivery = await self._next_of(subscription)
            if delivery is None or subscription.is_lost:
                await self._drop(subscription)
            elif self._is_stray(delivery.received):
                self.strays += 1
                await delivery.reject()
            elif not self._stopping.is_set():
                return self._hand_out(delivery)
        raise StopAsyncIteration

    async def _next_of(self, subscription: _Subscription) -> Delivery | None:
        """The next delivery, or None when the subscription is over. Looks now and then whether it still is one."""
        while True:
            try:
                async with asyncio.timeout(self._check_seconds):
                    return await subscription.waiting.get()
            except TimeoutError:
                await self._verify(subscription)

    async def _verify(self, subscription: _Subscription) -> None:
        """Loses a subscription the broker does not list, should its notice of that ever be missing."""
        try:
            async with self._connection.bounded("asking for consumers", subscription.amqp_channel.generation):
                answer = await subscription.underlay.queue_declare(self._queue, passive=True)
        except BrokerUnavailable as error:
            subscription.lose(str(error))
            return
        if answer.consumer_count == 0:
            subscription.lose("the broker lists no consumer of the queue")

    def _hand_out(self, delivery: Delivery) -> Delivery:
        self._unsettled.add(delivery.tag)
        self._idle.clear()
        return delivery

    def stop(self) -> None:
        """Ends the iteration. What was delivered and not yet handed out goes back at `close`. Does not block."""
        self._stopping.set()
        if self._subscription is not None:
            self._subscription.waiting.put_nowait(None)

    async def close(self, settle_seconds: float = 0.0) -> None:
        """Stops, waits so long for what was handed out, then returns the rest to the queue in its order."""
        self.stop()
        if settle_seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settle_seconds):
                    await self._idle.wait()
        if self._subscription is not None:
            await self._drop(self._subscription)

    async def settle(self, subscription: _Subscription, act: str, tag: int) -> bool:
        """Called by a delivery, not by you."""
        if subscription is not self._subscription or subscription.is_lost:
            self.dropped_acks += 1
            return False
        try:
            async with self._connection.bounded(f"{act} on {self._queue}", subscription.amqp_channel.generation):
                if act == "ack":
                    await subscription.underlay.basic_ack(tag)
                else:
                    await subscription.underlay.basic_reject(tag, requeue=False)
        except BrokerUnavailable as error:
            subscription.lose(str(error))
            self.dropped_acks += 1
            return False
        self._forget(tag)
        return True

    def _forget(self, tag: int) -> None:
        self._unsettled.discard(tag)
        if not self._unsettled:
            self._idle.set()

    async def _subscribed(self) -> _Subscription | None:
        """None if it was stopped before there was a subscription, however long the broker is away."""
        if self._subscription is None:
            trying = asyncio.create_task(self._keep_subscribing())
            stopping = asyncio.create_task(self._stopping.wait())
            try:
                await asyncio.wait([trying, stopping], return_when=asyncio.FIRST_COMPLETED)
            finally:
                stopping.cancel()
                trying.cancel()
                await asyncio.wait([trying])
            self._subscription = None if trying.cancelled() else trying.result()
        return self._subscription

    async def _keep_subscribing(self) -> _Subscription:
        async for attempt in backoff(self._count_failure):
            with attempt:
                subscription = await self._subscribe()
        self.failures = 0
        return subscription

    def _count_failure(self, _: str) -> None:
        self.failures += 1

    async def _subscribe(self) -> _Subscription:
        amqp_channel = await self._connection.amqp_channel(confirms=False)
        try:
            async with self._connection.bounded(f"consuming {self._queue}", amqp_channel.generation):
                return await self._consume(amqp_channel)
        except BaseException:
            await _close(amqp_channel)
            raise

    async def _consume(self, amqp_channel: AmqpChannel) -> _Subscription:
        underlay = await amqp_channel.raw.get_underlay_channel()
        self.generation += 1
        subscription = _Subscription(amqp_channel, underlay, self.generation, asyncio.get_running_loop().time())
        self._unsettled.clear()
        self._idle.set()

        async def take(message: aiormq.abc.DeliveredMessage) -> None:
            self._take(subscription, message)

        def cancelled(frame: Basic.Cancel) -> None:
            subscription.lose("the broker cancelled the consumer")

        amqp_channel.lost.add_done_callback(lambda done: subscription.lose(done.result()))
        amqp_channel.raw.close_callbacks.add(lambda _, error: subscription.lose(f"channel closed: {error}"))
        underlay.on_consumer_cancel_callbacks.add(cancelled)
        await underlay.basic_qos(prefetch_count=self._prefetch)
        await underlay.basic_consume(self._queue, take, arguments=self._arguments)
        return subscription

    def _take(self, subscription: _Subscription, message: aiormq.abc.DeliveredMessage) -> None:
        tag = message.delivery_tag
        assert tag is not None  # noqa: S101
        received = as_received(message, self._queue)
        subscription.waiting.put_nowait(Delivery(received, subscription.number, tag, self, subscription))

    def _is_stray(self, received: Received) -> bool:
        if self._source is None:
            return False
        return received.exchange != self._source or "x-death" in received.headers

    async def _drop(self, subscription: _Subscription) -> None:
        """Forgets a lost subscription; what it had delivered comes again."""
        subscription.lose("dropped")
        self._subscription = None
        await _close(subscription.amqp_channel)
        age = asyncio.get_running_loop().time() - subscription.born
        if age < SHORT_LIFE_SECONDS and not self._stopping.is_set():
            # A queue that is deleted again and again must not make us spin.
            await asyncio.sleep(SystemRandom().uniform(0, SHORT_LIFE_SECONDS))


async def _close(amqp_channel: AmqpChannel) -> None:
    if amqp_channel.lost.done() or amqp_channel.raw.is_closed:
        return
    with contextlib.suppress(BrokerUnavailable, TimeoutError):
        async with asyncio.timeout(3.0), named("closing a channel"):
            await amqp_channel.raw.close()


def as_received(message: aiormq.abc.DeliveredMessage, queue: str) -> Received:
    """What the broker delivered from that queue, as the rest of the bridge knows it."""
    properties = message.header.properties
    return Received(
        exchange=message.exchange or "",
        routing_key=message.routing_key or "",
        body=bytes(message.body),
        headers=dict(properties.headers or {}),
        user_id=properties.user_id,
        message_id=properties.message_id,
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
        type=properties.message_type or "",
        redelivered=bool(message.redelivered),
        queue=queue,
        content_type=properties.content_type,
    )
