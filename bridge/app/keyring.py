"""The signer's keys, from its configuration: what is wrong with them, and the ring of them all.

A signer is a development one if its file says so, or says nothing and a key lies in the clear. Then nothing is signed
for a main network: real money wants a key that nobody gets by copying a file. Source: guarantees.md 5.6.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from bridge.app import credential
from bridge.app.address import CHAIN_SCHEMES, check_node
from bridge.app.signersettings import CommandKey as CommandSettings
from bridge.app.signersettings import SignerConfig
from bridge.app.signersettings import TransitKey as TransitSettings
from bridge.channel.identifier import Account
from bridge.errors import ConfigInvalid, Finding
from bridge.signing.command import CommandKey
from bridge.signing.key import Found, KeyRing, Signs, load_keys, look_at_all
from bridge.signing.secret import read_secret
from bridge.signing.signer import MAIN_NETWORKS
from bridge.signing.transit import TransitKey


@dataclass(frozen=True, slots=True)
class Ring:
    """All keys, and what is to be closed with them."""

    keys: KeyRing
    closing: AsyncExitStack
    renew: Callable[[], None]
    """Reads the certificates for the services that hold keys again; `check_transit` says whether it can."""


def open_ring(config: SignerConfig) -> Ring:
    """Blocks while encrypted keys are opened, most of a second for each. Raises `ConfigInvalid`."""
    transit = [(_make_transit(one), one.tls) for one in config.keys.transit]
    closing = AsyncExitStack()
    for key, _ in transit:
        closing.push_async_callback(key.close)
    commands = [CommandKey(one.account, one.argv, one.environment, one.timeout_seconds) for one in config.keys.commands]
    others: list[Signs] = [*commands, *(key for key, _ in transit)]
    files = load_keys(config.keys.files, config.keys.read_password())

    def renew() -> None:
        for key, tls in transit:
            key.renew(tls.read_context())

    return Ring(MappingProxyType({**files, **{key.account: key for key in others}}), closing, renew)


def is_development(config: SignerConfig) -> bool:
    """Raises `ConfigInvalid` where the key files cannot be read."""
    if config.development is not None:
        return config.development
    return any(not found.is_encrypted for found in look_at_all(config.keys.files))


def has_clear_keys(config: SignerConfig) -> bool:
    """Whether `development = false` stands beside a key in the clear: to be warned of at each start."""
    return config.development is False and any(not found.is_encrypted for found in look_at_all(config.keys.files))


def check_keys(config: SignerConfig) -> Iterator[Finding]:
    """Whether each key can be used, as far as that shows without a password and a connection."""
    yield from credential.check_secret("keys.password_file", config.keys.read_password)
    yield from check_transit(config.keys.transit)
    yield from _check_commands(config.keys.commands)
    try:
        found = look_at_all(config.keys.files)
    except ConfigInvalid as invalid:
        for one in invalid.findings:
            yield Finding("keys", f"{one.path}: {one.found}", one.expected)
        return
    yield from _check_found(config, found)


def _check_found(config: SignerConfig, found: tuple[Found, ...]) -> Iterator[Finding]:
    """`found`: in the files, whose keys may repeat one another but no other backend's."""
    elsewhere = [*(one.account for one in config.keys.commands), *(one.account for one in config.keys.transit)]
    accounts = [*{one.account for one in found}, *elsewhere]
    if not accounts:
        yield Finding("keys", "nothing", "at least one of files, commands and transit")
    for account, count in Counter(accounts).items():
        if count > 1:
            yield Finding("keys", f"{count} keys of {account}", "one place for each key")
    if any(one.is_encrypted for one in found) and config.keys.password_file is None:
        yield Finding("keys.password_file", "nothing", "the file with the password of the encrypted keys")
    for account in config.policy:
        if account not in accounts:
            yield Finding(f"policy.{account}", "no key", "a key of this account behind keys")
    yield from _check_networks(config, any(not one.is_encrypted for one in found))


def _check_networks(config: SignerConfig, has_clear: bool) -> Iterator[Finding]:
    """What a development signer would refuse later is told at its start."""
    if not (has_clear if config.development is None else config.development):
        return
    expected = "no main network: a key lies in the clear (encrypt it, see docs/signer.md), or development is true"
    for account, rules in config.policy.items():
        for network in sorted(rules.networks & MAIN_NETWORKS):
            yield Finding(f"policy.{account}.networks", network, expected)


def check_transit(keys: Iterable[TransitSettings]) -> Iterator[Finding]:
    """Whether the addresses are allowed, and the tokens and certificates readable."""
    for index, key in enumerate(keys):
        at = f"keys.transit[{index}]"
        yield from check_node(f"{at}.url", key.url, CHAIN_SCHEMES, key.plain_hosts)
        yield from credential.check_secret(f"{at}.token_file", partial(read_secret, key.token_file))
        yield from credential.check_secret(f"{at}.tls", key.tls.read_context)


def _check_commands(keys: Iterable[CommandSettings]) -> Iterator[Finding]:
    for index, key in enumerate(keys):
        # A bare name would be whatever program of that name comes first in somebody's PATH.
        if not Path(key.argv[0]).is_absolute():
            yield Finding(f"keys.commands[{index}].argv", "a program without its path", "the program by its whole path")


def _make_transit(one: TransitSettings) -> TransitKey:
    def read_token() -> str:
        return read_secret(one.token_file)

    context = one.tls.read_context()
    return TransitKey(Account(one.account), one.url, one.mount, one.key, read_token, one.timeout_seconds, context)
