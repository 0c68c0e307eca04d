"""Deadlines must not move when somebody sets the clock."""

import time

import pytest

from bridge.app.clock import SteadyClock


def test_a_wall_clock_that_jumps_moves_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour forward would refuse every signature, an hour back would send acknowledgements late."""
    clock = SteadyClock()
    before = clock()
    real = time.time
    for jump in (3600.0, -3600.0):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
        assert abs(clock() - before) < 60


def test_the_clock_begins_at_the_wall_clock() -> None:
    """Signers elsewhere read our deadlines."""
    assert abs(SteadyClock()() - time.time()) < 1
