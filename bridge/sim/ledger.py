"""Accounts and channels as the chain knows them, and what a mined transaction does to them.

Knows nothing of blocks. A transaction that the accounts cannot carry is left alone: the miner keeps it waiting, as
a real one does with a nonce gap or a balance too small. Signatures were checked by the FSMs that made it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bridge.channel.identifier import Account, ChannelId
from bridge.channel.transaction import Kind
from bridge.wire import transaction

GENESIS = 10**24
"""Aettos of an account nobody configured, when it is first seen."""


@dataclass(frozen=True, slots=True)
class AccountEntry:
    balance: int
    nonce: int = 0


@dataclass(frozen=True, slots=True)
class Payment:
    """Who signs for a transaction on the chain, with which nonce, and what it moves."""

    payer: Account
    nonce: int
    costs: Mapping[Account, int]
    """What leaves each account; below zero what comes in."""
    channel_id: ChannelId
    closes: bool = False


class Ledger:
    """Accounts by their key, open channels by their id."""

    def __init__(self, accounts: Mapping[Account, int] | None = None, genesis: int = GENESIS) -> None:
        """`accounts` given: only these exist (with these balances). Else everybody starts with `genesis`."""
        self._is_strict = accounts is not None
        self._genesis = genesis
        self.entries: dict[Account, AccountEntry] = {
            account: AccountEntry(balance) for account, balance in (accounts or {}).items()
        }
        self.channels: set[ChannelId] = set()

    def find(self, account: Account) -> AccountEntry | None:
        if account not in self.entries and not self._is_strict:
            self.entries[account] = AccountEntry(self._genesis)
        return self.entries.get(account)

    def can_apply(self, payment: Payment) -> bool:
        payer = self.find(payment.payer)
        if payer is None or payment.nonce != payer.nonce + 1:
            return False
        return all(entry is not None and entry.balance >= cost for entry, cost in self._costs(payment))

    def apply(self, payment: Payment) -> None:
        """Only after `can_apply`."""
        for account, cost in payment.costs.items():
            entry = self.entries[account]
            self.entries[account] = replace(entry, balance=entry.balance - cost)
        payer = self.entries[payment.payer]
        self.entries[payment.payer] = replace(payer, nonce=payment.nonce)
        if payment.closes:
            self.channels.discard(payment.channel_id)
        else:
            self.channels.add(payment.channel_id)

    def _costs(self, payment: Payment) -> list[tuple[AccountEntry | None, int]]:
        return [(self.find(account), cost) for account, cost in payment.costs.items()]


def read_payment(inner: bytes) -> Payment:
    """What this channel transaction moves. Raises ValueError for a kind that never goes on chain here."""
    kind, values = transaction.fields(inner)
    match kind:
        case Kind.CREATE:
            initiator, responder = Account(str(values["initiator"])), Account(str(values["responder"]))
            nonce = _number(values, "nonce")
            costs = {initiator: _number(values, "initiator_amount") + _number(values, "fee")}
            costs[responder] = costs.get(responder, 0) + _number(values, "responder_amount")
            return Payment(initiator, nonce, costs, transaction.channel_id(initiator, nonce, responder))
        case Kind.DEPOSIT | Kind.WITHDRAW:
            account = Account(str(values["from_id" if kind is Kind.DEPOSIT else "to_id"]))
            amount = _number(values, "amount") * (1 if kind is Kind.DEPOSIT else -1)
            costs = {account: amount + _number(values, "fee")}
            return Payment(account, _number(values, "nonce"), costs, ChannelId(str(values["channel_id"])))
        case _:
            raise ValueError(f"{kind} is not mined here")


def read_close(inner: bytes, initiator: Account, responder: Account) -> Payment:
    """A mutual close pays out to both parties, whom its bytes do not name."""
    kind, values = transaction.fields(inner)
    if kind is not Kind.CLOSE_MUTUAL:
        raise ValueError(f"{kind} is no mutual close")
    costs = {
        initiator: -_number(values, "initiator_amount_final"),
        responder: -_number(values, "responder_amount_final"),
    }
    payer = Account(str(values["from_id"]))
    return Payment(payer, _number(values, "nonce"), costs, ChannelId(str(values["channel_id"])), closes=True)


def _number(values: Mapping[str, object], name: str) -> int:
    value = values[name]
    if not isinstance(value, int):
        raise ValueError(f"{name} is no number")  # noqa: TRY004  # by contract
    return value
