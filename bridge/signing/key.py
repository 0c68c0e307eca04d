"""Signing keys: read from files, kept in memory, used, and never shown.

A key file holds one Ed25519 key as text: 64 hex digits (the 32-byte seed) or 128 (the 64-byte secret key:
seed, then public key). A path is one such file, or a secrets directory with one key a file; names of files
carry no meaning. Nothing here prints, logs or pickles a key, and errors name the file only.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from nacl.encoding import HexEncoder
from nacl.signing import SigningKey

from bridge.channel.identifier import Account
from bridge.errors import ConfigInvalid, Finding
from bridge.signing.secret import read_secret, write_secret
from bridge.wire.encoding import account as encode_account

SEED_DIGITS = 64
SECRET_KEY_DIGITS = 128
_EXPECTED = "an Ed25519 key: 64 hex digits (seed) or 128 (secret key, whose second half is the public key)"


class Key:
    """One account's signing key. Its `repr` is the account; it cannot be copied, pickled or compared."""

    __slots__ = ("_signing_key", "account")

    def __init__(self, signing_key: SigningKey) -> None:
        self._signing_key = signing_key
        self.account: Account = encode_account(bytes(signing_key.verify_key))

    def sign(self, payload: bytes) -> bytes:
        """The detached signature, 64 bytes. The same for the same payload, always: Ed25519 rolls no dice."""
        return self._signing_key.sign(payload).signature

    def __repr__(self) -> str:
        return f"Key({self.account})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key is neither copied nor pickled")


KeyRing = Mapping[Account, Key]


def _parse(path: Path, text: str) -> Key:
    refusal = ConfigInvalid((Finding(str(path), f"{len(text)} characters that are no key", _EXPECTED),))
    if len(text) not in (SEED_DIGITS, SECRET_KEY_DIGITS):
        raise refusal
    try:
        signing_key = SigningKey(text[:SEED_DIGITS].encode(), encoder=HexEncoder)
        public_key = bytes.fromhex(text[SEED_DIGITS:])
    except ValueError:
        # Not chained: the cause could quote the key.
        raise refusal from None
    if public_key and public_key != bytes(signing_key.verify_key):
        found = "128 hex digits whose second half is not the public key of the first"
        raise ConfigInvalid((Finding(str(path), found, _EXPECTED),))
    return Key(signing_key)


def read_key(path: Path) -> Key:
    """The key in one file. Raises `ConfigInvalid` when the file is open to others or holds no key."""
    return _parse(path, read_secret(path))


def _files(path: Path) -> tuple[Path, ...]:
    """The key files behind a path. Hidden entries of a directory are the orchestrator's own and are passed over."""
    if not path.is_dir():
        return (path,)
    return tuple(sorted(entry for entry in path.iterdir() if not entry.name.startswith(".")))


def load_keys(paths: Iterable[Path]) -> KeyRing:
    """All keys behind these files and directories, by account. Raises `ConfigInvalid` with every finding."""
    keys: dict[Account, Key] = {}
    findings: list[Finding] = []
    for path in paths:
        files = _files(path)
        if not files:
            findings.append(Finding(str(path), "an empty directory", "one key a file"))
        for file in files:
            try:
                key = read_key(file)
            except ConfigInvalid as invalid:
                findings.extend(invalid.findings)
            else:
                keys[key.account] = key
    if findings:
        raise ConfigInvalid(tuple(findings))
    return MappingProxyType(keys)


def generate(path: Path) -> Account:
    """Make a key, write it to a file of mode 0600 that must not exist yet, and tell its account.

    Raises `FileExistsError` rather than overwrite: an overwritten key is lost money.
    """
    signing_key = SigningKey.generate()
    write_secret(path, signing_key.encode(HexEncoder).decode())
    return Key(signing_key).account
