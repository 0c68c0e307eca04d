"""A whole house with clients that keep paying, and a record of everything for the oracle.

The bridge, the signers and the clients share one RabbitMQ, so its trouble is everybody's. A client is a good one: it
sends a command until the broker has confirmed it, with the same id and body, and waits for its outcome.
"""

import asyncio
import itertools
import json
import logging
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bridge.app.bus import RabbitBus
from bridge.app.busclient import BusClient, user_of
from bridge.app.telemetry import JsonFormatter
from bridge.broker.connection import Connection
from bridge.broker.private import PrivateBroker
from bridge.channel.state import Stage
from bridge.errors import BrokerUnavailable
from bridge.journal.journal import FILE
from tests.faults.proxy import Proxy
from tests.oracle.evidence import Arrived, Evidence, Sent
from tests.oracle.evidence import Pair as Judged
from tests.oracle.judgement import judge
from tests.oracle.witness import read_channel, written
from tests.simulation.harvest import read_ledger, read_seqs
from tests.system.house import House, Pair, house

PAIRS = (Pair("today"), Pair("late", "legacy", "late"))
ROLES = ("initiator", "responder")
FIRST_AMOUNT = 1_000_001
RECOVERY_SECONDS = 15.0
"""guarantees.md: after the repair."""
WAIT_SECONDS = 300.0
"""Longer than the longest trouble: a payment may have to outlive it."""
AGAIN_SECONDS = 0.2


@dataclass
class Scene:
    """One run. `pay` and `begin` spend; `recover` and `finish` judge."""

    broker: PrivateBroker
    home: House
    connection: Connection
    client: BusClient
    sent: list[Sent] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    _payers: list[asyncio.Task[None]] = field(default_factory=list)
    _is_paused: bool = False

    # --- paying -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """On every channel the two sides pay each other in turn, until `pause`: never both at once, which conflicts."""
        self._is_paused = False
        self._payers = [asyncio.create_task(self._keep_paying(pair)) for pair in self.home.pairs]

    async def pause(self) -> None:
        """No more payments; returns when every one sent has its outcome."""
        self._is_paused = True
        async with asyncio.timeout(WAIT_SECONDS):
            await asyncio.gather(*self._payers)

    async def stop_paying(self) -> None:
        """At once."""
        for payer in self._payers:
            payer.cancel()
        await asyncio.gather(*self._payers, return_exceptions=True)

    async def _keep_paying(self, pair: Pair) -> None:
        for role in itertools.cycle(ROLES):
            if self._is_paused:
                return
            await self.outcome(await self.pay(pair, role))

    async def pay(self, pair: Pair, role: str) -> str:
        """One payment of an amount of its own; the broker has it when this returns."""
        amount = FIRST_AMOUNT + len(self.sent)
        command_id = f"pay-{amount}"
        channel = pair.initiator if role == "initiator" else pair.responder
        peer = "responder" if role == "initiator" else "initiator"
        self.sent.append(Sent(command_id, channel, "transfer", user_of(self.home.url), amount))
        body = {
            "command_id": command_id,
            "issued_at": datetime.now(UTC).isoformat(),
            "from": pair.account(role),
            "to": pair.account(peer),
            "amount": str(amount),
        }
        await self.send(channel, "transfer", body)
        return command_id

    async def send(self, channel: str, kind: str, body: Mapping[str, object]) -> None:
        """The same bytes until they are confirmed."""
        text = json.dumps(body).encode()
        while True:
            try:
                await self.client.send_raw(channel, kind, text, str(body.get("command_id")))
            except BrokerUnavailable:
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    async def outcome(self, command_id: str) -> str:
        result = await self.home.outcome(command_id, WAIT_SECONDS)
        return str(result["outcome"])

    async def paid(self, count: int) -> None:
        """So many more payments have succeeded."""
        wanted = self.succeeded + count
        await self.until(lambda: self.succeeded >= wanted)

    @property
    def pending(self) -> int:
        """Payments that have no outcome yet."""
        return sum(sent.command_id not in self.home.final for sent in self.sent)

    @property
    def succeeded(self) -> int:
        return sum(result["outcome"] == "succeeded" for result in self.home.final.values())

    # --- looking ------------------------------------------------------------------------------------------

    async def until(self, look: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
        """Something arrived that makes it true."""
        try:
            await self.home.until(lambda: look() or None, seconds)
        except TimeoutError:
            raise AssertionError(f"not within {seconds:.0f} s\n{self._story()}") from None

    async def awaiting_signature(self) -> None:
        """A payment is on its way to be signed at this moment."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not any(self._stage(name) is Stage.AWAITING_SIGN for name in self._names()):  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    def _stage(self, name: str) -> Stage | None:
        operation = self.home.state(name).operation
        return None if operation is None else operation.stage

    def _names(self) -> Sequence[str]:
        return [name for pair in self.home.pairs for name in (pair.initiator, pair.responder)]

    def told(self, family: str, name: str) -> list[dict[str, Any]]:
        """The events of that word, repeats included."""
        return [body for body in self.home.events if (body["family"], body["name"]) == (family, name)]

    @property
    def is_blocked(self) -> bool:
        """Whether the broker has told the clients or the bridge so: it tells whoever publishes next."""
        service = self.home.service
        assert service is not None
        assert isinstance(service._bus, RabbitBus)
        return self.connection.is_blocked or service._bus._publishing.is_blocked

    def has_logged(self, event: str) -> bool:
        return any(f'"event": "{event}"' in line for line in self.log)

    # --- judging ------------------------------------------------------------------------------------------

    async def recover(self) -> float:
        """Seconds from this moment, the repair, until each channel has paid again. Raises when it takes too long."""
        loop = asyncio.get_running_loop()
        repaired = loop.time()
        already = len(self.sent)
        await self.until(lambda: self._have_paid(already))
        seconds = loop.time() - repaired
        assert seconds <= RECOVERY_SECONDS, f"{seconds:.1f} s until every channel paid again\n{self._story()}"
        return round(seconds, 1)

    def _story(self) -> str:
        """The latest of the bridge's log and of the events."""
        return "\n".join([*self.log[-60:], self.home.story()])

    def _have_paid(self, already: int) -> bool:
        """Whether a payment sent later than those has succeeded on every channel and from both its sides."""
        fresh = {sent.channel for sent in self.sent[already:] if self._has_succeeded(sent)}
        return fresh == set(self._names())

    def _has_succeeded(self, sent: Sent) -> bool:
        return self.home.final.get(sent.command_id, {}).get("outcome") == "succeeded"

    async def finish(self) -> dict[str, object]:
        """Lets all come to its end, stops the bridge in order, and lets the oracle judge. Returns the figures."""
        await self.pause()
        assert not self.told("link", "detached"), "a node's socket was lost through broker trouble"
        pairs = [self._read(pair) for pair in self.home.pairs]
        metrics = await self.home.read_metrics()
        await self.home.stop_bridge()
        await self._events_complete()
        evidence = self._gather(pairs, metrics)
        violations = judge(evidence)
        assert not violations, "\n".join(map(str, violations))
        counts = Counter(result["outcome"] for result in self.home.final.values())
        return {
            "payments": len(self.sent),
            "succeeded": counts["succeeded"],
            "failed": counts["failed"],
            "repeated events": len(self.home.events) - sum(map(len, evidence.event_bodies.values())),
        }

    async def _events_complete(self) -> None:
        """What the bridge has published before it stopped has arrived here."""
        last = {name: self._read_seq(name) for name in self._names()}
        await self.until(lambda: all(self._seen(name) >= seq for name, seq in last.items()))

    def _read_seq(self, name: str) -> int:
        with self._journal() as connection:
            (seq,) = connection.execute("SELECT seq FROM channel WHERE name = ?", (name,)).fetchone()
        connection.close()
        return int(seq)

    def _seen(self, name: str) -> int:
        return max((body["seq"] for body in self.home.events if body["channel"] == name), default=0)

    def _journal(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.home.directory / 'data' / FILE}?mode=ro", uri=True)

    def _read(self, pair: Pair) -> Judged:
        channel_id = self.home.state(pair.initiator).channel_id
        assert channel_id is not None
        return read_channel(
            self.home.node,
            channel_id,
            pair.name,
            {"initiator": pair.initiator, "responder": pair.responder},
            {role: pair.account(role) for role in ROLES},
            epoch=time.time() - asyncio.get_running_loop().time(),
        )

    def _arrived(self, label: str) -> list[Arrived]:
        received = self.home.received[label]
        return [Arrived(message.routing_key, message.body, dict(message.headers)) for message in received]

    def _gather(self, pairs: Sequence[Judged], metrics: str) -> Evidence:
        data = self.home.directory / "data"
        secrets = {pair.key(role).hex() for pair in self.home.pairs for role in ROLES}
        secrets |= set(self.home.node.registry.issued)
        secrets |= {unquote(urlsplit(self.home.url).password or "-"), self.home.config().journal_key().hex()}
        return Evidence(
            sent=self.sent,
            pairs=pairs,
            results=self._arrived("results"),
            events=self._arrived("events"),
            letters=self._arrived("letters"),
            forwards=read_ledger(data),
            written=written(pairs),
            last_seq=read_seqs(data),
            texts={"log": "\n".join(self.log), "metrics": metrics},
            secrets=frozenset(secrets),
        )


class _Log(logging.Handler):
    """From before the bridge's start on: in a quiet run nothing is logged later."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self.changed = asyncio.Event()
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
        self.changed.set()


@contextmanager
def _logged() -> Iterator[_Log]:
    handler, logger = _Log(), logging.getLogger("bridge")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


@asynccontextmanager
async def scene(
    broker: PrivateBroker,
    *,
    limits: Mapping[str, Any] | None = None,
    pairs: Sequence[Pair] = PAIRS,
    link: Proxy | None = None,
    signer_link: Proxy | None = None,
) -> AsyncIterator[Scene]:
    """A running one, every channel open. Its queues are durable: they outlive the broker's troubles.

    `link`: what stands between the bridge and the broker, `signer_link` between the signers and it; whoever has none
    keeps a straight way.
    """
    with tempfile.TemporaryDirectory(prefix="channel-bridge-scene-") as directory, _logged() as logged:
        url = broker.url()
        options: dict[str, Any] = {"durable": True, "limits": limits, "reads_questions": False}
        if link is not None:
            options["bridge_url"] = url.replace(f":{broker.port}/", f":{link.port}/")
        if signer_link is not None:
            options["signer_url"] = url.replace(f":{broker.port}/", f":{signer_link.port}/")
        async with (
            house(url, Path(directory), *pairs, **options) as home,
            Connection(url, "scene", call_seconds=10) as connection,
        ):
            logged.changed = home.changed
            made = Scene(broker, home, connection, BusClient(connection, home.prefix, user_of(url)), log=logged.lines)
            try:
                await home.opened()
                yield made
            finally:
                await made.stop_paying()
