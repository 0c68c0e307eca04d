"""Payments that go on all the time on every channel of a home, both ways in turn, and what troubles ask of them."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from bridge.sim.fault import Fault
from bridge.sim.nemesis import carry_out
from tests.faults.wiring import Wired
from tests.system.house import House, Pair

FIRST_AMOUNT = 6_000_011
PATIENCE_SECONDS = 90.0
MOST_DROPS, DROPS_SECONDS, ABNORMAL = 3, timedelta(seconds=60), 1006
"""So many sockets torn away in so long look like another client: then the bridge yields for a minute, as it must."""

Strike = Callable[["Payers"], Awaitable[None]]


class Payers:
    """On every channel the two sides in turn, always one payment under way."""

    def __init__(self, wires: Wired) -> None:
        self.wires = wires
        self.amount = FIRST_AMOUNT
        self.succeeded: Counter[str] = Counter()
        self.news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False

    @property
    def house(self) -> House:
        return self.wires.made.house

    @property
    def names(self) -> list[str]:
        return [name for pair in self.house.pairs for name in (pair.initiator, pair.responder)]

    def begin(self) -> None:
        self._tasks = [asyncio.create_task(self._pay(pair)) for pair in self.house.pairs]

    async def end(self) -> None:
        """Every payment has its outcome."""
        self._is_over = True
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*self._tasks)

    def drop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _pay(self, pair: Pair) -> None:
        turn = 0
        while not self._is_over:
            payer, payee = ("initiator", "responder") if turn % 2 == 0 else ("responder", "initiator")
            channel = pair.initiator if payer == "initiator" else pair.responder
            self.amount, turn = self.amount + 1, turn + 1
            parties = {"from_": pair.account(payer), "to": pair.account(payee)}
            command_id = await self.house.send(channel, "transfer", amount=str(self.amount), **parties)
            outcome = await self.house.outcome(command_id, 4 * PATIENCE_SECONDS)
            if outcome["outcome"] == "succeeded":
                self.succeeded[channel] += 1
                self.news.set()

    async def pay_again(self) -> float:
        """Seconds from here until every channel has paid from both sides, two payments each: one may be an old one."""
        began = time.monotonic()
        wanted = {name: self.succeeded[name] + 2 for name in self.names}
        async with asyncio.timeout(PATIENCE_SECONDS):
            while any(self.succeeded[name] < count for name, count in wanted.items()):
                self.news.clear()
                await self.news.wait()
        return time.monotonic() - began

    async def strike(self, fault: Fault) -> None:
        """Every socket is met, or nothing was tried."""
        met = await carry_out(self.house.node, fault)
        assert met == len(self.names), f"{fault!r} met {met} sockets of {len(self.names)}"

    def told(self, event: str) -> Counter[str]:
        """How often each channel has said so."""
        return Counter({name: len(self.house.find(name, event)) for name in self.names})

    async def until_told(self, event: str, known: Counter[str], seconds: float) -> None:
        """Every channel has said so once more."""

        def look() -> bool | None:
            told = self.told(event)
            return all(told[name] > known[name] for name in self.names) or None

        await self.house.until(look, seconds)

    async def calm(self) -> None:
        """Until one more torn socket of each channel looks like a bad network, and not yet like another client."""
        drops = [self.house.find(name, "link.detached", code=ABNORMAL) for name in self.names]
        due = [_at(torn[1 - MOST_DROPS]) + DROPS_SECONDS for torn in drops if len(torn) >= MOST_DROPS - 1]
        now = datetime.now(UTC)
        await asyncio.sleep((max([now, *due]) - now).total_seconds())

    async def endure(self, trouble: Strike) -> float:
        """Seconds from the repair until every channel has paid again. Raises TimeoutError."""
        await self.calm()
        await trouble(self)
        return await self.pay_again()


def _at(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["at"])
