"""Many channels in one process, each isolated from the others' failures."""

from pathlib import Path

import pytest

from benchmarks.many_channels import pay_all
from bridge.channel.identifier import ChannelName
from tests.system.house import Pair, house

CHANNELS = 100
TRANSFERS = 2


@pytest.mark.timeout(400)
async def test_a_hundred_channels_run_side_by_side(amqp_url: str, tmp_path: Path) -> None:
    """`make bench` runs twenty transfers each way on them; here two show that none disturbs another."""
    pairs = [Pair(f"c{number}") for number in range(CHANNELS)]
    async with house(amqp_url, tmp_path, *pairs, events="*.info.state") as home:
        await home.opened()
        for role in ("initiator", "responder"):
            assert await pay_all(home, pairs, role, TRANSFERS) == 0
        for pair in pairs:
            # The payer's report may come a moment before the other side's.
            await home.until(lambda name=pair.initiator: home.state(name).round == 1 + 2 * TRANSFERS or None)  # type: ignore[misc]
            assert home.state(pair.initiator).initiator_balance == pair.initiator_amount


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
