"""A client of the bridge, as any business system may write one: commands out, results and events in.

Used by the command line, the demo and the system tests. It knows the bus contract and nothing of the bridge's
inside.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import typer

from bridge.broker.connection import Connection
from bridge.broker.consumer import Consumer
from bridge.broker.publisher import Publisher
from bridge.broker.topology import Topology, declare, reader
from bridge.errors import BrokerUnavailable
from bridge.wire.envelope import Envelope, Received

FINAL = frozenset({"succeeded", "failed", "rejected", "unknown"})


STAMPS = ("command_id", "issued_at")
"""What makes a command the same one when it is sent again, beside its fields."""


def stamp(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with an id and an instant of their own, where they have none."""
    return {"command_id": str(uuid.uuid4()), "issued_at": datetime.now(UTC).isoformat()} | dict(fields)


class BusClient:
    """`connection` is of a user with the role client (for commands) or observer (for events)."""

    def __init__(self, connection: Connection, prefix: str, user: str) -> None:
        self._connection = connection
        self._prefix = prefix
        self._publisher = Publisher(connection)
        self._user = user

    async def send(self, channel: str, kind: str, fields: dict[str, Any]) -> str:
        """Publish one command; returns its id. The broker has it when this returns."""
        body = stamp(fields)
        await self.send_raw(channel, kind, json.dumps(body).encode(), str(body["command_id"]))
        return str(body["command_id"])

    async def send_raw(self, channel: str, kind: str, body: bytes, correlation_id: str | None = None) -> None:
        """Publish bytes as a command, whatever they are."""
        await self.publish("commands", f"{channel}.{kind}", body, correlation_id)

    async def publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        correlation_id: str | None = None,
        reply_to: str | None = None,
    ) -> None:
        """Publish bytes to one of the deployment's exchanges, named without its prefix."""
        await self._publisher.publish(
            Envelope(
                exchange=f"{self._prefix}.{exchange}",
                routing_key=key,
                body=body,
                headers={},
                type="",
                correlation_id=correlation_id,
                timestamp=datetime.now(UTC).timestamp(),
                reply_to=reply_to,
            )
        )

    async def listen(self, label: str, bindings: Sequence[tuple[str, str]], *, is_temporary: bool = True) -> Consumer:
        """A queue of our own bound to (exchange, key) each. A temporary one lives as long as the connection."""
        topology: Topology = reader(self._prefix, self._user, label, bindings, is_temporary=is_temporary)
        await declare(self._connection, topology)
        return Consumer(self._connection, topology.queues[0].name, prefetch=200)

    async def results(self, label: str = "results", *, is_temporary: bool = True) -> Consumer:
        """Everything that is answered to this user."""
        bindings = [(f"{self._prefix}.results", f"{self._user}.#")]
        return await self.listen(label, bindings, is_temporary=is_temporary)

    async def command(self, channel: str, kind: str, fields: dict[str, Any], seconds: float) -> dict[str, Any]:
        """One command and its final result body. Raises TimeoutError when the time is over."""
        stamped = stamp(fields)

        async def send() -> None:
            await self.send(channel, kind, stamped)

        return await self.outcome(str(stamped["command_id"]), send, seconds)

    async def outcome(self, command_id: str, send: Callable[[], Awaitable[None]], seconds: float) -> dict[str, Any]:
        """Listens first, then sends; the final result of that command. Raises TimeoutError when the time is over."""
        results = await self.results(f"once-{uuid.uuid4().hex[:8]}")
        try:
            await send()
            async with asyncio.timeout(seconds):
                async for delivery in results:
                    body: dict[str, Any] = json.loads(delivery.received.body)
                    await delivery.ack()
                    if body.get("command_id") == command_id and body["outcome"] in FINAL:
                        return body
        finally:
            await results.close()
        raise BrokerUnavailable("the results ended")

    async def follow(self, key: str) -> AsyncIterator[dict[str, Any]]:
        """Event bodies whose routing key fits, from this moment on."""
        events = await self.listen(f"tail-{uuid.uuid4().hex[:8]}", [(f"{self._prefix}.events", key)])
        async for delivery in events:
            yield read_body(delivery.received)
            await delivery.ack()


def user_of(url: str) -> str:
    """The user a broker URL names; the broker takes `guest` where it names none."""
    return unquote(urlsplit(url).username or "guest")


def read_body(received: Received) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(received.body)
    return body


def parse_fields(texts: Sequence[str]) -> dict[str, Any]:
    """`name=text` and `name:=JSON` words as fields. Amounts should stay text. Raises typer.BadParameter."""
    fields: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.rstrip(":"):
            raise typer.BadParameter(f"{text!r} is neither name=text nor name:=JSON", param_hint="FIELDS")
        fields[name.removesuffix(":")] = _read_json(text, value) if name.endswith(":") else value
    return fields


def _read_json(text: str, value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: no JSON behind ':='", param_hint="FIELDS") from error
