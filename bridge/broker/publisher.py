"""Publishes envelopes and returns only when the broker has confirmed that they are routed and stored.

Facts: pitfalls.md rows 2 to 5, 17, 26 and 27. An unroutable publish looks like success unless it is made to raise;
two publishes with one message id in flight can hide it again; a publish that timed out may have landed; a
confirmation of what was never published is dropped by the library, and means that the two sides count apart.
Never do here: repeat a publish, reuse a message id, set another user's `user_id`.
"""

import asyncio
import uuid

import aio_pika
import aio_pika.abc
import aiormq.channel
import aiormq.exceptions
from pamqp.commands import Basic

from bridge.broker.connection import AmqpChannel, Connection
from bridge.errors import BrokerRefused, BrokerUnavailable, Nacked, Unroutable
from bridge.wire.envelope import Envelope

WINDOW = 100
"""Publishes in flight at once: 8 to 20 times the throughput of one at a time (design.md section 5)."""


class Publisher:
    """Publishes over one connection. Many tasks may call `publish` at once; their order is not kept."""

    def __init__(self, connection: Connection, *, app_id: str = "channel-bridge", window: int = WINDOW) -> None:
        self._connection = connection
        self._app_id = app_id
        self._window = asyncio.Semaphore(window)
        # A refused publish closes its AMQP channel under all others in flight. Copies to reply addresses go
        # to places others name, so they have a channel of their own and cannot take an event down with them.
        self._lanes = {mandatory: _Lane(connection) for mandatory in (True, False)}

    async def publish(self, envelope: Envelope) -> None:
        """Returns when the broker has answered with an Ack.

        Raises `Unroutable` (stored nowhere), `Nacked` (a queue is full), `BrokerRefused` (no right, no sense
        in repeating) or `BrokerUnavailable`: the outcome is unknown, send it again with the same `ce-id`.
        """
        if self._connection.is_blocked:
            raise BrokerUnavailable("the broker is out of memory or disk and takes nothing: not sent")
        await self._enter_window()
        try:
            amqp_channel = await self._lanes[envelope.mandatory].open()
            await self._confirm(amqp_channel, envelope)
        finally:
            self._window.release()

    async def _enter_window(self) -> None:
        try:
            async with asyncio.timeout(self._connection.call_seconds):
                await self._window.acquire()
        except TimeoutError as error:
            raise BrokerUnavailable("too many publishes wait for the broker: not sent") from error

    async def _confirm(self, amqp_channel: AmqpChannel, envelope: Envelope) -> None:
        what = f"publishing {envelope.routing_key} to {envelope.exchange or 'the default exchange'}"
        try:
            async with self._connection.bounded(what, amqp_channel.generation):
                answer = await self._send(amqp_channel, envelope)
        except BrokerRefused as error:
            raise _blame(error, envelope) from error
        if not isinstance(answer, Basic.Ack):
            raise Nacked(f"{what}: answered with {type(answer).__name__}")

    async def _send(self, amqp_channel: AmqpChannel, envelope: Envelope) -> object:
        underlay = await amqp_channel.raw.get_underlay_channel()
        try:
            return await underlay.basic_publish(
                envelope.body,
                exchange=envelope.exchange,
                routing_key=envelope.routing_key,
                properties=self._properties(amqp_channel.user, envelope),
                mandatory=envelope.mandatory,
            )
        except aiormq.exceptions.PublishError as error:
            raise Unroutable(f"no queue takes {envelope.routing_key} of {envelope.exchange}") from error
        except aiormq.exceptions.DeliveryError as error:
            raise Nacked(f"a queue behind {envelope.exchange} refused {envelope.routing_key}") from error

    def _properties(self, user: str, envelope: Envelope) -> Basic.Properties:
        message = aio_pika.Message(
            envelope.body,
            headers=dict(envelope.headers),
            content_type=envelope.content_type,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            correlation_id=envelope.correlation_id,
            reply_to=envelope.reply_to,
            message_id=uuid.uuid4().hex,
            timestamp=envelope.timestamp,
            type=envelope.type,
            user_id=user,
            app_id=self._app_id,
        )
        return message.properties


class _Lane:
    """One AMQP channel for publishing, opened again whenever it or its connection is gone."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._opening = asyncio.Lock()
        self._open: AmqpChannel | None = None

    async def open(self) -> AmqpChannel:
        async with self._opening:
            if self._open is None or self._open.lost.done() or self._open.raw.is_closed:
                self._open = None
                self._open = await self._connection.amqp_channel()
                await self._watch(self._open)
            return self._open

    async def _watch(self, amqp_channel: AmqpChannel) -> None:
        """Throws the connection away when the broker confirms what is not in flight.

        Numbers that no longer mean the same here and there could confirm what was not stored. The library only logs
        it, below the level we let it log at; so its own reader of these frames is given an ear.
        """
        underlay = await amqp_channel.raw.get_underlay_channel()
        assert isinstance(underlay, aiormq.channel.Channel)  # noqa: S101
        read = underlay._on_confirm_frame  # noqa: SLF001

        async def listen(frame: Basic.Ack | Basic.Nack | Basic.Reject) -> None:
            if frame.delivery_tag not in underlay.confirmations:
                reason = f"the broker confirmed number {frame.delivery_tag}, which is not in flight"
                self._connection.discard(reason, amqp_channel.generation)
            await read(frame)

        underlay._on_confirm_frame = listen  # type: ignore[method-assign]  # noqa: SLF001


def _blame(error: BrokerRefused, envelope: Envelope) -> BrokerUnavailable:
    """A refusal closes the channel under every publish in flight; the broker names only the exchange.

    Whoever published elsewhere is told to try again: its outcome is unknown, not refused.
    """
    if f"'{envelope.exchange}'" in str(error) or not envelope.exchange:
        return error
    return BrokerUnavailable(f"another publish was refused and took the channel with it: {error}")
