"""Transactions a node proposes: a channel's create, update, deposit, withdrawal and mutual close.

Pure. Fees are the node's own: 15,000 gas and 20 for each byte, at the smallest gas price (seen in the recordings,
to the unit). A version 1 off-chain transaction carries its updates, a later one only the state hash.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from bridge.channel.identifier import Account, ChannelId
from bridge.channel.request import Tag
from bridge.channel.terms import Dialect, Role, SigningForm
from bridge.channel.transaction import Kind, Update
from bridge.sim.balance import Balances, Parties
from bridge.sim.parameter import Opening
from bridge.sim.request import INTERNAL_ERROR, RequestRefused
from bridge.sim.state import state_hash
from bridge.wire import transaction

GAS_PRICE = 10**9
GAS_BASE, GAS_PER_BYTE = 15_000, 20
_FIRST_FEE = 17_000 * GAS_PRICE


@dataclass(frozen=True, slots=True)
class Era:
    """What a dialect's node does differently below its frames."""

    create_version: int
    offchain_version: int
    forms: tuple[SigningForm, ...]
    is_bare: bool = False
    """Signers get the transaction without signatures and return only their own; the node merges them."""
    outlives_client: bool = False
    """Whether an FSM lives on when its client's socket ends, and a broken check ends in a conflict, not in death."""
    delegates: tuple[str, ...] = ("delegate_ids",)


ERAS: Mapping[Dialect, Era] = MappingProxyType(
    {
        Dialect.JSON_RPC: Era(
            create_version=2,
            offchain_version=2,
            forms=(SigningForm.NETWORK_RAW, SigningForm.NETWORK_HASH),
            outlives_client=True,
            delegates=("initiator_delegate_ids", "responder_delegate_ids"),
        ),
        Dialect.LEGACY_LATE: Era(1, 1, (SigningForm.NETWORK_RAW,), is_bare=True),
        Dialect.LEGACY_SEED: Era(1, 1, (SigningForm.RAW,), is_bare=True),
    }
)


@dataclass(frozen=True, slots=True)
class Flow:
    """The words of one kind of operation both parties sign."""

    own: Tag
    ack: Tag
    announced: str
    """The `info` the acknowledger gets before he is asked."""
    timer: str
    """What bounds the wait for the peer's signature."""
    created: str = ""
    """`on_chain_tx` info for the acknowledger, once he signed."""
    signed: str = ""
    """The same for the proposer, once the peer signed."""
    locked: str = ""
    """`info` when both saw it deep enough; `own_` before it when only we did."""


FLOWS: Mapping[Kind, Flow] = MappingProxyType(
    {
        Kind.CREATE: Flow(
            own=Tag.INITIATOR_SIGN,
            ack=Tag.RESPONDER_SIGN,
            announced="funding_created",
            timer="timeout_funding_sign",
            created="funding_created",
            signed="funding_signed",
            locked="funding_locked",
        ),
        Kind.OFFCHAIN: Flow(own=Tag.UPDATE, ack=Tag.UPDATE_ACK, announced="update", timer="timeout_accept"),
        Kind.DEPOSIT: Flow(
            own=Tag.DEPOSIT,
            ack=Tag.DEPOSIT_ACK,
            announced="deposit_created",
            timer="timeout_funding_sign",
            created="deposit_created",
            signed="deposit_signed",
            locked="deposit_locked",
        ),
        Kind.WITHDRAW: Flow(
            own=Tag.WITHDRAW,
            ack=Tag.WITHDRAW_ACK,
            announced="withdraw_created",
            timer="timeout_funding_sign",
            created="withdraw_created",
            signed="withdraw_signed",
            locked="withdraw_locked",
        ),
        Kind.CLOSE_MUTUAL: Flow(
            own=Tag.SHUTDOWN,
            ack=Tag.SHUTDOWN_ACK,
            announced="shutdown",
            timer="timeout_accept",
            created="close_mutual",
            signed="close_mutual",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One transaction on its way to two signatures, and the state it leads to."""

    kind: Kind
    inner: bytes
    round: int
    balances: Balances
    updates: tuple[Update, ...] = ()
    signatures: tuple[bytes, ...] = ()
    fee: int = 0

    @property
    def flow(self) -> Flow:
        return FLOWS[self.kind]

    @property
    def signed(self) -> bytes:
        return transaction.wrap(self.signatures, self.inner)

    @property
    def is_on_chain(self) -> bool:
        return self.kind is not Kind.OFFCHAIN

    def sign(self, signatures: tuple[bytes, ...]) -> "Operation":
        return replace(self, signatures=tuple(sorted({*self.signatures, *signatures})))


def create(opening: Opening, initiator: Account, nonce: int) -> Operation:
    era = ERAS[opening.dialect]
    values = {
        "initiator": initiator,
        "initiator_amount": opening.initiator_amount,
        "responder": opening.responder,
        "responder_amount": opening.responder_amount,
        "channel_reserve": opening.reserve,
        "lock_period": opening.lock_period,
        "ttl": opening.ttl,
        "state_hash": state_hash(opening.parties(initiator), opening.balances),
        "nonce": nonce,
        **dict.fromkeys(era.delegates, ()),
    }
    inner, fee = _price(Kind.CREATE, era.create_version, values, opening.fee)
    return Operation(Kind.CREATE, inner, 1, opening.balances, fee=fee)


@dataclass(frozen=True, slots=True)
class Draft:
    """Proposes the next transaction of an open channel."""

    channel_id: ChannelId
    parties: Parties
    era: Era
    round: int
    """Of the latest co-signed state."""
    balances: Balances
    ttl: int = 0

    def update(self, updates: tuple[Update, ...]) -> Operation:
        after = self.balances.apply(updates, self.parties)
        values: dict[str, object] = self._next(after)
        if self.era.offchain_version == 1:
            values["updates"] = updates
        inner = transaction.build(Kind.OFFCHAIN, self.era.offchain_version, values)
        return Operation(Kind.OFFCHAIN, inner, self.round + 1, after, updates)

    def move(self, kind: Kind, updates: tuple[Update, ...], nonce: int, fee: int | None) -> Operation:
        """A deposit or a withdrawal; the first update tells whose and how much."""
        after = self.balances.apply(updates, self.parties)
        account = updates[0].from_account if kind is Kind.DEPOSIT else updates[0].to_account
        party = {"from_id" if kind is Kind.DEPOSIT else "to_id": account}
        values = {**self._next(after), **party, "amount": updates[0].amount, "ttl": self.ttl, "nonce": nonce}
        inner, paid = _price(kind, 1, values, fee)
        return Operation(kind, inner, self.round + 1, after, updates, fee=paid)

    def close(self, closer: Role, nonce: int, fee: int | None) -> Operation:
        """Raises RequestRefused for a fee above all that is in the channel."""

        def values(paid: int) -> dict[str, object]:
            finals = self.balances.share_fee(paid)
            if min(finals.initiator, finals.responder) < 0:
                raise RequestRefused(INTERNAL_ERROR)  # the two cannot pay the fee together
            return {
                "channel_id": self.channel_id,
                "from_id": self.parties.account(closer),
                "initiator_amount_final": finals.initiator,
                "responder_amount_final": finals.responder,
                "ttl": self.ttl,
                "fee": paid,
                "nonce": nonce,
            }

        inner, paid = _settle(lambda paid: transaction.build(Kind.CLOSE_MUTUAL, 1, values(paid)), fee)
        return Operation(Kind.CLOSE_MUTUAL, inner, self.round, self.balances.share_fee(paid), fee=paid)

    def _next(self, after: Balances) -> dict[str, object]:
        return {
            "channel_id": self.channel_id,
            "round": self.round + 1,
            "state_hash": state_hash(self.parties, after),
        }


def _price(kind: Kind, version: int, values: Mapping[str, object], fee: int | None) -> tuple[bytes, int]:
    return _settle(lambda paid: transaction.build(kind, version, {**values, "fee": paid}), fee)


def _settle(build: Callable[[int], bytes], fee: int | None) -> tuple[bytes, int]:
    """The transaction and its fee. The fee depends on the size, which depends on the fee's own length."""
    if fee is not None:
        return build(fee), fee
    paid = _FIRST_FEE
    while (wanted := (GAS_BASE + GAS_PER_BYTE * len(build(paid))) * GAS_PRICE) != paid:
        paid = wanted
    return build(paid), paid
