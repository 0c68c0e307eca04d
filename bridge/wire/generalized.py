"""Generalized accounts: whose authentication stands in a transaction's place, and the ids that follow from it.

A participant with such an account signs nothing: he wraps the transaction in a meta transaction of his own. The bridge
asks no signature for these (guarantees.md 5.1); it can read them and name their channel. Source: transactions.md
sections 3 and 5.
"""

from bridge.channel.identifier import Account, ChannelId
from bridge.channel.transaction import Kind
from bridge.errors import TransactionError
from bridge.wire import encoding
from bridge.wire.serialization import fields
from bridge.wire.signature import blake2b
from bridge.wire.transaction import Signed, unwrap

MAX_WRAPS = 8
"""Two participants wrap twice; more is somebody's attempt at our time."""


def innermost(data: bytes) -> Signed:
    """The signed_tx inside all meta transactions. Raises TransactionError."""
    signed = unwrap(data)
    for _ in range(MAX_WRAPS):
        kind, values = fields(signed.inner)
        inner = values.get("tx")
        if kind is not Kind.GA_META or not isinstance(inner, bytes):
            return signed
        signed = unwrap(inner)
    raise TransactionError("encoding", "meta transactions nested too deeply")


def created_channel(data: bytes) -> ChannelId | None:
    """Of a create transaction its initiator wrapped: his authentication stands for the nonce. Raises TransactionError.

    None for every other one, wrapped by the responder alone or not at all: its nonce is its own.
    """
    auths: dict[object, bytes] = {}
    signed = unwrap(data)
    for _ in range(MAX_WRAPS):
        kind, values = fields(signed.inner)
        match kind, values:
            case Kind.GA_META, {"ga_id": str(account), "auth_data": bytes(auth_data), "tx": bytes(inner)}:
                auths[account] = auth_id(Account(account), auth_data)
                signed = unwrap(inner)
            case Kind.CREATE, {"initiator": str(initiator), "responder": str(responder)} if initiator in auths:
                return channel_id(Account(initiator), auths[initiator], Account(responder))
            case _:
                return None
    raise TransactionError("encoding", "meta transactions nested too deeply")


def auth_id(account: Account, auth_data: bytes) -> bytes:
    """32 bytes that stand for the nonce. Raises EncodingError for a broken account."""
    return blake2b(encoding.account_key(account) + auth_data)


def channel_id(initiator: Account, auth: bytes, responder: Account) -> ChannelId:
    """Of a channel whose initiator has a generalized account; `auth` is his `auth_id`. Raises EncodingError."""
    parts = (encoding.account_key(initiator), auth, encoding.account_key(responder))
    return ChannelId(encoding.encode("ch", blake2b(b"".join(parts))))
