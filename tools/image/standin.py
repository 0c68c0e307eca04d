"""Builds and runs the image where no engine answers: buildah, and a base of the distribution's own packages.

The base takes the name the Dockerfile asks for; it holds Python, pip and OpenSSL as the real one does, of whatever
release the distribution has. Containers are run by `unshare` and `chroot` with the root mounted read-only. What this
cannot prove: the real base's content, other architectures, BuildKit's own words.

Needs root, and apt for what is missing. Everything it makes lies below `.cache/image`.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from tools.image.engine import DOCKERFILE, ROOT, TAG, Container, ImageWrong, call, differing

PLACE = ROOT / ".cache" / "image"
BASE = "localhost/python:3.13-slim"
PACKAGES = "python3,python3-venv,ca-certificates,openssl"
"""What of the real base the image uses. `python3-venv` is pip; `openssl` comes with certificates there too."""

FROM_HERE = ("/etc/pip.conf", "/etc/ssl/certs")
"""How this machine reaches its package registry. Mounted for the build, never copied into a layer."""

PROGRAMS = ("buildah", "mmdebstrap")


class StandIn:
    name = "buildah, base: a stand-in"

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._mounted: dict[str, tuple[str, Path]] = {}
        """Image to working container and where its files lie."""
        self._need_programs()
        PLACE.mkdir(parents=True, exist_ok=True)

    def _need_programs(self) -> None:
        if os.geteuid() != 0:
            raise ImageWrong("no Docker or Podman answers, and the stand-in needs root")
        missing = [program for program in PROGRAMS if shutil.which(program) is None]
        if not missing:
            return
        if shutil.which("apt-get") is None:
            raise ImageWrong(f"no Docker or Podman answers; install one, or {' and '.join(missing)}")
        print(f"image: installing {', '.join(missing)}", flush=True)
        call("apt-get", "-qq", "update")
        call("apt-get", "-qq", "-y", "-o", "DPkg::Lock::Timeout=600", "install", "--no-install-recommends", *missing)

    def build(self, arguments: Mapping[str, str]) -> None:
        if not self._has(BASE):
            self._make_base()
        words: list[object] = ["bud", "--isolation", "chroot", "--network", "host", "--pull-never"]
        words += ["--format", "docker", "--file", DOCKERFILE, "--tag", TAG, "--quiet"]
        for place in filter(os.path.exists, FROM_HERE):
            words += ["--volume", f"{place}:{place}:ro"]
        for name, value in arguments.items():
            words += ["--build-arg", f"{name}={value}"]
        self._buildah(*words, ".")

    def _make_base(self) -> None:
        """Python under the name and at the place the real base has it: /usr/local/bin/python."""
        print("image: making the stand-in base, once", flush=True)
        archive = PLACE / "base.tar"
        suite = next(
            line.partition("=")[2].strip('"\n')
            for line in Path("/etc/os-release").read_text().splitlines()
            if line.startswith("VERSION_CODENAME=")
        )
        include = f"--include={PACKAGES}"
        mount_point = '; touch "$1/etc/pip.conf"'  # else the build would leave it in a layer
        hook = f'--customize-hook=ln -s /usr/bin/python3 "$1/usr/local/bin/python"{mount_point}'
        call("mmdebstrap", "--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io", include, hook, suite, archive)
        container = self._buildah("from", "--isolation", "chroot", "scratch")
        self._buildah("add", "--quiet", container, archive, "/")
        self._buildah("commit", "--quiet", "--rm", container, BASE)
        archive.unlink()

    def inspect(self) -> Mapping[str, Any]:
        config: Mapping[str, Any] = json.loads(self._buildah("inspect", "--type", "image", TAG))["Docker"]["config"]
        return config

    def added(self) -> Mapping[str, Path]:
        return differing(self._root(TAG), self._root(BASE))

    def start(self, container: Container, output: IO[bytes]) -> subprocess.Popen[bytes]:
        # A process id space of its own: as in an engine the program is the first process, with no default signals.
        process = subprocess.Popen(  # noqa: S603  # every word is ours
            ["unshare", "--mount", "--pid", "--fork", "sh", "-euc", self._script(container)],  # noqa: S607
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        self._processes.append(process)
        return process

    def _script(self, container: Container) -> str:
        """Mounts as an engine does, then becomes the program. Nothing of it is seen outside its own mount space."""
        root = self._root(TAG)
        hosts = PLACE / f"hosts-{len(self._processes)}"
        hosts.write_text("".join(f"127.0.0.1 {name}\n" for name in ("localhost", *container.hosts)))
        lines = [f"mount --bind {root} {root}", f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
        lines += [f"mount -t tmpfs -o size=16m,mode=1777 tmpfs {root}/tmp"]  # noqa: S108  # the container's own
        lines.append(f"mount --bind {hosts} {root}/etc/hosts")
        for mount in container.mounts:
            target = Path(f"{root}{mount.target}")
            (target.parent if mount.source.is_file() else target).mkdir(parents=True, exist_ok=True)
            if mount.source.is_file():
                target.touch()
            lines.append(f"mount --bind {mount.source} {target}")
            if not mount.is_writable:
                lines.append(f"mount -o remount,bind,ro {target}")
        lines += [f"mount -o remount,bind,ro {root}", shlex.join(self._become(container, root))]
        return "\n".join(lines)

    def _become(self, container: Container, root: Path) -> list[str]:
        user = f"{container.user}:{container.user}" if container.user is not None else self.inspect()["User"]
        # `chroot` itself needs these three; a change from root to another user drops all of them.
        kept = ",".join(f"+{name}" for name in ("sys_chroot", "setuid", "setgid", *container.capabilities))
        image = dict(variable.split("=", 1) for variable in self.inspect()["Env"])
        variables = [f"{name}={value}" for name, value in (image | dict(container.environment)).items()]
        folder = container.folder or self.inspect()["WorkingDir"]
        return [
            *("exec", "setpriv", "--no-new-privs", "--bounding-set", f"-all,{kept}"),
            *("chroot", f"--userspec={user}", "--groups=", str(root)),
            *("env", "-i", f"--chdir={folder}", *variables, *container.command),
        ]

    def interrupt(self, process: subprocess.Popen[bytes]) -> None:
        for child in self._children(process):
            os.kill(child, signal.SIGTERM)

    def _children(self, process: subprocess.Popen[bytes]) -> list[int]:
        """The first process of the container, which is the child of `unshare`; none once it has ended."""
        if process.poll() is not None:
            return []
        return [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]

    def clear(self) -> None:
        for process in self._processes:
            # The kernel ends a process id space with its first process. Killing `unshare` alone would leave it:
            # whoever changes his user loses the signal of his parent's death.
            for child in self._children(process):
                os.kill(child, signal.SIGKILL)
            process.kill()
            process.wait()
        self._processes = []
        for container, _ in self._mounted.values():
            self._buildah("rm", container)
        self._mounted = {}

    def _root(self, image: str) -> Path:
        """Where the image's files lie, as a working container that `clear` removes."""
        if image not in self._mounted:
            container = self._buildah("from", "--isolation", "chroot", "--pull-never", image)
            self._mounted[image] = container, Path(self._buildah("mount", container))
        return self._mounted[image][1]

    def _has(self, image: str) -> bool:
        return call(*self._words("inspect", "--type", "image", image), check=False).returncode == 0

    def _buildah(self, *words: object) -> str:
        return call(*self._words(*words)).stdout.strip()

    def _words(self, *words: object) -> tuple[object, ...]:
        """Storage of its own: the machine's images stay as they are, and `make clean` removes ours."""
        places = ("--root", PLACE / "storage", "--runroot", PLACE / "run", "--storage-driver", "vfs")
        return ("env", f"TMPDIR={PLACE}", "buildah", *places, *words)
