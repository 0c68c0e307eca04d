"""Transactions as texts of the wire: read for the channel, wrapped with signatures, and a signer's reply checked.

Only what a bridge, a signer and a simulated node need of them; the state trees behind a state hash are not rebuilt, so
a signer trusts the updates he is told beside an off-chain transaction. Signs nothing. Facts: transactions.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bridge.channel.identifier import Account, ChannelId, TransactionHash
from bridge.channel.terms import SigningForm
from bridge.channel.transaction import Kind, Transaction, Update
from bridge.errors import Code, EncodingError, TransactionError
from bridge.wire import encoding, rlp
from bridge.wire.serialization import (
    build,
    fields,
    read_bytes,
    read_integer,
    read_list,
    read_update,
    write_integer,
    wrong,
)
from bridge.wire.signature import blake2b, is_canonical, is_der, is_small_order, signing_payload, verify

__all__ = [
    "Signed",
    "attach",
    "build",
    "channel_id",
    "check_reply",
    "fields",
    "read",
    "signed_parts",
    "signed_tx_hash",
    "signing_payload",
    "tx_hash",
    "unwrap",
    "verify",
    "wrap",
]

SIGNED_TAG, SIGNED_VERSION = 11, 1


# --- signed_tx ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed_tx: its signatures in the order they were found, and the serialized transaction they are for.

    A node sorts them; a client need not, and before 0.13 a signature had not 64 bytes.
    """

    signatures: tuple[bytes, ...]
    inner: bytes


def wrap(signatures: Iterable[bytes], inner: bytes) -> bytes:
    """A signed_tx as a node writes it: signatures sorted bytewise, none twice. The order tells nothing."""
    return rlp.encode([write_integer(SIGNED_TAG), write_integer(SIGNED_VERSION), sorted(set(signatures)), inner])


def unwrap(data: bytes) -> Signed:
    """Raises TransactionError for anything but a signed_tx."""
    items = read_list(rlp.decode(data))
    if len(items) != 4 or (read_integer(items[0]), read_integer(items[1])) != (SIGNED_TAG, SIGNED_VERSION):
        raise wrong("not a signed transaction")
    return Signed(tuple(read_bytes(part) for part in read_list(items[2])), read_bytes(items[3]))


def tx_hash(inner: bytes) -> str:
    """Of the transaction without signatures: 64 hex digits, the same for every signature state."""
    return blake2b(inner).hex()


def signed_tx_hash(signed: bytes) -> str:
    """The chain's `th_…`, over the signed_tx with all its signatures."""
    return encoding.encode("th", blake2b(signed))


def channel_id(initiator: Account, nonce: int, responder: Account) -> ChannelId:
    """Of a channel whose create transaction has this nonce (not for generalized accounts). Raises EncodingError."""
    if nonce.bit_length() > 256:
        raise EncodingError("a nonce has at most 256 bits")
    parts = (encoding.account_key(initiator), nonce.to_bytes(32, "big"), encoding.account_key(responder))
    return ChannelId(encoding.encode("ch", blake2b(b"".join(parts))))


# --- reading for the channel ----------------------------------------------------------------------------


def read(text: str) -> Transaction:
    """The facts of a transaction of any era. Raises EncodingError, and only if the text itself is broken.

    Bytes whose checksum holds and which are yet no transaction we know become `Kind.OPAQUE`, with signatures and
    hash if they are at least a signed_tx.
    """
    data = encoding.decode(text, "tx")
    try:
        signed, wrapped = unwrap(data), True
    except TransactionError:
        signed, wrapped = Signed((), data), False
    try:
        kind, values = fields(signed.inner)
        return _describe(data, signed, kind, _Values(values), wrapped=wrapped)
    except (TransactionError, EncodingError):
        return _describe(data, signed, Kind.OPAQUE, _Values({}), wrapped=wrapped)


class _Values:
    """Decoded fields by name; None for a field the transaction does not have. Ids before 0.13 are refused."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def _find(self, names: tuple[str, ...]) -> object:
        return next((self._values[name] for name in names if name in self._values), None)

    def text(self, *names: str) -> str | None:
        value = self._find(names)
        if isinstance(value, bytes):
            raise wrong(f"{names[0]} is written as before 0.13")
        return value if isinstance(value, str) else None

    def account(self, *names: str) -> Account | None:
        text = self.text(*names)
        return None if text is None else Account(text)

    def integer(self, *names: str) -> int | None:
        value = self._find(names)
        return value if isinstance(value, int) else None

    def hash(self, name: str) -> str | None:
        value = self._find((name,))
        return value.hex() if isinstance(value, bytes) else None

    def updates(self) -> tuple[Update, ...] | None:
        value = self._find(("updates",))
        return tuple(read_update(part) for part in value) if isinstance(value, tuple) else None


def _describe(data: bytes, signed: Signed, kind: Kind, values: _Values, *, wrapped: bool) -> Transaction:
    return Transaction(
        text=encoding.encode("tx", data),
        wrapped=wrapped,
        kind=kind,
        hash=TransactionHash(tx_hash(signed.inner)),
        signatures=tuple(signature.hex() for signature in signed.signatures),
        channel_id=_channel_of(kind, values),
        round=1 if kind is Kind.CREATE else values.integer("round"),
        amount=values.integer("amount"),
        account=values.account("from_id", "to_id"),
        fee=values.integer("fee"),
        nonce=values.integer("nonce"),
        ttl=values.integer("ttl"),
        initiator=values.account("initiator"),
        responder=values.account("responder"),
        initiator_amount=values.integer("initiator_amount", "initiator_amount_final"),
        responder_amount=values.integer("responder_amount", "responder_amount_final"),
        channel_reserve=values.integer("channel_reserve"),
        lock_period=values.integer("lock_period"),
        state_hash=values.hash("state_hash"),
        updates=values.updates(),
    )


def _channel_of(kind: Kind, values: _Values) -> ChannelId | None:
    """A create transaction does not name its channel: the id is worked out."""
    initiator, nonce, responder = values.account("initiator"), values.integer("nonce"), values.account("responder")
    if kind is Kind.CREATE and initiator is not None and nonce is not None and responder is not None:
        return channel_id(initiator, nonce, responder)
    text = values.text("channel_id")
    return None if text is None else ChannelId(text)


# --- a signer's part ------------------------------------------------------------------------------------


def attach(transaction: Transaction, signature: bytes) -> str:
    """The reply to a sign request: earlier signatures kept and ours added; to a bare legacy one ours alone.

    Checks nothing. The same signature attached twice is there once.
    """
    asked = signed_parts(transaction)
    return encoding.encode("tx", wrap((*asked.signatures, signature), asked.inner))


def check_reply(
    request: Transaction, signed_tx: str, account: Account, network_id: str, forms: Iterable[SigningForm]
) -> str:
    """The reply in canonical form, if it is the request with exactly the account's signature added.

    A request that already bears it is returned as it came: a second one would void it (observed.md). Raises
    TransactionError with one of these reasons, and EncodingError only for a broken `account`: `encoding` no signed
    transaction; `tx_changed` another one; `signatures` not exactly one more, or none that could be one; `key` not made
    by this account for this transaction; `small_order` an account anybody can sign for; `unsupported_signature` made
    with another curve.
    """
    asked, reply, forms = signed_parts(request), _read_reply(signed_tx), tuple(forms)
    if reply.inner != asked.inner:
        raise TransactionError("tx_changed", "the reply holds another transaction than the request")
    if is_small_order(encoding.account_key(account)):
        raise TransactionError("small_order", "anybody can sign for this account's key")
    added = _added(asked, reply)
    for signature in added:
        _check_signature(signature, asked.inner, account, network_id, forms)
    if any(verify(signature, asked.inner, account, network_id, forms) for signature in asked.signatures):
        return request.text
    if not added:
        raise TransactionError("signatures", "the reply adds no signature")
    return encoding.encode("tx", wrap(reply.signatures, reply.inner))


def signed_parts(transaction: Transaction) -> Signed:
    """Signatures and inner bytes of what was read; a bare transaction has no signatures."""
    data = encoding.decode(transaction.text, "tx")
    return unwrap(data) if transaction.wrapped else Signed((), data)


def _read_reply(signed_tx: str) -> Signed:
    try:
        return unwrap(encoding.decode(signed_tx, "tx"))
    except EncodingError as error:
        raise wrong(f"the reply is no check-encoded transaction: {error}") from error


def _added(asked: Signed, reply: Signed) -> set[bytes]:
    """At most one signature, beside all that were there, each of them once."""
    given, before = set(reply.signatures), set(asked.signatures)
    if not before <= given or len(given - before) > 1 or len(given) != len(reply.signatures):
        raise TransactionError("signatures", "the reply must keep the signatures it was given and add exactly one")
    return given - before


def _check_signature(
    signature: bytes, inner: bytes, account: Account, network_id: str, forms: tuple[SigningForm, ...]
) -> None:
    if is_der(signature):
        raise TransactionError(Code.UNSUPPORTED_SIGNATURE, "a signature of another curve: only Ed25519 is understood")
    if not is_canonical(signature):
        raise TransactionError("signatures", "a signature has 64 bytes and an S below the group's order")
    if not verify(signature, inner, account, network_id, forms):
        raise TransactionError("key", "the signature is not the account's for this transaction")
