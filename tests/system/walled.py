"""A house behind walls: TLS on every link, a broker user a part, and the bridge and the signer as processes.

The broker runs on what `channel-bridge topology permissions` printed, and knows the bridge by its password and shows
the door to whoever has no client certificate. The node stands behind a TLS front, as a real one behind a proxy.
Every secret in it is a word of its own, so that it can be searched for wherever it must not be.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bridge.app.busclient import BusClient
from bridge.app.tls import make_context
from bridge.broker.connection import Connection
from bridge.broker.package import Program
from bridge.broker.private import PrivateBroker, TlsListener
from bridge.sim.server import SimulatedNode
from tests.authority import HOST, Authority
from tests.authority import Pair as Files
from tests.faults.journal_home import Bridge as Process
from tests.front import front
from tests.system.house import NETWORK, House, Pair, _collect
from tests.toml import to_toml

PAIR = Pair("walled")
USERS = ("bridge", "signer", "shop", "books", "otto")
KEY_PASSWORD = "marker-of-the-tls-key"
JOURNAL_KEY = "5eedc0de" * 8
BOUNDS = {
    "bridge": 'role = "bridge"',
    "shop": f'role = "client"\nchannels = ["{PAIR.initiator}", "{PAIR.responder}"]',
    "books": 'role = "observer"\nchannels = ["*"]',
    "otto": 'role = "operator"\nchannels = ["*"]',
    "signer": f'role = "signer"\naccounts = ["{PAIR.account("initiator")}", "{PAIR.account("responder")}"]',
}


@dataclass
class Walled:
    directory: Path
    authority: Authority
    node: SimulatedNode
    house: House
    broker: PrivateBroker | None = None
    node_port: int = 0
    fsm_ids: set[str] = field(default_factory=set)
    """Every credential the node ever gave."""
    processes: list[Process] = field(default_factory=list)

    @property
    def secrets(self) -> dict[str, str]:
        """Every secret there is, by what it is."""
        keys = {f"signing key of the {role}": PAIR.key(role).hex() for role in ("initiator", "responder")}
        passwords = {f"password of {user}": password_of(user) for user in USERS}
        ids = {f"fsm_id {number}": fsm_id for number, fsm_id in enumerate(sorted(self.fsm_ids))}
        return {"password of the TLS key": KEY_PASSWORD, "journal key": JOURNAL_KEY} | keys | passwords | ids

    def found_in(self, text: str) -> list[str]:
        """Which secrets stand in a text."""
        return [what for what, secret in self.secrets.items() if secret in text]

    # --- files ------------------------------------------------------------------------------------------

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(text + "\n")
        return path

    def write_url(self, user: str, password: str | None = None) -> Path:
        return self.write(f"{user}.url", self.broker_url(password or password_of(user), user))

    def broker_url(self, password: str, user: str = "bridge") -> str:
        assert self.broker is not None
        return f"amqps://{user}:{password}@{HOST}:{self.broker.tls_port}/"

    def tls(self, section: str, files: Files) -> list[str]:
        return [
            f"[{section}.tls]",
            f'ca_file = "{self.authority.ca_file}"',
            f'certificate_file = "{files.certificate}"',
            f'key_file = "{files.key}"',
            'key_password_file = "tls.password"',
        ]

    def write_bridge(self, name: str = "bridge.toml", broker: str = "bridge.url") -> Path:
        files = self.authority.issue("bridge", "bridge", password=KEY_PASSWORD)
        lines = [
            'data_dir = "data"',
            'journal.key_file = "journal.key"',
            'log.format = "json"',
            "[broker]",
            f'url_file = "{broker}"',
            *self.tls("broker", files),
            f"[nodes.{PAIR.node}]",
            f'url = "wss://{HOST}:{self.node_port}/channel"',
            f'chain_url = "https://{HOST}:{self.node_port}"',
            f'network_id = "{NETWORK}"',
            *self.tls(f"nodes.{PAIR.node}", files),
        ]
        for entry in self.house._entries(PAIR):
            lines += ["[[channels]]", *(f"{option} = {to_toml(value)}" for option, value in entry.items())]
        for user, bounds in BOUNDS.items():
            self.write(f"{user}.password", password_of(user))
            lines += ["[[users]]", f'name = "{user}"', f'password_file = "{user}.password"', bounds]
        return self.write(name, "\n".join(lines))

    def write_signer(self) -> Path:
        files = self.authority.issue("signer", "signer", password=KEY_PASSWORD)
        (self.directory / "keys").mkdir(mode=0o700)
        lines = ['keys = ["keys"]', 'log.format = "json"', "[broker]", 'url_file = "signer.url"']
        lines += self.tls("broker", files)
        for role, peer in (("initiator", "responder"), ("responder", "initiator")):
            self.write(f"keys/{role}", PAIR.key(role).hex())
            lines += [
                f'[policy."{PAIR.account(role)}"]',
                'tags = ["initiator_sign", "responder_sign", "update", "update_ack"]',
                f'networks = ["{NETWORK}"]',
                f'counterparties = ["{PAIR.account(peer)}"]',
                "max_amount = 70000000000000",
                "max_fee = 1000000000000000",
                "acknowledge_outflow = true",
            ]
        return self.write("signer.toml", "\n".join(lines))

    def connection(self, user: str) -> Connection:
        """To the broker as that user, not yet open."""
        files = self.authority.issue(user, user)
        context = make_context(self.authority.ca_file, files.certificate, files.key)
        assert self.broker is not None
        return Connection(self.broker.tls_url(user), user, ssl_context=context)

    # --- processes --------------------------------------------------------------------------------------

    @property
    def loud_file(self) -> Path:
        return self.directory / "loud.log"

    async def start(self, *words: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-X", "dev", "-m", "tests.system.loud", *words),
            cwd=Path(__file__).parents[2],
            env=_environment() | {"LOUD_FILE": str(self.loud_file), "PYTHONASYNCIODEBUG": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=16 * 1024 * 1024,
        )
        made = Process(process)
        made.reader = asyncio.create_task(made._read())
        self.processes.append(made)
        return made

    async def start_bridge(self) -> Process:
        return await (await self.start("run", "--config", str(self.directory / "bridge.toml"))).ready()

    async def ask(self, *words: str) -> tuple[int, str]:
        """One command to its end: the exit code, and all it said."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bridge", *words),
            env=_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def pay(self, amount: int) -> dict[str, object]:
        parties = {"from_": PAIR.account("initiator"), "to": PAIR.account("responder")}
        return await self.house.run(PAIR.initiator, "transfer", amount=str(amount), **parties)


def password_of(user: str) -> str:
    return f"marker-of-{user}-0123456789"


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AMQP_", "CHANNEL_BRIDGE_"))}


@asynccontextmanager
async def walled(directory: Path, program: Program) -> AsyncIterator[Walled]:
    """Everything runs and the channel is open."""
    async with AsyncExitStack() as stack:
        node = SimulatedNode(network_id=NETWORK)
        await node.start()
        stack.push_async_callback(node.stop)
        authority = Authority(directory)
        shown = authority.issue("server", HOST)
        house = House("", directory, "channels", (PAIR,), node)
        made = Walled(directory, authority, node, house)
        _note_credentials(made)
        context = authority.server(shown, demands_certificate=True)
        made.node_port = await stack.enter_async_context(front(context, node.port))
        made.write("tls.password", KEY_PASSWORD)
        made.write("journal.key", JOURNAL_KEY)
        await _start_broker(made, stack, shown, program)
        await _connect(made, stack)
        made.write_bridge()
        stack.push_async_callback(_kill_all, made)
        await (await made.start("signer", "--config", str(made.write_signer()))).until_told("signer_ready")
        await made.start_bridge()
        for name in (PAIR.initiator, PAIR.responder):
            await house.event(name, "info.state", round=1)
        yield made


def _note_credentials(made: Walled) -> None:
    registry = made.node.registry
    draw = registry._new_fsm_id

    def note() -> str:
        fsm_id = draw()
        made.fsm_ids.add(fsm_id)
        return fsm_id

    registry._new_fsm_id = note  # type: ignore[method-assign]


async def _start_broker(made: Walled, stack: AsyncExitStack, shown: Files, program: Program) -> None:
    """On the definitions as the command prints them; a broker's address is not known yet, and not needed for that."""
    made.write("nowhere.url", f"amqps://nobody@{HOST}:1/")
    code, text = await made.ask("topology", "permissions", "-c", str(made.write_bridge("first.toml", "nowhere.url")))
    assert code == 0, text
    assert made.found_in(text) == []
    listener = TlsListener(made.authority.ca_file, shown.certificate, shown.key, demands_certificate=True)
    passwords = {user: password_of(user) for user in USERS}
    made.broker = await stack.enter_async_context(
        PrivateBroker(json.loads(text), passwords=passwords, program=program, tls=listener)
    )
    for user in USERS:
        made.write_url(user)


async def _connect(made: Walled, stack: AsyncExitStack) -> None:
    """The shop's commands and results, the books' events, the operator's dead letters: each as its own user."""
    clients = {user: await _client(made, stack, user) for user in ("shop", "books", "otto")}
    house = made.house
    house.client = clients["shop"]
    events = await clients["books"].listen("events", [("channels.events", "*.#")])
    letters = await clients["otto"].listen("letters", [("channels.dead-letters", "#")])
    results = await clients["shop"].results()
    tasks = [
        asyncio.create_task(_collect(house, events, "events", lambda it: house.events.append(json.loads(it.body)))),
        asyncio.create_task(_collect(house, results, "results", lambda it: house.take_result(json.loads(it.body)))),
        asyncio.create_task(_collect(house, letters, "letters", house.take_letter)),
    ]
    stack.push_async_callback(_end, tasks)


async def _client(made: Walled, stack: AsyncExitStack, user: str) -> BusClient:
    return BusClient(await stack.enter_async_context(made.connection(user)), "channels", user)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _kill_all(made: Walled) -> None:
    for process in made.processes:
        with contextlib.suppress(ProcessLookupError):
            await process.kill()
