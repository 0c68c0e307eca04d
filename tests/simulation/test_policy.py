"""A limit under `kill -9`: whatever instant a bridge dies at, no more goes out than the policy allows."""

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from bridge.app import service
from bridge.channel.outflow import NOTHING
from bridge.channel.state import State, decode
from tests.simulation.plan import FIRST_AMOUNT, Cut, Kill, Plan, Step
from tests.simulation.point import Action, Kind
from tests.simulation.world import Ending, run

PAID, SENT = 3, 8
LIMIT = (PAID + 1) * FIRST_AMOUNT - 1
STEPS = tuple(Step(0.2 * number, "initiator", "transfer", FIRST_AMOUNT + number) for number in range(SENT))
PLAN = Plan(5, steps=STEPS, policy={"outflow_per_hour": LIMIT, "outflow_per_day": LIMIT})
BRIDGE = "bridge-initiator"


def outflow(ending: Ending) -> int:
    """What the node holds as paid by the initiator, whatever the bridge says."""
    (pair,) = ending.evidence.pairs
    return sum(state.amount or 0 for state in ending.evidence.applied[pair.name] if state.payer == "initiator")


def codes(ending: Ending) -> list[str | None]:
    return [body["code"] for body in ending.evidence.verdicts.values()]


def check(ending: Ending) -> None:
    assert [str(violation) for violation in ending.violations] == []
    assert outflow(ending) <= LIMIT
    assert set(codes(ending)) <= {None, "policy_denied", "not_applied", "superseded"}


def test_without_a_fault_as_much_goes_out_as_the_limit_allows() -> None:
    ending = run(PLAN)
    check(ending)
    assert sorted(codes(ending), key=str) == [None] * PAID + ["policy_denied"] * (SENT - PAID)


def points(plan: Plan, *kinds: Kind) -> list[int]:
    """Where the payer's bridge may die while its first command is under way."""
    seen = [point for point in run(plan).points if point.process == BRIDGE]
    ends = next(point.number for point in seen if "succeeded" in point.label and point.kind is Kind.CONFIRM)
    return [point.number for point in seen if point.kind in kinds and point.number <= ends]


def killed(plan: Plan, number: int) -> Ending:
    ending = run(replace(plan, orders={number: Action.KILL_AFTER}), is_traced=True)
    assert any(f"KILLED {BRIDGE}" in line for line in ending.lines)
    return ending


@pytest.mark.parametrize("kind", [Kind.COMMIT, Kind.FRAME, Kind.ACK])
def test_a_kill_at_a_point_makes_no_room(kind: Kind) -> None:
    """Between a commit and its frame, a frame and its answer, an answer and its ack."""
    numbers = points(PLAN, kind)
    assert numbers
    for number in numbers:
        check(killed(PLAN, number))


@pytest.mark.parametrize("count", [1, 4, 9])
def test_kills_in_a_row_make_no_room(count: int) -> None:
    faults = [Kill(0.15 + 0.17 * number, "bridge-initiator", down=0.1) for number in range(count)]
    check(run(replace(PLAN, faults=(*faults, Cut(0.4, "initiator")))))


def test_a_limit_that_a_start_empties_is_found() -> None:
    """Otherwise the kills above would prove nothing."""

    def forget(data: bytes) -> State:
        return replace(decode(data), outflow=NOTHING)

    with patch.object(service, "decode", forget):
        ending = run(replace(PLAN, faults=(Kill(0.7, "bridge-initiator"),)))
    assert outflow(ending) > LIMIT


def test_approvals_are_counted_once_whatever_dies() -> None:
    """Every answer may be delivered twice; the command is paid once, and only with two people."""
    policy: dict[str, Any] = {"approval_threshold": 1, "approvals": 2, "approvers": ["carol", "dave"]}
    steps = (Step(0.1, "initiator", "transfer", FIRST_AMOUNT),)
    plan = Plan(7, steps=steps, policy=policy, answers=("carol", "carol", "dave"))
    assert codes(run(plan)) == [None]
    for number in points(plan, Kind.COMMIT, Kind.ACK, Kind.DELIVERY):
        ending = killed(plan, number)
        assert [str(violation) for violation in ending.violations] == []
        assert codes(ending) == [None]
        started = [body for body in events(ending) if body["name"] == "started"]
        assert started
        assert all(body["data"]["approved_by"] == ["carol", "dave"] for body in started)
        assert len([body for body in events(ending) if body["name"] == "approval_given"]) == 2
        assert outflow(ending) == FIRST_AMOUNT


def events(ending: Ending) -> list[dict[str, Any]]:
    """Each once, however often it arrived."""
    return ending.evidence.event_bodies["c-initiator"]
