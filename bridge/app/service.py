"""`channel-bridge run`: the journal, the broker's two connections, and one worker a channel.

Starting: own the data directory, load what an earlier process left in the outbox, take every channel over,
only then read the bus. Stopping: read the bus no more, let signed operations and the outbox settle for a
while, close the sockets without a word to the node about the channel (no `leave`), exit.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

from bridge.app.access import Access
from bridge.app.bus import Bus, Consumes, RabbitBus
from bridge.app.chainwatch import ChainWatch
from bridge.app.clock import SteadyClock
from bridge.app.config import Config, terms
from bridge.app.contract import Contract, Names
from bridge.app.health import Stage
from bridge.app.http import HttpServer
from bridge.app.intake import ApprovalIntake, Backlog, CommandIntake, Desk, ReplyIntake
from bridge.app.monitor import Monitor
from bridge.app.relay import Relay
from bridge.app.settings import Node
from bridge.app.supervisor import Supervisor
from bridge.app.worker import Worker
from bridge.channel.identifier import ChannelName
from bridge.channel.state import State, decode
from bridge.channel.terms import Terms
from bridge.errors import BrokerUnavailable, ConfigInvalid, Finding, NodeUnavailable
from bridge.journal.journal import Journal
from bridge.journal.record import OutboxRow
from bridge.node.chain import Chain

log = logging.getLogger(__name__)

SETTLE_SECONDS = 10.0
HAND_SECONDS = 1.0
"""Within the former: how long what was handed out may take until it is acked. What is not comes again."""
CLOSE_SECONDS = 2.0
FLUSH_SECONDS = 10.0
CHANNEL_LANES = ("events", "sign")
RETENTION_SECONDS = 30 * 86_400.0
PRUNE_SECONDS = 3600.0
FIRST_HEAD_SECONDS = 600.0
"""A bridge that is started again and again must not fill its channels' events with heads of the audit."""
HEAD_SECONDS = 3600.0


class Service:
    """One bridge. `run()` works until `stop()`; each instance is used once."""

    def __init__(self, config: Config, clock: Callable[[], float] | None = None, bus: Bus | None = None) -> None:
        self._config = config
        self._clock = clock or SteadyClock()
        self._access = Access(config.broker, config.nodes, config.http)
        self._rabbit = RabbitBus(
            self._access.broker_urls,
            ssl_context=self._access.broker_context,
            call_seconds=config.limits.broker_timeout_seconds,
        )
        self._bus = bus or self._rabbit
        self._names = Names(config.prefix, config.event_type_prefix)
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()
        """Set once every channel is taken over and the bus is read."""
        self.workers: dict[ChannelName, Worker] = {}
        self.supervisor = Supervisor(self.workers)
        self._chains: dict[ChannelName, Callable[[], Chain]] = {}
        self.monitor = Monitor(config, self._clock, self._stage, self._rabbit, self.supervisor)
        self._observer = self.monitor.observer

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def _stage(self) -> Stage:
        if self.is_stopping:
            return Stage.STOPPING
        return Stage.RUNNING if self.ready.is_set() else Stage.STARTING

    def stop(self) -> None:
        """Begins to stop. May be called twice; does not block."""
        self._stopping.set()

    def reload(self, server: HttpServer) -> bool:
        """Passwords and certificates from their files again; see `Access`."""
        return self._access.reload(self._rabbit.replace_urls, server.renew)

    async def run(self) -> None:
        """Raises OwnerConflict, JournalUnavailable, BrokerRefused; returns after `stop()`."""
        config = self._config
        async with AsyncExitStack() as stack:
            journal = await Journal.open(Path(config.data_dir), config.journal_key(), self._clock)
            stack.push_async_callback(journal.close)
            self.monitor.journal = journal
            log.info("journal_opened", extra={"epoch": journal.epoch})
            bus = await stack.enter_async_context(self._bus)
            await _check_networks(config, self._access)
            limits = config.limits
            relay = Relay(
                journal,
                bus.publisher(),
                most_rows=limits.outbox_rows,
                most_bytes=limits.outbox_bytes,
                alarm=self._tell_unpublished,
                observer=self._observer,
                clock=self._clock,
            )
            self.monitor.relay = relay
            stack.push_async_callback(relay.close)
            for channel_terms, node in terms(config):
                self.workers[channel_terms.name] = await self._load(channel_terms, node, journal, relay)
                if node.chain_url is not None:
                    self._chains[channel_terms.name] = partial(_chain, node.chain_url, node, self._access)
            await relay.load()
            await self._work(journal, relay, bus)

    def _tell_unpublished(self, row: OutboxRow, error: BrokerUnavailable) -> None:
        """An alarm among the events of the channel whose envelope the broker does not take."""
        kind, _, name = row.lane.partition("/")
        worker = self.workers.get(ChannelName(name)) if kind in CHANNEL_LANES else None
        if worker is not None and ChannelName(name) not in self.supervisor.halted:
            worker.unpublished(row.envelope.routing_key, str(error))

    async def _load(self, channel_terms: Terms, node: Node, journal: Journal, relay: Relay) -> Worker:
        record = await journal.load(channel_terms.name)
        stored = None if record is None else record.state
        contract = Contract(
            self._names,
            channel_terms,
            seq=0 if record is None else record.seq,
            prev="" if record is None else record.prev,
            epoch=journal.epoch,
        )
        state = State() if stored is None else decode(stored)
        limits = self._config.limits
        return Worker(
            channel_terms,
            node.url,
            state,
            contract,
            journal,
            relay,
            self._clock,
            context=partial(self._access.node_context, node),
            max_frame_bytes=limits.node_frame_bytes,
            max_waiting_bytes=limits.node_waiting_bytes,
            observer=self._observer,
        )

    async def _work(self, journal: Journal, relay: Relay, bus: Bus) -> None:
        prefix = self._config.prefix
        limits = self._config.limits
        backlog = Backlog(limits.backlog_per_channel, limits.backlog)
        commands = bus.consumer(f"{prefix}.commands", prefetch=limits.prefetch, source=f"{prefix}.commands")
        replies = bus.consumer(f"{prefix}.sign-replies", prefetch=limits.prefetch, source=f"{prefix}.sign-replies")
        approvals = bus.consumer(f"{prefix}.approvals", prefetch=limits.prefetch, source=f"{prefix}.approvals")
        desk = Desk(self._names, self.workers, self.supervisor.halted, journal, relay, self._clock, self._observer)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(relay.run(), name="relay"),
                group.create_task(self.supervisor.run(), name="workers"),
                group.create_task(bus.refused(), name="refusals"),
            ]
            for worker in self.workers.values():
                await worker.taken_over.wait()
            tasks += [
                group.create_task(ReplyIntake(desk).run(replies), name="replies"),
                group.create_task(ApprovalIntake(desk).run(approvals), name="approvals"),
                group.create_task(self._prune(journal), name="prune"),
                group.create_task(self._tell_heads(journal), name="audit heads"),
                group.create_task(ChainWatch(self.workers, self._chains).run(), name="chain watch"),
            ]
            intake = group.create_task(CommandIntake(desk, backlog).run(commands), name="commands")
            self.ready.set()
            log.info("bridge_ready", extra={"channels": len(self.workers)})
            await self._stopping.wait()
            await self._wind_down(relay, (commands, approvals), replies)
            for task in (intake, *tasks):
                task.cancel()
        log.info("bridge_stopped")

    async def _prune(self, journal: Journal) -> None:
        """Forget what is older than the retention, from time to time.

        The head of the audit goes to the log with it: a log that is kept elsewhere holds anchors for `audit verify`.
        """
        while True:
            forgotten = await journal.prune(self._clock() - RETENTION_SECONDS)
            log.info("journal_pruned", extra={"rows": forgotten})
            log.info("audit_head", extra={"anchor": await journal.audit_head()})
            await asyncio.sleep(PRUNE_SECONDS)

    async def _tell_heads(self, journal: Journal) -> None:
        """The head of the audit as an event of each channel: whoever reads one of them holds anchors."""
        told = ""
        await asyncio.sleep(FIRST_HEAD_SECONDS)
        while True:
            anchor = await journal.audit_head()
            if anchor != told:
                for worker in self._live():
                    worker.audit_grew(anchor)
            told = anchor
            await asyncio.sleep(HEAD_SECONDS)

    def _live(self) -> list[Worker]:
        return [worker for name, worker in self.workers.items() if name not in self.supervisor.halted]

    async def _wind_down(self, relay: Relay, beginnings: Iterable[Consumes], replies: Consumes) -> None:
        """guarantees.md section 4: nothing new, then what is signed may settle, then the outbox empties.

        Each bound here, and those of the broker's connections and the HTTP port behind it, add up to less than 25 s.
        """
        log.info("bridge_stopping")
        live = self._live()
        for worker in live:
            worker.take_no_more()
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                closing = (consumer.close(HAND_SECONDS) for consumer in beginnings)
                await asyncio.gather(*closing, *(worker.settled() for worker in live))
                await replies.close(HAND_SECONDS)
                # A reply that came while the others settled.
                await asyncio.gather(*(worker.settled() for worker in live))
        except TimeoutError:
            log.warning("stopping_with_signed_operations")
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.gather(*(worker.link.close() for worker in live))
                await asyncio.gather(*(worker.drained() for worker in live))
        if not await relay.flush(FLUSH_SECONDS):
            log.warning("outbox_not_empty", extra={"rows": relay.depth[0]})


def _chain(url: str, node: Node, access: Access) -> Chain:
    """With the certificates in force at this moment."""
    return Chain(url, context=access.node_context(node))


async def _check_networks(config: Config, access: Access) -> None:
    """A node of another network would take no signature of ours: better said at the start.

    Raises ConfigInvalid when a node tells another network id. One that cannot be asked is only warned of: the
    channels wait for it anyway.
    """
    findings = []
    for name, node in config.nodes.items():
        if node.chain_url is None:
            continue
        try:
            async with _chain(node.chain_url, node, access) as chain:
                told = await chain.network_id()
        except NodeUnavailable as error:
            log.warning("node_not_asked", extra={"node": name, "code": error.code.value, "error": str(error)})
            continue
        if told != node.network_id:
            findings.append(Finding(f"nodes.{name}.network_id", node.network_id, f"{told}, as the node says"))
    if findings:
        raise ConfigInvalid(tuple(findings))


async def serve(config: Config) -> None:
    """Runs a bridge until SIGTERM or SIGINT; SIGHUP reads passwords and certificates again.

    The first while it still starts ends the start; a second one at any time ends the process as if nobody had asked
    to be told: the journal is made for that.
    """
    service = Service(config)
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # inside a task

    def on_signal(number: signal.Signals) -> None:
        if service.is_stopping:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        service.stop()
        if not service.ready.is_set():
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    server = service.monitor.server()
    loop.add_signal_handler(signal.SIGHUP, service.reload, server)
    try:
        async with server:
            await service.run()
    except asyncio.CancelledError:
        if not service.is_stopping:
            raise
        log.info("bridge_stopped_while_starting")
