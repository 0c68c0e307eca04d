"""At a limit the bridge slows down or refuses with a code; nothing accepted is dropped, and nothing runs twice."""

from datetime import UTC, datetime, timedelta
from typing import Any

from bridge.broker.private import PrivateBroker
from tests.faults.broker.scene import Scene, scene
from tests.faults.broker.trouble import bind_events, unbind_events
from tests.system.house import Pair

PAIR = Pair("today")
STALL_SECONDS = 3.0
"""A payment takes some 50 ms here."""


def transfer(command_id: str, amount: int, **changes: Any) -> dict[str, Any]:
    return {
        "command_id": command_id,
        "issued_at": datetime.now(UTC).isoformat(),
        "from": PAIR.account("initiator"),
        "to": PAIR.account("responder"),
        "amount": str(amount),
    } | changes


async def result(stage: Scene, command_id: str, outcome: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = (body for body in stage.home.results if body["command_id"] == command_id)
        return next((body for body in found if body["outcome"] == outcome), None)

    return await stage.home.until(look)


async def test_full_outbox_stops_the_intake_and_drops_nothing(private_broker: PrivateBroker) -> None:
    """Nobody takes events: commands stay at the broker instead of filling the disk, and go on afterwards.

    events -X- nobody      commands: ....|      the outbox is at 80 %: no more is taken until it empties
    """
    async with scene(private_broker, limits={"outbox_rows": 100}, pairs=(PAIR,)) as stage:
        await unbind_events(stage)
        late = await _pay_until_it_waits(stage)
        assert stage.has_logged("outbox_full")
        await bind_events(stage)
        assert await stage.outcome(late) == "succeeded"
        figures = await stage.finish()
        assert figures["succeeded"] == figures["payments"]


async def _pay_until_it_waits(stage: Scene) -> str:
    """The first payment that is not taken."""
    for _ in range(60):
        command_id = await stage.pay(PAIR, "initiator")
        try:
            await stage.home.outcome(command_id, STALL_SECONDS)
        except TimeoutError:
            return command_id
    raise AssertionError("the intake never stopped")


async def test_full_line_refuses_with_a_code(private_broker: PrivateBroker) -> None:
    """Beyond the backlog a client is told `channel_busy` and may try again; what was accepted all runs."""
    async with scene(private_broker, limits={"backlog_per_channel": 3}, pairs=(PAIR,)) as stage:
        sent = [await stage.pay(PAIR, "initiator") for _ in range(30)]
        outcomes = {command_id: await stage.home.outcome(command_id) for command_id in sent}
        refused = [body for body in outcomes.values() if body["outcome"] == "rejected"]
        assert refused
        assert {body["code"] for body in refused} == {"channel_busy"}
        figures = await stage.finish()
        assert figures["succeeded"] == len(sent) - len(refused)


async def test_repeats_conflicts_and_stale_commands_move_nothing(private_broker: PrivateBroker) -> None:
    """Clients repeat themselves, reuse ids and wake up late: one payment, and a code for everything else."""
    async with scene(private_broker, pairs=(PAIR,)) as stage:
        command_id = await stage.pay(PAIR, "initiator")
        assert await stage.outcome(command_id) == "succeeded"
        await stage.send(PAIR.initiator, "transfer", transfer(command_id, 7))
        conflict = await result(stage, command_id, "rejected")
        assert conflict["code"] == "idempotency_conflict"
        old = (datetime.now(UTC) - timedelta(hours=25)).isoformat()
        await stage.send(PAIR.initiator, "transfer", transfer("late", 9, issued_at=old))
        assert (await result(stage, "late", "rejected"))["code"] == "stale_command"
        round_ = stage.home.state(PAIR.initiator).round
        assert await stage.outcome(await stage.pay(PAIR, "initiator")) == "succeeded"
        assert stage.home.state(PAIR.initiator).round == round_ + 1
