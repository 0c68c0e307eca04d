"""The timers of the simulated node, shortened by the opening parameters: each wait ends with the node's own clock."""

import asyncio
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from bridge.channel.identifier import Account
from tests.sim.client import INITIATOR, RESPONDER, Party, opened, opening, running


async def ping_for_ever(party: Party) -> None:
    """Until the socket is closed in the middle of it."""
    while True:
        await party.ask("system", {"action": "ping"})


async def test_an_unanswered_sign_request_ends_in_a_timeout_the_peer_never_hears_of() -> None:
    """`timeout_sign`: conflict 3 for the side that was asked, nothing for the other."""
    async with running() as node, opened(node, both={"timeout_sign": 100}) as pair:
        pair.initiator.is_signing = False
        await pair.initiator.pay(5)
        await pair.initiator.until("conflict 3")
        assert pair.responder.words[-1] == "update"
        assert await pair.initiator.ask("update", {"error": 4}) == 1018


async def test_a_late_acknowledgement_splits_the_channel_for_ever() -> None:
    """observed.md "Timeouts": the sender fell back, the acknowledger is one round ahead, and every update fails."""
    async with running() as node, opened(node, both={"timeout_accept": 100}) as pair:
        pair.responder.is_signing = False
        await pair.initiator.pay(5)
        asked = await pair.responder.until("sign.update_ack")
        await pair.initiator.until("conflict 3")
        await pair.responder.sign(asked)
        await pair.responder.until("update", 3)  # opening, announcement, and the state nobody else has
        pair.responder.is_signing = True
        await pair.initiator.pay(6)
        conflict = await pair.initiator.until("conflict 2")
        assert conflict["params"]["data"]["round"] == 2, "a round above our own: the peer is one ahead"
        await pair.responder.pay(1)
        assert (await pair.responder.until("conflict 2", 2))["params"]["data"]["round"] == 1


async def test_an_idle_initiator_stops_and_leaves_the_responder() -> None:
    """`timeout_idle`: the responder keeps running and is told."""
    async with running() as node, opened(node, both={"timeout_idle": 150}) as pair:
        assert await pair.initiator.until_closed() == (1000, "")
        assert pair.initiator.words[-2:] == ["timeout", "died"]
        await pair.responder.until("peer_disconnected")


async def test_a_responder_that_does_not_keep_running_stops_too() -> None:
    """`keep_running=false` ends both."""
    async with running() as node, opened(node, both={"keep_running": "false"}) as pair:
        await pair.initiator.send("leave", {})
        assert await pair.responder.until_closed() == (1000, "")
        assert pair.responder.words[-2:] == ["leave", "died"]


async def test_balances_keep_a_channel_awake_and_pings_do_not() -> None:
    """The bridge's keep-alive must reach the FSM (observed.md "Timeouts")."""
    async with running() as node, opened(node, both={"timeout_idle": 200}) as pair:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < 0.5:
            assert await pair.initiator.ask("get.balances", {"accounts": [INITIATOR]}) != []
        assert pair.initiator.closed is None
        with pytest.raises((AssertionError, ConnectionClosed)):
            await ping_for_ever(pair.initiator)
        await pair.initiator.until_closed()
        assert pair.initiator.words[-2:] == ["timeout", "died"]


async def test_a_silent_socket_is_closed_and_the_fsm_stays() -> None:
    """The WebSocket's own limit; protocol pings count, here nothing came at all."""
    async with running(idle_seconds=0.2) as node, opened(node) as pair:
        assert await pair.initiator.until_closed() == (1000, "")
        assert len(node.registry.alive) == 2
        assert pair.initiator.words[-1] == "update"


async def test_protocol_pings_keep_a_socket() -> None:
    """What a bridge's link does every 20 s."""
    async with running(idle_seconds=0.3) as node, opened(node) as pair:
        await pair.responder.until_closed()
        assert pair.initiator.closed is not None
    async with running(idle_seconds=0.3) as node, opened(node) as pair:
        while pair.responder.closed is None:
            await (await pair.initiator.connection.ping())
            await asyncio.sleep(0)
        assert pair.initiator.closed is None


async def test_an_unfunded_opening_times_out() -> None:
    """Nobody signs: the channel ends, nothing is on chain."""
    async with running() as node:
        short: dict[str, Any] = {"timeout_funding_create": 100, "timeout_sign": 100}
        responder = await Party.open(node, opening("responder", **short), signs=False)
        initiator = await Party.open(node, opening("initiator", **short), signs=False)
        await responder.until_closed()
        await initiator.until_closed()
        assert "timeout" in responder.words + initiator.words
        assert node.chain.ledger.channels == set()


async def test_a_deposit_that_is_never_mined_falls_back() -> None:
    """Beyond the account's coins: signed by both, reported as posted, never mined (observed.md "Errors")."""
    poor = running(genesis=200_000_000_000_000)
    async with poor as node, opened(node, both={"timeout_funding_lock": 200}) as pair:
        assert await pair.initiator.ask("deposit", {"amount": 10**20}) == "ok"
        await pair.initiator.until("chain deposit_signed")
        await pair.both("conflict 3")
        assert "own_deposit_locked" not in pair.initiator.words
        held = await pair.initiator.ask("get.balances", {"accounts": [INITIATOR, RESPONDER]})
        assert [entry["balance"] for entry in held] == [70_000_000_000_000, 40_000_000_000_000]
        assert node.chain.next_nonce(Account(INITIATOR)) == 3, "the account's next transaction meets a gap"
