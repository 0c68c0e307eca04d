"""The real RabbitMQ as a private child process: for tests, the demo and a first look.

Own directory, free ports, loopback only, an `epmd` of its own, users and topology from a definitions document;
gone without a trace when we are, also when we are killed. Needs no AMQP library, no root and no command-line
tool of RabbitMQ. Facts, each measured: platform.md section 1.

Never do here: touch an installed service, its cookie, its data or the shared `epmd`.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import quote

from bridge.broker.package import Program, locate
from bridge.broker.permission import hash_password

START_SECONDS = 120.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05
ADMIN = "admin"

_TEMPORARY = "channel-bridge-broker-"
_OWNER = "owner"
_ERLANG_ARGUMENTS = (
    "+sbwt none +sbwtdcpu none +sbwtdio none -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"
)
_CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
load_definitions = {definitions}
log.console = false
log.file.level = warning
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.relative = 0.4
raft.wal_max_size_bytes = 33554432
"""


_TLS_CONFIGURATION = """\
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {authorities}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = {demands}
ssl_cert_login_from = common_name
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
"""


_WITH_ALL_FILES = ("/bin/sh", "-c", 'ulimit -n "$(ulimit -Hn)"; exec "$@"', "sh")
"""A quorum queue keeps files open: at the usual soft limit of 1,024 some hundred queues stop a broker (measured)."""


@dataclass(frozen=True, slots=True)
class TlsListener:
    """A second listener, with TLS, which knows users by their certificate's common name too. Files in PEM."""

    authorities: Path
    """Whose client certificates count."""
    certificate: Path
    key: Path
    demands_certificate: bool = False
    versions: tuple[str, ...] = ("tlsv1.3", "tlsv1.2")
    port: int = 0
    """0: any that is free."""

    def configuration(self, port: int) -> str:
        lines = _TLS_CONFIGURATION.format(
            port=port,
            authorities=self.authorities,
            certificate=self.certificate,
            key=self.key,
            demands=str(self.demands_certificate).lower(),
        )
        versions = (f"ssl_options.versions.{number} = {name}\n" for number, name in enumerate(self.versions, 1))
        return lines + "".join(versions)


class BrokerStartFailed(Exception):
    """RabbitMQ was there and did not come up. Carries the end of its log."""


class PrivateBroker:
    """`async with PrivateBroker(definitions) as broker: broker.url()`.

    `definitions`: a RabbitMQ definitions document, as `permission.definitions` writes it. A user `admin` with
    all rights and a random password is added. `passwords` are those of the other users, for `url`. Without a
    `directory` a temporary one is used and removed at the end; with one, data stays for the next start.

    Bound to no event loop: it may be started in one and stopped in another.
    """

    def __init__(
        self,
        definitions: Mapping[str, Any] | None = None,
        *,
        directory: Path | None = None,
        passwords: Mapping[str, str] | None = None,
        program: Program | None = None,
        tls: TlsListener | None = None,
    ) -> None:
        self._definitions = dict(definitions or {})
        self._passwords = {**(passwords or {}), ADMIN: secrets.token_urlsafe(18)}
        self._given = directory
        self._directory = directory
        self._program = program
        self._tls = tls
        self._port, self._tls_port, self._dist_port, self._epmd_port = 0, 0, 0, 0
        self._processes: list[subprocess.Popen[bytes]] = []
        self._claim: IO[str] | None = None

    @property
    def port(self) -> int:
        """The AMQP port on 127.0.0.1. Stays the same over a restart."""
        return self._port

    @property
    def tls_port(self) -> int:
        """The same with TLS, on `localhost`; 0 without."""
        return self._tls_port if self._tls is not None else 0

    @property
    def pids(self) -> tuple[int, ...]:
        """The process groups: `epmd` and the server."""
        return tuple(process.pid for process in self._processes)

    def tls_url(self, user: str, *, with_password: bool = True) -> str:
        """The AMQP URL for one user over TLS; without a password: for one who shows a certificate."""
        if not with_password:
            return f"amqps://{quote(user, safe='')}@localhost:{self._tls_port}/?auth=EXTERNAL"
        password = quote(self._passwords[user], safe="")
        return f"amqps://{quote(user, safe='')}:{password}@localhost:{self._tls_port}/"

    def url(self, user: str = ADMIN, *, vhost: str = "/") -> str:
        """The AMQP URL for one user. A secret."""
        password = quote(self._passwords[user], safe="")
        return f"amqp://{quote(user, safe='')}:{password}@127.0.0.1:{self._port}/{quote(vhost, safe='')}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts and waits until AMQP answers: 4 to 8 s, and a fetch before the first time.

        Raises `BrokerNotFound` (says what to do) or `BrokerStartFailed`. Nothing is left running then.
        """
        if self._program is None:
            self._program = await asyncio.to_thread(locate)
        directory = self._prepare()
        try:
            self._spawn(self._program, directory)
            await self._wait_ready(directory)
        except BaseException:
            self.kill()
            self._clean()
            raise

    async def stop(self) -> None:
        """Stops it for good. Thrown-away data needs no farewell: killed at once. Kept data gets one."""
        if self._given is not None:
            await self.terminate()
        self.kill()
        self._clean()

    async def restart(self) -> None:
        """Down and up again on the same ports with the same data."""
        await self.terminate()
        await self.start()

    async def terminate(self) -> None:
        """Asks it to stop and waits: 1 to 6 s. Data, ports and directory stay."""
        if self._processes:
            server = self._processes[-1]
            with contextlib.suppress(ProcessLookupError):
                server.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(server.wait, STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """SIGKILL for all of it. Does not remove the directory. May be called twice."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._processes = []

    def freeze(self) -> None:
        """Stops its clock: sockets stay open and nobody answers."""
        os.killpg(self._processes[-1].pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self._processes[-1].pid, signal.SIGCONT)

    async def control(self, *arguments: str) -> str:
        """Runs `rabbitmqctl` against it: 0.4 to 2 s. Returns what it printed."""
        if self._program is None or self._directory is None:
            raise BrokerStartFailed("it is not running")
        process = await asyncio.create_subprocess_exec(
            str(self._program.server.with_name("rabbitmqctl")),
            *arguments,
            env=self._environment(self._program, self._directory),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode != 0:
            raise BrokerStartFailed(f"rabbitmqctl {arguments[0]}: {output.decode(errors='replace')[-500:]}")
        return output.decode(errors="replace")

    def _prepare(self) -> Path:
        if self._directory is None:
            _sweep()
            self._directory, self._claim = _temporary()
        directory = self._directory.absolute()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._port == 0:
            self._port, self._tls_port, self._dist_port, self._epmd_port = _free_ports(4)
            if self._tls is not None and self._tls.port:
                self._tls_port = self._tls.port
        (directory / "definitions.json").write_text(json.dumps(self._with_admin()), encoding="utf-8")
        plugins = "" if self._tls is None else "rabbitmq_auth_mechanism_ssl"
        (directory / "enabled_plugins").write_text(f"[{plugins}].\n", encoding="utf-8")
        configuration = _CONFIGURATION.format(port=self._port, definitions=directory / "definitions.json")
        if self._tls is not None:
            configuration += self._tls.configuration(self._tls_port)
        (directory / "rabbitmq.conf").write_text(configuration, encoding="utf-8")
        return directory

    def _with_admin(self) -> dict[str, Any]:
        vhosts = self._definitions.get("vhosts") or [{"name": "/"}]
        admin = {
            "name": ADMIN,
            "password_hash": hash_password(self._passwords[ADMIN]),
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": [],
        }
        grants = [
            {"user": ADMIN, "vhost": vhost["name"], "configure": ".*", "write": ".*", "read": ".*"} for vhost in vhosts
        ]
        return self._definitions | {
            "users": [*self._definitions.get("users", ()), admin],
            "vhosts": vhosts,
            "permissions": [*self._definitions.get("permissions", ()), *grants],
        }

    def _spawn(self, program: Program, directory: Path) -> None:
        environment = self._environment(program, directory)
        with (directory / "console.log").open("ab") as console:
            for command in (
                [str(program.epmd), "-port", str(self._epmd_port), "-address", "127.0.0.1"],
                [str(program.server)],
            ):
                # `setpriv` makes the kernel kill the child when we die without a chance to do it. It holds
                # over `exec`, and the server is told below to become the Erlang machine, not its parent.
                process = subprocess.Popen(  # noqa: S603
                    [*_with_death_signal(), *_WITH_ALL_FILES, *command],
                    cwd=directory,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=console,
                    start_new_session=True,
                )
                self._processes.append(process)

    def _environment(self, program: Program, directory: Path) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RABBITMQ_", "ERL_", "NOTIFY_SOCKET"))
        }
        path = f"{program.tools}:{kept.get('PATH', '/usr/bin:/bin')}"
        libraries = [*map(str, program.libraries), *filter(None, [kept.get("LD_LIBRARY_PATH")])]
        return kept | {
            "HOME": str(directory),
            "PATH": path,
            "LD_LIBRARY_PATH": ":".join(libraries),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"private{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG_ARGUMENTS,
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_START_ARGS": "-noinput +B i",
        }

    async def _wait_ready(self, directory: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not await _answers_amqp(self._port):
            if any(process.poll() is not None for process in self._processes):
                raise BrokerStartFailed(f"RabbitMQ stopped while starting: {_last_words(directory)}")
            if time.monotonic() > deadline:
                raise BrokerStartFailed(f"no answer after {START_SECONDS:g} s: {_last_words(directory)}")
            await asyncio.sleep(POLL_SECONDS)

    def _clean(self) -> None:
        if self._given is None and self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
        if self._claim is not None:
            self._claim.close()
            self._claim = None


def _temporary() -> tuple[Path, IO[str]]:
    """A directory of our own, and the lock that shows its owner lives. It gets its name once it is locked."""
    directory = Path(tempfile.mkdtemp(prefix="channel-bridge-starting-"))
    claim = (directory / _OWNER).open("w")
    fcntl.flock(claim, fcntl.LOCK_EX)
    return directory.rename(directory.with_name(_TEMPORARY + directory.name[-8:])), claim


def _sweep() -> None:
    """Removes the directories of owners that died without a chance to: their lock is free."""
    for directory in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*"):
        with contextlib.suppress(OSError), (directory / _OWNER).open() as claim:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)


def _with_death_signal() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on, all different. Somebody may take one before we do: then the start fails."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


async def _answers_amqp(port: int) -> bool:
    """Whether something on the port answers AMQP's opening bytes."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"AMQP\x00\x00\x09\x01")
                return bool(await reader.read(1))
            finally:
                writer.close()
                await writer.wait_closed()
    except (OSError, TimeoutError):
        return False


def _last_words(directory: Path) -> str:
    """The end of the console output and of the log: the reason usually stands there."""
    files = [directory / "console.log", *sorted((directory / "log").glob("*.log"))]
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file()]
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-6:]) or "it said nothing"
