"""Every metric there is: name, kind, labels, meaning. `docs/metrics.md` is made from this table.

Nothing here is labelled by channel: with hundreds of them each metric would become hundreds. Channels are in the
console, the log and the events. Base units and `_total`, as Prometheus wants it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
SPLIT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
PATIENCE = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
PREFIX = "channel_bridge_"


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    """Behind the prefix; of a counter without `_total`."""
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = SPLIT
    program: Literal["bridge", "signer", "both"] = "bridge"
    is_read: bool = False
    """A counter that somebody else keeps and that is read when asked for; gauges always are."""

    @property
    def full_name(self) -> str:
        return PREFIX + self.name + ("_total" if self.kind == "counter" else "")


METRICS = (
    Metric("info", "gauge", "Always 1; the version of the program.", ("version",), program="both"),
    Metric(
        "ready", "gauge", "1 for each part that is ready, else 0; `process` while it runs.", ("part",), program="both"
    ),
    Metric("broker_up", "gauge", "1 while the connection to the broker is up.", ("connection",), program="both"),
    Metric(
        "broker_connects",
        "counter",
        "Connections established: 1 for the first.",
        ("connection",),
        program="both",
        is_read=True,
    ),
    Metric(
        "broker_blocked", "gauge", "1 while the broker reads nothing for want of room.", ("connection",), program="both"
    ),
    Metric("frame_to_journal_seconds", "histogram", "From a frame's arrival until what follows from it is durable."),
    Metric("journal_to_confirm_seconds", "histogram", "From a durable envelope to the broker's confirm."),
    Metric(
        "request_to_signer_seconds",
        "histogram",
        "From a durable sign request to its first answer: broker, signer and people.",
    ),
    Metric("signer_to_node_seconds", "histogram", "From a signer's reply to the frame on the node's socket."),
    Metric(
        "deadline_headroom_seconds",
        "histogram",
        "What was left of the deadline when a signer answered.",
        buckets=PATIENCE,
    ),
    Metric("results", "counter", "Outcomes of commands. `code` is empty for success.", ("outcome", "code")),
    Metric("events", "counter", "Events committed, by family.", ("family",)),
    Metric("alarms", "counter", "Events of the family `alarm`, by code.", ("code",)),
    Metric("sign_replies_refused", "counter", "Sign replies that were not used.", ("code",)),
    Metric("rejections", "counter", "Messages refused before they reached a channel.", ("code",)),
    Metric("publishes_refused", "counter", "Publishes the broker returned or refused.", is_read=True),
    Metric("link_connects", "counter", "Sockets to a node that came up.", ("node",)),
    Metric("link_losses", "counter", "Sockets to a node that ended.", ("node",)),
    Metric("link_failures", "counter", "Outages told: the first failed try and each doubling.", ("node",)),
    Metric("links_up", "gauge", "Sockets to a node that are up.", ("node",)),
    Metric("links_down", "gauge", "Channels that are not over and have no socket.", ("node",)),
    Metric("links_waiting_bytes", "gauge", "Memory of what nodes sent and the journal does not hold yet.", ("node",)),
    Metric("channels", "gauge", "Channels, by phase.", ("phase",)),
    Metric("channels_ready", "gauge", "Channels that take a command at once."),
    Metric("channels_halted", "gauge", "Channels halted by a bug of ours or a broken rule."),
    Metric("in_doubt", "gauge", "Commands whose outcome is open."),
    Metric("in_doubt_oldest_seconds", "gauge", "Age of the oldest of them; 0: none."),
    Metric("exposures", "gauge", "Transactions of ours a peer may still use."),
    Metric("sign_requests_open", "gauge", "Questions to signers without an answer."),
    Metric("signer_silence_seconds", "gauge", "Age of the oldest open question to a signer; 0: none."),
    Metric("sign_headroom_seconds", "gauge", "What is left of the nearest deadline of a signer; absent: none is open."),
    Metric("outbox_rows", "gauge", "Envelopes without the broker's confirm."),
    Metric("outbox_bytes", "gauge", "The same by size."),
    Metric("outbox_oldest_seconds", "gauge", "Age of the oldest of them; 0: none."),
    Metric("intake_open", "gauge", "0 while commands wait at the broker because the outbox is full."),
    Metric("backlog_commands", "gauge", "Journaled commands that wait for their turn."),
    Metric("journal_commits", "counter", "Batches made durable.", is_read=True),
    Metric(
        "journal_transactions",
        "counter",
        "Durable transactions; commits through transactions is the group size.",
        is_read=True,
    ),
    Metric("journal_epoch", "gauge", "The number of this owner of the data directory."),
    Metric("audit_head_seq", "gauge", "Number of the newest row of the audit."),
    Metric("console_clients", "gauge", "Console pages that are open."),
    Metric("console_dropped", "counter", "Console pages that were dropped because they did not read.", is_read=True),
    Metric(
        "signer_answers", "counter", "Sign requests answered, by tag and verdict.", ("tag", "verdict"), program="signer"
    ),
    Metric(
        "signer_answer_seconds",
        "histogram",
        "From a request's arrival at the signer to the reply's confirm.",
        program="signer",
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}

_INTRODUCTION = """\
# Metrics

Made from the program itself by `python -m bridge.app.metric docs`; do not edit.

`/metrics` of bridge and signer, in Prometheus' text format. What they are for, the alerts and what to do about
each: [observability](observability.md). Besides these, the usual `process_*` and `python_*` metrics are there.
A histogram has `_bucket`, `_sum` and `_count`.

| metric | kind | labels | of | meaning |
| --- | --- | --- | --- | --- |
"""


def markdown() -> str:
    return _INTRODUCTION + "\n".join(_rows()) + "\n"


def _rows() -> Iterator[str]:
    for one in METRICS:
        labels = ", ".join(f"`{label}`" for label in one.labels) or "-"
        yield f"| `{one.full_name}` | {one.kind} | {labels} | {one.program} | {one.meaning} |"


if __name__ == "__main__":
    import sys
    from pathlib import Path

    (Path(sys.argv[1]) / "metrics.md").write_text(markdown(), encoding="utf-8")
