"""Counts what the observer tells, and reads the rest when it is asked: the program's side of `/metrics`.

One registry a process, none shared, so that tests and several services in one process do not meet.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Literal, assert_never

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from bridge import __version__
from bridge.app.health import Health
from bridge.app.http import Answer
from bridge.app.metric import BY_NAME, METRICS, PREFIX
from bridge.app.observer import Answered, Confirmed, Decided, Moment, Rejected, Written
from bridge.broker.connection import Connection
from bridge.channel.effect import Conclude, RefuseReply
from bridge.channel.identifier import ChannelName
from bridge.channel.input import LinkDown, LinkFailed, LinkUp, SignReplied

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series a counter, which nobody asks for
Sample = tuple[str, tuple[str, ...], float]
"""A metric's name, its labels' values, its value."""


class Meter(Collector):
    """`samples` gives what is read at the moment of asking; `nodes` tells each channel's node."""

    def __init__(
        self,
        samples: Callable[[], Awaitable[Iterable[Sample]]],
        nodes: Mapping[ChannelName, str] | None = None,
        *,
        program: Literal["bridge", "signer"] = "bridge",
    ) -> None:
        self._samples = samples
        self._nodes = nodes or {}
        self._read: tuple[Sample, ...] = ()
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        told = [one for one in METRICS if one.program == program and not one.is_read]
        self._counters = {
            one.name: Counter(PREFIX + one.name, one.meaning, one.labels, registry=self._registry)
            for one in told
            if one.kind == "counter"
        }
        self._histograms = {
            one.name: Histogram(PREFIX + one.name, one.meaning, buckets=one.buckets, registry=self._registry)
            for one in told
            if one.kind == "histogram"
        }
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """What was read for this request, in families."""
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for name, labels, value in self._read:
            metric = BY_NAME[name]
            family = families.get(name)
            if family is None:
                kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                family = families[name] = kind(PREFIX + name, metric.meaning, labels=metric.labels)
            family.add_metric(labels, value)
        yield from families.values()

    async def page(self, _: str = "") -> Answer:
        self._read = tuple(await self._samples())
        return Answer(generate_latest(self._registry), CONTENT_TYPE_LATEST)

    # --- what is counted ----------------------------------------------------------------------------------

    def take(self, moment: Moment) -> None:
        match moment:
            case Decided():
                self._take_step(moment)
            case Written(SignReplied(), float(arrived_at), at):
                self._observe("signer_to_node_seconds", at - arrived_at)
            case Written():
                pass
            case Confirmed(row, at):
                self._observe("journal_to_confirm_seconds", at - row.created_at)
            case Rejected(code):
                self._count("rejections", code.value)
            case Answered(tag, is_refusal, seconds):
                self._count("signer_answers", tag, "refused" if is_refusal else "signed")
                self._observe("signer_answer_seconds", seconds)
            case _:
                assert_never(moment)

    def _take_step(self, step: Decided) -> None:
        node = self._nodes.get(step.terms.name, "")
        match step.input:
            case SignReplied():
                self._take_reply(step, step.input)
            case LinkUp():
                self._count("link_connects", node)
            case LinkDown():
                self._count("link_losses", node)
            case LinkFailed():
                self._count("link_failures", node)
            case _ if step.arrived_at is not None:
                self._observe("frame_to_journal_seconds", step.committed_at - step.arrived_at)
            case _:
                pass
        for event in step.events:
            _, family, name = event.routing_key.split(".", 2)
            self._count("events", family)
            if family == "alarm":
                self._count("alarms", name)
        for effect in step.effects:
            match effect:
                case Conclude(outcome=outcome, code=code):
                    self._count("results", outcome.value, "" if code is None else code.value)
                case RefuseReply(code=code):
                    self._count("sign_replies_refused", code.value)
                case _:
                    pass

    def _take_reply(self, step: Decided, replied: SignReplied) -> None:
        opened = step.before.open_request
        if opened is None or opened.sign_request_id != replied.sign_request_id or step.arrived_at is None:
            return
        self._observe("request_to_signer_seconds", step.arrived_at - opened.opened_at)
        self._observe("deadline_headroom_seconds", opened.deadline - step.arrived_at)

    def _count(self, name: str, *labels: str) -> None:
        counter = self._counters[name]
        (counter.labels(*labels) if labels else counter).inc()

    def _observe(self, name: str, seconds: float) -> None:
        self._histograms[name].observe(max(0.0, seconds))


def process_samples(health: Health, connections: Iterable[Connection]) -> Iterator[Sample]:
    """What bridge and signer have in common."""
    yield "info", (__version__,), 1.0
    for part, is_ready in health.parts().items():
        yield "ready", (part,), float(is_ready)
    for connection in connections:
        yield "broker_up", (connection.name,), float(connection.is_up)
        yield "broker_connects", (connection.name,), float(connection.generation)
        yield "broker_blocked", (connection.name,), float(connection.is_blocked)
