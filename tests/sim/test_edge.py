"""Where a real node surprises: what cannot be paid, is too long, is answered in between, or dies halfway."""

from tests.sim.client import INITIATOR, RESPONDER, Party, opened, returning, running

TOO_LONG = "x" * 65_201
SOON = {"timeout_accept": 200}
"""Milliseconds: the node's own clock ends the wait."""


async def test_a_close_whose_fee_the_channel_cannot_pay_is_refused() -> None:
    """A small channel must be told so; a handler that never answers would block its socket for ever."""
    small = {"initiator_amount": 1_000_000, "responder_amount": 500_000}
    async with running() as node, opened(node, both=small) as pair:
        assert await pair.initiator.ask("shutdown", {}) == -32603
        assert await pair.initiator.ask("shutdown", {"fee": 1_500_001}) == -32603
        before = node.balance(RESPONDER)
        assert await pair.initiator.ask("shutdown", {"fee": 1_500_000}) == "ok"
        await pair.both("closed_confirmed")
        assert node.balance(RESPONDER) == before


async def test_a_negative_amount_is_refused_while_another_operation_runs() -> None:
    """The handler sees it by itself; all other triggers block the socket at that moment."""
    async with running() as node, opened(node) as pair:
        pair.responder.is_signing = False
        await pair.initiator.pay(5)
        await pair.responder.until("sign.update_ack")
        assert await pair.initiator.ask("deposit", {"amount": -1}) == 1002
        assert await pair.initiator.ask("update.new", {"from": INITIATOR, "to": RESPONDER, "amount": -1}) == 1002


async def test_an_update_too_large_never_arrives_and_leaves_its_direction_dead() -> None:
    """Why the bridge limits meta: the peer is never asked, later messages are lost, only the way back still works."""
    async with running() as node, opened(node, both=SOON) as pair:
        parties = {"from": INITIATOR, "to": RESPONDER, "amount": 1}
        assert await pair.initiator.ask("update.new", parties | {"meta": [TOO_LONG]}) == "ok"
        await pair.initiator.until("conflict 3")
        assert await pair.initiator.ask("message", {"to": RESPONDER, "info": "lost"}) == "ok"
        assert await pair.responder.ask("message", {"to": INITIATOR, "info": "found"}) == "ok"
        await pair.initiator.until("message")
        assert "message" not in pair.responder.words
        assert "sign.update_ack" not in pair.responder.words


async def test_an_update_of_allowed_size_arrives_with_its_meta() -> None:
    """The limit must not be lower than the real one."""
    async with running() as node, opened(node) as pair:
        parties = {"from": INITIATOR, "to": RESPONDER, "amount": 1}
        assert await pair.initiator.ask("update.new", parties | {"meta": ["x" * 65_000]}) == "ok"
        asked = await pair.responder.until("sign.update_ack")
        assert asked["params"]["data"]["updates"][1] == {"op": "OffChainMeta", "data": "x" * 65_000}


async def test_a_deposit_is_void_when_the_peer_dies_before_it_is_locked() -> None:
    """The state goes back to what both have, although the chain may take the coins: a bridge must ask the chain."""
    async with running() as node, opened(node) as pair:
        node.chain.auto_mine = False
        await pair.initiator.ask("deposit", {"amount": 1000})
        posted = await pair.initiator.until("chain deposit_signed")
        channel_id, fsm_id = pair.channel_id, pair.fsm_id("initiator")
        await pair.initiator.send("deposit_tx", {"signed_tx": posted["params"]["data"]["tx"]})  # nobody waits: kills
        await pair.initiator.until_closed()
        await pair.responder.until("peer_disconnected")
        back = await Party.open(node, returning("initiator", channel_id, fsm_id))
        await back.until("update")
        held = await back.ask("get.balances", {"accounts": [INITIATOR]})
        assert held == [{"account": INITIATOR, "balance": 70_000_000_000_000}]
        await back.close()
