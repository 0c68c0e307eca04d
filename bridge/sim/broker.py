"""A RabbitMQ in memory: the same promises in one process, in one event loop, the same way every time.

For tests and for simulations in virtual time. It keeps what a deployment of the bridge uses: durable topic exchanges
with alternates, queues with bindings, prefetch, one active consumer where asked for, redelivery, delivery limits, dead
letters, confirms, returns, nacks.
One suite holds it and a real RabbitMQ to the same promises (`tests/broker/test_suite.py`). No permissions, no vhosts,
no TLS, and streams only swallow: those are tested on the real one.

Faults are plain methods. Nothing here is random, reads a wall clock or starts a thread: times are the loop's.
Facts: AMQP 0-9-1, pitfalls.md rows 1, 2, 12, 24, 27 and 30, and what a RabbitMQ 3.10 was seen to do.
"""

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from bridge.errors import BrokerRefused, BrokerUnavailable, Nacked, Unroutable
from bridge.sim.broker_queue import Arguments, Entry, MemoryQueue, dead_letter
from bridge.sim.broker_session import CALL_SECONDS, MemorySession
from bridge.sim.topic import fits
from bridge.wire.envelope import Received


class Exchange(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def alternate(self) -> str | None: ...


class Queue(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def arguments(self) -> Arguments: ...
    @property
    def is_temporary(self) -> bool: ...


class Binding(Protocol):
    @property
    def exchange(self) -> str: ...
    @property
    def queue(self) -> str: ...
    @property
    def key(self) -> str: ...


class Topology(Protocol):
    """What `bridge.broker.topology` plans; this room does not know that one."""

    @property
    def exchanges(self) -> Sequence[Exchange]: ...
    @property
    def queues(self) -> Sequence[Queue]: ...
    @property
    def bindings(self) -> Sequence[Binding]: ...


@dataclass(slots=True)
class _Exchange:
    alternate: str | None
    bindings: dict[tuple[str, str], None] = field(default_factory=dict)
    """(queue, key), in the order they were made."""


Landed = list[tuple[MemoryQueue, Entry]]


class MemoryBroker:
    """`broker.session(user)` is a bus for `Service` and `SignerService`. What is declared and stored outlives them."""

    def __init__(self) -> None:
        self._exchanges: dict[str, _Exchange] = {}
        self._queues: dict[str, MemoryQueue] = {}
        self._sessions: list[MemorySession] = []
        self._buried: list[Received] = []
        """Dead letters nobody takes yet: `at-least-once` keeps them."""
        self._unconfirmed: list[Landed] = []
        self._nacks = 0
        self._numbers = itertools.count(1)
        self.running = asyncio.Event()
        self.running.set()
        self.confirming = asyncio.Event()
        self.confirming.set()
        self.is_blocked = False

    # --- what is there ------------------------------------------------------------------------------------

    def declare(self, topology: Topology) -> None:
        """Creates what is missing. May be called twice; raises `BrokerRefused` where something differs."""
        for exchange in topology.exchanges:
            known = self._exchanges.setdefault(exchange.name, _Exchange(exchange.alternate))
            if known.alternate != exchange.alternate:
                raise BrokerRefused(f"the exchange {exchange.name} has another alternate: {known.alternate}")
        for queue in topology.queues:
            made = self._queues.setdefault(queue.name, self._make(queue))
            if made.arguments != dict(queue.arguments):
                raise BrokerRefused(f"the queue {queue.name} has other arguments")
        for binding in topology.bindings:
            self.bind(binding.exchange, binding.queue, binding.key)
        self._bury_again()

    def _make(self, queue: Queue) -> MemoryQueue:
        return MemoryQueue(queue.name, queue.arguments, self._bury, is_temporary=queue.is_temporary)

    def reader(self, prefix: str, user: str, label: str, bindings: Iterable[tuple[str, str]]) -> str:
        """A reader's own durable queue without limits, bound to (exchange, key) each. Returns its name."""
        name = f"{prefix}.client.{user}.{label}"
        self._queues.setdefault(name, MemoryQueue(name, {}, self._bury))
        for exchange, key in bindings:
            self.bind(exchange, name, key)
        return name

    def bind(self, exchange: str, queue: str, key: str) -> None:
        self._exchange(exchange).bindings[self.queue(queue).name, key] = None
        self._bury_again()

    def unbind(self, exchange: str, queue: str, key: str) -> None:
        self._exchange(exchange).bindings.pop((queue, key), None)

    def delete(self, queue: str) -> None:
        """With its messages and bindings; its consumers are cancelled, and come back when it is declared again."""
        gone = self._queues.pop(queue)
        for exchange in self._exchanges.values():
            exchange.bindings = {binding: None for binding in exchange.bindings if binding[0] != queue}
        gone.clear()

    def find(self, queue: str) -> MemoryQueue | None:
        return self._queues.get(queue)

    def queue(self, name: str) -> MemoryQueue:
        """To look into. Raises `BrokerUnavailable` if there is none, as the broker's 404 does."""
        found = self._queues.get(name)
        if found is None:
            raise BrokerUnavailable(f"NOT_FOUND - no queue '{name}'")
        return found

    def _exchange(self, name: str) -> _Exchange:
        found = self._exchanges.get(name)
        if found is None:
            raise BrokerUnavailable(f"NOT_FOUND - no exchange '{name}'")
        return found

    def session(self, user: str, *, call_seconds: float = CALL_SECONDS) -> MemorySession:
        """A bus for one process. `user` is vouched for in all that it publishes."""
        return MemorySession(self, user, call_seconds)

    def enter(self, session: MemorySession) -> None:
        """Called by a session."""
        self._sessions.append(session)

    def leave(self, session: MemorySession) -> None:
        """Called by a session. May be called twice."""
        if session in self._sessions:
            self._sessions.remove(session)

    def number(self) -> int:
        """A number for each message, to tell attempts apart."""
        return next(self._numbers)

    # --- publishing ---------------------------------------------------------------------------------------

    def accept(self, user: str, received: Received, *, mandatory: bool) -> Landed:
        """Routes and stores one message, or raises. What it returns is to be given to `confirm` afterwards."""
        if received.user_id not in (None, user):
            raise BrokerRefused(f"PRECONDITION_FAILED - user_id '{received.user_id}' is not '{user}'")
        if self._nacks:
            self._nacks -= 1
            raise Nacked(f"a queue behind {received.exchange} refused {received.routing_key}")
        queues = self._route(received.exchange, received.routing_key)
        if not queues and mandatory:
            raise Unroutable(f"no queue takes {received.routing_key} of {received.exchange}")
        places = [(queue, queue.store(received)) for queue in queues]
        if not all(entries for _, entries in places):
            # The others keep theirs: pitfalls.md row 30.
            raise Nacked(f"a queue behind {received.exchange} refused {received.routing_key}")
        landed = [(queue, entry) for queue, entries in places for entry in entries]
        self._unconfirmed.append(landed)
        return landed

    def confirm(self, landed: Landed) -> None:
        """From here on it outlives a restart. May be called twice."""
        if landed in self._unconfirmed:
            self._unconfirmed.remove(landed)

    def _route(self, exchange: str, key: str) -> list[MemoryQueue]:
        if not exchange:
            found = self._queues.get(key)
            return [] if found is None else [found]
        known = self._exchange(exchange)
        names = dict.fromkeys(queue for queue, pattern in known.bindings if fits(pattern, key))
        if not names and known.alternate is not None:
            return self._route(known.alternate, key)
        return [self._queues[name] for name in names]

    # --- dead letters -------------------------------------------------------------------------------------

    def _bury(self, queue: MemoryQueue, entry: Entry, reason: str) -> None:
        if queue.letters_to is None:
            return
        at = datetime.fromtimestamp(asyncio.get_running_loop().time(), UTC)
        letter = dead_letter(queue, entry, reason, at)
        if not self._deposit(letter) and queue.arguments.get("x-dead-letter-strategy") == "at-least-once":
            self._buried.append(letter)

    def _deposit(self, letter: Received) -> bool:
        if letter.exchange not in self._exchanges:
            return False
        queues = self._route(letter.exchange, letter.routing_key)
        return bool(queues) and not [queue for queue in queues if not queue.store(letter)]

    def _bury_again(self) -> None:
        waiting, self._buried = self._buried, []
        for letter in waiting:
            if not self._deposit(letter):
                self._buried.append(letter)

    # --- faults -------------------------------------------------------------------------------------------

    def drop(self, user: str | None = None) -> None:
        """The sessions of that user, or all, are cut. They come back by themselves."""
        for session in tuple(self._sessions):
            if user in (None, session.user):
                session.drop()

    def stop(self) -> None:
        """Goes away. What was not confirmed is gone, temporary queues too; sessions wait for `start`."""
        self.running.clear()
        for landed in self._unconfirmed:
            for queue, entry in landed:
                queue.forget(entry)
        self._unconfirmed.clear()
        self.drop()
        for name in [queue.name for queue in self._queues.values() if queue.is_temporary]:
            self.delete(name)

    def start(self) -> None:
        self.running.set()

    def restart(self) -> None:
        self.stop()
        self.start()

    def block(self) -> None:
        """Out of memory or disk: it takes no publish until `unblock`. Consumers go on."""
        self.is_blocked = True

    def unblock(self) -> None:
        self.is_blocked = False

    def nack(self, count: int) -> None:
        """It refuses the next `count` publishes."""
        self._nacks = count

    def hold_confirms(self) -> None:
        """It stores and delivers, and says nothing of it until `release_confirms`."""
        self.confirming.clear()

    def release_confirms(self) -> None:
        self._unconfirmed.clear()
        self.confirming.set()

    def cancel(self, queue: str) -> None:
        """It cancels the queue's consumers and leaves everything else open."""
        self.queue(queue).lose_all()

    def double(self, queue: str, count: int = 1) -> None:
        """The next `count` messages of the queue come twice."""
        self.queue(queue).doubles += count
