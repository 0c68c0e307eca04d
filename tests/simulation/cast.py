"""Who plays in a world: two accounts, one channel with both its roles, the bridges' configurations, the signer.

What does not change from world to world is made once a program, so that a world costs little.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from bridge.app.config import Config
from bridge.channel.identifier import Account
from bridge.channel.request import Tag
from bridge.channel.terms import SigningForm
from bridge.signing.guard import Guard
from bridge.signing.key import KeyRing, load_keys
from bridge.signing.policy import AccountPolicy
from bridge.signing.signer import Signer
from bridge.wire import encoding
from tests.permissive import EVERYTHING
from tests.simulation.plan import ROLES

NETWORK = "ae_dev"
USER = "alice"
EPOCH = 1_800_000_000.0
"""The wall clock when a world begins."""
NODE_PORT = 3014
CHAIN_URL = f"http://127.0.0.1:{NODE_PORT}"
DEPOSITS = {"initiator": 70_000_000_000_000, "responder": 40_000_000_000_000}
JOURNAL_KEY = sha256(b"the journal's key").hexdigest()
PROFILES = {
    "json-rpc": {"dialect": "json-rpc"},
    "legacy-late": {"dialect": "legacy", "profile": "late"},
    "legacy-seed": {"dialect": "legacy", "profile": "seed"},
}


def key_of(role: str) -> bytes:
    """The seed of the role's signing key."""
    return sha256(f"the {role}'s key".encode()).digest()


@cache
def account_of(role: str) -> str:
    return encoding.account(bytes(SigningKey(key_of(role)).verify_key))


@dataclass(frozen=True, slots=True)
class Cast:
    """The channel `c` on a node of that dialect."""

    dialect: str
    directory: Path
    policy: Mapping[str, Any] = field(default_factory=dict)
    """What differs from a policy that allows everything."""
    _configs: dict[str, Config] = field(default_factory=dict)

    def channel(self, role: str) -> str:
        return f"c-{role}"

    def account(self, role: str) -> str:
        return account_of(role)

    def prefix(self, process: str) -> str:
        """Of its bus: a deployment of its own for each bridge, shared with its signer."""
        return process.replace("bridge", "sim").replace("signer", "sim")

    def roles(self, process: str) -> tuple[str, ...]:
        """Whom a bridge or signer serves: the role in its name, or both."""
        _, _, named = process.partition("-")
        return (named,) if named else ROLES

    def config(self, process: str) -> Config:
        """Of `bridge`, which serves both roles, or of `bridge-<role>`. Made once: nobody changes it."""
        if process not in self._configs:
            self._configs[process] = self._write(process)
        return self._configs[process]

    def _write(self, process: str) -> Config:
        url = f"ws://127.0.0.1:{NODE_PORT}/channel"
        return Config(
            data_dir=self.directory / process,
            prefix=self.prefix(process),
            journal={"key_file": journal_key_file()},
            broker={"url": "amqp://bridge@127.0.0.1/"},
            nodes={"node": {"url": url, "chain_url": CHAIN_URL, "network_id": NETWORK} | PROFILES[self.dialect]},
            channels=[self._entry(role) for role in self.roles(process)],
        )

    def _entry(self, role: str) -> dict[str, Any]:
        return {
            "name": self.channel(role),
            "node": "node",
            "role": role,
            "initiator": self.account("initiator"),
            "responder": self.account("responder"),
            "initiator_amount": DEPOSITS["initiator"],
            "responder_amount": DEPOSITS["responder"],
            "policy": EVERYTHING | dict(self.policy),
        }


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="simulation-keys-")


@cache
def journal_key_file() -> Path:
    return _write(Path(_folder().name) / "journal.key", JOURNAL_KEY)


@cache
def keys(roles: tuple[str, ...]) -> KeyRing:
    """Of these roles."""
    folder = Path(_folder().name) / "-".join(roles)
    folder.mkdir(mode=0o700)
    for role in roles:
        _write(folder / role, key_of(role).hex())
    return load_keys([folder])


def _write(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def signer(roles: tuple[str, ...], clock: Callable[[], float], guard: Guard) -> Signer:
    policy = AccountPolicy(
        tags=frozenset(Tag),
        networks=frozenset({NETWORK}),
        forms=frozenset(SigningForm),
        counterparties=frozenset({"*"}),
        max_amount=10**27,
        max_fee=10**24,
        acknowledge_outflow=True,
    )
    return Signer(keys(roles), dict.fromkeys((Account(account_of(role)) for role in roles), policy), clock, guard)


def secrets() -> frozenset[str]:
    """What must be read nowhere; the node's credentials are added as they are given."""
    return frozenset({JOURNAL_KEY, *(key_of(role).hex() for role in ROLES)})
