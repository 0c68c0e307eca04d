"""Signing keys: what every backend offers, and those that are read from files, kept in memory and never shown.

A key file holds one Ed25519 key as text: 64 hex digits (the 32-byte seed), 128 (the 64-byte secret key:
seed, then public key), or an encrypted seed (`bridge.signing.sealed`). A path is one such file, or a secrets
directory with one key a file; names of files carry no meaning. Nothing here prints, logs or pickles a key, and
errors name the file only.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn, Protocol, TypeVar

from nacl.encoding import HexEncoder
from nacl.signing import SigningKey

from bridge.channel.identifier import Account
from bridge.errors import ConfigInvalid, Finding
from bridge.signing import sealed
from bridge.signing.secret import read_secret, write_secret
from bridge.wire.encoding import account as encode_account

SEED_DIGITS = 64
SECRET_KEY_DIGITS = 128
_EXPECTED = "an Ed25519 key: 64 hex digits (seed) or 128 (secret key, whose second half is the public key)"


class Signs(Protocol):
    """One account's signing key, wherever it is. What comes back is verified by whoever asked."""

    @property
    def account(self) -> Account: ...

    async def sign(self, payload: bytes) -> bytes:
        """The detached Ed25519 signature, 64 bytes, of exactly these bytes. Leaves nothing behind when cancelled.

        Raises KeyUnavailable where asking again may help, KeyRefused where it cannot; neither shows a secret.
        """
        ...


class Key:
    """One account's signing key. Its `repr` is the account; it cannot be copied, pickled or compared."""

    __slots__ = ("_signing_key", "account", "is_encrypted")

    def __init__(self, signing_key: SigningKey, *, is_encrypted: bool = False) -> None:
        """`is_encrypted`: on the disk it comes from."""
        self._signing_key = signing_key
        self.account: Account = encode_account(bytes(signing_key.verify_key))
        self.is_encrypted = is_encrypted

    async def sign(self, payload: bytes) -> bytes:
        """The detached signature, 64 bytes. The same for the same payload, always: Ed25519 rolls no dice."""
        return self._signing_key.sign(payload).signature

    def reveal(self) -> SigningKey:
        """For writing it to another file."""
        return self._signing_key

    def __repr__(self) -> str:
        return f"Key({self.account})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key is neither copied nor pickled")


KeyRing = Mapping[Account, Signs]


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


def read_key(path: Path, password: str | None = None) -> Key:
    """The key in one file. Raises `ConfigInvalid` when the file is open to others or holds no key.

    Opening an encrypted one takes most of a second and 256 MiB: that is what keeps guesses out.
    """
    text = read_secret(path)
    if not sealed.is_sealed(text):
        return _parse(path, text)
    if password is None:
        expected = "password_file, with the password of the encrypted keys"
        raise ConfigInvalid((Finding(str(path), "an encrypted key and no password", expected),))
    return Key(SigningKey(sealed.unseal(path, text, password)), is_encrypted=True)


@dataclass(frozen=True, slots=True)
class Found:
    """What a key file tells without its password."""

    account: Account
    is_encrypted: bool


def look_at(path: Path) -> Found:
    """Raises as `read_key` does. Whether an encrypted key fits its password is seen when it is read."""
    text = read_secret(path)
    if sealed.is_sealed(text):
        return Found(sealed.account_of(path, text), is_encrypted=True)
    return Found(_parse(path, text).account, is_encrypted=False)


def _files(path: Path) -> tuple[Path, ...]:
    """The key files behind a path. Hidden entries of a directory are the orchestrator's own and are passed over."""
    if not path.is_dir():
        return (path,)
    return tuple(sorted(entry for entry in path.iterdir() if not entry.name.startswith(".")))


_T = TypeVar("_T")


def _read_all(paths: Iterable[Path], read: Callable[[Path], _T]) -> tuple[_T, ...]:
    """One for each file, or `ConfigInvalid` with every finding."""
    found: list[_T] = []
    findings: list[Finding] = []
    for path in paths:
        files = _files(path)
        if not files:
            findings.append(Finding(str(path), "an empty directory", "one key a file"))
        for file in files:
            try:
                found.append(read(file))
            except ConfigInvalid as invalid:
                findings.extend(invalid.findings)
    if findings:
        raise ConfigInvalid(tuple(findings))
    return tuple(found)


def load_keys(paths: Iterable[Path], password: str | None = None) -> Mapping[Account, Key]:
    """All keys behind these files and directories, by account. Raises `ConfigInvalid` with every finding."""
    keys = _read_all(paths, lambda path: read_key(path, password))
    return MappingProxyType({key.account: key for key in keys})


def look_at_all(paths: Iterable[Path]) -> tuple[Found, ...]:
    """What all key files tell without a password. Raises `ConfigInvalid` with every finding."""
    return _read_all(paths, look_at)


def generate(path: Path, password: str | None = None) -> Account:
    """Make a key, write it to a file of mode 0600 that must not exist yet, and tell its account.

    With a password it is encrypted. Raises `FileExistsError` rather than overwrite: an overwritten key is lost money.
    """
    return _write(path, SigningKey.generate(), password)


def encrypt(source: Path, path: Path, password: str) -> Account:
    """A key that lies in the clear, written once more and encrypted. Raises as `read_key` and `generate` do."""
    return _write(path, _parse(source, read_secret(source)).reveal(), password)


def _write(path: Path, signing_key: SigningKey, password: str | None) -> Account:
    seed = bytes(signing_key)
    account = Key(signing_key).account
    write_secret(path, seed.hex() if password is None else sealed.seal(seed, account, password))
    return account
