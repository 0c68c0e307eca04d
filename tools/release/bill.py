"""The bill of materials: every package that is installed with the product, from the hashed lock, as CycloneDX.

The tool describes the environment that the lock has filled; what it says is then held against the lock: the same
packages in the same versions, each with the hashes that the lock accepts. Addresses of packages' homes and of
registries are left out: a package is named by its purl.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.release.parcel import ROOT, ReleaseWrong, call

PROGRAM = ROOT / ".cache" / "tools" / "release" / "bin" / "cyclonedx-py"
LOCK = ROOT / "requirements.lock"
PINNED = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^\s;\\]+)(?P<marker> ;)?", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
HOST = re.compile(r"https?://(?!cyclonedx\.org/schema/)[^\s\"]+")


def make_bill(python: Path, target: Path, version: str) -> int:
    """Writes `target`; returns the number of packages. Raises `ReleaseWrong` where environment and lock differ."""
    project = ROOT / "pyproject.toml"
    words = ("environment", "--output-reproducible", "--spec-version", "1.6", "--output-format", "JSON")
    made = call(PROGRAM, *words, "--pyproject", project, "--mc-type", "application", python)
    bill: dict[str, Any] = json.loads(made)
    pins = read_lock()
    bill["components"] = [item for item in bill["components"] if item["name"] != "channel-bridge"]
    bill["metadata"]["component"]["version"] = version
    _forget_addresses(bill)
    found = {item["name"].lower().replace("_", "-"): item for item in bill["components"]}
    if strange := sorted(name for name in found if name not in pins):
        raise ReleaseWrong(f"installed, but in no lock: {', '.join(strange)}")
    if absent := sorted(name for name, pin in pins.items() if name not in found and not pin.is_conditional):
        raise ReleaseWrong(f"locked, but not installed: {', '.join(absent)}")
    for name, item in found.items():
        if item["version"] != pins[name].version:
            raise ReleaseWrong(f"{name}: {item['version']} is installed, {pins[name].version} is locked")
        item["hashes"] = [{"alg": "SHA-256", "content": digest} for digest in pins[name].hashes]
    text = json.dumps(bill, indent=2, ensure_ascii=False) + "\n"
    if hosts := sorted(set(HOST.findall(text))):
        raise ReleaseWrong(f"the bill of materials names hosts: {', '.join(hosts[:5])}")
    target.write_text(text)
    return len(found)


def _forget_addresses(part: Any) -> None:
    """Where packages and tools live on the web, at every depth."""
    if isinstance(part, dict):
        part.pop("externalReferences", None)
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _forget_addresses(inner)


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of the lock; a conditional one is for some platforms or releases of Python only."""

    version: str
    hashes: list[str]
    is_conditional: bool


def read_lock() -> Mapping[str, Pin]:
    text = LOCK.read_text()
    pins = list(PINNED.finditer(text))
    ends = [pin.start() for pin in pins[1:]] + [len(text)]
    return {
        pin["name"]: Pin(pin["version"], HASH.findall(text, pin.start(), end), pin["marker"] is not None)
        for pin, end in zip(pins, ends, strict=True)
    }


def validate(target: Path) -> None:
    """By CycloneDX's own schema, which the tool's library carries."""
    code = (
        "import sys; from cyclonedx.validation.json import JsonStrictValidator as V;"
        "from cyclonedx.schema import SchemaVersion as S;"
        "wrong = V(S.V1_6).validate_str(open(sys.argv[1]).read()); sys.exit(str(wrong) if wrong else 0)"
    )
    call(PROGRAM.with_name("python"), "-c", code, target)
