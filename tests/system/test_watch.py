"""A running bridge, looked at through its small port: readiness, metrics, and what the console is told."""

import json
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect

from bridge.app.metric import METRICS
from tests.system.house import Pair, house

PAIR = Pair("watched", initiator_amount=70 * 10**18, responder_amount=40 * 10**18)


def _samples(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels[label] for label in sorted(sample.labels))] = (
                sample.value
            )
    return found


async def _until(feed: Any, look: Any) -> dict[str, Any]:
    """The first push in which there is something to see."""
    while True:
        told: dict[str, Any] = json.loads(await feed.recv())
        if look(told):
            return told


async def test_payment_is_seen_in_metrics_and_console(amqp_url: str, tmp_path: Path) -> None:
    """What an operator sees must be what happened: every metric there, the payment in it, the page told at once."""
    async with house(amqp_url, tmp_path, PAIR) as home:
        await home.opened()
        assert home.service is not None
        async with (
            home.service.monitor.server() as server,
            httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{server.port}") as client,
            connect(f"ws://127.0.0.1:{server.port}/live", proxy=None) as feed,
        ):
            whole = await _until(feed, lambda told: told["kind"] == "whole")
            assert {row["name"] for row in whole["channels"]} == {PAIR.initiator, PAIR.responder}
            command_id = await home.send(
                PAIR.initiator,
                "transfer",
                from_=PAIR.account("initiator"),
                to=PAIR.account("responder"),
                amount="1000000000000000001",
            )
            seen = await _until(feed, lambda told: any(one["name"] == "transfer.succeeded" for one in told["events"]))
            assert seen["kind"] == "part"
            await home.outcome(command_id)
            ready = await client.get("/readyz")
            assert (ready.status_code, ready.json()["missing"]) == (200, {})
            page = (await client.get("/metrics")).text
            snapshot = (await client.get("/snapshot")).text
            history = (await client.get(f"/history/{PAIR.initiator}")).json()
            older = (await client.get(f"/history/{PAIR.initiator}@3")).json()
            assert (await client.get("/history/nobody")).status_code == 404
            pages = [(await client.get(path)).status_code for path in ("/", "/console.js", "/console.css")]
        await home.stop_bridge()
        stopped = await home.service.monitor.health.readyz()
    samples = _samples(page)
    assert samples["channel_bridge_results_total"][("", "succeeded")] == 1
    assert samples["channel_bridge_channels_ready"][()] == 2
    assert samples["channel_bridge_ready"] == {("process",): 1, ("journal",): 1, ("broker",): 1, ("node",): 1}
    for name in ("frame_to_journal", "journal_to_confirm", "request_to_signer", "signer_to_node", "deadline_headroom"):
        assert samples[f"channel_bridge_{name}_seconds_count"][()] > 0, name
    exposed = {family.name for family in text_string_to_metric_families(page)}
    absent_at_rest = {"channel_bridge_sign_headroom_seconds"}
    wanted = {metric.full_name.removesuffix("_total") for metric in METRICS if metric.program != "signer"}
    assert {name for name in exposed if name.startswith("channel_")} | absent_at_rest == wanted
    row = next(one for one in json.loads(snapshot)["channels"] if one["name"] == PAIR.initiator)
    assert row["round"] == 2
    assert int(row["own_balance"]) == PAIR.initiator_amount - 1000000000000000001
    assert history["events"][0]["seq"] == len(history["events"])
    assert [event["seq"] for event in older["events"]] == [2, 1]
    assert pages == [200, 200, 200]
    assert "ba_" not in page + snapshot + json.dumps(history) + json.dumps(whole)
    assert stopped.status == 503
    assert json.loads(stopped.body)["missing"]["process"] == "stopping"
