"""Points: what an order does where it fits, and where it does not."""

import pytest

from tests.simulation.plan import CHOICES
from tests.simulation.point import ACTIONS, Action, Kind, Points, fit
from tests.simulation.process import Process


@pytest.mark.parametrize("kind", Kind)
def test_a_number_is_always_an_action_that_fits(kind: Kind) -> None:
    """Drawn blindly, half of all orders would mean nothing where they strike. Each action is equally likely."""
    found = [fit(number, kind) for number in range(CHOICES)]
    share = CHOICES // len(ACTIONS[kind])
    assert {action: found.count(action) for action in found} == dict.fromkeys(ACTIONS[kind], share)


def test_what_does_not_fit_is_not_done_and_not_counted() -> None:
    """A run that struck nothing has shown nothing."""
    points = Points({0: Action.SWALLOW, 1: Action.SWALLOW, 2: 1}, lambda: 0.0)
    points.begin()
    process = Process("bridge")
    assert [points.reach(kind, process, "") for kind in (Kind.COMMIT, Kind.ACK, Kind.COMMIT)] == [
        None,
        Action.SWALLOW,
        Action.KILL_AFTER,
    ]
    assert points.struck == 2
