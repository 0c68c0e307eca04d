"""The sweep over every point: no flow falls out of it unseen."""

from dataclasses import replace
from unittest.mock import patch

import pytest

from tests.simulation import every
from tests.simulation.every import FLOWS, Case, Course, cases_of, points_of
from tests.simulation.plan import DIALECTS, ROLES, Plan
from tests.simulation.point import Action
from tests.simulation.world import run


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("flow", FLOWS)
def test_each_flow_of_each_dialect_is_swept(dialect: str, flow: str) -> None:
    """Also a message whose honest end is `unknown`."""
    cases = list(cases_of(Course(dialect, flow, "initiator")))
    assert {case.action for case in cases} == set(Action)


def test_a_flow_that_does_not_end_as_it_should_stops_the_sweep() -> None:
    """A broken flow without points would be no case, and no case no failure."""
    original = every.plan_of

    def forbid(course: Course) -> Plan:
        return replace(original(course), policy={"commands": ["transfer"]})

    with patch.object(every, "plan_of", forbid), pytest.raises(ValueError, match=r"deposit .* ends failed"):
        points_of(Course("legacy-late", "deposit", "initiator"))


@pytest.mark.parametrize("flow", ["transfer", "deposit"])
@pytest.mark.parametrize("role", ROLES)
def test_a_reestablished_channel_is_swept_too(flow: str, role: str) -> None:
    """There a kill of either bridge ends an FSM: the next attach is one more reestablish."""
    course = Course("json-rpc", flow, role, is_reestablished=True)
    assert course.is_due
    first = points_of(course)[0]
    ending = run(Case(course, first.number, Action.KILL_BEFORE).plan, is_traced=True)
    assert not ending.violations
    assert sum("channel_reestablished" in line for line in ending.lines if "< info" in line) >= 2


QUIET = Course("json-rpc", "transfer", "initiator", is_quiet=True)


def test_the_proof_behind_a_payment_is_swept() -> None:
    """A payment that follows puts it off, so the other sweep never comes to it."""
    cases = list(cases_of(QUIET))
    asked = {point.number for point in points_of(QUIET) if "get.poi" in point.label}
    assert len(asked) == len(ROLES)
    assert {case.action for case in cases if case.point in asked} == set(Action)


def test_a_proof_that_is_not_asked_for_again_is_found() -> None:
    """Nothing else would show it before somebody needs it."""
    number = next(point.number for point in points_of(QUIET) if "get.poi" in point.label)
    plan = Case(QUIET, number, Action.SWALLOW).plan
    assert not run(plan).violations
    with patch("bridge.channel.proof.AGAIN_SECONDS", 1000.0):
        (found,) = run(plan).violations
    assert (found.rule, found.subject) == ("the latest round is proven", "c-initiator")


def test_each_world_of_the_sweep_is_looked_through_for_secrets() -> None:
    """Also what is logged and measured: a credential would be in thousands of empty texts of none."""
    course = Course("json-rpc", "transfer", "initiator")
    texts = run(Case(course, points_of(course)[0].number, Action.KILL_AFTER).plan).evidence.texts
    assert set(texts) == {"log", "metrics bridge-initiator", "metrics bridge-responder"}
    assert all(text.strip() for text in texts.values())
