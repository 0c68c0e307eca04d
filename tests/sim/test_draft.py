"""What the simulated node proposes: bytes, fees and state hashes, against those of a real one."""

import pytest

from bridge.channel.identifier import Account
from bridge.channel.request import Tag
from bridge.channel.terms import Dialect, Role
from bridge.channel.transaction import Kind, Update
from bridge.sim.balance import Balances, Parties
from bridge.sim.draft import ERAS, FLOWS, Draft, create
from bridge.sim.parameter import read_opening
from bridge.sim.state import state_hash
from bridge.wire import encoding, transaction
from tests.sim.client import INITIATOR, JSON_RPC, LATE, RESPONDER, SEED, opening

PARTIES = Parties(Account(INITIATOR), Account(RESPONDER), 2)
CHANNEL = transaction.channel_id(PARTIES.initiator, 1, PARTIES.responder)
START = Balances(70_000_000_000_000, 40_000_000_000_000)
PAY = (Update("OffChainTransfer", 5, PARTIES.initiator, PARTIES.responder),)


def draft(dialect: Dialect = JSON_RPC, balances: Balances = START) -> Draft:
    return Draft(CHANNEL, PARTIES, ERAS[dialect], 1, balances)


@pytest.mark.parametrize(("nonce", "fee"), [(1, 17_640), (144, 17_660)])
def test_a_create_transaction_costs_what_a_real_node_asked(nonce: int, fee: int) -> None:
    """Recorded with both nonces: a byte more is 20 gas more."""
    made = create(read_opening(opening("initiator")), PARTIES.initiator, nonce)
    assert made.fee == fee * 10**9
    assert transaction.read(encoding.encode("tx", made.inner)).fee == made.fee


def test_a_mutual_close_shares_its_fee() -> None:
    """The recorded finals, to the unit: half each, the odd unit from the initiator."""
    made = draft(balances=Balances(69_999_999_999_995 + 1000, 40_000_000_000_005)).close(Role.INITIATOR, 3, None)
    assert made.balances == Balances(61_550_000_000_995, 31_550_000_000_005)
    assert Balances(10, 10).share_fee(3) == Balances(8, 9)
    assert Balances(1, 10).share_fee(5) == Balances(0, 6)
    assert Balances(10, 1).share_fee(5) == Balances(6, 0)


@pytest.mark.parametrize(("dialect", "shown"), [(JSON_RPC, None), (LATE, (5,)), (SEED, (5,))])
def test_only_old_transactions_carry_their_updates(dialect: Dialect, shown: tuple[int, ...] | None) -> None:
    """A signer of today's node must be told the updates beside the transaction."""
    read = transaction.read(encoding.encode("tx", draft(dialect).update(PAY).inner))
    assert (read.kind, read.round) == (Kind.OFFCHAIN, 2)
    assert (None if read.updates is None else tuple(update.amount for update in read.updates)) == shown


def test_the_same_balances_at_the_same_round_are_the_same_bytes() -> None:
    """observed.md "Recovery": whatever the meta; a transaction hash does not identify a command."""
    meta = (*PAY, Update("OffChainMeta", data="hello"))
    assert draft().update(PAY).inner == draft().update(meta).inner
    back = Update("OffChainTransfer", 5, PARTIES.responder, PARTIES.initiator)
    assert draft().update((*PAY, back)).inner != draft().update(PAY).inner
    assert state_hash(PARTIES, START) != state_hash(PARTIES, Balances(1, 2))


def test_deposit_and_withdrawal_change_one_balance() -> None:
    """They name only one party."""
    paid = Update("OffChainDeposit", 7, from_account=PARTIES.responder)
    taken = Update("OffChainWithdrawal", 7, to_account=PARTIES.initiator)
    assert START.apply((paid,), PARTIES) == Balances(START.initiator, START.responder + 7)
    assert START.apply((taken,), PARTIES) == Balances(START.initiator - 7, START.responder)


def test_every_operation_both_sign_has_its_tags() -> None:
    """Each tag of a mutual operation belongs to exactly one kind."""
    tags = [tag for flow in FLOWS.values() for tag in (flow.own, flow.ack)]
    solo = {Tag.CLOSE_SOLO, Tag.SLASH, Tag.SETTLE, Tag.SNAPSHOT_SOLO, Tag.FORCE_PROGRESS}
    assert sorted(tags) == sorted(set(Tag) - solo)
