"""What the channel needs to know of a transaction. `wire.transaction` reads it from bytes.

Amounts are aettos. A field a transaction kind does not have is None. Source: the node's serialization
document, section "channel transactions".
"""

from dataclasses import dataclass
from enum import StrEnum

from bridge.channel.identifier import Account, ChannelId, TransactionHash


class Kind(StrEnum):
    """The node's own names for transaction types; `OPAQUE` is one we cannot read (eras before 0.13)."""

    CREATE = "channel_create_tx"
    DEPOSIT = "channel_deposit_tx"
    WITHDRAW = "channel_withdraw_tx"
    CLOSE_MUTUAL = "channel_close_mutual_tx"
    CLOSE_SOLO = "channel_close_solo_tx"
    SLASH = "channel_slash_tx"
    SETTLE = "channel_settle_tx"
    OFFCHAIN = "channel_offchain_tx"
    SNAPSHOT_SOLO = "channel_snapshot_solo_tx"
    SET_DELEGATES = "channel_set_delegates_tx"
    FORCE_PROGRESS = "channel_force_progress_tx"
    CLIENT_RECONNECT = "channel_client_reconnect_tx"
    GA_META = "ga_meta_tx"
    OPAQUE = "opaque"


@dataclass(frozen=True, slots=True)
class Update:
    """One operation inside an off-chain update, as the sign request lists it.

    `op` is the node's name (`OffChainTransfer`, `OffChainDeposit`, `OffChainWithdrawal`, `OffChainMeta`, …).
    """

    op: str
    amount: int | None = None
    from_account: Account | None = None
    to_account: Account | None = None
    data: str | None = None


@dataclass(frozen=True, slots=True)
class Transaction:
    """The facts of one transaction, and the text it came as.

    `text` is `tx_` + base64 whatever the dialect wrote. `wrapped` says whether it is a signed_tx (JSON-RPC,
    and every co-signed state) or the bare inner transaction (legacy sign requests).
    """

    text: str
    wrapped: bool
    kind: Kind
    hash: TransactionHash
    signatures: tuple[str, ...] = ()
    channel_id: ChannelId | None = None
    round: int | None = None
    """1 for a create transaction; None where the kind has no round."""
    amount: int | None = None
    """Of a deposit or withdrawal."""
    account: Account | None = None
    """Who deposits, withdraws or closes (`from_id`, `to_id`)."""
    fee: int | None = None
    nonce: int | None = None
    ttl: int | None = None
    initiator: Account | None = None
    responder: Account | None = None
    initiator_amount: int | None = None
    """At creation what the initiator puts in; at a close what he gets."""
    responder_amount: int | None = None
    channel_reserve: int | None = None
    lock_period: int | None = None
    state_hash: str | None = None
    updates: tuple[Update, ...] | None = None
    """Only version 1 off-chain transactions carry them; later ones name them beside the transaction."""
