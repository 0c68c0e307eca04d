"""Which failures are worth repeating, and how long is waited: pitfalls.md row 8."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bridge.broker.failure import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, backoff
from bridge.errors import BrokerRefused, BrokerUnavailable

TRIES = 9
RUNS = 300


async def fail(error: BrokerUnavailable, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Fails so at each try."""
    async for attempt in backoff().copy(sleep=sleep):
        with attempt:
            raise error


async def waits() -> list[float]:
    """How long each try of one run waits, on a clock that does not pass."""
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == TRIES:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await fail(BrokerUnavailable("away"), wait)
    return waited


async def test_each_try_waits_up_to_twice_as_long_and_no_two_alike() -> None:
    """All clients of a broker that restarts would come back in the same instant otherwise, again and again."""
    runs = [await waits() for _ in range(RUNS)]
    assert (FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS) == (0.2, 8.0)
    for number, column in enumerate(zip(*runs, strict=True)):
        most = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2**number)
        assert max(column) <= most
        assert max(column) > 0.8 * most, "it grows"
        assert min(column) < 0.2 * most, "full jitter: from nothing to the most"


async def test_a_refusal_is_not_tried_again() -> None:
    """Wrong credentials repeated lock accounts, and the mistake stays in a log nobody reads."""
    with pytest.raises(BrokerRefused):
        await asyncio.wait_for(fail(BrokerRefused("403")), 5)
