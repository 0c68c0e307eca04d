"""An acknowledgement whose signature came in time and whose commit did not is never sent."""

import asyncio
import base64
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from bridge.app.busclient import BusClient
from bridge.journal.journal import FILE
from tests.system.house import House, Pair, house

DEADLINE_SECONDS = 2


async def sign(home: House, pair: Pair, request: dict[str, Any]) -> None:
    """What a signer does, by hand."""
    role = "initiator" if request["account"] == pair.account("initiator") else "responder"
    signature = SigningKey(pair.key(role)).sign(base64.b64decode(request["signing_payload"])).signature
    reply = {
        "sign_request_id": request["sign_request_id"],
        "signature": base64.b64encode(signature).decode(),
    }
    assert home.client is not None
    await home.client.publish("sign-replies", f"{request['account']}.{request['channel']}", json.dumps(reply).encode())


async def requests(home: House, client: BusClient) -> asyncio.Queue[dict[str, Any]]:
    """Every sign request, as it comes."""
    found: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    consumer = await client.listen("requests", [(f"{home.prefix}.sign-requests", "#")])

    async def read() -> None:
        async for delivery in consumer:
            found.put_nowait(json.loads(delivery.received.body))
            await delivery.ack()

    home.background = asyncio.create_task(read())
    return found


async def test_an_acknowledgement_stored_after_its_deadline_is_not_sent(amqp_url: str, tmp_path: Path) -> None:
    """ack signed -> the disk is slow -> X. A late one leaves the two sides at different rounds for ever."""
    pair = Pair("today", options={"acknowledge_seconds": DEADLINE_SECONDS})
    async with house(amqp_url, tmp_path, pair, signers=False) as home:
        assert home.client is not None
        asked = await requests(home, home.client)
        payer, payee = pair.account("initiator"), pair.account("responder")
        for _ in range(2):
            await sign(home, pair, await asked.get())
        await home.opened()
        await home.send(pair.initiator, "transfer", from_=payer, to=payee, amount="5")
        await sign(home, pair, await asked.get())
        request = await asked.get()
        assert request["tag"] == "update_ack"
        with closing(sqlite3.connect(tmp_path / "data" / FILE, isolation_level=None)) as disk:
            disk.execute("BEGIN IMMEDIATE")
            await sign(home, pair, request)
            await asyncio.sleep(DEADLINE_SECONDS + 0.5)  # the deadline itself passes
            disk.execute("ROLLBACK")
        await home.event(pair.responder, "sign.withheld", tag="update_ack")
        assert home.state(pair.responder).round == 1
        counts = home.node.tally.report()["frames"]["json-rpc"]["to_node"]
        assert counts["channels.update_ack"] == 1, "the refusal, and no signature"
