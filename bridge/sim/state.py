"""A channel's state as a real node serializes it: its hash, its trees and proofs of inclusion. Pure.

Two accounts, no contracts, calls, names or oracles: five of the six trees are empty. Every byte was checked against
the recordings of a real node, so a rescue kit of this state could close a channel with the same balances.
"""

from collections.abc import Iterable

from bridge.channel.identifier import Account
from bridge.channel.terms import Role
from bridge.sim import tree
from bridge.sim.balance import Balances, Parties
from bridge.wire import encoding, rlp
from bridge.wire.signature import blake2b

ACCOUNT_TAG, POI_TAG, TREES_TAG, TREE_TAG, ENTRY_TAG = 10, 60, 62, 63, 64
CONTRACTS_TAG, CALLS_TAG, CHANNELS_TAG, NAMES_TAG, ORACLES_TAG, ACCOUNTS_TAG = 621, 622, 623, 624, 625, 626
HASH_VERSION = 1
OTHER_TREES = 5
"""Trees besides the one of accounts."""


def state_hash(parties: Parties, balances: Balances) -> bytes:
    """What a transaction says of the state it leads to."""
    root = tree.build(_accounts(parties, balances)).root
    return blake2b(HASH_VERSION.to_bytes(8, "big") + root + bytes(tree.HASH_BYTES * OTHER_TREES))


def trees(parties: Parties, balances: Balances) -> str:
    """The whole state, `ss_…`."""
    empty = [_tree(tag, {}) for tag in (CONTRACTS_TAG, CALLS_TAG, CHANNELS_TAG, NAMES_TAG, ORACLES_TAG)]
    accounts = _tree(ACCOUNTS_TAG, _accounts(parties, balances))
    return encoding.encode("ss", rlp.encode([_integer(TREES_TAG), _integer(0), *empty, accounts]))


def calls() -> str:
    """The tree of contract calls, `cs_…`: empty, there are no contracts."""
    return encoding.encode("cs", _tree(CALLS_TAG, {}))


def proof(parties: Parties, balances: Balances, accounts: Iterable[Account]) -> str | None:
    """A proof of inclusion, `pi_…`; None if one of the accounts has no part in the channel."""
    named = list(accounts)
    if any(parties.role(account) is None for account in named):
        return None
    built = tree.build(_accounts(parties, balances))
    nodes: list[rlp.Item] = [
        [name, node] for name, node in sorted(tree.prove(built, list(map(encoding.account_key, named))).items())
    ]
    parts: list[rlp.Item] = [[[built.root, nodes]], *([[]] * OTHER_TREES)]
    return encoding.encode("pi", rlp.encode([_integer(POI_TAG), _integer(1), *parts]))


def _accounts(parties: Parties, balances: Balances) -> dict[bytes, bytes]:
    return {encoding.account_key(parties.account(role)): _account(balances.of(role)) for role in Role}


def _account(balance: int) -> bytes:
    """Nonces stay at zero off chain."""
    return rlp.encode([_integer(ACCOUNT_TAG), _integer(1), _integer(0), _integer(balance)])


def _tree(tag: int, entries: dict[bytes, bytes]) -> bytes:
    """Keys and values, the last key first."""
    rows = [
        rlp.encode([_integer(ENTRY_TAG), _integer(1), key, value])
        for key, value in sorted(entries.items(), reverse=True)
    ]
    return rlp.encode([_integer(tag), _integer(1), rlp.encode([_integer(TREE_TAG), _integer(1), rows])])


def _integer(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
