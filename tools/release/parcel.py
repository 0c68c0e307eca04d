"""Builds wheel and sdist, judges their content and metadata, and installs the wheel where nothing else is."""

import os
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / ".cache" / "tools" / "release" / "bin"
UV = ROOT / ".venv" / "bin" / "uv"
DIST = ROOT / "dist"
SECONDS = 900
IN_WHEEL = ("bridge/", "channel_bridge-")
IN_SDIST = (
    *(
        "bridge",
        "tests",
        "tools",
        "docs",
        "docker",
        "helm",
        "benchmarks",
        ".ci",
        "Makefile",
        "README.md",
        "CHANGELOG.md",
    ),
    *("LICENSE", "SECURITY.md", "CONTRIBUTING.md", "pyproject.toml", "PKG-INFO", ".gitignore", ".dockerignore"),
    *(".editorconfig", "requirements"),
)


class ReleaseWrong(Exception):
    """Says what is not as a release must be."""


def call(*words: object, folder: Path = ROOT, environment: Mapping[str, str] | None = None) -> str:
    """What the program printed. Raises `ReleaseWrong` with its last words if it fails."""
    ending = subprocess.run(  # noqa: S603  # every word is ours
        [str(word) for word in words],
        cwd=folder,
        env=clean_environment() if environment is None else environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if ending.returncode != 0:
        said = "\n".join((ending.stdout + ending.stderr).strip().splitlines()[-20:])
        raise ReleaseWrong(f"{words[0]} {words[1]} ended with {ending.returncode}:\n{said}")
    return ending.stdout


def clean_environment() -> dict[str, str]:
    """Without what would let the source tree or another environment in."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def build(version: str) -> tuple[Path, Path]:
    """Wheel and sdist, the wheel from the sdist, by the locked build backend."""
    DIST.mkdir(exist_ok=True)
    for old in DIST.glob("channel_bridge-*"):
        old.unlink()
    python = make_environment(ROOT / ".cache" / "tools" / "build", ROOT / "requirements-build.lock")
    call(python.with_name("hatchling"), "build", "--target", "sdist", "--directory", DIST)
    sdist = DIST / f"channel_bridge-{version}.tar.gz"
    unpacked = ROOT / ".cache" / "release" / f"channel_bridge-{version}"
    call("rm", "-rf", unpacked)
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked.parent, filter="data")
    call(python.with_name("hatchling"), "build", "--target", "wheel", "--directory", DIST, folder=unpacked)
    return DIST / f"channel_bridge-{version}-py3-none-any.whl", sdist


def make_environment(place: Path, lock: Path) -> Path:
    """An empty environment filled by the lock's hashes alone; its Python."""
    call(UV, "venv", "--quiet", "--clear", "--python", ROOT / ".venv" / "bin" / "python", place)
    python = place / "bin" / "python"
    call(UV, "pip", "sync", "--quiet", "--python", python, "--require-hashes", "--only-binary", ":all:", lock)
    return python


def judge(wheel: Path, sdist: Path) -> int:
    """Metadata as the index would judge it, and nothing inside that has no place there. The number of files."""
    call(TOOLS / "twine", "check", "--strict", wheel, sdist)
    with zipfile.ZipFile(wheel) as archive:
        inside = [name for name in archive.namelist() if not name.startswith(IN_WHEEL)]
        count = len(archive.namelist())
        if "bridge/py.typed" not in archive.namelist():
            inside.append("no bridge/py.typed")
    with tarfile.open(sdist) as archive:
        places = [name.partition("/")[2] for name in archive.getnames()]
    inside += [place for place in places if place and not place.startswith(IN_SDIST)]
    if inside:
        raise ReleaseWrong(f"has no place in a release: {', '.join(inside[:9])}")
    return count + len(places)


def install(wheel: Path, place: Path) -> Path:
    """Where nothing but the locked packages is; the environment's Python."""
    python = make_environment(place, ROOT / "requirements.lock")
    call(UV, "pip", "install", "--quiet", "--python", python, "--no-deps", "--no-index", wheel)
    call(UV, "pip", "check", "--python", python)
    return python
