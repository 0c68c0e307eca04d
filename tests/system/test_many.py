"""Many channels in one process, each isolated from the others' failures."""

import asyncio
from pathlib import Path

from bridge.channel.identifier import ChannelName
from tests.system.house import House, Pair, house

CHANNELS = 100
TRANSFERS = 20


async def _pay_all(home: House, pairs: list[Pair], role: str) -> None:
    """Every channel's transfers in one direction, all given at once."""
    peer = "responder" if role == "initiator" else "initiator"
    sent = [
        await home.send(
            pair.initiator if role == "initiator" else pair.responder,
            "transfer",
            from_=pair.account(role),
            to=pair.account(peer),
            amount=str(1000 + number),
        )
        for number in range(TRANSFERS)
        for pair in pairs
    ]
    async with asyncio.timeout(100):
        outcomes = [await home.outcome(command_id, seconds=100) for command_id in sent]
    failures = [outcome for outcome in outcomes if outcome["outcome"] != "succeeded"]
    assert not failures, failures[:3]


async def test_a_hundred_channels_run_twenty_transfers_each_way(amqp_url: str, tmp_path: Path) -> None:
    """One direction after the other: crossing proposals void each other by the protocol."""
    pairs = [Pair(f"c{number}") for number in range(CHANNELS)]
    async with house(amqp_url, tmp_path, *pairs) as home:
        await home.opened()
        for role in ("initiator", "responder"):
            await _pay_all(home, pairs, role)
        for pair in pairs:
            state = home.state(pair.initiator)
            assert state.round == 1 + 2 * TRANSFERS
            assert state.initiator_balance == pair.initiator_amount


async def test_a_halted_channel_leaves_the_others_alone(amqp_url: str, tmp_path: Path) -> None:
    """A bug met on one channel stops that one only."""
    good, bad = Pair("good"), Pair("bad")
    async with house(amqp_url, tmp_path, good, bad) as home:
        await home.opened()
        assert home.service is not None

        class Broken:
            def decode(self, text: str | bytes) -> None:
                raise ZeroDivisionError(text)

        home.service.workers[ChannelName(bad.initiator)]._codec = Broken()  # type: ignore[assignment]
        home.inject(bad.initiator, "{}")
        result = await home.run(
            good.initiator,
            "transfer",
            from_=good.account("initiator"),
            to=good.account("responder"),
            amount="5",
        )
        assert result["outcome"] == "succeeded"
        alarm = await home.event(bad.initiator, "alarm.invariant_violation")
        assert "ZeroDivisionError" in alarm["data"]["sentence"]
        assert home.service.supervisor.halted == {ChannelName(bad.initiator)}
