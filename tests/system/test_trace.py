"""A command's trace goes on in everything it causes, over a restart too."""

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path

from bridge.wire.envelope import Envelope, Received
from tests.system.house import House, Pair, _signers, house

PAIR = Pair("traced")
TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "shop=7"}


async def _send(home: House, **fields: str) -> str:
    assert home.client is not None
    now = datetime.now(UTC)
    command_id = str(uuid.uuid4())
    body = json.dumps({"command_id": command_id, "issued_at": now.isoformat()} | fields).encode()
    key = f"{PAIR.initiator}.transfer"
    await home.client._publisher.publish(
        Envelope(f"{home.prefix}.commands", key, body, TRACE, "", command_id, now.timestamp())
    )
    return command_id


def _trace(received: Received) -> dict[str, object]:
    return {name: received.headers[name] for name in TRACE if name in received.headers}


async def test_trace_goes_from_command_to_result_over_a_restart(amqp_url: str, tmp_path: Path) -> None:
    """Whoever follows a payment through his systems must not lose it in ours, least of all when something broke.

    shop --command--> bridge --sign request--> X (the bridge stops) ... bridge --> result, events
    """
    async with house(amqp_url, tmp_path, PAIR, signers=False) as home:
        async with _signers(home):
            await home.opened()
        fields = {"from": PAIR.account("initiator"), "to": PAIR.account("responder"), "amount": "5"}
        command_id = await _send(home, **fields)
        await home.event(PAIR.initiator, "sign.requested", command_id=command_id)
        await home.stop_bridge()
        await home.start_bridge()
        (tmp_path / "keys").rename(tmp_path / "earlier keys")
        async with _signers(home):
            assert (await home.outcome(command_id))["outcome"] == "succeeded"
            await home.event(PAIR.initiator, "transfer.succeeded")
    caused = [one for one in home.received["events"] if json.loads(one.body)["data"].get("command_id") == command_id]
    results = [one for one in home.received["results"] if json.loads(one.body)["command_id"] == command_id]
    assert "transfer.succeeded" in {one.routing_key.partition(".")[2] for one in caused}
    assert all(_trace(one) == TRACE for one in (*caused, *results))
    others = [one for one in home.received["events"] if one not in caused]
    assert not any(_trace(one) for one in others)
