"""What builds and runs an image: Docker or Podman where one answers, else a stand-in that needs no daemon.

Whatever runs, runs as the composition has it: read-only root, no capability, no new privileges, the image's own user, a
small /tmp. The network is the machine's own, on which `hosts` are names of loopback.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

ROOT = Path(__file__).resolve().parent.parent.parent
DOCKERFILE = ROOT / "docker" / "Dockerfile"
TAG = "channel-bridge:check"
SECONDS = 300
WRITTEN_BY_ENGINES = ("etc/hosts", "etc/hostname", "etc/resolv.conf", ".dockerenv", "run/.containerenv")


class ImageWrong(Exception):
    """Says in one sentence what is not as it should be, with the evidence."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of this machine at a place in the container."""

    source: Path
    target: str
    is_writable: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """What is to run. `command` replaces the image's entry point and its arguments; `user` its user."""

    command: Sequence[str]
    mounts: Sequence[Mount] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    hosts: Sequence[str] = ()
    user: int | None = None
    capabilities: Sequence[str] = ()
    folder: str | None = None
    """Where it starts; None: where the image says."""


class Engine(Protocol):
    name: str

    def build(self, arguments: Mapping[str, str]) -> None:
        """Makes the image `TAG`. Raises `ImageWrong` with the end of what the builder said."""

    def inspect(self) -> Mapping[str, Any]:
        """The image's configuration, as Docker names its parts."""

    def added(self) -> Mapping[str, Path]:
        """Files the image has and its base has not, by their place in the image, to be read where they lie."""

    def start(self, container: Container, output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Runs until it ends; all it says goes to `output`."""

    def interrupt(self, process: subprocess.Popen[bytes]) -> None:
        """SIGTERM to the container's first process."""

    def clear(self) -> None:
        """Ends and removes what is left. May be called twice."""


def run(engine: Engine, container: Container) -> tuple[int, str]:
    """Exit code and output of a container that ends by itself."""
    with tempfile.TemporaryFile() as output:
        code = engine.start(container, output).wait(timeout=SECONDS)
        output.seek(0)
        return code, output.read().decode(errors="replace")


def find() -> Engine:
    """The first that answers. Raises `ImageWrong` if nothing can build here."""
    from tools.image.standin import StandIn

    for program in ("docker", "podman"):
        if shutil.which(program) and call(program, "info", check=False).returncode == 0:
            return Daemon(program)
    return StandIn()


def call(*words: object, check: bool = True, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A program's output. Raises `ImageWrong` with its last words if it fails and `check` is set."""
    ending = subprocess.run(  # noqa: S603  # every word is ours
        [str(word) for word in words], cwd=folder, capture_output=True, text=True, check=False
    )
    if check and ending.returncode != 0:
        said = "\n".join((ending.stdout + ending.stderr).strip().splitlines()[-25:])
        raise ImageWrong(f"{words[0]} ended with {ending.returncode}:\n{said}")
    return ending


def differing(image: Path, base: Path) -> Mapping[str, Path]:
    """Files and links below `image` that `base` has not, or has otherwise."""
    found = {}
    for path in image.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            continue
        place = path.relative_to(image)
        if str(place) not in WRITTEN_BY_ENGINES and not _is_same(path, base / place):
            found[f"/{place}"] = path
    return found


def _is_same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    if not one.is_file():
        return other.exists() and not other.is_file()
    return other.is_file() and one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()


class Daemon:
    """Docker or Podman, whose command lines agree on all that is used here."""

    def __init__(self, program: str) -> None:
        self.name = program
        self._containers: dict[int, str] = {}
        self._scratch = tempfile.TemporaryDirectory(prefix="channel-bridge-image-")

    def build(self, arguments: Mapping[str, str]) -> None:
        given = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        call(self.name, "build", "--file", DOCKERFILE, "--tag", TAG, *given, ".")

    def inspect(self) -> Mapping[str, Any]:
        (image,) = json.loads(call(self.name, "image", "inspect", TAG).stdout)
        config: Mapping[str, Any] = image["Config"]
        return config

    def added(self) -> Mapping[str, Path]:
        default = next(line for line in DOCKERFILE.read_text().splitlines() if line.startswith("ARG PYTHON_IMAGE="))
        return differing(self._unpack(TAG, "image"), self._unpack(default.partition("=")[2], "base"))

    def _unpack(self, image: str, name: str) -> Path:
        folder = Path(self._scratch.name, name)
        folder.mkdir()
        container = call(self.name, "create", image).stdout.strip()
        try:
            archive = folder.with_suffix(".tar")
            call(self.name, "export", "--output", archive, container)
            call("tar", "--extract", "--file", archive, "--directory", folder, "--exclude", "dev/*")
        finally:
            call(self.name, "rm", "--force", container)
        return folder

    def start(self, container: Container, output: IO[bytes]) -> subprocess.Popen[bytes]:
        name = f"channel-bridge-check-{len(self._containers)}-{Path(self._scratch.name).name[-8:]}"
        words = ["run", "--rm", "--init=false", "--name", name, "--network", "host", "--read-only", "--cap-drop", "ALL"]
        words += ["--security-opt", "no-new-privileges", "--tmpfs", "/tmp:size=16m,mode=1777"]  # noqa: S108
        for capability in container.capabilities:
            words += ["--cap-add", capability.upper()]
        if container.user is not None:
            words += ["--user", f"{container.user}:{container.user}"]
        if container.folder is not None:
            words += ["--workdir", container.folder]
        for mount in container.mounts:
            words += ["--volume", f"{mount.source}:{mount.target}:{'rw' if mount.is_writable else 'ro'}"]
        for variable, value in container.environment.items():
            words += ["--env", f"{variable}={value}"]
        for host in container.hosts:
            words += ["--add-host", f"{host}:127.0.0.1"]
        words += ["--entrypoint", container.command[0], TAG, *container.command[1:]]
        process = subprocess.Popen(  # noqa: S603  # every word is ours
            [self.name, *words], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        self._containers[process.pid] = name
        return process

    def interrupt(self, process: subprocess.Popen[bytes]) -> None:
        call(self.name, "kill", "--signal", "TERM", self._containers[process.pid])

    def clear(self) -> None:
        for name in self._containers.values():
            call(self.name, "rm", "--force", name, check=False)
        self._containers = {}
        self._scratch.cleanup()
