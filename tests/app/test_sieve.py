"""A flood of what we do not know must not keep payments waiting."""

import logging

import pytest

from bridge.app.sieve import MOST_FRAMES, WINDOW_SECONDS, Sieve


def test_a_few_unknown_frames_pass_and_a_flood_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """What is held back is told in the log, once a window."""
    sieve = Sieve("acme-7")
    assert [sieve.passes(1.0) for _ in range(MOST_FRAMES + 7)].count(True) == MOST_FRAMES
    assert sieve.suppressed == 7
    with caplog.at_level(logging.WARNING):
        assert sieve.passes(1.0 + WINDOW_SECONDS + 0.1)
    assert [(record.message, record.__dict__["frames"]) for record in caplog.records] == [("frames_suppressed", 7)]


def test_frames_now_and_then_always_pass() -> None:
    sieve = Sieve("acme-7")
    assert all(sieve.passes(float(at)) for at in range(500))
