"""What a channel may ask of its node, in words both dialects share (protocol.md section D).

The derived side of the bridge: after a reconnect these are worked out anew from the state, never queued.
Each carries a `request_id`; JSON-RPC answers repeat it, legacy answers carry none.
"""

from dataclasses import dataclass
from enum import StrEnum

from bridge.channel.identifier import Account, RequestId


class Tag(StrEnum):
    """Which signature: the node's own tags, the same in both dialects."""

    INITIATOR_SIGN = "initiator_sign"
    RESPONDER_SIGN = "responder_sign"
    UPDATE = "update"
    UPDATE_ACK = "update_ack"
    DEPOSIT = "deposit_tx"
    DEPOSIT_ACK = "deposit_ack"
    WITHDRAW = "withdraw_tx"
    WITHDRAW_ACK = "withdraw_ack"
    SHUTDOWN = "shutdown_sign"
    SHUTDOWN_ACK = "shutdown_sign_ack"
    CLOSE_SOLO = "close_solo_sign"
    SLASH = "slash_tx"
    SETTLE = "settle_sign"
    SNAPSHOT_SOLO = "snapshot_solo_tx"
    FORCE_PROGRESS = "force_progress_tx"

    @property
    def is_acknowledgement(self) -> bool:
        return self.value.endswith("_ack")

    @property
    def is_opening(self) -> bool:
        return self in (Tag.INITIATOR_SIGN, Tag.RESPONDER_SIGN)


CONFLICTS = 10
"""So many of its latest conflict reports the node is asked for."""


@dataclass(frozen=True, slots=True)
class AskTransfer:
    request_id: RequestId
    from_account: Account
    to_account: Account
    amount: int
    meta: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AskDeposit:
    request_id: RequestId
    amount: int
    fee: int | None = None
    meta: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AskWithdraw:
    request_id: RequestId
    amount: int
    fee: int | None = None
    meta: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AskShutdown:
    request_id: RequestId
    fee: int | None = None


@dataclass(frozen=True, slots=True)
class SendMessage:
    request_id: RequestId
    to_account: Account
    info: str


@dataclass(frozen=True, slots=True)
class SendSignature:
    """The signed reply. Sent at most once per sign request: a stray one can close the channel."""

    request_id: RequestId
    tag: Tag
    signed_tx: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """An error reply, also the probe of guarantees.md section 3. Legacy has no word for it."""

    request_id: RequestId
    tag: Tag
    code: int


@dataclass(frozen=True, slots=True)
class AskState:
    request_id: RequestId


@dataclass(frozen=True, slots=True)
class AskBalances:
    request_id: RequestId
    accounts: tuple[Account, ...]


@dataclass(frozen=True, slots=True)
class AskProof:
    """Proof of inclusion for these accounts (`get.poi`)."""

    request_id: RequestId
    accounts: tuple[Account, ...]


@dataclass(frozen=True, slots=True)
class AskHistory:
    """The node's conflict reports of this channel, newest first (guarantees.md section 3, rule 5)."""

    request_id: RequestId
    count: int = CONFLICTS


@dataclass(frozen=True, slots=True)
class Leave:
    request_id: RequestId


NodeRequest = (
    AskTransfer
    | AskDeposit
    | AskWithdraw
    | AskShutdown
    | SendMessage
    | SendSignature
    | Refuse
    | AskState
    | AskBalances
    | AskProof
    | AskHistory
    | Leave
)
