"""The durable record of a bridge in one SQLite file: state, inbox, outbox, events, ledger.

One owner a data directory, held by an OS lock for life; every commit durable before it returns (WAL,
`synchronous=FULL`); each one compares the owner's epoch (I5); after the first failed commit nothing more is
written or believed. Facts: design.md section 7, guarantees.md sections 2 to 4.
"""

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, Self, TypeVar

from bridge.channel.identifier import ChannelName, CommandId
from bridge.directory import is_made, mark_made
from bridge.errors import JournalUnavailable, OwnerConflict
from bridge.journal import lookup
from bridge.journal.connection import Connections, connect, read_epoch
from bridge.journal.entry import enter, erase_outbox
from bridge.journal.ledger import prune_ledger, signatures
from bridge.journal.owner import MADE, take
from bridge.journal.prune import DEDUPE_SECONDS, PAGE, find_prunable, forget, prune_events
from bridge.journal.record import Batch, ChannelRecord, EventRow, InboxRow, LedgerRow, OutboxRow
from bridge.journal.seal import Seal
from bridge.journal.writer import Writer

FILE = "journal.sqlite3"

P = ParamSpec("P")
T = TypeVar("T")


def take_over(directory: Path, seal: Seal, stop: threading.Event) -> tuple[int, Connections]:
    """In a thread of its own, which lets the lock go itself: it may go on for a while after nobody waits for it."""
    lock = take(directory, FILE)
    try:
        connections = connect(directory / FILE, seal, is_made=is_made(lock), stop=stop)
        mark_made(lock, MADE)
    except BaseException:
        os.close(lock)
        raise
    return lock, connections


async def _abandon(work: asyncio.Future[tuple[int, Connections]]) -> None:
    """Waits until the thread has ended, however often we are told to end: it may still write."""
    while not work.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([work])
    if not work.cancelled() and work.exception() is None:
        lock, connections = work.result()
        connections.close()
        os.close(lock)


class Journal:
    """Open with `await Journal.open(...)`. Safe to use from many tasks of one event loop.

    Reads see what is committed, at once. Every call raises JournalUnavailable once a commit has failed, and
    after `close`.
    """

    def __init__(self, lock: int, connections: Connections, seal: Seal, clock: Callable[[], float]) -> None:
        self._lock = lock
        self._connections = connections
        self._seal = seal
        self._clock = clock
        self.epoch = connections.epoch
        """The number of this owner: one more than the last one's."""
        self.forgotten_until = connections.forgotten_until
        """Ids of commands received up to then may be forgotten; of later ones none is."""
        self.writer = Writer(connections.writing, self._check_epoch, connections.place.check)
        self._reader = ThreadPoolExecutor(1, "journal-reader")
        self._is_closed = False

    @classmethod
    async def open(cls, directory: Path, key: bytes, clock: Callable[[], float]) -> Self:
        """Take the directory, which is made if need be, and count one more owner.

        `key` is the 32 bytes that seal credentials; `clock` gives seconds since 1970. Raises OwnerConflict if
        another process has the directory; JournalUnavailable if it is unfit, the journal in it is gone, its version is
        not known, commits would not be durable, or the key is not the one it was written with. Then nothing in it
        has changed.
        """
        seal = Seal(key)
        stop = threading.Event()
        work = asyncio.get_running_loop().run_in_executor(None, take_over, directory, seal, stop)
        try:
            lock, connections = await asyncio.shield(work)
        except asyncio.CancelledError:
            stop.set()
            await _abandon(work)
            raise
        return cls(lock, connections, seal, clock)

    async def close(self) -> None:
        """Write what was given, then let the directory go. May be called twice."""
        await self.writer.close()
        await asyncio.to_thread(self._reader.shutdown)
        if not self._is_closed:
            self._is_closed = True
            self._connections.close()
            os.close(self._lock)

    def _check_epoch(self, connection: sqlite3.Connection) -> None:
        """I5: what a later owner has taken over takes nothing from us, even where the OS lock holds nothing."""
        found = read_epoch(connection)
        if found != self.epoch:
            raise OwnerConflict(f"owner {found} has taken over from {self.epoch}")

    # --- writing ------------------------------------------------------------------------------------------

    async def commit(self, batch: Batch) -> tuple[OutboxRow, ...]:
        """Durable when it returns: all of the batch. Gives its outbox rows with their ids, in order.

        Raises JournalUnavailable: the effect must not happen, and whether the batch is found at the next start is
        unknown. Raises InvariantViolation for a batch that cannot be stored: nothing of it is, others go on.
        """
        return await self.writer.do(partial(enter, batch=batch, seal=self._seal, now=self._clock()))

    async def mark_published(self, ids: Iterable[int]) -> None:
        """F7: the broker has confirmed these outbox rows, they are forgotten. Ids not there do no harm."""
        await self.writer.do(partial(erase_outbox, ids=tuple(ids)))

    async def prune(self, before: float) -> int:
        """Forget events, ended commands and settled signatures older than that (seconds since 1970); how many rows.

        A command's id is kept for the dedupe memory of seven days whatever is asked, by the clock and by the newest
        command, and while it has not ended; a signature until two rounds above its own are co-signed. The latest
        co-signed state is always kept.
        """
        ids_before = min(before, self._clock() - DEDUPE_SECONDS)
        events = await self._erase(prune_events, before)
        signed = await self._erase(partial(prune_ledger, most=PAGE), before)
        return events + signed + await self._erase(self._forget_ids, ids_before)

    def _forget_ids(self, connection: sqlite3.Connection, before: float) -> int:
        """In the writer's thread. Known before it is committed: who finds no id any more sees that it was forgotten."""
        rows = find_prunable(connection, before)
        if rows:
            self.forgotten_until = max(self.forgotten_until, *(at for _, at in rows))
            forget(connection, (position for position, _ in rows), self.forgotten_until)
        return len(rows)

    async def _erase(self, page: Callable[[sqlite3.Connection, float], int], before: float) -> int:
        """Page by page: commits in between do not wait long."""
        erased = 0
        while (rows := await self.writer.do(lambda connection: page(connection, before))) == PAGE:
            erased += rows
        return erased + rows

    # --- reading ------------------------------------------------------------------------------------------

    async def load(self, channel: ChannelName) -> ChannelRecord | None:
        """None for a channel of which nothing was ever kept."""
        return await self._ask(lookup.load, channel, self._seal)

    async def find_command(self, command_id: CommandId) -> InboxRow | None:
        """Whether an id was met before, and what became of it."""
        return await self._ask(lookup.find_command, command_id)

    async def next_command(self, channel: ChannelName) -> InboxRow | None:
        """The head of the channel's line: of those that wait, the one journaled first.

        A checkpoint stands before all others: it mends what they wait for.
        """
        return await self._ask(lookup.next_command, channel)

    async def running(self, channel: ChannelName) -> tuple[InboxRow, ...]:
        """What left the line and has no final outcome, in journal order."""
        return await self._ask(lookup.running, channel)

    async def backlog(self) -> Mapping[ChannelName, int]:
        """How many commands wait in each channel's line; channels without any are absent."""
        return await self._ask(lookup.backlog)

    async def outbox(self, after: int, limit: int) -> tuple[OutboxRow, ...]:
        """Rows without a confirm, oldest first, behind the id `after`."""
        return await self._ask(lookup.outbox, after, limit)

    async def outbox_depth(self) -> tuple[int, int]:
        """Rows without a confirm, and the bytes of their bodies."""
        return await self._ask(lookup.outbox_depth)

    async def events(self, channel: ChannelName, first: int, last: int) -> tuple[EventRow, ...]:
        """By `seq`, both ends included; those pruned are absent."""
        return await self._ask(lookup.events, channel, first, last)

    async def ledger(self, channel: ChannelName) -> tuple[LedgerRow, ...]:
        """Every signature handed to the node for this channel and not pruned since, in journal order."""
        return await self._ask(signatures, channel)

    async def audit_head(self) -> str:
        """The newest row of the audit as an anchor, `SEQ:HASH`; empty before the first."""
        return await self._ask(lookup.audit_head)

    async def _ask(
        self, question: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self.writer.check()
        job = partial(question, self._connections.reading, *args, **kwargs)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader, job)
        except sqlite3.Error as error:
            raise JournalUnavailable(f"the journal could not be read: {error}; mend that, then start again") from error
