"""`bridge.app.metric`: the page, the table and what is really exposed are one."""

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bridge.app.bus import RabbitBus
from bridge.app.health import Health, Stage
from bridge.app.meter import Meter, process_samples
from bridge.app.metric import METRICS, markdown
from bridge.app.observer import Answered, Observer

DOCS = Path(__file__).parents[2] / "docs"


def test_page_is_the_one_the_program_makes() -> None:
    """`python -m bridge.app.metric docs` makes it again."""
    assert (DOCS / "metrics.md").read_text(encoding="utf-8") == markdown()


def test_no_metric_is_labelled_by_what_grows() -> None:
    """Hundreds of channels would make hundreds of series of each metric."""
    bounded = {"version", "part", "connection", "outcome", "code", "family", "node", "phase", "tag", "verdict"}
    assert {label for metric in METRICS for label in metric.labels} <= bounded


async def test_signer_exposes_exactly_its_metrics() -> None:
    """A metric in the docs that nobody exposes makes an alert that never fires."""
    bus = RabbitBus("amqp://127.0.0.1:1")
    health = Health(lambda: Stage.RUNNING, {})

    async def samples() -> list[tuple[str, tuple[str, ...], float]]:
        return list(process_samples(health, bus.connections))

    meter = Meter(samples, program="signer")
    meter.take(Answered("update", is_refusal=True, seconds=0.5))
    text = (await meter.page()).body.decode()
    families = {family.name for family in text_string_to_metric_families(text) if family.name.startswith("channel_")}
    wanted = {metric.full_name.removesuffix("_total") for metric in METRICS if metric.program in ("signer", "both")}
    assert families == wanted
    assert 'channel_bridge_signer_answers_total{tag="update",verdict="refused"} 1.0' in text


def test_who_watches_never_stops_what_is_watched() -> None:
    """A broken dashboard must not halt a payment: the subscriber is dropped, the others go on."""
    seen: list[object] = []

    def broken(_: object) -> None:
        raise RuntimeError

    observer = Observer()
    observer.subscribe(broken)
    observer.subscribe(seen.append)
    moment = Answered("update", is_refusal=False, seconds=0.1)
    observer.tell(moment)
    observer.tell(moment)
    assert seen == [moment, moment]


def test_documents_name_only_metrics_that_exist() -> None:
    """Both directions: the table is the page; every other page names none that is not in it."""
    known = {metric.full_name for metric in METRICS}
    for page in DOCS.rglob("*.md"):
        for name in re.findall(r"\bchannel_bridge_[a-z_]+", page.read_text(encoding="utf-8")):
            assert re.sub(r"_(bucket|sum|count)$", "", name) in known, f"{page.name}: {name}"


FILES = Path(__file__).parents[2] / "helm" / "channel-bridge" / "files"


def _named(text: str) -> set[str]:
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bchannel_bridge_[a-z_]+", text)}


def test_alerts_and_dashboard_ask_for_metrics_that_exist() -> None:
    """A rule about a metric that nobody exposes is silent for ever, and a panel of it empty."""
    known = {metric.full_name for metric in METRICS}
    dashboard = json.loads((FILES / "dashboard.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            assert _named(target["expr"]) <= known, target["expr"]
            assert _named(target["expr"]) or "process_" in target["expr"], target["expr"]
    expressions = (FILES / "alerts.yaml").read_text(encoding="utf-8")
    assert _named(expressions) <= known


def test_every_alert_has_its_page_and_its_test() -> None:
    """Whoever is woken reads what to do; and every rule has been seen to fire."""
    alerts = re.findall(r"- alert: (\w+)", (FILES / "alerts.yaml").read_text(encoding="utf-8"))
    page = (DOCS / "observability.md").read_text(encoding="utf-8")
    tests = (Path(__file__).parents[1] / "alerts" / "alerts.test.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^### (ChannelBridge\w+)$", page, re.MULTILINE) == alerts
    for alert in alerts:
        assert f'alertname="{alert}"' in tests
    runbooks = re.findall(r"#(channelbridge\w+)", (FILES / "alerts.yaml").read_text(encoding="utf-8"))
    assert runbooks == [alert.lower() for alert in alerts]
