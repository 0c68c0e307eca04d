"""`channel-bridge run`: the journal, the broker's two connections, and one worker a channel.

Starting: own the data directory, load what an earlier process left in the outbox, take every channel over,
only then read the bus. Stopping: read the bus no more, let signed operations and the outbox settle for a
while, close the sockets without a word to the node about the channel (no `leave`), exit.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from bridge.app.clock import SteadyClock
from bridge.app.config import Config, terms
from bridge.app.contract import Contract, Names
from bridge.app.intake import Backlog, CommandIntake, ReplyIntake
from bridge.app.relay import Relay
from bridge.app.supervisor import Supervisor
from bridge.app.worker import Worker
from bridge.broker.connection import Connection
from bridge.broker.consumer import Consumer
from bridge.broker.publisher import Publisher
from bridge.channel.identifier import ChannelName
from bridge.channel.state import State, decode
from bridge.channel.terms import Terms
from bridge.journal.journal import Journal

log = logging.getLogger(__name__)

SETTLE_SECONDS = 10.0
FLUSH_SECONDS = 10.0


class Service:
    """One bridge. `run()` works until `stop()`; each instance is used once."""

    def __init__(self, config: Config, clock: Callable[[], float] | None = None) -> None:
        self._config = config
        self._clock = clock or SteadyClock()
        self._names = Names(config.prefix, config.event_type_prefix)
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()
        """Set once every channel is taken over and the bus is read."""
        self.workers: dict[ChannelName, Worker] = {}
        self.supervisor = Supervisor(self.workers)

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        """Begins to stop. May be called twice; does not block."""
        self._stopping.set()

    async def run(self) -> None:
        """Raises OwnerConflict, JournalUnavailable, BrokerRefused; returns after `stop()`."""
        config = self._config
        async with AsyncExitStack() as stack:
            journal = await Journal.open(Path(config.data_dir), config.journal_key(), self._clock)
            stack.push_async_callback(journal.close)
            publishing = await stack.enter_async_context(Connection(config.broker_urls(), "publish"))
            consuming = await stack.enter_async_context(Connection(config.broker_urls(), "consume"))
            relay = Relay(journal, Publisher(publishing))
            stack.push_async_callback(relay.close)
            await relay.load()
            for channel_terms, node in terms(config):
                self.workers[channel_terms.name] = await self._load(channel_terms, node.url, journal, relay)
            await self._work(journal, relay, consuming)

    async def _load(self, channel_terms: Terms, url: str, journal: Journal, relay: Relay) -> Worker:
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
        return Worker(channel_terms, url, state, contract, journal, relay, self._clock)

    async def _work(self, journal: Journal, relay: Relay, consuming: Connection) -> None:
        prefix = self._config.prefix
        limits = self._config.limits
        backlog = Backlog(limits.backlog_per_channel, limits.backlog)
        commands = Consumer(consuming, f"{prefix}.commands", prefetch=limits.prefetch, source=f"{prefix}.commands")
        replies = Consumer(
            consuming, f"{prefix}.sign-replies", prefetch=limits.prefetch, source=f"{prefix}.sign-replies"
        )
        command_intake = CommandIntake(self._names, self.workers, journal, relay, self._clock, backlog)
        reply_intake = ReplyIntake(self._names, self.workers, journal, relay, self._clock)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(relay.run(), name="relay"),
                group.create_task(self.supervisor.run(), name="workers"),
                group.create_task(reply_intake.run(replies), name="replies"),
            ]
            intake = group.create_task(command_intake.run(commands), name="commands")
            self.ready.set()
            log.info("bridge_ready", extra={"channels": len(self.workers)})
            await self._stopping.wait()
            await self._wind_down(relay, commands, replies)
            for task in (intake, *tasks):
                task.cancel()
        log.info("bridge_stopped")

    async def _wind_down(self, relay: Relay, commands: Consumer, replies: Consumer) -> None:
        """guarantees.md section 4: nothing new, then what is signed may settle, then the outbox empties."""
        log.info("bridge_stopping")
        await commands.close()
        await self._settle()
        await replies.close()
        live = [worker for name, worker in self.workers.items() if name not in self.supervisor.halted]
        await asyncio.gather(*(worker.link.close() for worker in live))
        await asyncio.gather(*(worker.drained() for worker in live))
        if not await relay.flush(FLUSH_SECONDS):
            log.warning("outbox_not_empty", extra={"rows": relay.depth[0]})

    async def _settle(self) -> None:
        """A signature is out: its outcome is worth a short wait."""
        waits = [worker.settled() for name, worker in self.workers.items() if name not in self.supervisor.halted]
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                await asyncio.gather(*waits)
        except TimeoutError:
            log.warning("stopping_with_signed_operations")


async def serve(config: Config) -> None:
    """Runs a bridge until SIGTERM or SIGINT; a second signal ends it at once."""
    service = Service(config)
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def on_signal() -> None:
        if service.is_stopping and task is not None:
            task.cancel()
        service.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await service.run()
