"""The stage of the demo: broker, simulated node, bridge, two signers and an accountant, each a process of its own.

Everything lives in one directory and on loopback, and is gone when the stage is: processes, ports, files. The
parts get what they would get in production and no more: a configuration file, a secret file, a broker user
with the rights of its role.
"""

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import urlsplit, urlunsplit

import bridge
from bridge.app.busclient import user_of
from bridge.broker.permission import Role, User, definitions
from bridge.broker.private import PrivateBroker
from bridge.broker.topology import apply, plan
from bridge.signing.key import generate
from bridge.signing.secret import write_secret

NETWORK = "ae_demo"
START_SECONDS = 20.0
CONSUMER = "accounting_consumer.py"
STOP_SECONDS = 3.0
"""How long a part may take to stop before it is killed: the whole stage is gone within 5 s of Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Act:
    """One channel of the demo, both roles served by the one bridge."""

    name: str
    dialect: str
    profile: str | None = None
    initiator_amount: int = 1_000_000_000_000_000_000
    responder_amount: int = 500_000_000_000_000_000

    @property
    def node(self) -> str:
        return self.dialect if self.profile is None else f"{self.dialect}-{self.profile}"

    @property
    def initiator(self) -> str:
        return f"{self.name}-initiator"

    @property
    def responder(self) -> str:
        return f"{self.name}-responder"


ACTS = (Act("today", "json-rpc"), Act("late", "legacy", "late"), Act("seed", "legacy", "seed"))
ROLES = ("initiator", "responder")


@dataclass
class Stage:
    """`async with Stage(...) as stage`. `directory` None: a temporary one, removed at the end."""

    directory: Path | None = None
    acts: Sequence[Act] = ACTS
    prefix: str = "channels"
    accounts: dict[str, str] = field(default_factory=dict)
    """`<act>-<role>` to account."""
    is_least_privilege: bool = True
    node_port: int = 0
    http_port: int = 0
    """Where the bridge serves its console, before and after it is killed."""
    _passwords: dict[str, str] = field(default_factory=dict)
    _broker: PrivateBroker | None = None
    _shared_url: str | None = None
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _logs: list[IO[bytes]] = field(default_factory=list)
    _is_temporary: bool = False

    async def __aenter__(self) -> Self:
        self._is_temporary = self.directory is None
        self.directory = self.directory or Path(tempfile.mkdtemp(prefix="channel-bridge-demo-"))
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            await self._set_up(self.directory)
        except BaseException:
            await self._clear()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._clear()

    # --- setting up -------------------------------------------------------------------------------------

    async def _set_up(self, directory: Path) -> None:
        self._make_keys(directory)
        await self._start_broker()
        await self._start_node(directory)
        for role in ROLES:
            self._start(f"signer-{role}", ["signer"], self._write_signer(directory, role))
        await self._hire_accountant(directory)
        self.start_bridge()

    async def _hire_accountant(self, directory: Path) -> None:
        """Its queue must be there before the first entry is posted."""
        self.start_accountant()
        async with asyncio.timeout(START_SECONDS):
            while b"reading " not in (directory / "accountant.log").read_bytes():
                self._check("accountant")
                await asyncio.sleep(0.05)

    def _make_keys(self, directory: Path) -> None:
        for role in ROLES:
            folder = directory / f"keys-{role}"
            folder.mkdir(mode=0o700)
            for act in self.acts:
                self.accounts[f"{act.name}-{role}"] = generate(folder / act.name)

    async def _start_broker(self) -> None:
        self._shared_url = os.environ.get("AMQP_URL")
        topology = plan(self.prefix, self.accounts.values())
        if self._shared_url is not None:
            self.is_least_privilege = False
            self.prefix = f"demo-{secrets.token_hex(3)}"
            await apply(self._shared_url, plan(self.prefix, self.accounts.values()))
            return
        users = tuple(self._users())
        document = definitions(self.prefix, topology, users)
        self._broker = PrivateBroker(document, passwords=self._passwords)
        await self._broker.start()

    def _users(self) -> list[User]:
        channels = tuple(name for act in self.acts for name in (act.initiator, act.responder))
        bounds: dict[str, tuple[Role, tuple[str, ...], tuple[str, ...]]] = {
            "bridge": (Role.BRIDGE, (), ()),
            "shop": (Role.CLIENT, channels, ()),
            "accounting": (Role.OBSERVER, channels, ()),
        }
        for role in ROLES:
            own = tuple(self.accounts[f"{act.name}-{role}"] for act in self.acts)
            bounds[f"signer-{role}"] = (Role.SIGNER, (), own)
        self._passwords = {name: secrets.token_urlsafe(18) for name in bounds}
        return [
            User(name, role, channels=names, accounts=accounts, password=self._passwords[name])
            for name, (role, names, accounts) in bounds.items()
        ]

    def url(self, user: str) -> str:
        """The broker as that user sees it."""
        if self._shared_url is not None:
            return self._shared_url
        assert self._broker is not None  # noqa: S101  # set up before anybody asks
        return self._broker.url(user)

    def user(self, name: str) -> str:
        """The name under which `name` is known there: all share one where the broker was given."""
        return user_of(self.url(name))

    async def _start_node(self, directory: Path) -> None:
        port_file = directory / "node.port"
        self._start("node", ["simulate", "--port", "0", "--network-id", NETWORK, "--port-file", str(port_file)])
        async with asyncio.timeout(START_SECONDS):
            while not (port_file.exists() and (text := port_file.read_text().strip())):
                self._check("node")
                await asyncio.sleep(0.05)
        self.node_port = int(text)

    def _write_signer(self, directory: Path, role: str) -> Path:
        lines = [
            f'prefix = "{self.prefix}"',
            f'keys = ["{directory / f"keys-{role}"}"]',
            f'guard.data_dir = "{directory / f"signer-data-{role}"}"',
            "[http]",
            "port = 0",
            "[broker]",
            f'url_file = "{self._write_url(directory, f"signer-{role}")}"',
        ]
        for act in self.acts:
            peer = self.accounts[f"{act.name}-{'responder' if role == 'initiator' else 'initiator'}"]
            form = '"tx"' if act.profile == "seed" else '"network_id+hash", "network_id+tx"'
            lines += [
                f'[policy."{self.accounts[f"{act.name}-{role}"]}"]',
                'tags = ["initiator_sign", "responder_sign", "update", "update_ack", "deposit_tx", "deposit_ack",'
                ' "withdraw_tx", "withdraw_ack", "shutdown_sign", "shutdown_sign_ack"]',
                f'networks = ["{NETWORK}"]',
                f"forms = [{form}]",
                f'counterparties = ["{peer}"]',
                f"max_amount = {act.initiator_amount + act.responder_amount}",
                "max_fee = 1_000_000_000_000_000",
            ]
        path = directory / f"signer-{role}.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def _write_url(self, directory: Path, user: str) -> Path:
        path = directory / f"{user}.url"
        if not path.exists():
            write_secret(path, self.url(user))
        return path

    def _write_bridge(self, directory: Path) -> Path:
        path = directory / "bridge.toml"
        if path.exists():
            return path
        write_secret(directory / "journal.key", secrets.token_hex(32))
        self.http_port = _free_port()
        lines = [
            f'data_dir = "{directory / "data"}"',
            f'prefix = "{self.prefix}"',
            f'journal.key_file = "{directory / "journal.key"}"',
            "[http]",
            f"port = {self.http_port}",
            "[broker]",
            f'url_file = "{self._write_url(directory, "bridge")}"',
        ]
        for act in {act.node: act for act in self.acts}.values():
            lines += [
                f"[nodes.{act.node}]",
                f'url = "ws://127.0.0.1:{self.node_port}/channel"',
                f'dialect = "{act.dialect}"',
                f'network_id = "{NETWORK}"',
            ]
            lines += [f'profile = "{act.profile}"'] if act.profile else []
        for act in self.acts:
            for role in ROLES:
                lines += self._channel(act, role)
        path.write_text("\n".join(lines) + "\n")
        return path

    def _channel(self, act: Act, role: str) -> list[str]:
        (peer,) = set(ROLES) - {role}
        return [
            "[[channels]]",
            f'name = "{act.name}-{role}"',
            f'node = "{act.node}"',
            f'role = "{role}"',
            f'initiator = "{self.accounts[f"{act.name}-initiator"]}"',
            f'responder = "{self.accounts[f"{act.name}-responder"]}"',
            f"initiator_amount = {act.initiator_amount}",
            f"responder_amount = {act.responder_amount}",
            "[channels.policy]",
            'commands = ["transfer", "deposit", "withdraw", "message", "shutdown", "query"]',
            f"max_amount = {act.initiator_amount + act.responder_amount}",
            f"outflow_per_hour = {10 * (act.initiator_amount + act.responder_amount)}",
            f"outflow_per_day = {10 * (act.initiator_amount + act.responder_amount)}",
            f'counterparties = ["{self.accounts[f"{act.name}-{peer}"]}"]',
            'acknowledge = ["update_ack", "deposit_ack", "withdraw_ack", "shutdown_sign_ack"]',
        ]

    # --- processes --------------------------------------------------------------------------------------

    def start_bridge(self) -> None:
        """May be called again after the bridge was killed: it takes over what it left."""
        assert self.directory is not None  # noqa: S101  # entered
        self._start("bridge", ["run"], self._write_bridge(self.directory))

    @property
    def bridge_pid(self) -> int | None:
        """None between its death and its next start."""
        process = self._processes.get("bridge")
        return None if process is None else process.pid

    async def kill_bridge(self) -> None:
        """SIGKILL: it can do nothing about it, and has no last word."""
        process = self._processes.pop("bridge")
        process.kill()
        await asyncio.to_thread(process.wait)

    @property
    def has_own_broker(self) -> bool:
        """One that was given by AMQP_URL belongs to somebody else, and is not restarted."""
        return self._broker is not None

    async def stop_broker(self) -> None:
        """In order, so that its queues are whole when it comes back: all connections are lost meanwhile."""
        assert self._broker is not None  # noqa: S101  # asked before
        await self._broker.terminate()

    async def start_broker(self) -> None:
        """On the same ports, with the same data."""
        assert self._broker is not None  # noqa: S101  # asked before
        await self._broker.start()

    def start_accountant(self) -> None:
        """The consumer of the documents, word for word. May be called again after it was killed."""
        assert self.directory is not None  # noqa: S101  # entered
        channels = [name for act in self.acts for name in (act.initiator, act.responder)]
        environment = {"AMQP_URL": self.url("accounting"), "PREFIX": self.prefix}
        self._spawn("accountant", [str(find_consumer()), str(self._books), *channels], environment)

    async def kill_accountant(self) -> None:
        process = self._processes.pop("accountant")
        process.kill()
        await asyncio.to_thread(process.wait)

    async def read_books(self) -> dict[str, Any]:
        """The accountant's table added up, as `accounting_consumer.py FILE --balances` prints it."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(find_consumer()), str(self._books), "--balances"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment(),
        )
        printed, _ = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"the accountant's table cannot be read: exit code {process.returncode}")
        found: dict[str, Any] = json.loads(printed)
        return found

    @property
    def _books(self) -> Path:
        assert self.directory is not None  # noqa: S101  # entered
        return self.directory / "books.sqlite3"

    def _start(self, name: str, words: Sequence[str], config: Path | None = None) -> None:
        self._spawn(name, ["-m", "bridge", *words, *(["--config", str(config)] if config else [])], {})

    def _spawn(self, name: str, words: Sequence[str], environment: Mapping[str, str]) -> None:
        assert self.directory is not None  # noqa: S101  # entered
        # The file must stay open for the child; it is closed when the stage is cleared.
        log = (self.directory / f"{name}.log").open("ab")
        self._logs.append(log)
        self._processes[name] = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**self._environment(), **environment},
        )

    def _environment(self) -> Mapping[str, str]:
        """Nothing of ours in the environment: each part is told by its files alone."""
        return {name: value for name, value in os.environ.items() if not name.startswith(("AMQP_", "CHANNEL_BRIDGE_"))}

    def check(self) -> None:
        """Raises RuntimeError when a part has ended by itself."""
        for name in self._processes:
            self._check(name)

    def _check(self, name: str) -> None:
        code = self._processes[name].poll()
        if code is not None:
            assert self.directory is not None  # noqa: S101  # entered
            lines = (self.directory / f"{name}.log").read_text(errors="replace").splitlines()[-8:]
            raise RuntimeError(f"{name} ended with {code}:\n" + "\n".join(lines))

    async def _clear(self) -> None:
        """Ask every part to stop, kill what does not, remove the files. Bounded."""
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        await asyncio.gather(*(asyncio.to_thread(_end, process) for process in self._processes.values()))
        for log in self._logs:
            log.close()
        if self._broker is not None:
            await self._broker.stop()
        if self._is_temporary and self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)


def find_consumer() -> Path:
    """Where the example is: a wheel has it beside the code, a checkout among the documents."""
    packaged = Path(bridge.__file__).parent / "examples" / CONSUMER
    return packaged if packaged.exists() else packaged.parents[2] / "docs" / "examples" / CONSUMER


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def without_password(url: str) -> str:
    """A broker URL that may be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.hostname}:{parts.port}", query=""))


def _free_port() -> int:
    """One that was free a moment ago, on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
