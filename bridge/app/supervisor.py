"""Many channels in one process, each isolated from the others' failures.

A worker that ends with an error halts its own channel: it is told to operators and not started again, because
what broke was a rule of ours and going on would be guessing. Two errors are everybody's: a journal that does
not commit, and a broker that refuses us. They end the service, loudly.
"""

import asyncio
import logging
from collections.abc import Mapping

from bridge.app.worker import Worker
from bridge.channel.identifier import ChannelName
from bridge.errors import JournalUnavailable

log = logging.getLogger(__name__)


class Supervisor:
    def __init__(self, workers: Mapping[ChannelName, Worker]) -> None:
        self.workers = workers
        self.halted: set[ChannelName] = set()

    async def run(self) -> None:
        """Runs every worker until cancelled. Raises JournalUnavailable when one meets it."""
        async with asyncio.TaskGroup() as group:
            for name, worker in self.workers.items():
                group.create_task(self._keep(name, worker), name=f"worker {name}")
            if not self.workers:
                await asyncio.Event().wait()

    async def _keep(self, name: ChannelName, worker: Worker) -> None:
        try:
            await worker.run()
        except JournalUnavailable:
            raise
        except BaseExceptionGroup as group:
            if group.subgroup(JournalUnavailable) is not None:
                raise
            await self._halt(name, worker, group)
        except Exception as error:  # the outermost frame of a channel's task
            await self._halt(name, worker, error)
        # A halted channel keeps its place: the group lives as long as its other members.
        await asyncio.Event().wait()

    async def _halt(self, name: ChannelName, worker: Worker, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        self.halted.add(name)
        await worker.tell_halted(error)
        log.error("channel_halted", extra={"channel": name}, exc_info=error)
