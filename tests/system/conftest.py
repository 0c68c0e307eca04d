"""Shared by the system tests: a house per test, on the session's RabbitMQ."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.system.house import House, Pair, house

DIALECTS = {
    "json-rpc": Pair("today"),
    "legacy-late": Pair("late", "legacy", "late"),
    "legacy-seed": Pair("seed", "legacy", "seed"),
}

OpenHouse = Callable[..., AsyncIterator[House]]


@pytest.fixture(params=list(DIALECTS))
def pair(request: pytest.FixtureRequest) -> Pair:
    """One channel in each dialect."""
    name: str = request.param
    return DIALECTS[name]


@pytest.fixture
async def home(amqp_url: str, tmp_path: Path, pair: Pair) -> AsyncIterator[House]:
    """A running house with that channel open."""
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(house(amqp_url, tmp_path, pair))
        await made.opened()
        yield made
