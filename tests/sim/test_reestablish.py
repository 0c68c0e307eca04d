"""Coming back to the simulated node: to a living FSM, to a saved state, over a restart, and never after a kill."""

from pathlib import Path

from bridge.channel.terms import Role
from bridge.sim.server import SimulatedNode
from tests.sim.client import INITIATOR, NETWORK, RESPONDER, Pair, Party, opened, opening, returning, running, until_true


async def bring_back(pair: Pair, channel_id: str, ids: dict[str, str]) -> Pair:
    """Both parties, responder first."""
    responder = await Party.open(pair.node, returning("responder", channel_id, ids["responder"]))
    initiator = await Party.open(pair.node, returning("initiator", channel_id, ids["initiator"]))
    return Pair(pair.node, initiator, responder)


def ids_of(pair: Pair) -> dict[str, str]:
    return {role: pair.fsm_id(role) for role in ("initiator", "responder")}


async def test_a_reconnect_keeps_the_id_and_repeats_nothing() -> None:
    """A bridge must ask for the state: no sign request, no report comes again."""
    async with running() as node, opened(node) as pair:
        pair.initiator.is_signing = False
        await pair.initiator.pay(5)
        await pair.initiator.until("sign.update")
        fsm_id = pair.fsm_id("initiator")
        pair.initiator.cut()
        await pair.initiator.until_closed()
        back = await Party.open(node, returning("initiator", pair.channel_id, fsm_id), signs=False)
        up = await back.until("fsm_up")
        assert up["params"]["data"]["fsm_id"] == fsm_id
        assert await back.ask("update", {"error": 4}) == "ok"  # the request was still open
        assert back.words == ["fsm_up", "ok", "aborted_update"]
        await back.close()


async def test_an_unsigned_client_leaves_nothing_behind() -> None:
    """Before its signature on the create transaction a drop ends the FSM: start over."""
    async with running() as node:
        party = await Party.open(node, opening("responder"), signs=False)
        await party.until("fsm_up")
        assert len(node.registry.alive) == 1
        party.cut()
        await until_true(lambda: not node.registry.alive)
        await party.close()


async def test_a_stop_in_order_keeps_every_channel() -> None:
    """observed.md "Node crash": after SIGTERM all channels reestablish with the ids their clients have."""
    async with running() as node, opened(node) as pair:
        await pair.initiator.pay(5)
        await pair.both("update", 2)
        channel_id, ids, port = pair.channel_id, ids_of(pair), node.port
        await node.stop()
        await pair.initiator.until_closed()
        await pair.responder.until_closed()
        await node.start()
        assert node.port == port
        again = await bring_back(pair, channel_id, ids)
        await again.both("update")
        assert again.initiator.words == ["fsm_up", "channel_reestablished", "open", "update"]
        assert ids_of(again).keys() == ids.keys()
        assert set(ids_of(again).values()).isdisjoint(ids.values()), "a reestablish rotates the ids"
        assert node.round(channel_id, Role.INITIATOR) == 2
        await again.initiator.pay(6)
        await again.both("update", 2)
        await again.initiator.close()
        await again.responder.close()


async def test_a_new_process_goes_on_from_the_state_directory(tmp_path: Path) -> None:
    """The demo stops and starts its node as a process."""
    async with running(state_dir=tmp_path) as node, opened(node) as pair:
        await pair.initiator.pay(5)
        await pair.both("update", 2)
        channel_id, ids, height = pair.channel_id, ids_of(pair), node.chain.height
        balances = node.balance(INITIATOR), node.balance(RESPONDER)
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600], "an fsm_id is a credential"
    other = SimulatedNode(network_id=NETWORK, state_dir=tmp_path)
    await other.start()
    try:
        assert (other.balance(INITIATOR), other.balance(RESPONDER)) == balances
        assert other.chain.height == height
        again = await bring_back(Pair(other, pair.initiator, pair.responder), channel_id, ids)
        await again.both("update")
        held = await again.initiator.ask("get.balances", {"accounts": [INITIATOR]})
        assert held == [{"account": INITIATOR, "balance": 69_999_999_999_995}]
        await again.initiator.send("shutdown", {})
        await again.both("closed_confirmed")
        await again.initiator.close()
        await again.responder.close()
    finally:
        await other.stop()


async def test_a_killed_node_has_lost_every_channel() -> None:
    """observed.md "Node crash": close 1000 without a frame, for ever; the coins are still on chain."""
    async with running() as node, opened(node) as pair:
        channel_id, ids = pair.channel_id, ids_of(pair)
        await node.kill()
        assert (await pair.initiator.until_closed())[0] == 1006
        await node.start()
        for role in ("responder", "initiator"):
            back = await Party.open(node, returning(role, channel_id, ids[role]))
            assert await back.until_closed() == (1000, "")
            assert back.seen == []
        assert channel_id in node.chain.ledger.channels


async def test_a_killed_process_has_lost_what_an_earlier_stop_had_kept(tmp_path: Path) -> None:
    """A state that is days old would be worse than none: both sides would hold different rounds."""
    async with running(state_dir=tmp_path) as node, opened(node) as pair:
        channel_id, ids = pair.channel_id, ids_of(pair)
    async with running(state_dir=tmp_path):
        other = SimulatedNode(network_id=NETWORK, state_dir=tmp_path)  # what a new process finds after a kill
        await other.start()
        try:
            back = await Party.open(other, returning("responder", channel_id, ids["responder"]))
            assert await back.until_closed() == (1000, "")
            assert back.seen == []
            assert channel_id in other.chain.ledger.channels
        finally:
            await other.stop()


async def test_a_reestablished_channel_dies_with_each_client() -> None:
    """Each later drop is another reestablish with another id: a bridge must store the newest first."""
    async with running() as node, opened(node) as pair:
        await pair.responder.send("leave", {})
        await pair.initiator.until_closed()
        await pair.responder.until_closed()
        again = await bring_back(pair, pair.channel_id, ids_of(pair))
        await again.both("update")
        channel_id, fsm_id = pair.channel_id, again.fsm_id("initiator")
        again.initiator.cut()
        await again.responder.until("peer_disconnected")
        third = await Party.open(node, returning("initiator", channel_id, fsm_id))
        await third.until("update")
        await again.responder.until("channel_reestablished", 2)
        assert Pair(node, third, again.responder).fsm_id("initiator") != fsm_id
        await third.close()
        await again.responder.close()


async def test_a_client_that_never_spoke_is_not_thrown_out() -> None:
    """Only a client that ever sent a frame gives way to a newer one (protocol.md A.3)."""
    async with running() as node, opened(node) as pair:
        channel_id, fsm_id = pair.channel_id, pair.fsm_id("initiator")
        pair.initiator.cut()
        await pair.initiator.until_closed()
        silent = await Party.open(node, returning("initiator", channel_id, fsm_id))
        await silent.until("fsm_up")
        other = await Party.open(node, returning("initiator", channel_id, fsm_id))
        assert await other.until_closed() == (1000, "")
        assert silent.closed is None
        await silent.close()


async def test_an_update_without_a_peer_blocks_his_return() -> None:
    """observed.md "Reconnect": why a bridge triggers nothing after `peer_disconnected`."""
    async with running() as node, opened(node, both={"timeout_accept": 300}) as pair:
        channel_id, fsm_id = pair.channel_id, pair.fsm_id("initiator")
        await pair.initiator.send("leave", {})
        await pair.responder.until("peer_disconnected")
        await pair.responder.pay(5)
        await pair.responder.until("sign.update")
        await until_true(lambda: node.registry.alive[0].half_signed is not None)
        back = await Party.open(node, returning("initiator", channel_id, fsm_id))
        assert await back.until_closed() == (1000, "")
        assert back.words == ["fsm_up", "timeout", "died"]
        await pair.responder.until("conflict 3")
        newest = back.seen[0]["params"]["data"]["fsm_id"]
        again = await Party.open(node, returning("initiator", channel_id, newest))
        await again.until("update")
        await pair.responder.until("channel_reestablished")
        await again.close()
