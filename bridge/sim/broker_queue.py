"""A queue of the in-memory broker: order, prefetch, redelivery, limits and dead letters, as RabbitMQ keeps them.

What comes back after a lost subscription takes its old place before all that was published later, marked
`redelivered` and counted against the delivery limit, neighbours in the prefetch too (pitfalls.md row 12).
Never does: know sessions or exchanges; the broker is told by `bury` what has died here.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from bridge.wire.envelope import Received

Arguments = Mapping[str, str | int | bool]
UNLIMITED = 1_000_000_000


@dataclass(slots=True, eq=False)
class Entry:
    """A stored message and its place. `returns`: how often it was delivered and came back."""

    received: Received
    position: int
    returns: int = 0

    def deliver(self, queue: "MemoryQueue") -> Received:
        """As the consumer sees it."""
        headers = dict(self.received.headers)
        if self.returns and queue.arguments.get("x-queue-type") == "quorum":
            headers["x-delivery-count"] = self.returns
        return replace(self.received, queue=queue.name, redelivered=self.returns > 0, headers=headers)


@dataclass(slots=True, eq=False)
class Subscription:
    """One consumer on one session. `waiting` ends with None when it is lost."""

    queue: "MemoryQueue"
    prefetch: int
    waiting: asyncio.Queue[Entry | None] = field(default_factory=asyncio.Queue)
    unsettled: dict[int, Entry] = field(default_factory=dict)
    """By position, which is the delivery tag here."""
    is_lost: bool = False

    @property
    def has_room(self) -> bool:
        return not self.prefetch or len(self.unsettled) < self.prefetch

    def take(self, entry: Entry) -> None:
        self.unsettled[entry.position] = entry
        self.waiting.put_nowait(entry)

    def lose(self) -> None:
        """What is unsettled goes back. May be called twice."""
        if not self.is_lost:
            self.is_lost = True
            self.waiting.put_nowait(None)
            self.queue.leave(self)


class MemoryQueue:
    """`bury(queue, entry, reason)` is told of each message that dies here and has somewhere to go."""

    def __init__(
        self,
        name: str,
        arguments: Arguments,
        bury: Callable[["MemoryQueue", Entry, str], None],
        *,
        is_temporary: bool = False,
    ) -> None:
        self.name = name
        self.arguments = dict(arguments)
        self.is_temporary = is_temporary
        self.doubles = 0
        """So many of the next messages are stored twice, as when a publisher repeats itself."""
        self._bury = bury
        self._most = int(arguments.get("x-max-length", UNLIMITED))
        self._refuses = arguments.get("x-overflow") == "reject-publish"
        self._deliveries = int(arguments.get("x-delivery-limit", UNLIMITED))
        self._is_single = bool(arguments.get("x-single-active-consumer"))
        self._is_stream = arguments.get("x-queue-type") == "stream"
        self._ready: deque[Entry] = deque()
        self._subscriptions: deque[Subscription] = deque()
        self._positions = itertools.count(1)

    @property
    def letters_to(self) -> str | None:
        """The dead-letter exchange."""
        to = self.arguments.get("x-dead-letter-exchange")
        return None if to is None else str(to)

    @property
    def ready(self) -> tuple[Received, ...]:
        return tuple(entry.received for entry in self._ready)

    @property
    def unsettled(self) -> tuple[Received, ...]:
        return tuple(
            entry.received for subscription in self._subscriptions for entry in subscription.unsettled.values()
        )

    @property
    def consumers(self) -> int:
        return len(self._subscriptions)

    def store(self, received: Received) -> list[Entry]:
        """The places it took: none when the queue is full and refuses."""
        if self._refuses and len(self._ready) >= self._most:
            return []
        times = 2 if self.doubles else 1
        self.doubles -= times - 1
        entries = [Entry(received, next(self._positions)) for _ in range(times)]
        self._ready += entries
        self._deliver()
        while len(self._ready) > self._most and not self._is_stream:
            self._bury(self, self._ready.popleft(), "maxlen")
        return entries

    def forget(self, entry: Entry) -> None:
        """As if it had never been stored: a restart before it was safe on disk."""
        if entry in self._ready:
            self._ready.remove(entry)
        for subscription in self._subscriptions:
            subscription.unsettled.pop(entry.position, None)

    def subscribe(self, prefetch: int) -> Subscription:
        subscription = Subscription(self, prefetch)
        self._subscriptions.append(subscription)
        self._deliver()
        return subscription

    def settle(self, subscription: Subscription, entry: Entry, *, is_rejected: bool) -> None:
        del subscription.unsettled[entry.position]
        if is_rejected:
            self._bury(self, entry, "rejected")
        self._deliver()

    def leave(self, subscription: Subscription) -> None:
        """Called by a subscription that is lost."""
        self._subscriptions.remove(subscription)
        back: list[Entry] = []
        for entry in subscription.unsettled.values():
            entry.returns += 1
            if entry.returns > self._deliveries:
                self._bury(self, entry, "delivery_limit")
            else:
                back.append(entry)
        subscription.unsettled.clear()
        if back:
            self._ready = deque(sorted((*back, *self._ready), key=lambda entry: entry.position))
        self._deliver()

    def lose_all(self) -> None:
        """Every consumer of it is cancelled."""
        for subscription in list(self._subscriptions):
            subscription.lose()

    def clear(self) -> None:
        """Its messages are gone, and its consumers with what they hold."""
        self._ready.clear()
        for subscription in list(self._subscriptions):
            subscription.unsettled.clear()
            subscription.lose()

    def _deliver(self) -> None:
        # Whoever reads a stream asks for an offset: nothing here does, and it keeps everything.
        while self._ready and not self._is_stream and (subscription := self._next()) is not None:
            subscription.take(self._ready.popleft())

    def _next(self) -> Subscription | None:
        """In turn, those that have room; with a single active consumer the first of them, or none while it is full."""
        if self._is_single:
            return self._subscriptions[0] if self._subscriptions and self._subscriptions[0].has_room else None
        for _ in range(len(self._subscriptions)):
            subscription = self._subscriptions[0]
            self._subscriptions.rotate(-1)
            if subscription.has_room:
                return subscription
        return None


def dead_letter(queue: MemoryQueue, entry: Entry, reason: str, at: datetime) -> Received:
    """The message as the dead-letter exchange gets it, with RabbitMQ's `x-death` and `x-first-death-…` headers."""
    dead = entry.received
    headers: dict[str, Any] = dict(dead.headers)
    deaths: list[dict[str, Any]] = list(headers.get("x-death", ()))
    known = next((death for death in deaths if (death["queue"], death["reason"]) == (queue.name, reason)), None)
    if known is None:
        death = {
            "count": 1,
            "reason": reason,
            "queue": queue.name,
            "time": at.astimezone(UTC).replace(microsecond=0),
            "exchange": dead.exchange,
            "routing-keys": [dead.routing_key],
        }
    else:
        deaths.remove(known)
        death = known | {"count": known["count"] + 1}
    headers["x-death"] = [death, *deaths]
    for word, value in (("reason", reason), ("queue", queue.name), ("exchange", dead.exchange)):
        headers.setdefault(f"x-first-death-{word}", value)
    key = queue.arguments.get("x-dead-letter-routing-key")
    return replace(
        dead,
        exchange=queue.letters_to or "",
        routing_key=dead.routing_key if key is None else str(key),
        headers=headers,
    )
