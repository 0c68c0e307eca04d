"""Makes the virtual environment that `make` works in: every package from the hashed lock, then the project.

Runs under the machine's own Python, before anything is installed, so it uses the standard library alone.
It writes nothing outside the project's folder and needs no root. Where Python comes without pip's installer
(Debian's `python3` without `python3-venv`) it takes pip from the distribution's package, unpacked below
`.cache/`, not installed. Two stamps inside the environment make a second run free; a run that was cut short
leaves no stamp and is repeated from the beginning.
"""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements-dev.lock"
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
LOCKFILE = ROOT / ".cache" / "environment.lock"
CACHE = ROOT / ".cache" / "pip-from-package"
SYSTEM_WHEELS = Path("/usr/share/python-wheels")
"""Where Debian's package `python3-pip-whl` puts pip."""

OLDEST = (3, 11)
QUIET = ("--disable-pip-version-check", "--no-input", "--quiet")


class SetupFailed(Exception):
    """Says in one sentence what is missing and how to get it."""


def main() -> int:
    """Exit code 0 when the environment is as the lock and the project say, 1 with a sentence otherwise."""
    LOCKFILE.parent.mkdir(exist_ok=True)
    try:
        with LOCKFILE.open("w") as lockfile:
            fcntl.flock(lockfile, fcntl.LOCK_EX)  # `make test` and `make demo` may start side by side
            take_packages()
            take_project()
    except SetupFailed as failure:
        print(f"setup: {failure}", file=sys.stderr)
        return 1
    return 0


def take_packages() -> None:
    """Every package of the lock, and nothing else: a changed lock begins with an empty folder."""
    stamp, wanted = ENVIRONMENT / "lock.stamp", fingerprint(LOCK, sys.version, str(ROOT))
    if is_stamped(stamp, wanted):
        return
    say(f"making {ENVIRONMENT.name} with Python {sys.version.split()[0]} from {LOCK.name}")
    make_environment()
    # Wheels only: building a source package would fetch a build backend that no lock names.
    install("--require-hashes", "--only-binary", ":all:", "--requirement", str(LOCK))
    stamp.write_text(wanted)


def take_project() -> None:
    """The project itself, editable. Its build backend is in the lock, so nothing is fetched here."""
    stamp, wanted = ENVIRONMENT / "project.stamp", fingerprint(ROOT / "pyproject.toml")
    if is_stamped(stamp, wanted):
        return
    say("installing the project into it")
    install("--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    stamp.write_text(wanted)


def fingerprint(file: Path, *facts: str) -> str:
    """Changes with the file's content and with any of the facts."""
    return sha256(file.read_bytes() + "\0".join(facts).encode()).hexdigest()


def is_stamped(stamp: Path, wanted: str) -> bool:
    return PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted


def make_environment() -> None:
    """An empty environment; with pip in it where this Python can do that."""
    if importlib.util.find_spec("venv") is None:
        raise SetupFailed("this Python has no module venv: install the package python3-venv")
    without_pip = () if has_ensurepip() else ("--without-pip",)
    run([sys.executable, "-m", "venv", "--clear", *without_pip, str(ENVIRONMENT)], "making .venv failed")


def has_ensurepip() -> bool:
    """Debian splits `ensurepip` off into `python3-venv`; `venv` itself is always there."""
    return importlib.util.find_spec("ensurepip") is not None


def install(*arguments: str) -> None:
    pip = ["-m", "pip"] if has_ensurepip() else [str(find_pip() / "pip")]
    run([str(PYTHON), *pip, "install", *QUIET, *arguments], "pip could not install what the project needs")


def find_pip() -> Path:
    """A wheel of pip, which Python can run without installing it; fetched once if the machine has none."""
    for folder in (SYSTEM_WHEELS, CACHE / "usr/share/python-wheels"):
        if wheels := sorted(folder.glob("pip-*.whl")):
            return wheels[-1]
    fetch_pip()
    return find_pip()


def fetch_pip() -> None:
    """Unpack Debian's `python3-pip-whl` below `.cache/`. Needs apt and dpkg, no root."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise SetupFailed("this Python has no ensurepip: install the package python3-venv (or python3-pip)")
    say("this Python has no ensurepip: taking pip from the package python3-pip-whl")
    shutil.rmtree(CACHE, ignore_errors=True)
    lists = CACHE / "lists"
    (lists / "partial").mkdir(parents=True)
    own_lists = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={CACHE / 'apt'}"]
    (CACHE / "apt" / "archives" / "partial").mkdir(parents=True)
    advice = "python3-pip-whl could not be fetched; install the package python3-venv yourself"
    run(["apt-get", "-qq", *own_lists, "update"], advice)
    run(["apt-get", "-qq", *own_lists, "download", "python3-pip-whl"], advice, folder=CACHE)
    packages = sorted(CACHE.glob("python3-pip-whl_*.deb"))
    if not packages:
        raise SetupFailed(advice)
    run(["dpkg", "--extract", str(packages[-1]), str(CACHE)], advice)
    if not list((CACHE / "usr/share/python-wheels").glob("pip-*.whl")):
        raise SetupFailed(advice)


def run(command: Sequence[str], advice: str, folder: Path = ROOT) -> None:
    """The command's own words stay visible; the advice follows them if it fails."""
    ending = subprocess.run(command, cwd=folder, env=clean_environment(), check=False)  # noqa: S603  # no input in it
    if ending.returncode != 0:
        raise SetupFailed(advice)


def clean_environment() -> Mapping[str, str]:
    """The caller's environment without another virtual environment's traces."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}


def say(sentence: str) -> None:
    print(f"setup: {sentence}", flush=True)


if __name__ == "__main__":
    if sys.version_info < OLDEST:
        sys.exit("setup: Python 3.11 or later is needed; name one with `make PYTHON=/path/to/python3`")
    sys.exit(main())
