"""A house whose bridge is a process of its own: it can be signalled, frozen, starved of disk, and started again.

Node, signers and client live in the test's event loop, as in `tests.system.house`. What the process logs is read as
it comes, so a test waits for a line instead of for time.
"""

import asyncio
import contextlib
import json
import resource
import signal
import sqlite3
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bridge.app.deployment import plan
from bridge.broker.topology import apply
from bridge.channel.identifier import ChannelName
from bridge.channel.state import State, decode
from bridge.journal.journal import FILE
from bridge.journal.peek import read_state
from bridge.sim.server import SimulatedNode
from tests.faults import forked
from tests.simulation.harvest import read_seqs
from tests.system.house import NETWORK, House, Pair, _client, _remove, _signers
from tests.toml import to_toml

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
HEARD_SECONDS = 5.0


@dataclass(slots=True)
class Bridge:
    """One run of `channel-bridge run`."""

    process: forked.Process
    lines: list[str] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    reader: asyncio.Task[None] | None = None
    settled: Callable[[], Awaitable[None]] | None = None
    """Waited for after a kill: what was told until then comes in a moment later."""

    @classmethod
    async def start(cls, config: Path) -> "Bridge":
        return await cls.spawn("bridge", "run", "--config", str(config))

    @classmethod
    async def spawn(cls, *words: str) -> "Bridge":
        """`python -m WORDS`, whatever program it is that runs a bridge."""
        return cls.read(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *words),
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        )

    @classmethod
    def read(cls, process: forked.Process) -> "Bridge":
        """A bridge started by somebody, its log read from now on."""
        made = cls(process)
        made.reader = asyncio.create_task(made._read())
        return made

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode().rstrip())
            self.told.set()
        self.told.set()

    @property
    def http_port(self) -> int | None:
        """Of its metrics; None as long as it told none."""
        told = (json.loads(line) for line in self.lines if "http_listens" in line)
        return next((int(line["port"]) for line in told), None)

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def tells(self, word: str) -> bool:
        return any(word in line for line in self.lines)

    async def until_told(self, word: str, seconds: float = SECONDS) -> None:
        async with asyncio.timeout(seconds):
            while not self.tells(word):
                assert self.reader is not None
                assert not self.reader.done(), f"it ended without {word}:\n{self.log}"
                self.told.clear()
                await self.told.wait()

    async def ready(self) -> "Bridge":
        await self.until_told("bridge_ready")
        return self

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def limit_files(self, size_bytes: int) -> None:
        """No file may grow beyond that: what a full disk does, for everybody and without root."""
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))

    async def end(self, seconds: float = SECONDS) -> int:
        """Its exit code, once it ended by itself and all it said was read."""
        assert self.reader is not None
        async with asyncio.timeout(seconds):
            await asyncio.shield(self.reader)  # whoever waits may give up, and what the bridge says is read on
            return await self.process.wait()

    async def kill(self) -> None:
        was_alive = self.process.returncode is None
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.end()
        if was_alive and self.settled is not None:
            await self.settled()


@dataclass
class Home:
    """A house and its bridge's successive processes."""

    house: House
    is_forked: bool = False
    """Whether its bridges are forked: for those who start hundreds."""
    bridges: list[Bridge] = field(default_factory=list)
    doubled: list[bytes] = field(default_factory=list)
    """Frames of the bridge that a proxy before the node passed on twice."""
    swallowed: list[bytes] = field(default_factory=list)
    """Those that it took out of the stream."""
    pages: dict[str, str] = field(default_factory=dict)
    """What else could be read of the bridges: their metrics, by name."""

    @property
    def config(self) -> Path:
        return self.house.directory / "bridge.toml"

    @property
    def data(self) -> Path:
        return self.house.directory / "data"

    async def start(self) -> Bridge:
        """Not yet ready: `await (await home.start()).ready()`."""
        words = ("run", "--config", str(self.config))
        bridge = Bridge.read(await forked.bridge(*words)) if self.is_forked else await Bridge.start(self.config)
        bridge.settled = self._heard
        self.bridges.append(bridge)
        return bridge

    async def _heard(self) -> None:
        """Every event that the broker has confirmed is here; not waited for long: the oracle tells of what is not."""
        with contextlib.suppress(TimeoutError, sqlite3.OperationalError):  # it may have died before it had tables
            last = read_seqs(self.data)
            await self.house.until(
                lambda: all(seq <= self.house.heard.get(name, 0) for name, seq in last.items()) or None, HEARD_SECONDS
            )

    async def opened(self) -> None:
        for pair in self.house.pairs:
            for name in (pair.initiator, pair.responder):
                try:
                    await self.house.event(name, "info.open")
                except TimeoutError as error:
                    raise AssertionError(f"{name} did not open:\n{self.house.story(name)}") from error

    async def pay(self, amount: int, pair: Pair | None = None) -> str:
        """From initiator to responder; the command's id."""
        pair = pair or self.house.pairs[0]
        parties = {"from_": pair.account("initiator"), "to": pair.account("responder")}
        return await self.house.send(pair.initiator, "transfer", amount=str(amount), **parties)

    async def paid(self, command_id: str) -> None:
        try:
            outcome = await self.house.outcome(command_id)
        except TimeoutError as error:
            raise AssertionError(
                f"no outcome of {command_id}:\n{self.bridges[-1].log}\n{self.house.story()}"
            ) from error
        assert outcome["outcome"] == "succeeded", outcome

    def state(self, channel: str) -> State:
        """As the journal has it, whether a bridge runs or not."""
        stored = read_state(self.data / FILE, ChannelName(channel))
        assert stored is not None
        return decode(stored)

    def is_open(self, pair: Pair) -> bool:
        """Both sides, by the journal."""
        return all(self.state(name).is_ready for name in (pair.initiator, pair.responder))

    @property
    def has_told_all(self) -> bool:
        """Whether nothing waits for the broker, and the last event of each channel has come back from it."""
        if self.execute("SELECT count(*) FROM outbox") != [(0,)]:
            return False
        heard = self.house.heard
        return all(seq <= heard.get(name, 0) for name, seq in self.execute("SELECT name, seq FROM channel"))

    async def heard(self) -> None:
        """After the last bridge's end: what the broker was given of each channel has come back from it."""
        async with asyncio.timeout(SECONDS):
            while any(seq > self.house.heard.get(name, 0) for name, seq in read_seqs(self.data).items()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def execute(self, sql: str) -> list[Any]:
        """A statement by somebody else on the journal."""
        with closing(sqlite3.connect(self.data / FILE, timeout=30)) as connection, connection:
            return connection.execute(sql).fetchall()

    async def quiet(self) -> None:
        """Both sides know the latest round, and all is published: nothing is being written."""
        async with asyncio.timeout(SECONDS):
            while not self.is_quiet():  # noqa: ASYNC110  # another process's file: there is nothing to wait on
                await asyncio.sleep(0.1)
        await self.read_metrics()

    async def read_metrics(self) -> None:
        """Of the bridge that runs, for whoever looks for what must not be in them."""
        port = self.bridges[-1].http_port
        if port is not None:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                self.pages[f"metrics {len(self.bridges)}"] = (await client.get("/metrics")).text

    def is_quiet(self) -> bool:
        pairs = self.house.pairs
        agreed = all(self.state(pair.initiator).round == self.state(pair.responder).round for pair in pairs)
        return agreed and self.has_told_all

    def applied(self) -> list[int]:
        """The amount of each payment the node has co-signed, in its order: the witness's notes, not ours."""
        amounts = []
        for page in self.house.node.registry.book.pages.values():
            seen: set[tuple[int, str]] = set()
            for state in page.states:
                moved = [update for update in state["updates"] if update["op"] == "OffChainTransfer"]
                if moved and (key := (state["round"], state["tx_hash"])) not in seen:
                    seen.add(key)
                    amounts.append(int(moved[0]["amount"]))
        return amounts

    def signed(self) -> int:
        """How many signatures of ours the node was given."""
        pages = self.house.node.registry.book.pages.values()
        return sum(entry.answer == "signed" for page in pages for entry in page.signatures)

    def check_events(self) -> None:
        """`seq` without a gap after dropping repeats, and repeats byte-identical."""
        seen: dict[tuple[str, int], dict[str, Any]] = {}
        for event in self.house.events:
            assert seen.setdefault((event["channel"], event["seq"]), event) == event
        for name in {channel for channel, _ in seen}:
            numbers = sorted(seq for channel, seq in seen if channel == name)
            assert numbers == list(range(1, len(numbers) + 1))


@asynccontextmanager
async def home(
    url: str, directory: Path, *pairs: Pair, signers: bool = True, is_forked: bool = False
) -> AsyncIterator[Home]:
    """A running house without its bridge; every bridge started in it is gone at the end.

    What arrives is held to the contract, but not where bridges are forked: a tenth of the processor of long runs.
    """
    async with AsyncExitStack() as stack:
        node = SimulatedNode(network_id=NETWORK)
        await node.start()
        stack.push_async_callback(node.stop)
        prefix = f"t{uuid.uuid4().hex[:10]}"
        house = House(url, directory, prefix, pairs or (Pair("today"),), node, is_judged=not is_forked)
        topology = plan(house.config())
        await apply(url, topology)
        stack.push_async_callback(_remove, url, topology)
        await stack.enter_async_context(_client(house, "#", durable=True))
        if signers:
            await stack.enter_async_context(_signers(house))
        made = Home(house, is_forked)
        made.config.write_text(_write(house))
        made.config.chmod(0o600)
        stack.push_async_callback(_kill_all, made)
        yield made
        assert house.complaints == [], "what was published is not as the contract says"


async def _kill_all(made: Home) -> None:
    for bridge in made.bridges:
        await bridge.kill()


def _write(house: House) -> str:
    """The house's configuration as a file."""
    lines = [
        f'data_dir = "{house.directory / "data"}"',
        f'prefix = "{house.prefix}"',
        f'journal.key_file = "{house.directory / "journal.key"}"',
        f'broker.url = "{house.url}"',
        'log.format = "json"',
        "http.port = 0",
    ]
    node = house.node.port
    for pair in {pair.node: pair for pair in house.pairs}.values():
        lines += [f"[nodes.{pair.node}]", f'url = "ws://127.0.0.1:{node}/channel"', f'dialect = "{pair.dialect}"']
        lines += [f'network_id = "{NETWORK}"', f'chain_url = "http://127.0.0.1:{node}"']
        lines += [*([f'profile = "{pair.profile}"'] if pair.profile else [])]
    for pair in house.pairs:
        for entry in house._entries(pair):
            lines += ["[[channels]]", *(f"{name} = {to_toml(value)}" for name, value in entry.items())]
    return "\n".join(lines) + "\n"
