"""The limits of a policy over a real RabbitMQ: many at once cannot pass one, and a restart does not empty it."""

import asyncio
from pathlib import Path

from tests.permissive import EVERYTHING
from tests.system.house import House, Pair, house

AMOUNT, PAID, SENT = 5, 10, 100
PAIR = Pair("limited", options={"policy": EVERYTHING | {"outflow_per_hour": AMOUNT * PAID + AMOUNT - 1}})


async def pay(home: House) -> str:
    payer, payee = PAIR.account("initiator"), PAIR.account("responder")
    return await home.send(PAIR.initiator, "transfer", from_=payer, to=payee, amount=str(AMOUNT))


async def test_a_hundred_at_once_cannot_pass_an_hourly_limit(amqp_url: str, tmp_path: Path) -> None:
    """As many as fit are paid, each other one is told why not, and a restart makes no room."""
    async with house(amqp_url, tmp_path, PAIR) as home:
        await home.opened()
        command_ids = await asyncio.gather(*(pay(home) for _ in range(SENT)))
        results = [await home.outcome(command_id) for command_id in command_ids]
        denied = [result for result in results if result["outcome"] == "failed"]
        assert (len(results) - len(denied), len(denied)) == (PAID, SENT - PAID)
        assert {(result["code"], result["executed"]) for result in denied} == {("policy_denied", False)}
        assert "50 aettos went out in the last hour" in denied[0]["sentence"]
        assert home.state(PAIR.initiator).initiator_balance == PAIR.initiator_amount - AMOUNT * PAID
        await home.stop_bridge()
        await home.start_bridge()
        await home.until(lambda: home.state(PAIR.initiator).is_ready or None)
        after = await home.outcome(await pay(home))
        assert (after["outcome"], after["code"]) == ("failed", "policy_denied")
        assert home.state(PAIR.initiator).initiator_balance == PAIR.initiator_amount - AMOUNT * PAID
        await home.event(PAIR.initiator, "command.policy_denied", command_id=after["command_id"], at_stage="trigger")
