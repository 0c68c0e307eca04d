"""What a channel's state holds: who has how much, and what an update changes. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from bridge.channel.identifier import Account
from bridge.channel.terms import Role
from bridge.channel.transaction import Update


@dataclass(frozen=True, slots=True)
class Parties:
    """Both accounts of a channel, and what each of them must keep."""

    initiator: Account
    responder: Account
    reserve: int

    def account(self, role: Role) -> Account:
        return self.initiator if role is Role.INITIATOR else self.responder

    def role(self, account: Account) -> Role | None:
        return {self.initiator: Role.INITIATOR, self.responder: Role.RESPONDER}.get(account)


@dataclass(frozen=True, slots=True)
class Balances:
    """Aettos."""

    initiator: int
    responder: int

    def of(self, role: Role) -> int:
        return self.initiator if role is Role.INITIATOR else self.responder

    def add(self, role: Role, amount: int) -> "Balances":
        if role is Role.INITIATOR:
            return Balances(self.initiator + amount, self.responder)
        return Balances(self.initiator, self.responder + amount)

    def apply(self, updates: Iterable[Update], parties: Parties) -> "Balances":
        """After these operations; what moves nothing (meta) changes nothing."""
        after = self
        for update in updates:
            for account, sign in ((update.from_account, -1), (update.to_account, 1)):
                role = None if account is None else parties.role(account)
                if role is not None:
                    after = after.add(role, _moved(update, sign))
        return after

    def share_fee(self, fee: int) -> "Balances":
        """What is paid out at a mutual close: half the fee each, the odd unit and what one lacks from the other."""
        initiator, responder = fee - fee // 2, fee // 2
        if self.initiator < initiator:
            initiator, responder = self.initiator, fee - self.initiator
        elif self.responder < responder:
            initiator, responder = fee - self.responder, self.responder
        return Balances(self.initiator - initiator, self.responder - responder)


def _moved(update: Update, sign: int) -> int:
    """A deposit names only who pays and raises his balance; a withdrawal only who takes and lowers it."""
    amount = update.amount or 0
    return amount * (sign if update.op == "OffChainTransfer" else -sign)
