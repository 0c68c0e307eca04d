"""Asks the program itself whether it takes a rendered configuration: run by `make chart` in the project's environment.

Reads one JSON object on standard input: which program (`run`, `signer` or `topology`), the TOML text, and the variables
of the container. Paths of the container become files below a temporary directory, with throw-away secrets in them.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from bridge.app import config
from bridge.errors import ConfigInvalid
from bridge.signing.key import generate
from bridge.signing.secret import write_secret

SECRETS = {
    "amqp_url": "amqps://user:password@broker.example:5671/",
    "journal_key": "0" * 64,
}
IN_CONTAINER = ("/run/", "/etc/", "/var/")
NEEDS_FILES_OF_ITS_OWN = ("ca.pem", "client.pem", "client.key")


def main() -> int:
    asked = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        environ = {name: _move(value, root) for name, value in asked["environment"].items()}
        environ = {name: value for name, value in environ.items() if not value.endswith(NEEDS_FILES_OF_ITS_OWN)}
        _make_files(root)
        file = Path(environ["CHANNEL_BRIDGE_CONFIG"])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(asked["toml"])
        try:
            if asked["program"] == "signer":
                _load_signer(file, environ, root)
            else:
                config.load(file, environ)
        except ConfigInvalid as invalid:
            print("; ".join(f"{one.path}: {one.found}; expected {one.expected}" for one in invalid.findings))
            return 1
    return 0


def _move(value: str, root: Path) -> str:
    for place in IN_CONTAINER:
        value = value.replace(f'"{place}', f'"{root}{place}') if value.startswith("[") else value
    return f"{root}{value}" if value.startswith(IN_CONTAINER) else value


def _make_files(root: Path) -> None:
    (root / "run/secrets/channel-bridge").mkdir(parents=True)
    (root / "run/secrets/signing-keys").mkdir()
    for name, text in SECRETS.items():
        write_secret(root / "run/secrets/channel-bridge" / name, text)


def _load_signer(file: Path, environ: dict[str, str], root: Path) -> None:
    """No test has the key of a policy's account: that it is missing is the one finding there may be."""
    generate(root / "run/secrets/signing-keys/key")
    try:
        config.load_signer(file, environ)
    except ConfigInvalid as invalid:
        other = tuple(one for one in invalid.findings if one.found != "no key")
        if other:
            raise ConfigInvalid(other) from None


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
