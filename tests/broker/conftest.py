"""What the tests of this room share: names of their own, a small bus, envelopes."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from bridge.broker.connection import Connection
from bridge.broker.topology import Binding, Exchange, Queue, Topology, declare
from bridge.wire.envelope import Envelope

QUORUM: dict[str, str | int | bool] = {"x-queue-type": "quorum", "x-delivery-limit": 20}

MakeEnvelope = Callable[..., Envelope]


@pytest.fixture
def prefix() -> str:
    """A prefix nobody else uses."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def bus(prefix: str) -> Topology:
    """One exchange and one quorum queue behind it, both named after the prefix."""
    return Topology(
        prefix,
        (Exchange(f"{prefix}.things"),),
        (Queue(f"{prefix}.things", QUORUM),),
        (Binding(f"{prefix}.things", f"{prefix}.things", "thing.#"),),
    )


@pytest.fixture
async def connection(amqp_url: str, bus: Topology) -> AsyncIterator[Connection]:
    """A connection of the full-rights user, with `bus` in place."""
    async with Connection(amqp_url, "test", call_seconds=20) as opened:
        await declare(opened, bus)
        yield opened


@pytest.fixture
def envelope(prefix: str) -> MakeEnvelope:
    """Makes an envelope for `bus`; keywords replace its fields."""
    plain = Envelope(
        exchange=f"{prefix}.things",
        routing_key="thing.made",
        body=b'{"n":1}',
        headers={"ce-id": "event-1", "ce-specversion": "1.0"},
        type="channel-bridge.thing.made.v1",
        correlation_id="correlation-1",
        timestamp=1_700_000_000.5,
    )

    def make(**changes: Any) -> Envelope:
        return replace(plain, **changes)

    return make


async def until(is_true: Callable[[], bool], seconds: float = 15) -> None:
    """Waits for something another task or the broker does, with a bound."""
    async with asyncio.timeout(seconds):
        while not is_true():  # noqa: ASYNC110 - gauges have no event
            await asyncio.sleep(0.02)
