"""Encryption at rest for what is a secret in the journal: the node's credentials.

The key comes from the secrets and never from the data directory, so a copied directory opens no channel.
Never puts the key or what is sealed into an error. Source: guarantees.md 5.6.
"""

import nacl.exceptions
from nacl.secret import SecretBox

from bridge.errors import JournalUnavailable


class Seal:
    """`key` has 32 bytes; raises JournalUnavailable for any other length."""

    def __init__(self, key: bytes) -> None:
        if len(key) != SecretBox.KEY_SIZE:
            raise JournalUnavailable(f"the journal key has {len(key)} bytes, it must have {SecretBox.KEY_SIZE}")
        self._box = SecretBox(key)

    def close(self, text: str) -> bytes:
        """Sealed with a random nonce: the same text twice gives different bytes."""
        return bytes(self._box.encrypt(text.encode()))

    def open(self, data: bytes) -> str:
        """Raises JournalUnavailable when the key is another than the one that closed it, or a byte was changed."""
        try:
            return self._box.decrypt(data).decode()
        except nacl.exceptions.CryptoError as error:
            raise JournalUnavailable(
                "the journal key is not the one this journal was written with: give back that key"
            ) from error
