"""Traps of a real node that no recording can be replayed for: each is one a bridge falls into without knowing it.

The others are in the recordings, and in `test_reestablish`, `test_timer`, `test_error`, `test_edge`, `test_history`.
Source: observed.md, whose sentence each test's name is.
"""

import asyncio

import pytest

from bridge.channel.terms import Role
from bridge.sim.fault import Cut, NoticeLate, PeerDisconnected
from bridge.sim.nemesis import carry_out
from bridge.sim.server import SimulatedNode
from bridge.wire import encoding, rlp, transaction
from tests.sim.client import (
    INITIATOR,
    INITIATOR_KEY,
    RESPONDER,
    Pair,
    Party,
    opened,
    returning,
    running,
    sign,
    until_true,
)
from tests.sim.test_reestablish import bring_back, ids_of

SOON = {"timeout_accept": 200}


async def balances(party: Party) -> list[int]:
    held = await party.ask("get.balances", {"accounts": [INITIATOR, RESPONDER]})
    return [entry["balance"] for entry in held]


def repeat_signature(text: str) -> str:
    """The same transaction with one of its signatures twice, which our own codec would not write."""
    signed = transaction.unwrap(encoding.decode(text, "tx"))
    signatures = [*signed.signatures, signed.signatures[-1]]
    return encoding.encode("tx", rlp.encode([b"\x0b", b"\x01", signatures, signed.inner]))


async def reestablished(pair: Pair) -> Pair:
    """Both FSMs born anew: from here on each dies with its client."""
    channel_id, ids = pair.channel_id, ids_of(pair)
    await pair.node.stop()
    await pair.initiator.until_closed()
    await pair.responder.until_closed()
    await pair.node.start()
    again = await bring_back(pair, channel_id, ids)
    await again.both("update")
    return again


async def test_a_trigger_cut_off_at_once_is_pending() -> None:
    """The frame was on its way: only a probe finds out, and the next trigger would destroy both."""
    async with running() as node, opened(node) as pair:
        channel_id, fsm_id = pair.channel_id, pair.fsm_id("initiator")
        pair.initiator.is_signing = False
        await pair.initiator.pay(5)
        pair.initiator.cut()
        back = await Party.open(node, returning("initiator", channel_id, fsm_id), signs=False)
        await back.until("fsm_up")
        assert await back.ask("update", {"error": 4}) == "ok"
        assert await back.ask("update", {"error": 4}) == 1018
        assert "sign.update" not in back.words
        await back.close()


async def test_a_message_to_an_absent_client_is_lost_although_its_sender_heard_ok() -> None:
    """Why `at_least_once` needs an acknowledgement of its own."""
    async with running() as node, opened(node) as pair:
        channel_id, fsm_id = pair.channel_id, pair.fsm_id("responder")
        await carry_out(node, Cut(role=Role.RESPONDER))
        await pair.responder.until_closed()
        assert await pair.initiator.ask("message", {"to": RESPONDER, "info": "lost"}) == "ok"
        back = await Party.open(node, returning("responder", channel_id, fsm_id))
        assert await pair.initiator.ask("message", {"to": RESPONDER, "info": "found"}) == "ok"
        assert (await back.until("message"))["params"]["data"]["message"]["info"] == "found"
        assert back.words == ["fsm_up", "message"]
        await back.close()


@pytest.mark.parametrize("role", ["initiator", "responder"])
async def test_a_signed_reply_sent_twice_kills_while_a_deposit_waits_for_its_lock(role: str) -> None:
    """The same reply again, or any other: `died`, 1000, no reason. The responder takes the initiator with it."""
    async with running() as node, opened(node) as pair:
        node.chain.auto_mine = False
        await pair.initiator.ask("deposit", {"amount": 1000})
        await pair.initiator.until("chain deposit_signed")
        node.mine()
        party, tag = (pair.initiator, "deposit_tx") if role == "initiator" else (pair.responder, "deposit_ack")
        asked = await party.until(f"sign.{tag}")
        reply = sign(asked["params"]["data"]["signed_tx"], party.key)
        await party.send(tag, {"signed_tx": reply}, id=1)
        assert await party.until_closed() == (1000, "")
        assert party.words[-1] == "died"
        if role == "initiator":
            await pair.responder.until("peer_disconnected")
            assert pair.responder.closed is None
        else:
            assert await pair.initiator.until_closed() == (1000, "")


async def test_after_a_late_acknowledgement_a_reestablish_kills_both_for_ever() -> None:
    """The channel is lost to this interface: only a close on chain with the newer state helps."""
    async with running() as node, opened(node, both=SOON) as pair:
        pair.responder.is_signing = False
        await pair.initiator.pay(5)
        asked = await pair.responder.until("sign.update_ack")
        await pair.initiator.until("conflict 3")
        await pair.responder.sign(asked)
        await until_true(lambda: node.round(pair.channel_id, Role.RESPONDER) == 2)
        channel_id, ids = pair.channel_id, ids_of(pair)
        await node.stop()
        await node.start()
        for _ in range(2):
            again = await bring_back(pair, channel_id, ids)
            await again.initiator.until_closed()
            await again.responder.until_closed()
            assert "channel_reestablished" not in again.initiator.words + again.responder.words
            ids = ids_of(again)


async def test_a_refusal_with_code_zero_leaves_the_request_open() -> None:
    """-32603, and the update stays until a timeout: a bridge's refusals must have a code of 1 to 65535."""
    async with running() as node, opened(node, both=SOON) as pair:
        pair.responder.is_signing = False
        await pair.initiator.pay(5)
        await pair.responder.until("sign.update_ack")
        assert await pair.responder.ask("update_ack", {"error": 0}) == -32603
        await pair.initiator.until("conflict 3")
        assert await pair.responder.ask("update_ack", {"error": 4}) == "ok", "it still was open"


async def test_one_blocked_call_blocks_the_whole_socket() -> None:
    """A second trigger while the peer is asked: not even pings are answered until the first is settled."""
    async with running() as node, opened(node) as pair:
        pair.responder.is_signing = False
        await pair.initiator.pay(5)
        asked = await pair.responder.until("sign.update_ack")
        await until_true(lambda: node.registry.alive[1].half_signed is not None)
        pair.initiator.forget()
        await pair.initiator.pay(6)
        await until_true(lambda: any(endpoint._is_blocked for endpoint, _ in node.endpoints()))
        await pair.initiator.send("system", {"action": "ping"}, id=1)
        pong = asyncio.ensure_future(await pair.initiator.connection.ping())
        await pair.responder.ask("message", {"to": INITIATOR, "info": "unheard"})
        assert pair.initiator.seen == []
        assert not pong.done()
        await pair.responder.sign(asked)
        pair.responder.is_signing = True
        await pair.initiator.until("update", 2)
        await pair.initiator.until("result")
        await pong
        assert await balances(pair.initiator) == [69_999_999_999_989, 40_000_000_000_011]


async def test_a_shutdown_while_a_request_is_open_is_postponed_and_blocks_the_socket() -> None:
    """Other triggers void the request; this one waits for it, and nothing can be said meanwhile, nor answered."""
    async with running() as node, opened(node, both={"timeout_sign": 300}) as pair:
        pair.initiator.is_signing = False
        await pair.initiator.pay(5)
        asked = await pair.initiator.until("sign.update")
        await pair.initiator.send("shutdown", {}, id=1)
        await pair.initiator.sign(asked)
        await pair.responder.ask("system", {"action": "ping"})
        assert pair.initiator.words[-1] == "sign.update"
        await pair.initiator.until("conflict 3")
        await pair.initiator.until("sign.shutdown_sign")
        assert "sign.update_ack" not in pair.responder.words


async def test_a_shutdown_to_an_absent_client_is_met_with_silence_until_the_peer_gives_up() -> None:
    """Nobody is asked and nobody refuses: it ends by a timer, and the channel goes on."""
    async with running() as node, opened(node, both={"timeout_accept": 300}) as pair:
        await carry_out(node, Cut(role=Role.RESPONDER))
        await pair.responder.until_closed()
        began = asyncio.get_running_loop().time()
        await pair.initiator.send("shutdown", {}, id=1)
        await pair.initiator.until("sign.shutdown_sign")
        await pair.initiator.until("conflict 3")
        assert asyncio.get_running_loop().time() - began >= 0.3
        assert await pair.initiator.ask("system", {"action": "ping"}) == {"action": "system", "tag": "pong"}


async def test_an_update_of_the_peer_that_came_back_kills_whoever_waits_for_its_shutdown() -> None:
    """Observed: the closer's FSM crashes, its client hears no frame, and the peer's lives on alone or ends with it."""
    async with running() as node, opened(node) as pair:
        channel_id, fsm_id = pair.channel_id, pair.fsm_id("responder")
        await carry_out(node, Cut(role=Role.RESPONDER))
        await pair.responder.until_closed()
        await pair.initiator.send("shutdown", {}, id=1)
        await pair.initiator.until("sign.shutdown_sign")
        back = await Party.open(node, returning("responder", channel_id, fsm_id))
        pair.initiator.forget()
        await back.pay(5)
        assert await pair.initiator.until_closed() == (1011, "")
        assert pair.initiator.words == []
        await back.until("peer_disconnected")
        await back.close()


async def test_after_an_update_too_large_the_peers_next_update_splits_the_channel() -> None:
    """Our acknowledgement takes the dead way: we are one round ahead, for ever."""
    async with running() as node, opened(node, both=SOON) as pair:
        parties = {"from": INITIATOR, "to": RESPONDER, "amount": 1}
        await pair.initiator.ask("update.new", parties | {"meta": ["x" * 65_201]})
        await pair.initiator.until("conflict 3")
        await pair.responder.pay(7)
        await pair.initiator.until("update", 2)
        await pair.responder.until("conflict 3")
        assert node.round(pair.channel_id, Role.INITIATOR) == 2
        assert node.round(pair.channel_id, Role.RESPONDER) == 1


async def test_an_unread_fsm_up_locks_the_client_out_for_good() -> None:
    """The reestablish rotated the id, and nobody knows the one that counts."""
    async with running() as node, opened(node) as pair:
        channel_id, ids = pair.channel_id, ids_of(pair)
        await node.stop()
        await node.start()
        unread = await Party.open(node, returning("responder", channel_id, ids["responder"]))
        unread.seen.clear()
        unread.cut()
        await until_true(lambda: not node.registry.alive)
        for _ in range(2):
            late = await Party.open(node, returning("responder", channel_id, ids["responder"]))
            assert await late.until_closed() == (1000, "")
            assert late.words == ["error 1016"]


async def test_an_old_reply_is_taken_for_the_current_request() -> None:
    """Matched by tag only: a late signature ends the new payment in conflict 1."""
    async with running() as node, opened(node) as pair:
        pair.initiator.is_signing = False
        await pair.initiator.pay(5)
        old = (await pair.initiator.until("sign.update"))["params"]["data"]["signed_tx"]
        assert await pair.initiator.ask("update", {"error": 4}) == "ok"
        await pair.initiator.pay(6)
        await pair.initiator.until("sign.update", 2)
        await pair.initiator.ask("update", {"signed_tx": sign(old, INITIATOR_KEY)})
        await pair.initiator.until("conflict 1")
        assert await balances(pair.initiator) == [70_000_000_000_000, 40_000_000_000_000]


async def test_a_second_client_after_a_reestablish_starts_a_second_fsm_and_the_stale_state_loses_the_channel() -> None:
    """Why a bridge keeps its quiet time: the old client works on, but what is saved is older than what the peer has."""
    async with running() as node, opened(node) as pair:
        again = await reestablished(pair)
        channel_id, ids = pair.channel_id, ids_of(again)
        early = await Party.open(node, returning("initiator", channel_id, ids["initiator"]))
        await early.until("fsm_up")
        rotated = Pair(node, early, again.responder).fsm_id("initiator")
        assert rotated != ids["initiator"]
        assert (await early.until_closed())[0] == 1000
        await again.initiator.pay(5)
        await again.both("update", 2)
        again.initiator.cut()
        await again.responder.until("peer_disconnected")
        last = await Party.open(node, returning("initiator", channel_id, rotated))
        await last.until_closed()
        await again.responder.until_closed()
        assert "channel_reestablished" not in last.words


async def test_a_client_back_in_the_same_instant_meets_its_own_dying_fsm() -> None:
    """Cut and reconnect within 20 ms: 7 of 179 channels were lost that way."""
    async with running() as node, opened(node) as pair:
        again = await reestablished(pair)
        channel_id, ids = pair.channel_id, ids_of(again)
        await carry_out(node, NoticeLate(seconds=0.6))
        again.initiator.cut()
        early = await Party.open(node, returning("initiator", channel_id, ids["initiator"]))
        await early.until("died")
        assert "channel_reestablished" not in early.words
        await early.until_closed()
        await again.responder.until("peer_disconnected")


async def test_one_client_at_a_time_may_wait_out_the_dying_fsm() -> None:
    """The other half: once the node has noticed, the same attach brings the channel back."""
    async with running() as node, opened(node) as pair:
        again = await reestablished(pair)
        channel_id, ids = pair.channel_id, ids_of(again)
        await carry_out(node, NoticeLate(seconds=0.1))
        again.initiator.cut()
        await again.responder.until("peer_disconnected")
        back = await Party.open(node, returning("initiator", channel_id, ids["initiator"]))
        await back.until("channel_reestablished")
        await back.close()


async def test_a_lost_peer_rolls_a_half_signed_update_back_without_a_word() -> None:
    """No conflict, no abort: only `channel_reestablished` and `open` follow, at the old round."""
    async with running() as node, opened(node) as pair:
        pair.initiator.is_signing = False
        await pair.responder.pay(5)
        await pair.initiator.until("sign.update_ack")
        held = await pair.responder.ask("get.offchain_state", {})
        assert held["half_signed_tx"] != ""
        pair.responder.forget()
        assert await carry_out(node, PeerDisconnected(role=Role.RESPONDER)) == 1
        await pair.responder.until("peer_disconnected")
        held = await pair.responder.ask("get.offchain_state", {})
        assert held["half_signed_tx"] == ""
        assert [word for word in pair.responder.words if word != "result"] == ["peer_disconnected"]
        back = await Party.open(node, returning("initiator", pair.channel_id, pair.fsm_id("initiator")))
        await back.until("open")
        assert node.round(pair.channel_id, Role.RESPONDER) == 1
        await back.close()


async def test_a_responder_that_waits_for_the_initiator_answers_questions_and_refuses_triggers() -> None:
    """A trigger there is -32603; state, balances and probes work."""
    async with running() as node, opened(node) as pair:
        channel_id, ids = pair.channel_id, ids_of(pair)
        await node.stop()
        await node.start()
        alone = await Party.open(node, returning("responder", channel_id, ids["responder"]))
        await alone.until("fsm_up")
        assert await alone.ask("update.new", {"from": RESPONDER, "to": INITIATOR, "amount": 1}) == -32603
        assert await balances(alone) == [70_000_000_000_000, 40_000_000_000_000]
        assert await alone.ask("update_ack", {"error": 4}) == 1018
        assert (await alone.ask("get.offchain_state", {}))["half_signed_tx"] == ""
        await alone.close()


async def test_both_signatures_already_there_still_ask_a_connected_client() -> None:
    """Returned unchanged it goes through; with one's own signature once more it is a conflict."""
    for again, word in ((False, "update"), (True, "conflict 1")):
        async with running() as node, opened(node) as pair:
            pair.responder.is_signing = pair.initiator.is_signing = False
            await pair.responder.pay(5)
            asked = (await pair.responder.until("sign.update"))["params"]["data"]["signed_tx"]
            cosigned = sign(sign(asked, pair.responder.key), pair.initiator.key)
            pair.initiator.forget()
            await pair.responder.send("update", {"signed_tx": cosigned})
            shown = (await pair.initiator.until("sign.update_ack"))["params"]["data"]["signed_tx"]
            await pair.initiator.send("update_ack", {"signed_tx": repeat_signature(shown) if again else shown})
            await pair.initiator.until(word, 1 if again else 2)


async def test_what_was_sent_before_a_cut_is_still_dealt_with() -> None:
    """A message, a refusal or a signature that reached the node counts, though its sender is gone."""
    async with running() as node, opened(node) as pair:
        for number in range(100):
            await pair.initiator.send("message", {"to": RESPONDER, "info": str(number)})
        pair.initiator.cut()
        await pair.responder.until("message", 100)


async def test_a_node_that_never_saw_a_channel_closes_without_a_frame() -> None:
    """As for a killed node: nothing tells a lost channel from a wrong parameter."""
    node = SimulatedNode()
    await node.start()
    try:
        stranger = await Party.open(node, returning("initiator", "ch_" + "1" * 8, "ba_x"))
        assert await stranger.until_closed() == (1000, "")
        assert stranger.seen == []
    finally:
        await node.stop()
