"""An hourly limit under kill -9: a hundred commands at once, the bridge dying all the time, no payment too many."""

import asyncio
from pathlib import Path
from random import Random

import pytest

from tests.faults.journal_home import Home, home
from tests.faults.record import gather
from tests.oracle.judgement import doubtful, judge, tally
from tests.permissive import EVERYTHING
from tests.system.house import Pair

FIRST_AMOUNT, SENT, PAID = 1_000_003, 100, 20
LIMIT = PAID * FIRST_AMOUNT + FIRST_AMOUNT // 2
"""Aettos: twenty of the payments fit, whichever they are; a twenty-first does not."""
PAIR = Pair("limited", options={"policy": EVERYTHING | {"outflow_per_hour": LIMIT}})
KILLS, LONGEST_LIFE = 12, 0.8
SETTLE_SECONDS = 120.0


@pytest.mark.fault
@pytest.mark.timeout(300)
async def test_kills_make_no_room_below_an_hourly_limit(amqp_url: str, tmp_path: Path) -> None:
    """send 100 -> X start X start ... -> exactly as many as fit are co-signed, each other one is told why not."""
    async with home(amqp_url, tmp_path, PAIR) as made:
        bridge = await (await made.start()).ready()
        await made.opened()
        command_ids = await asyncio.gather(*(made.pay(FIRST_AMOUNT + number) for number in range(SENT)))
        random = Random(1)  # noqa: S311  # to repeat a run
        for _ in range(KILLS):
            await asyncio.sleep(random.uniform(0.02, LONGEST_LIFE))
            await bridge.kill()
            bridge = await (await made.start()).ready()
        async with asyncio.timeout(SETTLE_SECONDS):
            results = [await made.house.outcome(command_id, SETTLE_SECONDS) for command_id in command_ids]
        await made.quiet()
        await bridge.kill()
        _judge(made, results)


def _judge(made: Home, results: list[dict[str, object]]) -> None:
    """The node's book says what was paid, the results say the same, and the oracle finds nothing else."""
    paid = made.applied()
    assert len(paid) == PAID
    assert sum(paid) <= LIMIT
    told = [result for result in results if result["outcome"] == "failed"]
    assert len(told) == SENT - PAID
    assert {(result["code"], result["executed"]) for result in told} == {("policy_denied", False)}
    evidence = gather(made)
    assert [str(violation) for violation in judge(evidence)] == []
    assert not doubtful(evidence)
    assert tally(evidence) == {"succeeded": PAID, "failed": SENT - PAID}
