"""An operator's way out of a doubt, over the bus, and the kit for a channel whose node is gone."""

from pathlib import Path

from bridge.app.rescue import kit
from bridge.channel.identifier import ChannelName
from bridge.channel.terms import Role
from bridge.sim.fault import Refuse
from bridge.sim.nemesis import carry_out
from tests.system.house import House, Pair, house
from tests.system.test_reattach import pay


async def doubtful(home: House, pair: Pair) -> str:
    """A payment whose peer's side answered with the code of a timeout: it may have signed, it may not."""
    await home.opened()
    await carry_out(home.node, Refuse(role=Role.RESPONDER, code=3))
    payer, payee = pair.account("initiator"), pair.account("responder")
    command_id = await home.send(pair.initiator, "transfer", from_=payer, to=payee, amount="5")
    await home.event(pair.initiator, "transfer.in_doubt", command_id=command_id)
    return command_id


async def test_a_checkpoint_goes_past_a_doubt_and_settles_it(amqp_url: str, tmp_path: Path) -> None:
    """And the line behind it moves again."""
    pair = Pair("today")
    async with house(amqp_url, tmp_path, pair) as home:
        command_id = await doubtful(home, pair)
        assert (await home.run(pair.initiator, "checkpoint"))["outcome"] == "succeeded"
        verdict = await home.outcome(command_id)
        assert (verdict["outcome"], verdict["code"]) == ("failed", "superseded")
        assert [r["outcome"] for r in home.results if r.get("command_id") == command_id] == ["in_doubt", "failed"]
        assert (await pay(home, pair, 6))["round"] == 3
        assert home.state(pair.initiator).initiator_balance == pair.initiator_amount - 6


async def test_an_operators_word_settles_a_doubt_and_is_on_record(amqp_url: str, tmp_path: Path) -> None:
    pair = Pair("today")
    async with house(amqp_url, tmp_path, pair) as home:
        command_id = await doubtful(home, pair)
        answer = await home.run(
            pair.initiator, "resolve", target=command_id, outcome="failed", reason="the peer says he never signed"
        )
        assert answer["outcome"] == "succeeded"
        verdict = await home.outcome(command_id)
        assert (verdict["outcome"], verdict["data"]["reason"]) == ("failed", "the peer says he never signed")
        await home.event(pair.initiator, "audit.resolved", command_id=command_id)
        assert (await pay(home, pair, 6))["outcome"] == "succeeded"


async def test_the_kit_of_a_channel_whose_node_was_killed_is_in_the_alarm_and_in_the_journal(
    amqp_url: str, tmp_path: Path
) -> None:
    """With the co-signed state and the proof of its balances the owner closes on chain."""
    pair = Pair("today")
    async with house(amqp_url, tmp_path, pair) as home:
        await home.opened()
        await pay(home, pair, 5)
        name = pair.initiator
        await home.event(name, "info.proof", round=2)
        found = kit(tmp_path / "data", ChannelName(name))
        assert found["proven_signed_tx"] == found["signed_tx"]
        assert found["poi"].startswith("pi_")
        assert found["initiator_balance"] == str(pair.initiator_amount - 5)
