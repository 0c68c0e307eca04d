"""A flood of what we do not know must not keep payments waiting."""

import logging

import pytest

from bridge.app.sieve import MOST_FRAMES, WINDOW_SECONDS, Sieve
from bridge.channel.input import MessageReceived, Ticked, Unhandled

UNKNOWN = Unhandled(method="channels.new", raw="{}")
MESSAGE = MessageReceived(from_account="ak_peer", to_account="ak_own", info="hello")


def test_a_few_unknown_frames_pass_and_a_flood_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """What is held back is told in the log, once a window."""
    sieve = Sieve("acme-7")
    assert [sieve.passes(UNKNOWN, 1.0) for _ in range(MOST_FRAMES + 7)].count(True) == MOST_FRAMES
    assert sieve.suppressed == 7
    with caplog.at_level(logging.WARNING):
        assert sieve.passes(UNKNOWN, 1.0 + WINDOW_SECONDS + 0.1)
    assert [(record.message, record.__dict__["frames"]) for record in caplog.records] == [("frames_suppressed", 7)]


def test_frames_now_and_then_always_pass() -> None:
    sieve = Sieve("acme-7")
    assert all(sieve.passes(UNKNOWN, float(at)) for at in range(500))


def test_messages_of_the_peer_pass_unless_the_outbox_is_full() -> None:
    """What changes the channel passes even then."""
    sieve = Sieve("acme-7")
    assert all(sieve.passes(MESSAGE, 1.0) for _ in range(2 * MOST_FRAMES))
    assert not any(sieve.passes(input_, 1.0, is_full=True) for input_ in (MESSAGE, UNKNOWN))
    assert sieve.passes(Ticked(), 1.0, is_full=True)
    assert sieve.suppressed == 2
