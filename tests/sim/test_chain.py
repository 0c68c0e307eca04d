"""The chain behind the simulated node: nonces, blocks on demand or by hand, depth."""

import asyncio

import pytest

from bridge.channel.identifier import Account, ChannelId
from bridge.sim.chain import Chain, plain_depth
from bridge.sim.ledger import Ledger, Payment
from bridge.wire.transaction import wrap
from tests.sim.client import INITIATOR, RESPONDER

ALICE, BOB = Account(INITIATOR), Account(RESPONDER)
CHANNEL = ChannelId("ch_of_no_matter")


def payment(nonce: int, cost: int = 10, payer: Account = ALICE) -> Payment:
    return Payment(payer, nonce, {payer: cost}, CHANNEL)


def chain(*, auto_mine: bool = False) -> Chain:
    return Chain("ae_dev", Ledger({ALICE: 100, BOB: 100}), auto_mine=auto_mine)


async def test_a_nonce_gap_keeps_everything_behind_it_waiting() -> None:
    """Why a bridge checks the balance before it deposits: one unmined transaction blocks the account."""
    made = chain()
    made.push(b"too much", payment(1, cost=101))
    assert made.next_nonce(ALICE) == 2
    made.push(b"behind it", payment(2))
    made.mine()
    assert (made.mined, len(made.mempool)) == ({}, 2)
    made.push(b"in its place", payment(1))
    made.mine(2)
    assert len(made.mined) == 2
    assert made.ledger.entries[ALICE].balance == 80
    assert made.next_nonce(ALICE) == 3, "what can never be mined any more does not count as a nonce above"


async def test_depth_counts_the_blocks_on_top() -> None:
    """`minimum_depth` 1 wants one block above the one with the transaction (recorded)."""
    made, told = chain(), asyncio.Event()
    made.push(b"one", payment(1))
    made.watch(b"one", 1, told.set)
    made.mine()
    assert not told.is_set()
    made.mine()
    assert told.is_set()


async def test_blocks_on_demand_end_with_the_demand() -> None:
    """Nothing is mined for its own sake: heights stay small and tests repeat."""
    made, told = chain(auto_mine=True), asyncio.Event()
    made.push(b"one", payment(1))
    made.watch(b"one", 3, told.set)
    async with asyncio.timeout(5):
        await told.wait()
    assert made.height == 1 + 1 + 3


async def test_a_listener_hears_of_its_channel_only_while_it_listens() -> None:
    """An FSM that ended must not be woken."""
    made, seen = chain(), list[bytes]()
    made.listen(CHANNEL, seen.append)
    made.push(b"one", payment(1))
    made.mine()
    made.unlisten(CHANNEL, seen.append)
    made.push(b"two", payment(2))
    made.mine()
    assert seen == [b"one"]


async def test_the_same_transaction_is_mined_once() -> None:
    """Both sides of a mutual close push it."""
    made = chain()
    signed = wrap((), b"close")
    made.push(signed, payment(1))
    made.push(signed, payment(1))
    made.mine()
    made.push(signed, payment(1))
    made.mine()
    assert made.ledger.entries[ALICE].balance == 90
    assert made.mempool == {}


@pytest.mark.parametrize(
    ("depth", "strategy", "expected"), [(1, "plain", 1), (7, "plain", 7), (0, "txfee", 1), (None, "txfee", 3)]
)
def test_the_depth_of_a_strategy(depth: int | None, strategy: str, expected: int) -> None:
    """protocol.md A.7: the tenth root of 17,640, rounded up, is 3."""
    assert plain_depth(depth, strategy, 17_640 * 10**9, 10**9) == expected
