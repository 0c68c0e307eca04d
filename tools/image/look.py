"""Looks into the image: its configuration, what it adds to its base, and that none of it is a secret."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.image.engine import Engine, ImageWrong

USER = "10001:10001"
LABELS = ("title", "description", "licenses", "version", "revision")
PLACES = ("/opt/channel-bridge/", "/etc/")
"""The only places where the image may add files: the environment, and the system's list of users."""
IN_ETC = re.compile(r"/etc/(?:passwd|group|g?shadow|sub[ug]id)-?|/etc/\.pwd\.lock")

SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|CREDENTIAL|PRIVATE|(?:^|_)KEY(?:$|_)|AMQP_URL$", re.IGNORECASE)
SECRET_TEXT = re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/]{16}|amqps?://[\w-]+:[0-9a-f]{64}@")
LEFTOVERS = re.compile(r"/(?:\.git|\.env|\.npmrc|\.netrc|pip\.conf|id_[a-z0-9]+|[\w.-]+\.key)(?:/|$)")


def check_configuration(engine: Engine, version: str) -> None:
    """Raises `ImageWrong` with everything that is not as an orchestrator and an operator expect."""
    wrong = list(find_mistakes(engine.inspect(), version))
    if wrong:
        raise ImageWrong("; ".join(wrong))


def find_mistakes(config: Mapping[str, Any], version: str) -> Iterator[str]:
    if config.get("User") != USER:
        yield f"runs as {config.get('User')!r}, not as {USER}"
    if config.get("StopSignal") != "SIGTERM":
        yield f"is stopped by {config.get('StopSignal')!r}, not by SIGTERM"
    if config.get("Entrypoint") != ["channel-bridge"]:
        yield f"begins with {config.get('Entrypoint')!r}: a shell in between swallows the stop signal"
    if (config.get("Healthcheck") or {}).get("Test") != ["CMD", "channel-bridge", "healthcheck"]:
        yield f"asks {config.get('Healthcheck')!r} for its health"
    labels = config.get("Labels") or {}
    yield from (f"has no label {name}" for name in LABELS if not labels.get(f"org.opencontainers.image.{name}"))
    if labels.get("org.opencontainers.image.version") != version:
        yield f"calls itself {labels.get('org.opencontainers.image.version')!r}, the project is {version}"
    for variable in config.get("Env") or ():
        name, _, value = variable.partition("=")
        if SECRET_NAME.search(name) or SECRET_TEXT.search(value.encode()):
            yield f"has a secret in its environment: {name}"


def check_files(added: Mapping[str, Path]) -> int:
    """How many files the image adds. Raises `ImageWrong` for one that is at a wrong place or a secret."""
    strange = [place for place in added if not place.startswith(PLACES[0]) and not IN_ETC.fullmatch(place)]
    secret = [place for place, file in added.items() if LEFTOVERS.search(place) or _holds_secret(file)]
    if not added or strange or secret:
        raise ImageWrong(f"adds {len(added)} files, at wrong places {strange[:9]}, secret {secret[:9]}")
    return len(added)


def _holds_secret(file: Path) -> bool:
    return file.is_file() and not file.is_symlink() and SECRET_TEXT.search(file.read_bytes()) is not None
