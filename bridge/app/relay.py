"""From the outbox to the broker: every row until it is confirmed, each lane in order.

A lane is what must stay in order among itself (one channel's events, one author's results). Its rows go out
one after the other; many lanes go out side by side. A row leaves the journal only after the broker's confirm
(F7), so a crash in between publishes it again with the same id and body.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from bridge.app.bus import Publishes
from bridge.app.observer import Confirmed, Observer
from bridge.errors import BrokerRefused, BrokerUnavailable, Nacked, Unroutable
from bridge.journal.journal import Journal
from bridge.journal.record import OutboxRow

log = logging.getLogger(__name__)

PAGE = 1000
MOST_ROWS, MOST_BYTES = 100_000, 512 * 1024 * 1024
FULL = 0.8
"""At this share of its limits the outbox asks the intakes to wait."""
FIRST_WAIT, LONGEST_WAIT = 0.2, 8.0

Alarm = Callable[[OutboxRow, BrokerUnavailable], None]


class Relay:
    """May be given the same row once only. Keeps order per lane, not across lanes.

    `alarm` is told of a row the broker returned or refused, once until its lane moves again. It must not block.
    """

    def __init__(
        self,
        journal: Journal,
        publisher: Publishes,
        *,
        most_rows: int = MOST_ROWS,
        most_bytes: int = MOST_BYTES,
        alarm: Alarm | None = None,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._publisher = publisher
        self._lanes: dict[str, deque[OutboxRow]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._confirmed: list[int] = []
        self._wake = asyncio.Event()
        self._rows = 0
        self._bytes = 0
        self._error: BaseException | None = None
        self._stuck: set[str] = set()
        self._alarm = alarm
        self._observer = observer or Observer()
        self._clock = clock
        self._refused: set[str] = set()
        self.refusals = 0
        """Publishes the broker returned or refused so far: a counter."""
        self._most_rows = most_rows
        self._most_bytes = most_bytes
        self._room = asyncio.Event()
        self._room.set()

    @property
    def depth(self) -> tuple[int, int]:
        """Rows and bytes that wait for their confirm."""
        return self._rows, self._bytes

    @property
    def has_room(self) -> bool:
        return self._room.is_set()

    @property
    def is_full(self) -> bool:
        """Beyond the limit itself: the intakes have stopped long before."""
        return self._rows >= self._most_rows or self._bytes >= self._most_bytes

    @property
    def oldest(self) -> float | None:
        """When the oldest row was made that waits for its confirm, in seconds since the epoch."""
        return min((lane[0].created_at for lane in self._lanes.values() if lane), default=None)

    async def room(self) -> None:
        """Returns when the outbox may take more: the intakes wait here while the broker takes nothing."""
        await self._room.wait()

    def _measure(self) -> None:
        if self._rows >= FULL * self._most_rows or self._bytes >= FULL * self._most_bytes:
            if self._room.is_set():
                log.warning("outbox_full", extra={"rows": self._rows, "bytes": self._bytes})
            self._room.clear()
        else:
            self._room.set()

    async def load(self) -> None:
        """What an earlier process left: first, before any new row."""
        after = 0
        while rows := await self._journal.outbox(after, PAGE):
            self.add(rows)
            after = rows[-1].id

    def add(self, rows: Iterable[OutboxRow]) -> None:
        for row in rows:
            self._rows += 1
            self._bytes += len(row.envelope.body)
            self._measure()
            lane = self._lanes.get(row.lane)
            if lane is not None:
                lane.append(row)
                continue
            self._lanes[row.lane] = deque([row])
            task = asyncio.create_task(self._drain(row.lane), name=f"lane {row.lane}")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = error
            self._wake.set()

    async def _drain(self, name: str) -> None:
        lane = self._lanes[name]
        while lane:
            await self._publish(lane[0])
            row = lane.popleft()
            self._rows -= 1
            self._bytes -= len(row.envelope.body)
            self._measure()
            self._confirmed.append(row.id)
            self._wake.set()
        del self._lanes[name]

    async def _publish(self, row: OutboxRow) -> None:
        """Until it is confirmed. Whatever went wrong, the row stays and is tried again, ever more slowly.

        A copy to a reply address is an extra: whoever waited there may be gone, and it is tried once.
        """
        with suppress(BrokerUnavailable):
            # Nearly every row: setting up the retries would cost half as much as the publish.
            await self._try(row)
            return
        if row.envelope.mandatory:
            await asyncio.sleep(random.uniform(0.0, FIRST_WAIT))  # noqa: S311  # jitter
            waits = wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT)
            async for attempt in AsyncRetrying(retry=retry_if_exception_type(BrokerUnavailable), wait=waits):
                with attempt:
                    await self._try(row)

    async def _try(self, row: OutboxRow) -> None:
        try:
            await self._publisher.publish(row.envelope)
        except BrokerUnavailable as error:
            if row.lane not in self._stuck:
                self._stuck.add(row.lane)
                log.warning("publish_waits", extra={"lane": row.lane, "error": str(error)})
            if isinstance(error, Unroutable | Nacked | BrokerRefused):
                self._count_refusal(row, error)
            raise
        self._stuck.discard(row.lane)
        self._refused.discard(row.lane)
        self._observer.tell(Confirmed(row, self._clock()))

    def _count_refusal(self, row: OutboxRow, error: BrokerUnavailable) -> None:
        """Repeating it will not help until somebody mends the broker: an operator's matter (pitfalls.md rows 2, 30)."""
        self.refusals += 1
        if row.lane in self._refused or not row.envelope.mandatory:
            return
        self._refused.add(row.lane)
        log.error("event_unroutable", extra={"lane": row.lane, "routing_key": row.envelope.routing_key})
        if self._alarm is not None:
            self._alarm(row, error)

    async def run(self) -> None:
        """Forget confirmed rows, many in one commit. Ends only with an error or by cancellation."""
        while True:
            await self._wake.wait()
            if self._error is not None:
                raise self._error
            await self._forget()

    async def _forget(self) -> None:
        self._wake.clear()
        confirmed, self._confirmed = self._confirmed, []
        if confirmed:
            await self._journal.mark_published(confirmed)

    async def flush(self, seconds: float) -> bool:
        """Wait until nothing waits any more; False when the time ran out first."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._tasks:
                    await asyncio.wait(set(self._tasks))
        await self._forget()
        return not self._lanes

    async def close(self) -> None:
        for task in set(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
