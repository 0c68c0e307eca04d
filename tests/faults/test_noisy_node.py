"""A node that is silent, talks too much, or talks nonsense: a whole bridge pays on as soon as it is itself again.

The bridge, both signers, a real broker and the simulated node; the faults come from `bridge.sim.nemesis`.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bridge.channel.terms import Role
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
from tests.system.house import House, Pair, house

pytestmark = pytest.mark.fault
RECOVERY_SECONDS = 15.0
"""After the repair, when no quiet time stands in the way."""


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


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([Garbage(times=1000), Garbage(text="{}", times=1000)], id="garbage"),
        pytest.param(
            [Garbage(text='{"jsonrpc":"2.0","method":"channels.update","params":{"data":{}}}')], id="half_frame"
        ),
        pytest.param([Huge(size_bytes=2 * 1024 * 1024)], id="large"),
        pytest.param([Huge(size_bytes=5 * 1024 * 1024)], id="huge"),
        pytest.param([Flood(seconds=1.0)], id="flood"),
        pytest.param([Cut(), Cut()], id="cut"),
        pytest.param([NoticeLate(seconds=0.5), Cut()], id="noticed_late"),
        pytest.param([Freeze(role=Role.INITIATOR), Cut(), Heal()], id="frozen"),
    ],
)
async def test_payments_go_on_after(amqp_url: str, tmp_path: Path, faults: list[Fault]) -> None:
    """Each payment succeeded once or failed, and the node's book says the same."""
    pair = Pair("today")
    async with house(amqp_url, tmp_path, pair) as home:
        await home.opened()
        assert (await pay(home, pair, 1))["outcome"] == "succeeded"
        for fault in faults:
            await carry_out(home.node, fault)
        await carry_out(home.node, Heal())
        paid = [1, *await until_paid(home, pair, range(2, 50))]
        assert applied(home, pair) == paid


INITIATOR, RESPONDER = Role.INITIATOR, Role.RESPONDER


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
        pytest.param([Stop(), Start(), NoticeLate(seconds=0.2), Cut(role=RESPONDER)], id="reestablished_and_cut"),
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
            await carry_out(home.node, fault)
        results = {amount: await pay(home, pair, amount) for amount in (1, 2)}
        await carry_out(home.node, Heal())
        paid = await until_paid(home, pair, range(3, 50))
        succeeded = [amount for amount, result in results.items() if result["outcome"] == "succeeded"]
        assert {result["outcome"] for result in results.values()} <= {"succeeded", "failed"}, results
        assert applied(home, pair) == [*succeeded, *paid]
