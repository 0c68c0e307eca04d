"""Where options come from: the environment, then one TOML file, then the defaults.

`CHANNEL_BRIDGE_LIMITS__PREFETCH` sets `limits.prefetch`, lists and tables as JSON; the names everybody knows
(`AMQP_URL`, `AMQP_URL_FILE`, `LOG_LEVEL`, `LOG_FORMAT`) win over these. An empty variable counts as absent.
A file `NAME` in the directory `CHANNEL_BRIDGE_SECRETS_DIR` is the same as the variable `NAME_FILE` with its path.
Relative paths in the file count from the file's directory, those in the environment from the working one.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from bridge.errors import ConfigInvalid, Finding

KNOWN_NAMES: Mapping[str, tuple[str, str]] = {
    "AMQP_URL": ("broker", "url"),
    "AMQP_URL_FILE": ("broker", "url_file"),
    "LOG_LEVEL": ("log", "level"),
    "LOG_FORMAT": ("log", "format"),
}
SECRETS_DIR = "CHANNEL_BRIDGE_SECRETS_DIR"
"""What Docker mounts at `/run/secrets` and Kubernetes where one says."""
_BROKER_PLACES = ("url", "url_file")
_PATH_OPTIONS = ("data_dir", "keys")
_PATH_ENDING = "_file"

Table = dict[str, Any]


def read_file(path: Path | None) -> Table:
    """The file's tables, its relative paths made absolute. No file: none. Raises `ConfigInvalid`."""
    if path is None:
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigInvalid((Finding(str(path), error.strerror or "unreadable", "a readable file"),)) from error
    except UnicodeDecodeError:
        # Not chained: the cause carries the bytes.
        raise ConfigInvalid((Finding(str(path), "bytes that are no UTF-8", "a TOML file"),)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid((Finding(str(path), str(error), "a TOML file"),)) from error
    return _anchor(table, path.absolute().parent)


def _anchor(table: Table, directory: Path) -> Table:
    return {name: _anchor_value(name, value, directory) for name, value in table.items()}


def _anchor_value(name: str, value: Any, directory: Path) -> Any:
    names_path = name in _PATH_OPTIONS or name.endswith(_PATH_ENDING)
    match value:
        case dict():
            return _anchor(value, directory)
        case list():
            return [_anchor_value(name, item, directory) for item in value]
        case str() if names_path and value:
            return str(directory / value)
        case _:
            return value


def read_environment(settings: type[BaseSettings], environ: Mapping[str, str]) -> Table:
    """What environment and secrets directory set. Raises `ConfigInvalid` where a list or table is no JSON."""
    given = {name: value for name, value in environ.items() if value}
    given = _secret_files(given) | given
    source = EnvSettingsSource(settings)
    source.env_vars = {name.lower(): value for name, value in given.items()}
    try:
        table: Table = source()
    except SettingsError as error:
        # Not chained: the cause quotes the value.
        raise ConfigInvalid((Finding("environment", str(error), "a list or a table as JSON"),)) from None
    for name, (section, option) in KNOWN_NAMES.items():
        if name in given and section in settings.model_fields:
            table = overlay(table, {section: {option: given[name]}})
    return table


def _secret_files(given: Mapping[str, str]) -> dict[str, str]:
    """The secrets directory as variables; small letters do as well. A variable that is set wins over its file.

    Raises `ConfigInvalid` if it cannot be listed. Hidden names are skipped: Kubernetes keeps its versions there.
    """
    if SECRETS_DIR not in given:
        return {}
    directory = Path(given[SECRETS_DIR]).absolute()
    try:
        paths = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ConfigInvalid((Finding(SECRETS_DIR, error.strerror or "unreadable", "a directory"),)) from error
    return {f"{name}_FILE": str(path) for path in paths if (name := path.name.upper()) not in given}


def merge(file: Table, environment: Table) -> Table:
    """The environment over the file. A broker named in the environment replaces the file's, however named."""
    below = dict(file)
    broker = below.get("broker")
    if isinstance(broker, dict) and any(place in environment.get("broker", {}) for place in _BROKER_PLACES):
        below["broker"] = {name: value for name, value in broker.items() if name not in _BROKER_PLACES}
    return overlay(below, environment)


def overlay(below: Table, above: Table) -> Table:
    """Tables are merged, everything else is replaced."""
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        merged[name] = overlay(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged
