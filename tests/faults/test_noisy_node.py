"""A node that is silent, talks too much, or talks nonsense: a whole bridge pays on as soon as it is itself again.

The bridge, both signers, a real broker and the simulated node; the faults come from `bridge.sim.nemesis`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.channel.terms import Role
from bridge.sim.endpoint import Endpoint
from bridge.sim.fault import (
    Cut,
    CutAt,
    Double,
    Fault,
    Flood,
    Freeze,
    Garbage,
    Heal,
    Huge,
    NoticeLate,
    PeerDisconnected,
    Refuse,
    Start,
    Stop,
    Swallow,
)
from bridge.sim.nemesis import carry_out
from tests.system.house import SECONDS, House, Pair, house

pytestmark = pytest.mark.fault
RECOVERY_SECONDS = 15.0
"""After the repair, when no quiet time stands in the way."""
QUIET_SECONDS = 65.0
"""guarantees.md section 3: an initiator after a reestablish, when nobody confirmed that its socket is gone."""
NOTICE_SECONDS = 5.0
"""Longer than a bridge takes to come back, so that it is back before the node knows it was gone."""
INITIATOR, RESPONDER = Role.INITIATOR, Role.RESPONDER
MEETING = Cut | Freeze | Garbage | Huge | Flood | PeerDisconnected
Trouble = Callable[[House, Pair], Awaitable[list[int]]]
"""Returns the amounts it paid itself."""


async def strike(home: House, fault: Fault) -> None:
    """Whoever it names is met, or nothing was tried."""
    met = await carry_out(home.node, fault)
    if isinstance(fault, MEETING):
        assert met == (1 if fault.role else 2), f"{fault!r} met {met} sockets"


async def torn(home: House, pair: Pair, *faults: Fault) -> list[dict[str, Any]]:
    """Strikes and waits until both sides are back from it: what they said then."""
    names = (pair.initiator, pair.responder)
    seen = {name: len(home.find(name, "link.reattached")) for name in names}
    for fault in faults:
        await strike(home, fault)
    return [await back(home, name, seen[name]) for name in names]


async def back(home: House, name: str, seen: int, seconds: float = SECONDS) -> dict[str, Any]:
    """The next time this one says it is attached again, after so many."""
    return await home.until(lambda: next(iter(home.find(name, "link.reattached")[seen:]), None), seconds)


async def pay(home: House, pair: Pair, amount: int) -> dict[str, Any]:
    payer, payee = pair.account("initiator"), pair.account("responder")
    return await home.run(pair.initiator, "transfer", from_=payer, to=payee, amount=str(amount))


async def until_paid(home: House, pair: Pair, amounts: range) -> list[int]:
    """Pay until one succeeds, within the bound; the amounts that succeeded. Each try has an amount of its own."""
    async with asyncio.timeout(RECOVERY_SECONDS):
        for amount in amounts:
            result = await pay(home, pair, amount)
            if result["outcome"] == "succeeded":
                return [amount]
            assert result["outcome"] == "failed", result
    raise AssertionError("no amount left to try")


def applied(home: House, pair: Pair) -> list[int]:
    """What the node holds, which is what counts."""
    (page,) = home.node.registry.book.pages.values()
    states = {(state["round"], state["tx_hash"]): state for state in page.states if state["updates"]}
    return [update["amount"] for state in states.values() for update in state["updates"] if "amount" in update]


async def garbage(home: House, pair: Pair) -> list[int]:
    """Five such texts cost the socket, a third socket would cost the channel."""
    await torn(home, pair, Garbage(times=1000))
    await torn(home, pair, Garbage(text="{}", times=1000))
    return []


async def half_frame(home: House, pair: Pair) -> list[int]:
    await strike(home, Garbage(text='{"jsonrpc":"2.0","method":"channels.update","params":{"data":{}}}'))
    for name in (pair.initiator, pair.responder):
        await home.event(name, "alarm.protocol_violation")
    return []


async def large(home: House, _: Pair) -> list[int]:
    """Within the limit."""
    await strike(home, Huge(size_bytes=2 * 1024 * 1024))
    return []


async def huge(home: House, pair: Pair) -> list[int]:
    """Beyond it."""
    await torn(home, pair, Huge(size_bytes=5 * 1024 * 1024))
    return []


async def flood(home: House, _: Pair) -> list[int]:
    await strike(home, Flood(seconds=1.0))
    return []


async def cut(home: House, pair: Pair) -> list[int]:
    await torn(home, pair, Cut())
    await torn(home, pair, Cut())
    return []


async def noticed_late(home: House, pair: Pair) -> list[int]:
    """Both come back while the node still believes in their sockets of before."""
    for event in await torn(home, pair, NoticeLate(seconds=NOTICE_SECONDS), Cut()):
        assert event["data"]["blind_seconds"] < NOTICE_SECONDS
    return []


async def frozen(home: House, pair: Pair) -> list[int]:
    """In the middle of a payment; then the socket is lost, and the next one is taken and hears nothing either."""
    amount = 1000
    await strike(home, Freeze(role=INITIATOR))
    paying = asyncio.create_task(pay(home, pair, amount))
    await seen(lambda: home.state(pair.initiator).operation is not None)
    met = sockets(home)
    await strike(home, Cut(role=INITIATOR))
    await home.event(pair.initiator, "link.detached")
    await seen(lambda: bool(sockets(home) - met))
    await carry_out(home.node, Heal())
    return [amount] if (await paying)["outcome"] == "succeeded" else []


async def seen(look: Callable[[], bool]) -> None:
    """At the node, or in the bridge: nobody tells of it."""
    async with asyncio.timeout(SECONDS):
        while not look():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def sockets(home: House) -> set[Endpoint]:
    """The initiator's, that the node has admitted."""
    return {endpoint for endpoint, fsm in home.node.endpoints() if fsm.role is INITIATOR}


TROUBLES: tuple[Trouble, ...] = (garbage, half_frame, large, huge, flood, cut, noticed_late, frozen)


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
async def test_payments_go_on_after(amqp_url: str, tmp_path: Path, trouble: Trouble) -> None:
    """Each payment succeeded once or failed, and the node's book says the same."""
    pair = Pair("today")
    async with house(amqp_url, tmp_path, pair) as home:
        await home.opened()
        assert (await pay(home, pair, 1))["outcome"] == "succeeded"
        paid = [1, *await trouble(home, pair)]
        await carry_out(home.node, Heal())
        paid += await until_paid(home, pair, range(2, 50))
        assert applied(home, pair) == paid


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([Refuse(role=RESPONDER, code=147)], id="refused"),
        pytest.param([Double(word="sign.update", role=INITIATOR)], id="request_twice"),
        pytest.param([Double(word="sign.update_ack", role=RESPONDER)], id="proposal_twice"),
        pytest.param([Double(word="update", role=INITIATOR)], id="state_twice"),
        pytest.param([Double(word="result", role=INITIATOR)], id="answer_twice"),
        pytest.param([Swallow(word="result", role=INITIATOR)], id="answer_lost"),
        pytest.param([Swallow(word="sign.update", role=INITIATOR)], id="request_lost"),
        pytest.param([CutAt(word="sign.update", role=INITIATOR, side="before")], id="cut_before_the_request"),
        pytest.param([CutAt(word="sign.update", role=INITIATOR)], id="cut_after_the_request"),
        pytest.param([CutAt(word="sign.update_ack", role=RESPONDER, side="before")], id="cut_before_the_proposal"),
        pytest.param([CutAt(word="update", role=INITIATOR, side="before")], id="cut_before_the_state"),
        pytest.param([CutAt(word="update", direction="to_node", role=INITIATOR, side="before")], id="cut_before_ours"),
        pytest.param([CutAt(word="update", direction="to_node", role=INITIATOR)], id="cut_after_ours"),
        pytest.param([CutAt(word="update_ack", direction="to_node", role=RESPONDER)], id="cut_after_theirs"),
        pytest.param([PeerDisconnected(role=RESPONDER)], id="peer_gone"),
    ],
)
async def test_a_payment_under_a_fault_has_the_outcome_the_node_has(
    amqp_url: str, tmp_path: Path, faults: list[Fault]
) -> None:
    """Succeeded is applied once, failed is not applied, in doubt is settled; and the next payments go on."""
    pair = Pair("today")
    async with house(amqp_url, tmp_path, pair) as home:
        await home.opened()
        for fault in faults:
            await strike(home, fault)
        results = {amount: await pay(home, pair, amount) for amount in (1, 2)}
        assert home.node.gate.describe() == [], "the payments never came to what the fault was to meet"
        await carry_out(home.node, Heal())
        paid = await until_paid(home, pair, range(3, 50))
        succeeded = [amount for amount, result in results.items() if result["outcome"] == "succeeded"]
        assert {result["outcome"] for result in results.values()} <= {"succeeded", "failed"}, results
        assert applied(home, pair) == [*succeeded, *paid]


async def reestablished(home: House, pair: Pair) -> None:
    """From here on each side's FSM dies with its socket, and the initiator's is found by no reconnect."""
    for event in await torn(home, pair, Stop(), Start()):
        assert event["data"]["reestablished"]


async def paid_on(home: House, pair: Pair) -> None:
    """Two payments, and the node has just those."""
    outcomes = [(await pay(home, pair, amount))["outcome"] for amount in (1, 2)]
    assert outcomes == ["succeeded", "succeeded"]
    assert applied(home, pair) == [1, 2]


async def test_a_responder_back_too_early_after_a_reestablish_costs_both_sockets_and_no_channel(
    amqp_url: str, tmp_path: Path
) -> None:
    """node: X responder, unnoticed ... responder again: refused, both FSMs end -> both reestablish, and pay."""
    pair = Pair("today")
    async with house(amqp_url, tmp_path, pair) as home:
        await home.opened()
        await reestablished(home, pair)
        known = {name: len(home.find(name, "link.reattached")) for name in (pair.initiator, pair.responder)}
        await strike(home, NoticeLate(seconds=NOTICE_SECONDS))
        await strike(home, Cut(role=RESPONDER))
        async with asyncio.timeout(NOTICE_SECONDS):
            await home.event(pair.initiator, "info.died")
        for name in known:
            await back(home, name, known[name])
        await paid_on(home, pair)


@pytest.mark.timeout(180)
async def test_an_initiator_after_a_reestablish_waits_until_its_socket_is_gone_for_sure(
    amqp_url: str, tmp_path: Path
) -> None:
    """node: X initiator, unnoticed ... 65 s ... initiator again: one FSM. Earlier it would be a second, and the end."""
    pair = Pair("today")
    async with house(amqp_url, tmp_path, pair) as home:
        await home.opened()
        await reestablished(home, pair)
        known = len(home.find(pair.initiator, "link.reattached"))
        await strike(home, NoticeLate(seconds=NOTICE_SECONDS))
        await strike(home, Cut(role=INITIATOR))
        event = await back(home, pair.initiator, known, QUIET_SECONDS + RECOVERY_SECONDS)
        assert [fsm.role for fsm in home.node.registry.alive].count(INITIATOR) == 1
        assert event["data"]["blind_seconds"] >= QUIET_SECONDS
        await paid_on(home, pair)
