"""The controls over HTTP: faults by their names, and what the node shows of itself, from another process or thread."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from bridge.channel.terms import Role
from bridge.sim.control import Control
from bridge.sim.server import SimulatedNode
from tests.sim.client import INITIATOR, RESPONDER, SECONDS, Party, opened, returning, running


@asynccontextmanager
async def controlled(node: SimulatedNode) -> AsyncIterator[httpx.AsyncClient]:
    control = Control(node)
    control.start()
    try:
        async with httpx.AsyncClient(base_url=control.url, trust_env=False, timeout=SECONDS) as http:
            yield http
    finally:
        await control.stop()


async def look(http: httpx.AsyncClient, path: str) -> Any:
    answer = await http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def do(http: httpx.AsyncClient, fault: str, **fields: Any) -> int:
    """How many sockets it met."""
    answer = await http.post(f"/{fault}", json=fields)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["sockets"])


async def until_shown(http: httpx.AsyncClient, path: str, holds: Callable[[Any], bool]) -> Any:
    """Look again and again, bounded."""
    async with asyncio.timeout(SECONDS):
        found = await look(http, path)
        while not holds(found):
            found = await look(http, path)
    return found


async def test_channels_show_transfers_rounds_and_balances_of_both_sides() -> None:
    """The oracle of every fault run: what was really paid, told by the node and not by the bridge."""
    async with running() as node, opened(node) as pair, controlled(node) as http:
        await pair.initiator.pay(5)
        await pair.both("update", 2)
        await pair.responder.pay(3)
        await pair.both("update", 3)
        channel = await look(http, f"/channels/{pair.channel_id}")
        paid = [(entry["from"], entry["to"], entry["amount"], entry["round"]) for entry in channel["transfers"]]
        assert paid == [(INITIATOR, RESPONDER, 5, 2), (RESPONDER, INITIATOR, 3, 3)]
        assert [sorted(entry["sides"]) for entry in channel["transfers"]] == [["initiator", "responder"]] * 2
        for role in Role:
            side = channel["sides"][role.value]
            assert side["balances"] == {INITIATOR: 69_999_999_999_998, RESPONDER: 40_000_000_000_002}
            assert (side["round"], side["state"], side["has_client"]) == (3, "Open", True)
        assert channel["is_on_chain"]
        assert channel["states_total"] == 6, "create and two updates, on two sides"


async def test_signatures_show_how_long_each_was_waited_for() -> None:
    """That no acknowledgement ever came late is checked here, where a late one does the harm."""
    async with running() as node, opened(node) as pair, controlled(node) as http:
        pair.responder.is_signing = False
        await pair.initiator.pay(5)
        asked = await pair.responder.until("sign.update_ack")
        open_one = (await look(http, "/signatures"))["signatures"][-1]
        assert (open_one["tag"], open_one["answer"], open_one["round"]) == ("update_ack", None, 2)
        await pair.responder.sign(asked)
        await pair.both("update", 2)
        found = await look(http, "/signatures")
        entry = found["signatures"][-1]
        assert entry["answer"] == "signed"
        assert entry["tx_hash"] == entry["reply_tx_hash"]
        assert entry["seconds"] == entry["answered_at"] - entry["asked_at"] > 0
        assert found["slowest_acknowledgement_seconds"] >= entry["seconds"]
        assert found["strays"] == 0
        assert {e["channel_id"] for e in found["signatures"]} == {pair.channel_id}, "the create transaction too"


async def test_a_reply_nobody_asked_for_is_counted_as_a_stray() -> None:
    """A bridge that sends a signed reply twice is found out even where the node ignores it."""
    async with running() as node, opened(node) as pair, controlled(node) as http:
        await pair.initiator.pay(5)
        await pair.both("update", 2)
        asked = (await pair.initiator.until("sign.update"))["params"]["data"]["signed_tx"]
        await pair.initiator.ask("update", {"signed_tx": asked})
        assert await pair.initiator.ask("update", {"error": 4}) == 1018
        found = await look(http, "/signatures")
        assert (found["strays"], found["probes"]) == (1, 1)


async def test_every_signed_reply_is_shown_in_one_form_and_strays_as_such() -> None:
    """An oracle holds them to the bridge's ledger: asked for or not, each is a signature that left."""
    async with running() as node, opened(node) as pair, controlled(node) as http:
        await pair.initiator.pay(5)
        await pair.both("update", 2)
        first = (await look(http, "/signatures"))["replies"][-2:]
        assert [(entry["role"], entry["tag"], entry["round"], entry["is_stray"]) for entry in first] == [
            ("initiator", "update", 2, False),
            ("responder", "update_ack", 2, False),
        ]
        assert first[0]["tx_hash"] == first[1]["tx_hash"]
        assert first[0]["signed_hash"] != first[1]["signed_hash"], "one more signature"
        asked = (await pair.initiator.until("sign.update"))["params"]["data"]["signed_tx"]
        await pair.initiator.ask("update", {"signed_tx": asked})
        assert await pair.initiator.ask("update", {"error": 4}) == 1018
        assert (await look(http, "/signatures"))["replies"][-1]["is_stray"]


async def test_what_voids_a_signature_is_noted_with_the_round_the_side_stands_at() -> None:
    """What a bridge may take as evidence, told by the node: a refusal, a conflict, the answer to a question."""
    async with running() as node, opened(node) as pair, controlled(node) as http:
        pair.responder.is_signing = False
        await pair.initiator.pay(5)
        await pair.responder.until("sign.update_ack")
        await pair.initiator.ask("get.offchain_state", {})
        await pair.responder.ask("update_ack", {"error": 4})
        await pair.initiator.until("conflict 4")
        facts = (await look(http, f"/channels/{pair.channel_id}"))["facts"]
        told = [(fact["role"], fact["what"], fact["round"], fact["code"]) for fact in facts]
        assert told == [
            ("initiator", "state", 1, None),
            ("responder", "aborted_update", 1, None),
            ("initiator", "conflict", 1, 4),
        ]
        assert facts[0]["half_hash"] is not None


async def test_a_message_is_noted_when_it_is_taken_and_when_it_is_delivered() -> None:
    """At most once is a promise about both."""
    async with running() as node, opened(node) as pair, controlled(node) as http:
        await pair.initiator.ask("message", {"to": RESPONDER, "info": "hello"})
        await pair.responder.until("message")
        found = (await look(http, f"/channels/{pair.channel_id}"))["messages"]
        assert [(entry["role"], entry["text"], entry["is_delivery"]) for entry in found] == [
            ("initiator", "hello", False),
            ("initiator", "hello", True),
        ]


async def test_who_came_back_is_noted_whether_let_in_or_not() -> None:
    """A bridge that calls its operators has been refused, or is wrong."""
    async with running() as node, opened(node) as pair, controlled(node) as http:
        channel_id, fsm_id = pair.channel_id, pair.fsm_id("initiator")
        for offered in (fsm_id, fsm_id[:-1]):
            party = await Party.open(node, returning("initiator", channel_id, offered))
            await party.until("fsm_up" if offered == fsm_id else "error 1016")
            await party.close()
        facts = (await look(http, f"/channels/{channel_id}"))["facts"]
        assert [(fact["role"], fact["what"]) for fact in facts] == [("initiator", "admitted"), ("initiator", "refused")]


async def test_cut_meets_only_the_role_it_names() -> None:
    """A fault that met nothing, or everything, would prove nothing."""
    async with running() as node, opened(node) as pair, controlled(node) as http:
        assert await do(http, "cut", role="initiator", channel=pair.channel_id) == 1
        assert (await pair.initiator.until_closed())[0] == 1006
        assert pair.responder.closed is None
        assert await do(http, "cut", channel="ch_other") == 0


async def test_a_frozen_node_answers_nothing_until_it_is_thawed() -> None:
    """A silent node: the socket is there, nothing comes; a client that connects meanwhile hears nothing either."""
    async with running() as node, opened(node) as pair, controlled(node) as http:
        fsm_id = pair.fsm_id("initiator")
        assert await do(http, "freeze", role="initiator") == 1
        pair.initiator.forget()
        await pair.initiator.send("system", {"action": "ping"}, id=1)
        ponged = asyncio.ensure_future(await pair.initiator.connection.ping())
        await pair.responder.ask("message", {"to": INITIATOR, "info": "hello"})
        await pair.responder.ask("system", {"action": "ping"})  # the node had time enough to answer all of it
        assert pair.initiator.seen == []
        assert not ponged.done()
        second = await Party.open(node, returning("initiator", pair.channel_id, fsm_id))
        await pair.responder.ask("system", {"action": "ping"})
        assert second.seen == []
        assert await do(http, "thaw") >= 1
        await second.until("fsm_up")
        ponged.exception()  # the second client threw the first one out
        await second.close()


async def test_a_thawed_socket_goes_on_where_it_stopped() -> None:
    """Half-open sockets come back: nothing is lost that was only late."""
    async with running() as node, opened(node) as pair, controlled(node) as http:
        await do(http, "freeze")
        pair.initiator.forget()
        await pair.initiator.send("system", {"action": "ping"}, id=1)
        assert await do(http, "thaw") == 2
        await pair.initiator.until("result")
        await pair.initiator.pay(5)
        await pair.initiator.until("update")


async def test_garbage_and_a_huge_frame_reach_the_client() -> None:
    """What a broken node or a proxy in between may say."""
    async with running() as node, opened(node) as pair, controlled(node) as http:
        assert await do(http, "huge", role="responder", size_bytes=5_000_000) == 1
        frame = await pair.responder.until("unheard_of")
        assert len(frame["params"]["data"]["filler"]) > 4_900_000
        assert await do(http, "garbage", role="initiator", text='"not a frame"', times=3) == 1
        await pair.initiator.ask("system", {"action": "ping"})
        assert pair.initiator.seen.count("not a frame") == 3


async def test_a_flood_comes_as_fast_as_it_is_taken() -> None:
    """60 frames a millisecond: only a client that reads more slowly on purpose gets fewer."""
    async with running() as node, opened(node) as pair, controlled(node) as http:
        pair.initiator.forget()
        assert await do(http, "flood", role="initiator", seconds=0.2) == 1
        await pair.initiator.until("unheard_of", 100)
        assert pair.responder.words.count("unheard_of") == 0


async def test_a_killed_node_is_started_again_without_its_channels() -> None:
    """The controls outlive the node: else nobody could start it again."""
    async with running() as node, opened(node) as pair, controlled(node) as http:
        channel_id, fsm_id = pair.channel_id, pair.fsm_id("initiator")
        await do(http, "kill")
        assert (await look(http, "/node"))["is_listening"] is False
        await pair.initiator.until_closed()
        await do(http, "start")
        back = await Party.open(node, returning("initiator", channel_id, fsm_id))
        assert await back.until_closed() == (1000, "")
        side = (await look(http, f"/channels/{channel_id}"))["sides"]["initiator"]
        assert (side["state"], side["can_return"]) == (None, False)


async def test_a_node_stopped_in_order_keeps_its_channels() -> None:
    """The other half: after `stop` and `start` the ids still open them."""
    async with running() as node, opened(node) as pair, controlled(node) as http:
        channel_id = pair.channel_id
        await do(http, "stop")
        await pair.initiator.until_closed()
        side = (await look(http, f"/channels/{channel_id}"))["sides"]["initiator"]
        assert (side["state"], side["round"], side["can_return"]) == (None, 1, True)
        await do(http, "start")
        await do(http, "start")  # the second does nothing
        assert (await look(http, "/node"))["is_listening"] is True


async def test_mining_is_held_until_it_is_released() -> None:
    """A deposit that hangs for minutes: the longest state a crash can meet."""
    async with running() as node, opened(node) as pair, controlled(node) as http:
        await do(http, "hold_mining")
        await pair.initiator.ask("deposit", {"amount": 1000})
        await pair.initiator.until("chain deposit_signed")
        shown = await look(http, "/node")
        assert (shown["is_mining"], len(shown["mempool"])) == (False, 1)
        await do(http, "mine")
        await pair.initiator.until("chain channel_changed", 2)
        assert "own_deposit_locked" not in pair.initiator.words
        await do(http, "release_mining")
        await pair.both("deposit_locked")


async def test_the_peer_disappears_without_a_conflict() -> None:
    """`peer_disconnected`: the initiator's side dies, the responder is told and goes back silently."""
    async with running() as node, opened(node) as pair, controlled(node) as http:
        pair.responder.is_signing = False
        await pair.responder.pay(5)
        await pair.responder.until("sign.update")
        assert await do(http, "peer_disconnected", role="responder") == 1
        await pair.responder.until("peer_disconnected")
        assert await pair.responder.ask("update", {"error": 4}) == 1018
        assert not [word for word in pair.responder.words if word.startswith("conflict")]


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/cutt", {}, 400, "cutt"),
        ("/cut", {"roll": "initiator"}, 400, "roll"),
        ("/mine", {"blocks": 0}, 400, "blocks"),
        ("/delay", {}, 400, "seconds"),
        ("/cut", [], 400, "object"),
        ("/cut/twice", {}, 404, "POST"),
        ("/scenario", {"steps": []}, 400, "at least one"),
        ("/scenario", {"steps": ["open", "cutt"]}, 400, "steps[1]"),
    ],
)
async def test_a_wrong_order_is_refused_with_its_mistake(path: str, body: Any, status: int, said: str) -> None:
    """A misspelt fault that silently did nothing would make a fault run pass."""
    async with running() as node, controlled(node) as http:
        answer = await http.post(path, json=body)
        assert answer.status_code == status
        assert said in answer.json()["reason"]


async def test_a_scenario_is_played_once_at_a_time() -> None:
    """Two nemeses at once would make neither's story true."""
    async with running() as node, controlled(node) as http, opened(node) as pair:
        assert (await look(http, "/scenario"))["is_over"]
        steps = ["update", {"do": "cut", "role": "initiator"}]
        assert (await http.post("/scenario", json={"steps": steps})).status_code == 200
        assert (await http.post("/scenario", json=steps)).status_code == 409
        await pair.initiator.pay(5)
        await pair.initiator.until_closed()
        shown = await until_shown(http, "/scenario", lambda found: found["is_over"])
        assert shown == {"steps": 2, "position": 2, "is_over": True, "error": None}


async def test_the_controls_listen_on_loopback_only() -> None:
    """Whoever reaches them can ruin every channel."""
    async with running() as node:
        control = Control(node)
        control.start()
        try:
            assert control._server is not None
            assert control._server.server_address[0] == "127.0.0.1"
            own = socket.gethostbyname(socket.gethostname())
            assert own.startswith("127.") or _refuses(own, control.port)
        finally:
            await control.stop()


def _refuses(host: str, port: int) -> bool:
    with socket.socket() as tried:
        tried.settimeout(SECONDS)
        return tried.connect_ex((host, port)) != 0


async def test_no_credential_is_shown() -> None:
    """An `fsm_id` opens a channel: views may not tell it."""
    async with running() as node, opened(node) as pair, controlled(node) as http:
        texts = [(await http.get(path)).text for path in ("/channels", "/signatures", "/node", "/frames")]
        assert not [text for text in texts if pair.fsm_id("initiator") in text or pair.fsm_id("responder") in text]
