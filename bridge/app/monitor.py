"""What can be seen of a running bridge, and where: readiness, metrics and the console, each asked of the parts.

Looks and never touches: everything here reads what the parts have in memory, and of the journal two small numbers.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from bridge.app.bus import RabbitBus
from bridge.app.console import Console
from bridge.app.health import Health, Stage
from bridge.app.http import HttpServer, Site
from bridge.app.meter import Meter, Sample, process_samples
from bridge.app.observer import Observer
from bridge.app.relay import Relay
from bridge.app.settings import Config
from bridge.app.supervisor import Supervisor
from bridge.app.worker import Worker
from bridge.channel.identifier import ChannelName
from bridge.channel.state import Phase
from bridge.channel.state import Stage as CommandStage
from bridge.errors import JournalUnavailable
from bridge.journal.journal import Journal


class Monitor:
    """Made before the bridge starts. `journal` and `relay` are given once they are there."""

    def __init__(
        self,
        config: Config,
        clock: Callable[[], float],
        stage: Callable[[], Stage],
        bus: RabbitBus,
        supervisor: Supervisor,
    ) -> None:
        self.observer = Observer()
        self.journal: Journal | None = None
        self.relay: Relay | None = None
        self._clock = clock
        self._bus = bus
        self._supervisor = supervisor
        self._nodes = {ChannelName(channel.name): channel.node for channel in config.channels}
        self.health = Health(stage, {"journal": self._journal, "broker": self._broker, "node": self._node})
        self._meter = Meter(self._samples, self._nodes)
        self.observer.subscribe(self._meter.take)
        self.console = Console(self, self._nodes, clock)
        self._http = config.http
        if config.http.has_console:
            self.observer.subscribe(self.console.take)

    @property
    def workers(self) -> Mapping[ChannelName, Worker]:
        return self._supervisor.workers

    @property
    def halted(self) -> set[ChannelName]:
        return self._supervisor.halted

    def server(self) -> HttpServer:
        pages = {"/livez": self.health.livez, "/readyz": self.health.readyz, "/metrics": self._meter.page}
        if not self._http.has_console:
            return HttpServer(self._http, Site(pages))
        return HttpServer(self._http, Site(pages, self.console.pages(), self.console.serve))

    # --- ready ----------------------------------------------------------------------------------------------

    def _journal(self) -> str:
        if self.journal is None:
            return "not open"
        try:
            self.journal.writer.check()
        except JournalUnavailable as error:
            return str(error)
        return ""

    def _broker(self) -> str:
        for connection in self._bus.connections:
            if not connection.is_up:
                return f"no connection to {connection.name}"
            if connection.is_blocked:
                return "it has no memory or disk left and takes nothing"
        if self.relay is not None and not self.relay.has_room:
            return "the outbox is full: what we publish is not confirmed"
        return ""

    def _node(self) -> str:
        workers = self.workers.values()
        if not workers or any(worker.link.is_up for worker in workers):
            return ""
        return "" if all(worker.state.is_over for worker in workers) else "no configured node has taken a connection"

    # --- metrics --------------------------------------------------------------------------------------------

    async def _samples(self) -> list[Sample]:
        samples = [*process_samples(self.health, self._bus.connections), *self._channel_samples()]
        samples += [("console_clients", (), self.console.clients), ("console_dropped", (), self.console.dropped)]
        if self.relay is not None:
            samples += self._outbox_samples(self.relay)
        if self.journal is not None and not self._journal():
            samples += await self._journal_samples(self.journal)
        return samples

    def _outbox_samples(self, relay: Relay) -> Iterator[Sample]:
        rows, size = relay.depth
        yield "outbox_rows", (), rows
        yield "outbox_bytes", (), size
        yield "outbox_oldest_seconds", (), self._age(relay.oldest)
        yield "publishes_refused", (), relay.refusals
        yield "intake_open", (), float(relay.has_room)

    async def _journal_samples(self, journal: Journal) -> list[Sample]:
        head = await journal.audit_head()
        waiting = await journal.backlog()
        return [
            ("journal_commits", (), journal.writer.jobs),
            ("journal_transactions", (), journal.writer.transactions),
            ("journal_epoch", (), journal.epoch),
            ("audit_head_seq", (), int(head.partition(":")[0] or 0)),
            ("backlog_commands", (), sum(waiting.values())),
        ]

    def _channel_samples(self) -> Iterator[Sample]:
        workers = self.workers
        states = [worker.state for worker in workers.values()]
        phases = Counter(state.phase for state in states)
        yield from (("channels", (phase.value,), phases[phase]) for phase in Phase)
        yield "channels_ready", (), sum(state.is_ready for state in states)
        yield "channels_halted", (), len(self.halted)
        up = Counter(self._nodes[name] for name, worker in workers.items() if worker.link.is_up)
        down = Counter(
            self._nodes[name] for name, worker in workers.items() if not (worker.link.is_up or worker.state.is_over)
        )
        waiting = Counter[str]()
        for name, worker in workers.items():
            waiting[self._nodes[name]] += worker.room.held
        for node in sorted(set(self._nodes.values())):
            yield "links_up", (node,), up[node]
            yield "links_down", (node,), down[node]
            yield "links_waiting_bytes", (node,), waiting[node]
        doubts = [
            operation.since
            for state in states
            for operation in state.operations
            if operation.stage is CommandStage.IN_DOUBT
        ]
        yield "in_doubt", (), len(doubts)
        yield "in_doubt_oldest_seconds", (), self._age(min(doubts, default=None))
        yield "exposures", (), sum(len(state.exposures) for state in states)
        asked = [state.open_request for state in states if state.open_request and state.open_request.is_asked]
        yield "sign_requests_open", (), len(asked)
        yield "signer_silence_seconds", (), self._age(min((one.opened_at for one in asked), default=None))
        if asked:
            yield "sign_headroom_seconds", (), min(one.deadline for one in asked) - self._clock()

    def _age(self, since: float | None) -> float:
        return 0.0 if since is None else max(0.0, self._clock() - since)
