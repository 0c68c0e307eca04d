"""Asks the chain, now and then, whether what was signed and abandoned can still be used there.

Also whether a close we signed is in a block: a node forgets a closed channel, so a bridge that was away at that
moment has nobody else to ask. Only for channels that wait for such an answer, and only where the configuration
names the node's HTTP address. A node that does not answer is asked again later: an exposure that stays is safe,
one that goes too early is not.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from bridge.app.worker import Worker
from bridge.channel.ending import pending_close
from bridge.channel.identifier import ChannelName
from bridge.channel.input import ChainSeen, CloseSeen
from bridge.channel.transaction import Transaction
from bridge.errors import NodeUnavailable
from bridge.node.chain import Chain

log = logging.getLogger(__name__)

EVERY_SECONDS = 30.0


class ChainWatch:
    """`chains` opens the HTTP interface of a channel's node, anew each time. `run()` until cancelled."""

    def __init__(
        self,
        workers: Mapping[ChannelName, Worker],
        chains: Mapping[ChannelName, Callable[[], Chain]],
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._workers = workers
        self._chains = chains
        self._every_seconds = every_seconds

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._every_seconds)
            for name, chain in self._chains.items():
                await self._look(self._workers[name], chain)

    async def _look(self, worker: Worker, connect: Callable[[], Chain]) -> None:
        has_exposure = any(exposure.nonce is not None for exposure in worker.state.exposures)
        close = pending_close(worker.state)
        if not has_exposure and close is None:
            return
        try:
            async with connect() as chain:
                if has_exposure:
                    worker.chain_seen(ChainSeen(await chain.height(), await chain.nonce(worker.terms.own)))
                if close is not None and await _is_closed(chain, worker, close):
                    worker.chain_seen(CloseSeen(close.hash))
        except NodeUnavailable as error:
            log.warning("chain_not_asked", extra={"channel": worker.terms.name, "error": str(error)})


async def _is_closed(chain: Chain, worker: Worker, close: Transaction) -> bool:
    """The nonce is used and the channel gone: whoever signed first never sees the hash it is mined under.

    Both, because a node that is still behind knows neither the channel nor the nonce.
    """
    channel_id, payer = worker.state.channel_id, close.account
    if channel_id is None or payer is None or close.nonce is None:
        return False
    return await chain.nonce(payer) >= close.nonce and not await chain.has_channel(channel_id)
