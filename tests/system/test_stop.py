"""Stopping: what is at hand is settled."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from bridge.broker.connection import Connection
from bridge.broker.inspection import see_queue
from bridge.journal.journal import FILE
from tests.system.house import House, Pair, house

PAIR = Pair("today")


async def delivered(home: House) -> None:
    """Returns when nothing waits in the queue of commands any more."""
    async with Connection(home.url, "onlooker") as connection:
        while (seen := await see_queue(connection, f"{home.prefix}.commands")) is None or seen.messages:  # noqa: ASYNC110 - a queue has no event
            await asyncio.sleep(0.02)


async def test_a_command_that_is_being_stored_is_acked_before_the_end(amqp_url: str, tmp_path: Path) -> None:
    """Closed under it, it would come again: one more delivery, and a second answer that nobody asked for.

    broker --- command ---> intake --- commit (slow) ... SIGTERM ... committed ---> ack
    """
    async with house(amqp_url, tmp_path, PAIR) as home:
        await home.opened()
        payer, payee = PAIR.account("initiator"), PAIR.account("responder")
        with closing(sqlite3.connect(tmp_path / "data" / FILE, isolation_level=None)) as disk:
            disk.execute("BEGIN IMMEDIATE")
            command_id = await home.send(PAIR.initiator, "transfer", from_=payer, to=payee, amount="5")
            await delivered(home)
            await asyncio.sleep(0.2)  # on its way from the socket to the intake
            stopping = asyncio.create_task(home.stop_bridge())
            await asyncio.sleep(0.2)
            disk.execute("ROLLBACK")
        await stopping
        async with Connection(home.url, "onlooker") as connection:
            seen = await see_queue(connection, f"{home.prefix}.commands")
        assert seen is not None
        assert seen.messages == 0, "it came back"
        await home.start_bridge()
        assert (await home.outcome(command_id))["outcome"] == "succeeded"
        assert [result["outcome"] for result in home.results] == ["succeeded"]
