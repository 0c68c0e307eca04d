"""Finds RabbitMQ's program on this machine, or fetches the distribution's package without installing it.

Installing the package would start a system service nobody asked for. So the package and the Erlang it needs
are downloaded by `apt-get` with lists of our own, unpacked by `dpkg`, and run from a folder: no root needed,
nothing outside that folder touched. Facts: platform.md sections 0 and 1.
"""

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DIRECTORY_VARIABLE = "CHANNEL_BRIDGE_BROKER_DIR"
COMMAND_SECONDS = 300

_INSTALLED = (
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*",
    "/opt/rabbitmq",
    "/opt/rabbitmq_server-*",
    "/usr/local/lib/rabbitmq_server-*",
)
_ROOT_LINE = re.compile(r"^(\s*)ROOTDIR=.*$", re.MULTILINE)
_ROOT_FROM_PLACE = r'\1ROOTDIR="$(dirname "$(dirname "$(readlink -f "$0")")")"'


class BrokerNotFound(Exception):
    """There is no RabbitMQ here and none could be fetched. Says what to do instead."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason}. Set AMQP_URL to a running RabbitMQ, or install the package rabbitmq-server, "
            "or run on a Debian or Ubuntu machine, where it is fetched by itself"
        )


@dataclass(frozen=True, slots=True)
class Program:
    """Where the parts are. `tools` goes in front of PATH, `libraries` into LD_LIBRARY_PATH."""

    server: Path
    epmd: Path
    tools: Path
    libraries: tuple[Path, ...] = ()


def locate(directory: Path | None = None) -> Program:
    """The installed program, else the one fetched before, else fetches it (about 10 s, 35 MB).

    Blocks. Safe in several processes at once. Raises `BrokerNotFound`.
    """
    return find_installed() or fetch(directory or default_directory())


def default_directory() -> Path:
    """`CHANNEL_BRIDGE_BROKER_DIR`, else `.broker` in the current directory."""
    return Path(os.environ.get(DIRECTORY_VARIABLE) or ".broker").absolute()


def find_installed() -> Program | None:
    """The program of an installed package, beside an installed Erlang."""
    erl, epmd = shutil.which("erl"), shutil.which("epmd")
    if erl is None or epmd is None:
        return None
    for pattern in _INSTALLED:
        for home in sorted(Path("/").glob(pattern.lstrip("/")), reverse=True):
            server = home / "sbin" / "rabbitmq-server"
            if server.is_file():
                return Program(server, Path(epmd), Path(erl).parent)
    return None


def fetch(directory: Path) -> Program:
    """Fetches into `directory` unless it lies there already. The folder may be moved afterwards."""
    root = directory / "root"
    if not root.is_dir():
        _require("apt-get", "apt-cache", "dpkg")
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory / "lock"):
            if not root.is_dir():
                _fill(directory, root)
    return _unpacked(root)


def _require(*commands: str) -> None:
    for command in commands:
        if shutil.which(command) is None:
            raise BrokerNotFound(f"no RabbitMQ is installed and there is no {command} to fetch it with")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Waits for the other processes that fetch into the same directory."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fill(directory: Path, root: Path) -> None:
    """Unpacks beside `root` and renames: others see all of it or nothing, also after a crash."""
    work = directory / "unpacking"
    shutil.rmtree(work, ignore_errors=True)
    (work / "packages").mkdir(parents=True)
    (work / "lists" / "partial").mkdir(parents=True)
    options = [
        f"-oDir::State::lists={work / 'lists'}",
        f"-oDir::Cache={work / 'cache'}",
        "-oAPT::Sandbox::User=root",
    ]
    (work / "cache" / "archives" / "partial").mkdir(parents=True)
    _run(["apt-get", "-qq", *options, "update"], work)
    _run(["apt-get", "-qq", *options, "download", *_package_names(options, work)], work / "packages")
    for package in sorted((work / "packages").glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(work / "root")], work)
    _unpin(work / "root" / "usr" / "lib" / "erlang" / "bin" / "erl")
    (work / "root").rename(root)
    shutil.rmtree(work, ignore_errors=True)


def _package_names(options: Iterable[str], work: Path) -> list[str]:
    """The server, all of the Erlang it needs, and those shared libraries this machine lacks."""
    tree = _run(["apt-cache", *options, "depends", "--recurse", "--important", "rabbitmq-server"], work)
    plan = _run(["apt-get", "-s", *options, "install", "--no-install-recommends", "rabbitmq-server"], work)
    erlang = {line for line in tree.splitlines() if re.fullmatch(r"erlang-[a-z0-9-]+", line) and "hipe" not in line}
    libraries = set(re.findall(r"^Inst (lib[a-z0-9.+-]+)", plan, re.MULTILINE))
    return sorted({"rabbitmq-server"} | erlang | libraries)


def _unpin(erl: Path) -> None:
    """Erlang's start script names its folder by an absolute path: let it take the one it lies in."""
    text = erl.read_text(encoding="utf-8")
    erl.write_text(_ROOT_LINE.sub(_ROOT_FROM_PLACE, text), encoding="utf-8")


def _run(command: list[str], directory: Path) -> str:
    environment = os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=COMMAND_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout).strip().splitlines()[-1:]
        raise BrokerNotFound(f"{command[0]} could not fetch RabbitMQ: {''.join(last)}") from error
    except subprocess.TimeoutExpired as error:
        raise BrokerNotFound(f"{command[0]} took longer than {COMMAND_SECONDS} s") from error
    return done.stdout


def _unpacked(root: Path) -> Program:
    servers = sorted(root.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"))
    if not servers:
        raise BrokerNotFound(f"{root} holds no RabbitMQ: remove it to have it fetched again")
    tools = root / "usr" / "lib" / "erlang" / "bin"
    libraries = tuple(path for path in sorted(root.glob("usr/lib/*-linux-*")) if path.is_dir())
    return Program(servers[-1], tools / "epmd", tools, libraries)
