"""How a bridge stops: everything it waits for has a bound, and the bounds leave room below 25 seconds."""

from bridge.app import http, service
from bridge.broker import connection

PROMISED_SECONDS = 25.0
SPARE_SECONDS = 1.0
"""For what has no bound of its own: the last commits, and tasks that are told to end."""


def test_the_bounds_of_a_stop_add_up_to_what_is_promised() -> None:
    """A service manager kills what stops later; each of these may be used up (guarantees.md section 4)."""
    bounds = (
        service.SETTLE_SECONDS,
        service.CLOSE_SECONDS,
        service.FLUSH_SECONDS,
        connection.CLOSE_SECONDS,
        http.CLOSE_SECONDS,
    )
    assert sum(bounds) <= PROMISED_SECONDS - SPARE_SECONDS
