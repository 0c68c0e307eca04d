"""What a run of real processes gives the oracle to look through: what it must have is never left out in silence."""

from typing import Any

from tests.faults.journal_home import Bridge, Home
from tests.faults.record import _texts


def home(*logs: list[str], **pages: str) -> Home:
    """One whose bridges said that, and whose metrics are these."""
    nothing: Any = None
    return Home(nothing, bridges=[Bridge(nothing, lines) for lines in logs], pages=pages)


def test_logs_and_metrics_are_looked_through() -> None:
    """A bridge that was killed as it started may have said nothing."""
    assert _texts(home(["ready"], [], metrics="up 1")) == {"bridge 0": "ready", "metrics": "up 1"}


def test_a_run_that_read_no_metrics_or_kept_no_log_shows_it() -> None:
    """As an empty text, which the oracle takes for a violation."""
    assert _texts(home(["ready"])) == {"bridge 0": "ready", "metrics": ""}
    assert _texts(home([], metrics="up 1")) == {"logs": "", "metrics": "up 1"}
