"""Lost sockets, a restarted node, a restarted broker: everything is attached again by itself, and says so."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bridge.broker.permission import definitions
from bridge.broker.private import PrivateBroker
from tests.system.house import House, Pair, house

SECONDS = 15.0
"""How long a re-attach may take when nothing stands in its way."""


async def pay(home: House, pair: Pair, amount: int) -> dict[str, object]:
    payer, payee = pair.account("initiator"), pair.account("responder")
    return await home.run(pair.initiator, "transfer", from_=payer, to=payee, amount=str(amount))


async def reattached(home: House, pair: Pair, act: Callable[[], Awaitable[None]]) -> None:
    """Both sides say they were detached and are attached again, within the bound."""
    before = {name: len(home.find(name, "link.reattached")) for name in (pair.initiator, pair.responder)}
    await act()
    for name, count in before.items():

        def look(name: str = name, count: int = count) -> bool | None:
            return True if len(home.find(name, "link.reattached")) > count else None

        await home.until(look, SECONDS)
        assert home.find(name, "link.detached")


async def cut(home: House, pair: Pair) -> None:
    home.cut(pair.initiator)
    home.cut(pair.responder)


async def restart(home: House) -> None:
    await home.node.stop()
    await home.node.start()


async def test_a_cut_socket_is_attached_again(amqp_url: str, tmp_path: Path) -> None:
    """The FSM lived on: the same credential, nothing replayed, the state asked."""
    pair = Pair("today")
    async with house(amqp_url, tmp_path, pair) as home:
        await home.opened()
        await pay(home, pair, 5)
        await reattached(home, pair, lambda: cut(home, pair))
        assert (await pay(home, pair, 6))["round"] == 3


async def test_a_node_that_was_restarted_in_order_is_attached_again(amqp_url: str, tmp_path: Path) -> None:
    """A reestablish: the credential rotates, both sides agree on the state, and payments go on."""
    pair = Pair("today")
    async with house(amqp_url, tmp_path, pair) as home:
        await home.opened()
        await pay(home, pair, 5)
        await reattached(home, pair, lambda: restart(home))
        assert home.find(pair.initiator, "info.channel_reestablished")
        assert (await pay(home, pair, 6))["round"] == 3


async def test_a_node_may_be_restarted_again_and_again(amqp_url: str, tmp_path: Path) -> None:
    """After a reestablish the initiator waits until the old socket is gone at the node; then all goes on."""
    pair = Pair("today")
    async with house(amqp_url, tmp_path, pair) as home:
        await home.opened()
        for number in range(3):
            await reattached(home, pair, lambda: restart(home))
            assert (await pay(home, pair, 5 + number))["round"] == 2 + number


@pytest.mark.parametrize("trouble", ["cut", "restart"])
async def test_late_legacy_comes_back_by_its_latest_state(amqp_url: str, tmp_path: Path, trouble: str) -> None:
    """The co-signed transaction is what that dialect wants for a reestablish."""
    pair = Pair("late", "legacy", "late")
    async with house(amqp_url, tmp_path, pair) as home:
        await home.opened()
        await pay(home, pair, 5)
        await reattached(home, pair, lambda: cut(home, pair) if trouble == "cut" else restart(home))
        assert (await pay(home, pair, 6))["round"] == 3


@pytest.mark.parametrize("trouble", ["cut", "restart"])
async def test_seed_legacy_requires_recovery_once_and_nothing_hangs(
    amqp_url: str, tmp_path: Path, trouble: str
) -> None:
    """Nothing to resume: an alarm with the co-signed state, and an answer to every later command."""
    pair = Pair("seed", "legacy", "seed")
    async with house(amqp_url, tmp_path, pair) as home:
        await home.opened()
        await pay(home, pair, 5)
        await (cut(home, pair) if trouble == "cut" else restart(home))
        for name in (pair.initiator, pair.responder):
            alarm = await home.event(name, "alarm.recovery_required")
            assert alarm["data"]["signed_tx"].startswith("tx_")
            assert alarm["data"]["round"] == 2
        later = await pay(home, pair, 6)
        assert (later["outcome"], later["code"]) == ("failed", "channel_not_open")
        for name in (pair.initiator, pair.responder):
            assert len(home.find(name, "alarm.recovery_required")) == 1


async def test_a_bridge_that_was_stopped_goes_on_where_it_was(amqp_url: str, tmp_path: Path) -> None:
    """Rounds, balances and event numbers continue over a restart."""
    pair = Pair("today")
    async with house(amqp_url, tmp_path, pair) as home:
        await home.opened()
        await pay(home, pair, 5)
        await home.stop_bridge()
        await reattached(home, pair, lambda: _start(home))
        assert (await pay(home, pair, 6))["round"] == 3
        for name in (pair.initiator, pair.responder):
            numbers = [event["seq"] for event in home.events if event["channel"] == name]
            assert numbers == list(range(1, len(numbers) + 1))


async def _start(home: House) -> None:
    await home.start_bridge()


async def test_a_command_given_while_the_bridge_is_down_runs_when_it_is_back(amqp_url: str, tmp_path: Path) -> None:
    """The broker holds it; nothing is lost and nothing is done twice."""
    pair = Pair("today")
    async with house(amqp_url, tmp_path, pair) as home:
        await home.opened()
        await home.stop_bridge()
        payer, payee = pair.account("initiator"), pair.account("responder")
        command_id = await home.send(pair.initiator, "transfer", from_=payer, to=payee, amount="5")
        await home.start_bridge()
        assert (await home.outcome(command_id))["outcome"] == "succeeded"


@pytest.fixture
async def own_broker() -> AsyncIterator[PrivateBroker]:
    """One that may be restarted."""
    async with PrivateBroker(definitions("unused", None, ())) as broker:
        yield broker


async def test_a_restarted_broker_is_used_again(own_broker: PrivateBroker, tmp_path: Path) -> None:
    """Idle or not: the node's sockets stay, and the next command crosses the bus."""
    pair = Pair("today")
    async with house(own_broker.url(), tmp_path, pair, durable=True) as home:
        await home.opened()
        await pay(home, pair, 5)
        # A quorum queue killed in the second it was declared comes back empty (measured): let it settle.
        await asyncio.sleep(3)
        await own_broker.restart()
        async with asyncio.timeout(SECONDS):
            assert (await pay(home, pair, 6))["round"] == 3
        assert not home.find(pair.initiator, "link.detached")
