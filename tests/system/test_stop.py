"""Stopping: what is at hand is settled, and nothing that hangs keeps the bridge beyond its time."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bridge.app import http
from bridge.broker.connection import Connection
from bridge.broker.inspection import see_queue
from bridge.broker.private import PrivateBroker
from bridge.channel.state import Stage
from bridge.journal.journal import FILE
from tests.system.house import House, Pair, house

PAIR = Pair("today")


async def signed(home: House) -> None:
    """Returns in the instant in which a signature of the payer is out and the payee has signed nothing yet."""
    while (operation := home.state(PAIR.initiator).operation) is None or operation.stage is not Stage.SIGNED_SENT:  # noqa: ASYNC110
        await asyncio.sleep(0)  # what follows is a matter of milliseconds


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


@pytest.mark.timeout(120)
async def test_a_frozen_broker_and_a_signature_under_way_do_not_keep_it(
    private_broker: PrivateBroker, tmp_path: Path
) -> None:
    """Every bound is used up: the outcome does not come, nothing is confirmed, no goodbye is answered."""
    loop = asyncio.get_running_loop()
    async with house(private_broker.url(), tmp_path, PAIR) as home:
        await home.opened()
        assert home.running is not None
        payer, payee = PAIR.account("initiator"), PAIR.account("responder")
        await home.send(PAIR.initiator, "transfer", from_=payer, to=payee, amount="5")
        async with asyncio.timeout(20):
            await signed(home)
        private_broker.freeze()
        try:
            began = loop.time()
            await home.stop_bridge()
            assert loop.time() - began < 25 - http.CLOSE_SECONDS
        finally:
            private_broker.thaw()
        assert home.running.done()
