"""The sweep over every point: no flow falls out of it unseen."""

from dataclasses import replace
from unittest.mock import patch

import pytest

from tests.simulation import every
from tests.simulation.every import FLOWS, cases_of, points_of
from tests.simulation.plan import DIALECTS, Plan
from tests.simulation.point import Action


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("flow", FLOWS)
def test_each_flow_of_each_dialect_is_swept(dialect: str, flow: str) -> None:
    """Also a message whose honest end is `unknown`."""
    cases = list(cases_of(dialect, flow, "initiator"))
    assert {case.action for case in cases} == set(Action)


def test_a_flow_that_does_not_end_as_it_should_stops_the_sweep() -> None:
    """A broken flow without points would be no case, and no case no failure."""
    original = every.plan_of

    def forbid(*words: str) -> Plan:
        return replace(original(*words), policy={"commands": ["transfer"]})

    with patch.object(every, "plan_of", forbid), pytest.raises(ValueError, match=r"deposit .* ends failed"):
        points_of("legacy-late", "deposit", "initiator")
