"""A whole bridge under test: a simulated node, signers, a client, and a real RabbitMQ between them.

Everything runs in one event loop, so a test can cut, stop and look; the same parts run as processes of their
own in the demo. Each house has a prefix of its own on the broker.
"""

import asyncio
import json
import secrets
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from nacl.signing import SigningKey

from bridge.app.access import Access
from bridge.app.busclient import FINAL, BusClient, stamp, user_of
from bridge.app.clock import SteadyClock
from bridge.app.config import Config
from bridge.app.deployment import plan
from bridge.app.service import Service
from bridge.app.settings import Broker
from bridge.app.signer import SignerService
from bridge.broker.connection import Connection
from bridge.broker.consumer import Consumer
from bridge.broker.topology import Topology, apply
from bridge.channel.identifier import ChannelName
from bridge.channel.request import Tag
from bridge.channel.state import State
from bridge.channel.terms import Role, SigningForm
from bridge.signing.guard import Guard
from bridge.signing.key import load_keys
from bridge.signing.policy import AccountPolicy
from bridge.signing.signer import Signer
from bridge.sim.server import SimulatedNode
from bridge.wire import encoding
from bridge.wire.envelope import Received
from tests.contract.judge import complaints, letter_complaints
from tests.permissive import EVERYTHING

NETWORK = "ae_dev"
T = TypeVar("T")
EXCHANGES = {"events": "events", "results": "results", "letters": "dead-letters", "questions": "sign-requests"}
"""What the client reads, by the exchange it comes through."""
SECONDS = 60.0
"""Bound of every wait: a test that needs longer has failed."""
STORY = 60
"""Events that are shown of one that did."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One channel, both roles: two entries of the configuration."""

    name: str
    dialect: str = "json-rpc"
    profile: str | None = None
    initiator_amount: int = 70_000_000_000_000
    responder_amount: int = 40_000_000_000_000
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def initiator(self) -> str:
        return f"{self.name}-i"

    @property
    def responder(self) -> str:
        return f"{self.name}-r"

    def key(self, role: str) -> bytes:
        """The seed of the role's signing key."""
        return sha256(f"{self.name}/{role}".encode()).digest()

    def account(self, role: str) -> str:
        return encoding.account(bytes(SigningKey(self.key(role)).verify_key))

    @property
    def node(self) -> str:
        return "-".join(part for part in (self.dialect, self.profile) if part)


@dataclass
class House:
    url: str
    directory: Path
    prefix: str
    pairs: tuple[Pair, ...]
    node: SimulatedNode
    service: Service | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    heard: dict[str, int] = field(default_factory=dict)
    """Channel to the highest `seq` that came."""
    results: list[dict[str, Any]] = field(default_factory=list)
    final: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The first final result of each command."""
    dead_letters: list[tuple[bytes, dict[str, Any]]] = field(default_factory=list)
    received: dict[str, list[Received]] = field(default_factory=lambda: {label: [] for label in EXCHANGES})
    """Everything the client got, as it came."""
    complaints: list[str] = field(default_factory=list)
    """What in it was not as the published contract says."""
    sent: list[tuple[str, str, str, dict[str, Any]]] = field(default_factory=list)
    """Command id, channel, kind and fields of each command."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    limits: dict[str, Any] = field(default_factory=dict)
    is_judged: bool = True
    """Whether what arrives is held to the contract: a tenth of the processor, which a benchmark leaves out."""
    reads_questions: bool = True
    """Whether the client has a queue for sign requests, to judge them: then none is ever unroutable."""
    bridge_url: str | None = None
    """The bridge's own way to the broker; None: everybody's."""
    signer_url: str | None = None
    """Of the signers', where it is another one."""
    client: BusClient | None = None
    running: asyncio.Task[None] | None = None
    background: asyncio.Task[None] | None = None
    """A task of the test's own, ended with the house."""

    def config(self) -> Config:
        nodes = {
            pair.node: {
                "url": f"ws://127.0.0.1:{self.node.port}/channel",
                "dialect": pair.dialect,
                "network_id": NETWORK,
            }
            | ({"profile": pair.profile} if pair.profile else {})
            for pair in self.pairs
        }
        return Config(
            data_dir=self.directory / "data",
            prefix=self.prefix,
            journal={"key_file": self._key_file()},
            broker={"url": self.bridge_url or self.url},
            nodes=nodes,
            http={"port": 0},
            limits=self.limits,
            channels=[entry for pair in self.pairs for entry in self._entries(pair)],
        )

    def _key_file(self) -> Path:
        path = self.directory / "journal.key"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(32))
        return path

    def _entries(self, pair: Pair) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "node": pair.node,
                "role": role,
                "initiator": pair.account("initiator"),
                "responder": pair.account("responder"),
                "initiator_amount": pair.initiator_amount,
                "responder_amount": pair.responder_amount,
                "policy": EVERYTHING,
            }
            | dict(pair.options)
            for name, role in ((pair.initiator, "initiator"), (pair.responder, "responder"))
        ]

    # --- the bridge -------------------------------------------------------------------------------------

    async def start_bridge(self) -> Service:
        self.service = Service(self.config())
        self.running = asyncio.create_task(self.service.run(), name="bridge")
        ready = asyncio.create_task(self.service.ready.wait())
        await asyncio.wait({self.running, ready}, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self.running.done():
            self.running.result()
        return self.service

    async def read_metrics(self) -> str:
        """What the running bridge would show."""
        assert self.service is not None
        return (await self.service.monitor._meter.page()).body.decode()

    async def stop_bridge(self) -> None:
        if self.service is None or self.running is None:
            return
        self.service.stop()
        async with asyncio.timeout(SECONDS * 2):
            await self.running

    # --- the client -------------------------------------------------------------------------------------

    async def send(self, channel: str, kind: str, **fields: Any) -> str:
        assert self.client is not None
        body = {name.rstrip("_"): value for name, value in fields.items()}
        stamped = stamp(body)
        # Before the confirm: of many that are sent at once it comes in an order of its own.
        self.sent.append((str(stamped["command_id"]), channel, kind, body))
        return await self.client.send(channel, kind, stamped)

    async def run(self, channel: str, kind: str, **fields: Any) -> dict[str, Any]:
        """One command and its final result."""
        return await self.outcome(await self.send(channel, kind, **fields))

    async def outcome(self, command_id: str, seconds: float = SECONDS) -> dict[str, Any]:
        """The final result of a command."""
        return await self.until(lambda: self.final.get(command_id), seconds)

    def take_event(self, body: dict[str, Any]) -> None:
        self.events.append(body)
        self.heard[body["channel"]] = max(self.heard.get(body["channel"], 0), body["seq"])

    def take_result(self, body: dict[str, Any]) -> None:
        self.results.append(body)
        if body.get("command_id") and body["outcome"] in FINAL:
            self.final.setdefault(body["command_id"], body)

    def judge(self, label: str, received: Received) -> None:
        """All that the bridge says is held to the contract; what the broker dead-letters is nobody's word."""
        if not self.is_judged:
            return
        if label == "letters":
            if "ce-id" in received.headers:
                self.complaints += letter_complaints(received.headers)
            return
        self.complaints += complaints(EXCHANGES[label], received.routing_key, json.loads(received.body))

    def take_letter(self, received: Received) -> None:
        self.dead_letters.append((received.body, dict(received.headers)))

    async def event(self, channel: str, name: str, **data: Any) -> dict[str, Any]:
        """The first event of that name on that channel with that data, past or to come."""
        return await self.until(lambda: next(iter(self.find(channel, name, **data)), None))

    def find(self, channel: str, name: str, **data: Any) -> list[dict[str, Any]]:
        return [
            event
            for event in self.events
            if event["channel"] == channel
            and f"{event['family']}.{event['name']}" == name
            and all(event["data"].get(key) == value for key, value in data.items())
        ]

    def story(self, *channels: str) -> str:
        """The latest events of these channels, or of all, for whoever has to find out why one stands still."""
        events = [event for event in self.events if not channels or event["channel"] in channels]
        return "\n".join(
            f"    {e['at']} {e['channel']} {e['family']}.{e['name']} {str(e['data'])[:300]}" for e in events[-STORY:]
        )

    async def until(self, look: Callable[[], T | None], seconds: float = SECONDS) -> T:
        """Wait until there is something to see."""
        async with asyncio.timeout(seconds):
            while (found := look()) is None:
                self.changed.clear()
                await self.changed.wait()
        return found

    async def opened(self) -> None:
        """Every channel is open and at round 1."""
        for pair in self.pairs:
            for name in (pair.initiator, pair.responder):
                await self.event(name, "info.state", round=1)
                await self.until(lambda name=name: self._is_ready(name))  # type: ignore[misc]

    def _is_ready(self, name: str) -> bool | None:
        assert self.service is not None
        worker = self.service.workers[ChannelName(name)]
        return True if worker.state.is_ready else None

    def cut(self, name: str) -> None:
        """Tear the socket of one of our channels, without a frame."""
        self.node.cut(*self._side(name))

    def inject(self, name: str, text: str) -> None:
        """Let the node send that channel a text no node would."""
        self.node.inject(*self._side(name), text)

    def _side(self, name: str) -> tuple[str, Role]:
        channel_id = self.state(name).channel_id
        assert channel_id is not None
        return channel_id, Role.INITIATOR if name.endswith("-i") else Role.RESPONDER

    def state(self, name: str) -> State:
        assert self.service is not None
        return self.service.workers[ChannelName(name)].state


@asynccontextmanager
async def house(
    url: str,
    directory: Path,
    *pairs: Pair,
    signers: bool = True,
    durable: bool = False,
    events: str = "#",
    limits: Mapping[str, Any] | None = None,
    prefix: str | None = None,
    is_judged: bool = True,
    reads_questions: bool = True,
    bridge_url: str | None = None,
    signer_url: str | None = None,
) -> AsyncIterator[House]:
    """A running house: node, topology, signers for every account, client, bridge.

    `durable`: the client's queues survive the broker. `events`: which the client reads, a binding key.
    `limits`: of the bridge's configuration. `prefix`: on a broker of the test's own; else one that nobody uses.
    """
    async with AsyncExitStack() as stack:
        node = SimulatedNode(network_id=NETWORK)
        await node.start()
        stack.push_async_callback(node.stop)
        prefix = prefix or f"t{uuid.uuid4().hex[:10]}"
        made = House(url, directory, prefix, pairs, node, limits=dict(limits or {}), is_judged=is_judged)
        made.reads_questions, made.bridge_url, made.signer_url = reads_questions, bridge_url, signer_url
        topology = plan(made.config())
        await apply(url, topology)
        stack.push_async_callback(_remove, url, topology)
        await stack.enter_async_context(_client(made, events, durable=durable))
        if signers:
            await stack.enter_async_context(_signers(made))
        await made.start_bridge()
        stack.push_async_callback(made.stop_bridge)
        try:
            yield made
        finally:
            if made.background is not None:
                made.background.cancel()
        assert made.complaints == [], "what was published is not as the contract says"


async def _remove(url: str, topology: Topology) -> None:
    """A broker that is used by many tests, or is somebody's own, is left as it was found."""
    async with Connection(url, "test cleanup") as connection:
        amqp_channel = await connection.amqp_channel()
        underlay = await amqp_channel.raw.get_underlay_channel()
        for queue in topology.queues:
            await underlay.queue_delete(queue.name)
        for exchange in topology.exchanges:
            await underlay.exchange_delete(exchange.name)


@asynccontextmanager
async def _client(made: House, key: str, *, durable: bool) -> AsyncIterator[None]:
    async with Connection(made.url, "test client") as connection:
        made.client = BusClient(connection, made.prefix, user_of(made.url))
        events = await made.client.listen("events", [(f"{made.prefix}.events", key)], is_temporary=not durable)
        results = await made.client.results(is_temporary=not durable)
        letters = await made.client.listen("letters", [(f"{made.prefix}.dead-letters", "#")], is_temporary=not durable)
        asked = [(f"{made.prefix}.sign-requests", "#")] if made.reads_questions else []
        questions = await made.client.listen("questions", asked, is_temporary=not durable)
        tasks = [
            asyncio.create_task(_collect(made, questions, "questions", lambda _: None)),
            asyncio.create_task(_collect(made, events, "events", lambda it: made.take_event(json.loads(it.body)))),
            asyncio.create_task(_collect(made, results, "results", lambda it: made.take_result(json.loads(it.body)))),
            asyncio.create_task(_collect(made, letters, "letters", made.take_letter)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _collect(made: House, consumer: Consumer, label: str, take: Callable[[Received], None]) -> None:
    async for delivery in consumer:
        made.received[label].append(delivery.received)
        made.judge(label, delivery.received)
        take(delivery.received)
        made.changed.set()
        await delivery.ack()


@asynccontextmanager
async def _signers(made: House) -> AsyncIterator[None]:
    """One signer with every key: the tests of least privilege are elsewhere."""
    folder = made.directory / "keys"
    folder.mkdir(mode=0o700)
    for pair in made.pairs:
        for role in ("initiator", "responder"):
            path = folder / f"{pair.name}-{role}"
            path.touch(mode=0o600)
            path.write_text(pair.key(role).hex())
    keys = load_keys([folder])
    everything = AccountPolicy(
        tags=frozenset(Tag),
        networks=frozenset({NETWORK}),
        forms=frozenset(SigningForm),
        counterparties=frozenset({"*"}),
        max_amount=10**27,
        max_fee=10**24,
        acknowledge_outflow=True,
    )
    with Guard(made.directory / "signer-data") as guard:
        signer = Signer(keys, dict.fromkeys(keys, everything), SteadyClock(), guard)
        service = SignerService(made.prefix, signer, Access(Broker(url=made.signer_url or made.url)))
        task = asyncio.create_task(service.run(), name="signers")
        await service.ready.wait()
        try:
            yield
        finally:
            service.stop()
            await task
