"""The field tables of channel transactions: which fields, in which order, of which kind, by tag and version.

One table serves both directions; `wire.serialization` carries it out. Layouts that share tag and version are told
apart by their number of fields. Source: transactions.md section 2; that of a create transaction without delegates
is the seed document's own on-chain sample (corpus/seed.jsonl, seq 25).
"""

from dataclasses import dataclass
from enum import Enum

from bridge.channel.transaction import Kind


class Field(Enum):
    """What a field holds, and what it is in Python."""

    INT = "unsigned integer"  # int
    ACCOUNT = "account id"  # "ak_…"
    CHANNEL = "channel id"  # "ch_…"
    CONTRACT = "contract id"  # "ct_…"
    HASH = "32 bytes"  # bytes
    BINARY = "bytes"  # bytes
    ACCOUNTS = "list of account ids"  # tuple[str, ...]
    BINARIES = "list of bytes"  # tuple[bytes, ...]
    INTS = "list of integers"  # tuple[int, ...]
    TRIPLES = "list of [sender, receiver, amount]"  # tuple[tuple[bytes, bytes, int], ...]


ID_TAGS = {
    Field.ACCOUNT: (1, "ak"),
    Field.CONTRACT: (5, "ct"),
    Field.CHANNEL: (6, "ch"),
}
"""The byte in front of an id's 32, and the prefix of its text."""

Columns = tuple[tuple[str, Field], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    kind: Kind
    tag: int
    version: int
    fields: Columns


@dataclass(frozen=True, slots=True)
class UpdateLayout:
    op: str
    tag: int
    version: int
    fields: Columns


_N, _A, _C, _H, _B = Field.INT, Field.ACCOUNT, Field.CHANNEL, Field.HASH, Field.BINARY

_OWNED: Columns = (("channel_id", _C), ("from_id", _A))
_COST: Columns = (("ttl", _N), ("fee", _N), ("nonce", _N))
_MOVE: Columns = (("amount", _N), ("ttl", _N), ("fee", _N), ("state_hash", _H), ("round", _N), ("nonce", _N))
_FINALS: Columns = (("initiator_amount_final", _N), ("responder_amount_final", _N), *_COST)
_EVIDENCE: Columns = (*_OWNED, ("payload", _B), ("poi", _B), *_COST)


def _create(version: int, *delegates: str) -> Layout:
    fields: Columns = (
        ("initiator", _A),
        ("initiator_amount", _N),
        ("responder", _A),
        ("responder_amount", _N),
        ("channel_reserve", _N),
        ("lock_period", _N),
        ("ttl", _N),
        ("fee", _N),
        *((name, Field.ACCOUNTS) for name in delegates),
        ("state_hash", _H),
        ("nonce", _N),
    )
    return Layout(Kind.CREATE, 50, version, fields)


def _meta(version: int, *ttl: tuple[str, Field]) -> Layout:
    gas: Columns = (("fee", _N), ("gas", _N), ("gas_price", _N))
    return Layout(
        Kind.GA_META, 81, version, (("ga_id", _A), ("auth_data", _B), ("abi_version", _N), *gas, *ttl, ("tx", _B))
    )


_OFFCHAIN_BEFORE_0_13: Columns = (
    ("channel_id", _H),
    ("previous_round", _N),
    ("round", _N),
    ("initiator", _B),
    ("responder", _B),
    ("initiator_amount", _N),
    ("responder_amount", _N),
    ("updates", Field.TRIPLES),
    ("state", _B),
)
"""Ids without their tag byte, keys of another curve (65 bytes): nothing in here is today's account or channel."""

_SET_DELEGATES: Columns = (
    *_OWNED,
    ("initiator_delegate_ids", Field.ACCOUNTS),
    ("responder_delegate_ids", Field.ACCOUNTS),
    ("payload", _B),
    ("state_hash", _H),
    ("round", _N),
    *_COST,
)
_FORCE_PROGRESS: Columns = (
    *_OWNED,
    ("payload", _B),
    ("round", _N),
    ("update", _B),
    ("state_hash", _H),
    ("offchain_trees", _B),
    *_COST,
)

LAYOUTS: tuple[Layout, ...] = (
    _create(1),
    _create(1, "delegate_ids"),
    _create(2, "initiator_delegate_ids", "responder_delegate_ids"),
    Layout(Kind.DEPOSIT, 51, 1, (*_OWNED, *_MOVE)),
    Layout(Kind.WITHDRAW, 52, 1, (("channel_id", _C), ("to_id", _A), *_MOVE)),
    Layout(Kind.CLOSE_MUTUAL, 53, 1, (("channel_id", _C), *_FINALS)),
    Layout(Kind.CLOSE_MUTUAL, 53, 1, (*_OWNED, *_FINALS)),
    Layout(Kind.CLOSE_SOLO, 54, 1, _EVIDENCE),
    Layout(Kind.SLASH, 55, 1, _EVIDENCE),
    Layout(Kind.SETTLE, 56, 1, (*_OWNED, *_FINALS)),
    Layout(Kind.OFFCHAIN, 57, 1, _OFFCHAIN_BEFORE_0_13),
    Layout(Kind.OFFCHAIN, 57, 1, (("channel_id", _C), ("round", _N), ("updates", Field.BINARIES), ("state_hash", _H))),
    Layout(Kind.OFFCHAIN, 57, 2, (("channel_id", _C), ("round", _N), ("state_hash", _H))),
    Layout(Kind.SNAPSHOT_SOLO, 59, 1, (*_OWNED, ("payload", _B), *_COST)),
    _meta(1, ("ttl", _N)),
    _meta(2),
    Layout(Kind.SET_DELEGATES, 501, 1, _SET_DELEGATES),
    Layout(Kind.FORCE_PROGRESS, 521, 1, _FORCE_PROGRESS),
    Layout(Kind.CLIENT_RECONNECT, 575, 1, (("channel_id", _C), ("round", _N), ("role", _B), ("pub_key", _A))),
)

_NEW_CONTRACT: Columns = (
    ("owner", _A),
    ("ct_version", _N),
    ("code", _B),
    ("deposit", _N),
    ("call_data", _B),
)
_CALL_CONTRACT: Columns = (
    ("caller_id", _A),
    ("contract_id", Field.CONTRACT),
    ("abi_version", _N),
    ("amount", _N),
    ("gas", _N),
    ("gas_price", _N),
    ("call_data", _B),
    ("call_stack", Field.INTS),
)

UPDATES: tuple[UpdateLayout, ...] = (
    UpdateLayout("OffChainTransfer", 570, 1, (("from", _A), ("to", _A), ("amount", _N))),
    UpdateLayout("OffChainDeposit", 571, 1, (("from", _A), ("amount", _N))),
    UpdateLayout("OffChainWithdrawal", 572, 1, (("to", _A), ("amount", _N))),
    UpdateLayout("OffChainNewContract", 573, 1, _NEW_CONTRACT),
    UpdateLayout("OffChainCallContract", 574, 1, _CALL_CONTRACT),
    UpdateLayout("OffChainMeta", 576, 2, (("data", _B),)),
)
"""What version 1 off-chain transactions hold in `updates`, each serialized by itself; `op` is the node's word."""
