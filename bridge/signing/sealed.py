"""The text of an encrypted key file: one line, of which only the seed is secret.

    channel-bridge-key.v1:<account>:argon2id:<passes>:<bytes of memory>:<salt, hex>:<nonce and box, hex>

The password becomes a key by argon2id, which opens a SecretBox (XSalsa20 and Poly1305) with the 32-byte seed in it.
The account stands outside, so that a configuration can be checked without the password, and is compared with the
seed's own once that is open. Source: libsodium's documentation of password hashing and secret-key encryption.
"""

import re
from pathlib import Path

from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox
from nacl.signing import SigningKey
from nacl.utils import random

from bridge.channel.identifier import Account
from bridge.errors import ConfigInvalid, EncodingError, Finding
from bridge.wire.encoding import account as encode_account
from bridge.wire.encoding import account_key

MARK = "channel-bridge-key."
MOST_PASSES = 20
MOST_MEMORY = 1024 * 1024 * 1024
"""A file that asks for more is no file of ours: it would only stop the machine."""
_LINE = re.compile(
    r"channel-bridge-key\.v1:(?P<account>ak_[1-9A-HJ-NP-Za-km-z]+):argon2id:(?P<passes>[0-9]{1,3}):(?P<memory>[0-9]{1,11})"
    r":(?P<salt>[0-9a-f]{32}):(?P<box>[0-9a-f]{144})"
)
_EXPECTED = "a key encrypted by channel-bridge keygen, unchanged"


def is_sealed(text: str) -> bool:
    return text.startswith(MARK)


def seal(
    seed: bytes,
    account: Account,
    password: str,
    passes: int = argon2id.OPSLIMIT_MODERATE,
    memory: int = argon2id.MEMLIMIT_MODERATE,
) -> str:
    """Different each time: salt and nonce are drawn."""
    salt = random(argon2id.SALTBYTES)
    box = SecretBox(_derive(password, salt, passes, memory)).encrypt(seed)
    return f"{MARK}v1:{account}:argon2id:{passes}:{memory}:{salt.hex()}:{bytes(box).hex()}"


def account_of(path: Path, text: str) -> Account:
    """As the file says it. Raises `ConfigInvalid`, naming the file alone."""
    return _parse(path, text)[0]


def unseal(path: Path, text: str, password: str) -> bytes:
    """The seed. Raises `ConfigInvalid`, naming the file alone."""
    account, passes, memory, salt, box = _parse(path, text)
    try:
        seed = SecretBox(_derive(password, salt, passes, memory)).decrypt(box)
    except CryptoError:
        raise _refuse(path, "a key that this password does not open") from None
    if encode_account(bytes(SigningKey(seed).verify_key)) != account:
        raise _refuse(path, f"another key than that of {account}")
    return seed


def _derive(password: str, salt: bytes, passes: int, memory: int) -> bytes:
    key: bytes = argon2id.kdf(SecretBox.KEY_SIZE, password.encode(), salt, opslimit=passes, memlimit=memory)
    return key


def _parse(path: Path, text: str) -> tuple[Account, int, int, bytes, bytes]:
    found = _LINE.fullmatch(text)
    if found is None:
        raise _refuse(path, f"{len(text)} characters that are no encrypted key of version 1")
    passes, memory = int(found["passes"]), int(found["memory"])
    if not (1 <= passes <= MOST_PASSES and argon2id.MEMLIMIT_MIN <= memory <= MOST_MEMORY):
        raise _refuse(path, f"{passes} passes over {memory} bytes")
    try:
        account_key(found["account"])
    except EncodingError:
        raise _refuse(path, "a broken account") from None
    return Account(found["account"]), passes, memory, bytes.fromhex(found["salt"]), bytes.fromhex(found["box"])


def _refuse(path: Path, found: str) -> ConfigInvalid:
    return ConfigInvalid((Finding(str(path), found, _EXPECTED),))
