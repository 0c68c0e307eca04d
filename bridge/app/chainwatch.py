"""Asks the chain, now and then, whether what was signed and abandoned can still be used there.

Only for channels with such an exposure, and only where the configuration names the node's HTTP address; without
one the node's own reports clear it. A node that does not answer is asked again later: an exposure that stays is
safe, one that goes too early is not.
"""

import asyncio
import logging
from collections.abc import Mapping

from bridge.app.worker import Worker
from bridge.channel.identifier import ChannelName
from bridge.errors import NodeUnavailable
from bridge.node.chain import Chain

log = logging.getLogger(__name__)

EVERY_SECONDS = 30.0


class ChainWatch:
    """`urls` maps a channel to its node's HTTP address. `run()` until cancelled."""

    def __init__(
        self,
        workers: Mapping[ChannelName, Worker],
        urls: Mapping[ChannelName, str],
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._workers = workers
        self._urls = urls
        self._every_seconds = every_seconds

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._every_seconds)
            for name, url in self._urls.items():
                worker = self._workers[name]
                if any(exposure.nonce is not None for exposure in worker.state.exposures):
                    await self._look(worker, url)

    async def _look(self, worker: Worker, url: str) -> None:
        try:
            async with Chain(url) as chain:
                height, nonce = await chain.height(), await chain.nonce(worker.terms.own)
        except NodeUnavailable as error:
            log.warning("chain_not_asked", extra={"channel": worker.terms.name, "error": str(error)})
            return
        worker.chain_seen(height, nonce)
