"""SIGTERM, a second signal, and two owners, with real processes (guarantees.md section 4)."""

import signal
from pathlib import Path

import pytest

from bridge.app.cli.terminal import JOURNAL_FAILED, OWNED
from bridge.broker.private import PrivateBroker
from bridge.channel.state import Stage
from bridge.directory import LOCK
from bridge.sim.fault import Delay, Heal
from bridge.sim.nemesis import carry_out
from tests.faults.journal_home import Home, home

STOP_SECONDS = 25.0
PAYMENTS = 60
pytestmark = [pytest.mark.timeout(240), pytest.mark.fault]


async def test_a_stop_in_the_middle_of_payments_loses_none(amqp_url: str, tmp_path: Path) -> None:
    """What was taken is finished or waits in the journal, what was not taken waits at the broker; nothing twice."""
    async with home(amqp_url, tmp_path) as made:
        bridge = await (await made.start()).ready()
        await made.opened()
        ids = [await made.pay(1000 + number) for number in range(PAYMENTS)]
        await made.paid(ids[10])
        bridge.signal(signal.SIGTERM)
        assert await bridge.end(STOP_SECONDS) == 0, bridge.log
        assert bridge.tells("bridge_stopped")
        assert not bridge.tells("Traceback"), bridge.log
        assert made.has_told_all
        operation = made.state("today-i").operation
        assert operation is None or operation.stage in (Stage.JOURNALED, Stage.SENT, Stage.AWAITING_SIGN)
        assert len(made.applied()) < PAYMENTS, "it was too fast to be stopped in the middle"
        assert "close" not in {state["kind"] for state in _states(made)}
        await (await made.start()).ready()
        for command_id in ids:
            await made.paid(command_id)
        assert made.applied() == [1000 + number for number in range(PAYMENTS)]
        made.check_events()


def _states(made: Home) -> list[dict[str, str]]:
    return [state for page in made.house.node.registry.book.pages.values() for state in page.states]


async def test_a_stop_waits_for_the_outcome_of_a_signature_that_is_out(amqp_url: str, tmp_path: Path) -> None:
    """The peer answers some seconds later: its answer is worth the wait, a restart would have to find it out."""
    async with home(amqp_url, tmp_path) as made:
        bridge = await (await made.start()).ready()
        await made.opened()
        await carry_out(made.house.node, Delay(role="responder", word="sign.update_ack", seconds=4))
        command_id = await made.pay(77)
        await made.house.event("today-i", "sign.forwarded", tag="update")
        bridge.signal(signal.SIGTERM)
        assert await bridge.end(STOP_SECONDS) == 0, bridge.log
        assert made.applied() == [77]
        assert not bridge.tells("stopping_with_signed_operations"), bridge.log
        assert made.execute("SELECT status FROM inbox") == [("succeeded",)]
        assert made.has_told_all
        await made.paid(command_id)


async def test_a_stop_does_not_wait_for_ever_for_a_silent_peer(amqp_url: str, tmp_path: Path) -> None:
    """Some other program asks for the machine: 25 s at most, and the next start finds out how it ended."""
    async with home(amqp_url, tmp_path) as made:
        bridge = await (await made.start()).ready()
        await made.opened()
        await carry_out(made.house.node, Delay(role="responder", word="sign.update_ack", seconds=30))
        command_id = await made.pay(77)
        await made.house.event("today-i", "sign.forwarded", tag="update")
        bridge.signal(signal.SIGTERM)
        assert await bridge.end(STOP_SECONDS) == 0, bridge.log
        assert bridge.tells("stopping_with_signed_operations")
        await carry_out(made.house.node, Heal())
        await (await made.start()).ready()
        outcome = await made.house.outcome(command_id)
        assert made.applied() == ([77] if outcome["outcome"] == "succeeded" else [])
        made.check_events()


async def test_a_stop_without_its_broker_ends_in_time(private_broker: PrivateBroker, tmp_path: Path) -> None:
    """What could not be published waits in the outbox, and the next start publishes it."""
    url = private_broker.url()
    async with home(url, tmp_path) as made:
        bridge = await (await made.start()).ready()
        await made.opened()
        ids = [await made.pay(1000 + number) for number in range(PAYMENTS)]
        await made.paid(ids[0])
        private_broker.freeze()
        try:
            bridge.signal(signal.SIGTERM)
            assert await bridge.end(STOP_SECONDS) == 0, bridge.log
        finally:
            private_broker.thaw()
        assert not bridge.tells("Traceback"), bridge.log
        await (await made.start()).ready()
        for command_id in ids:
            await made.paid(command_id)
        assert made.applied() == [1000 + number for number in range(PAYMENTS)]
        made.check_events()


async def test_a_second_signal_ends_at_once(amqp_url: str, tmp_path: Path) -> None:
    """Whoever asks twice means it, and it harms nothing: a stop at any instant is what the journal is for."""
    async with home(amqp_url, tmp_path) as made:
        bridge = await (await made.start()).ready()
        await made.opened()
        await carry_out(made.house.node, Delay(role="responder", word="sign.update_ack", seconds=30))
        command_id = await made.pay(77)
        await made.house.event("today-i", "sign.forwarded", tag="update")
        bridge.signal(signal.SIGTERM)
        await bridge.until_told("bridge_stopping")
        bridge.signal(signal.SIGTERM)
        assert await bridge.end(2.0) == -signal.SIGTERM, bridge.log
        assert not bridge.tells("Traceback"), bridge.log
        await carry_out(made.house.node, Heal())
        await (await made.start()).ready()
        outcome = await made.house.outcome(command_id)
        assert made.applied() == ([77] if outcome["outcome"] == "succeeded" else [])


async def test_a_stop_before_it_is_ready_ends_in_order(private_broker: PrivateBroker, tmp_path: Path) -> None:
    """A start that waits for the broker is given up when asked, not after its own patience."""
    async with home(private_broker.url(), tmp_path) as made:
        await (await made.start()).ready()
        await made.opened()
        await made.bridges[0].kill()
        private_broker.freeze()
        try:
            bridge = await made.start()
            await bridge.until_told("journal_opened")
            bridge.signal(signal.SIGTERM)
            assert await bridge.end(STOP_SECONDS) == 0, bridge.log
        finally:
            private_broker.thaw()
        assert not bridge.tells("Traceback"), bridge.log


@pytest.mark.parametrize("is_frozen", [False, True], ids=["working", "frozen"])
async def test_a_second_owner_is_refused(amqp_url: str, tmp_path: Path, is_frozen: bool) -> None:
    """Two would sign two transactions for one round. One that only stands still may wake up."""
    async with home(amqp_url, tmp_path) as made:
        first = await (await made.start()).ready()
        await made.opened()
        if is_frozen:
            first.signal(signal.SIGSTOP)
        second = await made.start()
        assert await second.end() == OWNED
        assert second.log.replace("\n", " ").count("owner_conflict") == 1
        assert not second.tells("Traceback"), second.log
        first.signal(signal.SIGCONT)
        await made.paid(await made.pay(5))


async def test_a_frozen_owner_that_wakes_after_another_took_over_changes_nothing(amqp_url: str, tmp_path: Path) -> None:
    """On a file system whose locks hold nothing only the epoch stands between two writers (I5)."""
    async with home(amqp_url, tmp_path) as made:
        first = await (await made.start()).ready()
        await made.opened()
        await made.paid(await made.pay(1))
        await made.quiet()
        first.signal(signal.SIGSTOP)
        (made.data / LOCK).unlink()
        second = await (await made.start()).ready()
        await made.paid(await made.pay(2))
        first.signal(signal.SIGCONT)
        assert await first.end() == JOURNAL_FAILED, first.log
        assert first.tells("owner 2 has taken over from 1")
        assert first.log.count("journal_unavailable") == 1
        await made.paid(await made.pay(3))
        assert made.applied() == [1, 2, 3]
        assert made.execute("SELECT DISTINCT epoch FROM ledger WHERE round > 2") == [(2,)]
        second.signal(signal.SIGTERM)
        assert await second.end(STOP_SECONDS) == 0, second.log
        made.check_events()
