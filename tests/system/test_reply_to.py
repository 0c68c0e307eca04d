"""A reply address gets an extra copy of the result, and only where the address is the author's own."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.system.house import House, Pair, house

PAIR = Pair("today")


@pytest.fixture
async def home(amqp_url: str, tmp_path: Path) -> AsyncIterator[House]:
    async with house(amqp_url, tmp_path, PAIR) as made:
        await made.opened()
        yield made


async def ask(home: House, command_id: str, reply_to: str) -> None:
    assert home.client is not None
    body = json.dumps({"command_id": command_id, "issued_at": datetime.now(UTC).isoformat(), "what": "state"})
    await home.client.publish("commands", f"{PAIR.initiator}.query", body.encode(), "c-1", reply_to)


async def test_the_authors_own_queue_gets_a_copy(home: House) -> None:
    """A client that waits on the spot needs no look at the results exchange."""
    assert home.client is not None
    own = await home.client.listen("answers", [])
    await ask(home, "q-1", own.queue)
    async with asyncio.timeout(10):
        received = (await anext(own)).received
    body = json.loads(received.body)
    assert (body["command_id"], body["outcome"], received.correlation_id) == ("q-1", "succeeded", "c-1")


async def test_a_foreign_address_is_not_written_to(home: House) -> None:
    """Otherwise the bridge could be made to fill any queue: here the one the signers' replies come by."""
    await ask(home, "q-2", f"{home.prefix}.sign-replies")
    await home.outcome("q-2")
    await ask(home, "q-3", "")
    await home.outcome("q-3")
    # Had the copy been written, the bridge would have read it as a sign reply and refused it by now.
    assert not home.dead_letters
