"""What a channel's state holds: who has how much, and the texts a node shows of it.

Pure. A state hash here is a hash over channel and balances, not the root of a Patricia tree: equal balances give
equal bytes, which is what a bridge can observe of it. Trees and proofs are well-formed and opaque in the same way.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bridge.channel.identifier import Account, ChannelId
from bridge.channel.terms import Role
from bridge.channel.transaction import Update
from bridge.wire import encoding, rlp
from bridge.wire.signature import blake2b

POI_TAG, TREES_TAG, CALLS_TAG = 60, 61, 62
"""Object tags of the proofs and trees; nobody but the simulated node reads behind them."""


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


def state_hash(channel_id: ChannelId, balances: Balances) -> bytes:
    amounts = rlp.encode([_integer(balances.initiator), _integer(balances.responder)])
    return blake2b(encoding.decode(channel_id, "ch") + amounts)


def trees(parties: Parties, balances: Balances) -> str:
    """All accounts of the state, `ss_…`."""
    return encoding.encode("ss", _tree(TREES_TAG, (Role.INITIATOR, Role.RESPONDER), parties, balances))


def calls() -> str:
    """The tree of contract calls, `cs_…`: empty, there are no contracts."""
    return encoding.encode("cs", rlp.encode([_integer(CALLS_TAG), _integer(1), []]))


def proof(parties: Parties, balances: Balances, accounts: Iterable[Account]) -> str | None:
    """A proof of inclusion, `pi_…`; None if one of the accounts has no part in the channel."""
    roles = [parties.role(account) for account in accounts]
    known = [role for role in roles if role is not None]
    if len(known) != len(roles):
        return None
    return encoding.encode("pi", _tree(POI_TAG, known, parties, balances))


def _tree(tag: int, roles: Iterable[Role], parties: Parties, balances: Balances) -> bytes:
    leaves = [[encoding.account_key(parties.account(role)), _integer(balances.of(role))] for role in roles]
    return rlp.encode([_integer(tag), _integer(1), leaves])


def _integer(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
