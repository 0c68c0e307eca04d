"""Faults as a list: read whole or refused whole, played step by step, and each fault on frames doing what it says."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bridge.channel.identifier import ChannelId
from bridge.channel.terms import Role
from bridge.sim.fault import Await, Cut, CutAt, Delay, Double, Heal, Mine, Refuse, Reuse, Swallow, Wait, word_of
from bridge.sim.nemesis import carry_out
from bridge.sim.scenario import Scenario, ScenarioInvalid, parse, read
from bridge.sim.server import SimulatedNode
from tests.sim.client import INITIATOR, LATE, RESPONDER, SECONDS, Party, opened, returning, running, until_true


@asynccontextmanager
async def playing(node: SimulatedNode, steps: list[Any]) -> AsyncIterator[Scenario]:
    """The scenario must be over at the end of the block, or within the bound."""
    scenario = Scenario(parse(steps))
    task = asyncio.create_task(scenario.play(node))
    await asyncio.sleep(0)
    try:
        yield scenario
        async with asyncio.timeout(SECONDS):
            await task
    finally:
        task.cancel()


# --- reading ----------------------------------------------------------------------------------------------------


def test_short_and_long_entries_mean_the_same() -> None:
    """`[open, update, cut, wait 2, heal]` is the whole of a small scenario."""
    short = parse(["open", "update", "cut", "wait 2", "mine 3", "heal"])
    assert short == [Await(word="info.open"), Await(word="update"), Cut(), Wait(seconds=2), Mine(blocks=3), Heal()]
    assert parse([{"do": "cut", "role": "initiator"}]) == [Cut(role=Role.INITIATOR)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", 'steps = ["open", {do = "delay", seconds = 3, word = "*_ack", direction = "to_node"}]'),
        ("a.json", '{"steps": ["open", {"do": "delay", "seconds": 3, "word": "*_ack", "direction": "to_node"}]}'),
        ("b.json", '["open", {"do": "delay", "seconds": 3, "word": "*_ack", "direction": "to_node"}]'),
    ],
)
def test_a_file_is_toml_or_json(tmp_path: Path, name: str, text: str) -> None:
    """Whichever the test that writes it finds easier."""
    (tmp_path / name).write_text(text)
    assert read(tmp_path / name) == [
        Await(word="info.open"),
        Delay(seconds=3, word="*_ack", direction="to_node"),
    ]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (["open", "cutt"], "steps[1]"),
        (["wait"], "steps[0].wait.seconds"),
        (["wait long"], "steps[0].wait.seconds"),
        (["cut 5"], "steps[0].cut.number"),
        ([{"do": "refuse", "code": 0}], "steps[0].refuse.code"),
        ([{"do": "cut", "roll": "x"}], "steps[0].cut.roll"),
        ([{"role": "initiator"}], "steps[0]"),
        ([5], "steps[0]"),
        ([], "at least one"),
        ({"open": 1}, "a list"),
    ],
)
def test_a_wrong_step_is_named_by_its_place(steps: Any, said: str) -> None:
    """Before anything is done: a scenario half played is a lie about the other half."""
    with pytest.raises(ScenarioInvalid) as caught:
        parse(steps)
    assert said in str(caught.value)


def test_every_mistake_is_told_at_once() -> None:
    """One run, all findings."""
    with pytest.raises(ScenarioInvalid) as caught:
        parse(["cutt", "wait", {"do": "mine", "blocks": 0}])
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "steps[0]",
        "steps[1].wait.seconds",
        "steps[2].mine.blocks",
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", 'steps = ["open"', "a.toml"),
        ("a.toml", 'step = ["open"]', "step"),
        ("a.json", "[", "a.json"),
        ("missing.toml", None, "missing.toml"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, name: str, text: str | None, said: str) -> None:
    """With its name, never with a traceback."""
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ScenarioInvalid, match=said):
        read(tmp_path / name)


def test_a_fault_cannot_be_changed_or_misspelt() -> None:
    """Data that a running test could alter would not be what was written down."""
    with pytest.raises(ValidationError):
        Cut(roll="initiator")  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Cut().role = Role.INITIATOR  # type: ignore[misc]


@pytest.mark.parametrize(
    ("frame", "word"),
    [
        ({"method": "channels.info", "params": {"data": {"event": "open"}}}, "info.open"),
        ({"action": "info", "payload": {"event": "open"}}, "info.open"),
        ({"method": "channels.sign.update_ack", "params": {}}, "sign.update_ack"),
        ({"action": "sign", "tag": "update_ack", "payload": {}}, "sign.update_ack"),
        ({"method": "channels.update.new", "params": {}}, "update.new"),
        ({"action": "update", "tag": "new", "payload": {}}, "update.new"),
        ({"action": "conflict", "payload": {}}, "conflict"),
        ({"id": 1, "result": "ok"}, "result"),
        ({"id": None, "error": {}}, "error"),
        ([{"id": 1}], "garbage"),
        (5, "garbage"),
    ],
)
def test_a_frame_has_one_word_in_both_dialects(frame: Any, word: str) -> None:
    """A rule written for one node must not silently miss the other's frames."""
    assert word_of(frame) == word


# --- playing ----------------------------------------------------------------------------------------------------


async def test_a_scenario_is_played_in_order() -> None:
    """The example of every text about it: `[open, update, cut, wait, heal]`."""
    async with running() as node:
        steps = ["open", "update", {"do": "cut", "role": "initiator"}, "stop", "wait 0.01", "heal"]
        async with playing(node, steps) as scenario, opened(node) as pair:
            channel_id, fsm_id = pair.channel_id, pair.fsm_id("initiator")
            assert (await pair.initiator.until_closed())[0] == 1006
            await until_true(lambda: scenario.is_over)
            assert node.is_listening
            responder = await Party.open(node, returning("responder", channel_id, pair.fsm_id("responder")))
            back = await Party.open(node, returning("initiator", channel_id, fsm_id))
            await back.until("channel_reestablished")
            await back.close()
            await responder.close()


async def test_a_fault_waits_for_the_nth_frame_of_a_role() -> None:
    """ "After the second sign request of the responder": no sooner, and not for the initiator's."""
    async with running() as node, opened(node) as pair:
        wait = {"do": "await", "word": "sign.*", "role": "responder", "count": 2}
        async with playing(node, [wait, {"do": "cut", "role": "responder"}]) as scenario:
            await pair.initiator.pay(5)
            await pair.both("update", 2)
            assert scenario.position == 0
            await pair.initiator.pay(6)
            assert (await pair.responder.until_closed())[0] == 1006
    assert pair.responder.words.count("sign.update_ack") in (1, 2), "it arrived, or was cut with the socket"


async def test_a_pause_until_a_second_counts_from_the_beginning() -> None:
    """Not from the step before: a time table stays one, whatever its steps cost."""
    async with running() as node:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with playing(node, ["wait 0.1", "at 0.15", "at 0.01"]):
            pass
        assert 0.15 <= loop.time() - began < 0.24


# --- faults on frames -------------------------------------------------------------------------------------------


async def test_a_swallowed_sign_request_never_comes_again() -> None:
    """It stays pending at the node, as after a lost connection."""
    async with running() as node, opened(node) as pair:
        pair.initiator.is_signing = False
        await carry_out(node, Swallow(word="sign.update", role=Role.INITIATOR))
        assert await pair.initiator.ask(*pay(5)) == "ok"
        assert await pair.initiator.ask("update", {"error": 4}) == "ok"
        assert "sign.update" not in pair.initiator.words
        await pair.initiator.ask(*pay(5))
        await pair.initiator.until("sign.update")  # one was to be met


async def test_a_swallowed_reply_never_reached_the_node() -> None:
    """The bridge has signed and sent, and the node waits on."""
    async with running() as node, opened(node) as pair:
        await carry_out(node, Swallow(direction="to_node", word="update", role=Role.INITIATOR))
        await pair.initiator.pay(5)
        await pair.initiator.until("sign.update")
        assert await pair.initiator.ask("update", {"error": 4}) == "ok", "it is still wanted"
        assert "sign.update_ack" not in pair.responder.words


async def test_a_rule_lets_pass_as_many_as_it_is_told() -> None:
    """The third payment, not the first."""
    async with running() as node, opened(node) as pair:
        await carry_out(node, Double(word="update", role=Role.RESPONDER, skip=2, frames=1))
        for count in (2, 3):
            await pair.initiator.pay(count)
            await pair.responder.until("update", 2 * count - 1)
        await pair.initiator.pay(4)
        await pair.responder.until("update", 8)
        states = [frame for frame in pair.responder.seen if frame.get("method") == "channels.update"]
        assert states[-1] == states[-2]
        assert states[-2] != states[-3] != states[-4]


async def test_a_late_acknowledgement_is_a_delay() -> None:
    """The signer answered in time, the network did not: the trap that splits a channel."""
    async with running() as node, opened(node, both={"timeout_accept": 100}) as pair:
        await carry_out(node, Delay(direction="to_node", word="update_ack", seconds=0.3))
        await pair.initiator.pay(5)
        await pair.initiator.until("conflict 3")
        await until_true(lambda: node.round(pair.channel_id, Role.RESPONDER) == 2)
        assert node.round(pair.channel_id, Role.INITIATOR) == 1


@pytest.mark.parametrize(("side", "arrived"), [("before", False), ("after", True)])
async def test_a_connection_is_cut_at_a_frame_from_the_node(side: Any, *, arrived: bool) -> None:
    """Before and after each frame of each flow: the two places where everything can be lost."""
    async with running() as node, opened(node) as pair:
        await carry_out(node, CutAt(word="sign.update", role=Role.INITIATOR, side=side))
        pair.initiator.is_signing = False
        await pair.initiator.pay(5)
        await pair.initiator.until_closed()
        assert ("sign.update" in pair.initiator.words) is arrived


@pytest.mark.parametrize(("side", "arrived"), [("before", False), ("after", True)])
async def test_a_connection_is_cut_at_a_frame_to_the_node(side: Any, *, arrived: bool) -> None:
    """A signed reply that was sent: the node has it, or it has not, and the sender cannot know."""
    async with running() as node, opened(node) as pair:
        await carry_out(node, CutAt(direction="to_node", word="update", role=Role.INITIATOR, side=side))
        await pair.initiator.pay(5)
        await pair.initiator.until_closed()
        if arrived:
            await pair.responder.until("sign.update_ack")
            await until_true(lambda: node.round(pair.channel_id, Role.INITIATOR) == 2)
        else:
            await pair.responder.ask("system", {"action": "ping"})
            assert "sign.update_ack" not in pair.responder.words


async def test_the_next_proposal_is_refused_with_a_code() -> None:
    """As the peer's client might; his own side sees an update that ended, and is never asked."""
    async with running() as node, opened(node) as pair:
        await carry_out(node, Refuse(role=Role.RESPONDER, code=147))
        await pair.initiator.pay(5)
        await pair.initiator.until("conflict 147")
        await pair.responder.until("aborted_update")
        assert "sign.update_ack" not in pair.responder.words
        await pair.initiator.pay(5)
        await pair.initiator.until("update", 2)


async def test_a_client_that_says_it_refuses_uses_both_signatures_once_the_payer_is_away() -> None:
    """observed.md "A signature cannot be taken back": refused, and paid all the same while nobody could be asked."""
    async with running() as node, opened(node) as pair:
        await carry_out(node, Reuse(role=Role.RESPONDER))
        await pair.initiator.pay(5)
        await pair.initiator.until("conflict 147")
        await pair.responder.until("aborted_update")
        assert node.round(pair.channel_id, Role.INITIATOR) == 1
        pair.initiator.cut()
        await pair.responder.until("update", 3)
        assert node.round(pair.channel_id, Role.INITIATOR) == 2
        page = node.registry.book.pages[pair.channel_id]
        (used,) = [fact for fact in page.facts if fact.what == "reused"]
        assert (used.role, used.reused_hash) == (Role.INITIATOR, page.states[-1]["tx_hash"])


async def test_a_kept_payment_is_of_no_use_once_its_round_is_over() -> None:
    """The next co-signed state takes it its use, whoever is away then; a refusal is nothing that could be kept."""
    async with running() as node, opened(node) as pair:
        await carry_out(node, Reuse(role=Role.RESPONDER))
        pair.responder.is_signing = False
        await pair.initiator.pay(5)
        await pair.responder.until("sign.update_ack")
        await pair.responder.send("update_ack", {"error": 150})
        await pair.initiator.until("conflict 150")
        pair.responder.is_signing = True
        await pair.initiator.pay(6)
        await pair.initiator.until("conflict 147")
        await pair.initiator.pay(7)
        await pair.initiator.until("update", 2)
        pair.initiator.cut()
        payer = node.registry.running[ChannelId(pair.channel_id), Role.INITIATOR]
        await until_true(lambda: payer.client is None)
        held = await pair.responder.ask("get.balances", {"accounts": [INITIATOR]})
        assert held == [{"account": INITIATOR, "balance": 69_999_999_999_993}]
        assert "reused" not in [fact.what for fact in node.registry.book.pages[pair.channel_id].facts]


async def test_a_rule_stands_over_a_reconnect_and_for_its_channel_only() -> None:
    """A fault that a new connection shook off would miss the recovery it is for."""
    async with running() as node, opened(node) as pair:
        await carry_out(node, Swallow(word="sign.update", channel="ch_other"))
        await carry_out(node, Swallow(word="result", channel=pair.channel_id, role=Role.INITIATOR))
        channel_id, fsm_id = pair.channel_id, pair.fsm_id("initiator")
        pair.initiator.cut()
        await pair.initiator.until_closed()
        back = await Party.open(node, returning("initiator", channel_id, fsm_id))
        await back.send("system", {"action": "ping"}, id="lost")
        assert await back.ask("system", {"action": "ping"}) == {"action": "system", "tag": "pong"}
        assert back.words == ["fsm_up", "result"]
        await back.pay(5)
        await back.until("update")
        assert [rule["channel"] for rule in node.gate.describe()] == ["ch_other"]
        await back.close()


async def test_legacy_frames_meet_the_same_rules() -> None:
    """Both dialects of a flow, one fault."""
    async with running() as node, opened(node, LATE) as pair:
        await carry_out(node, Swallow(word="sign.update", role=Role.INITIATOR))
        await pair.initiator.pay(5)
        await pair.initiator.act("message", {"to": RESPONDER, "info": "still here"})
        await pair.responder.until("message")
        assert "sign.update" not in pair.initiator.words


async def test_healing_drops_every_rule() -> None:
    """After it the node is as if nothing had been ordered."""
    async with running() as node, opened(node) as pair:
        await carry_out(node, Swallow(frames=100))
        await carry_out(node, Delay(seconds=100, frames=100, direction="to_node"))
        await carry_out(node, Heal())
        assert node.gate.describe() == []
        await pair.initiator.pay(5)
        await pair.initiator.until("update", 2)


def pay(amount: int) -> tuple[str, dict[str, Any]]:
    return "update.new", {"from": INITIATOR, "to": RESPONDER, "amount": amount}


def test_a_scenario_of_this_file_is_json() -> None:
    """A failing list can be written down and given to the command line."""
    steps = parse(["open", {"do": "refuse", "code": 4}])
    assert parse(json.loads(json.dumps([step.model_dump(mode="json") for step in steps]))) == steps
