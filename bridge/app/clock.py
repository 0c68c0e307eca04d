"""Time for the whole process: the wall clock as it stood at the start, carried on by the monotonic one.

Deadlines are absolute, so that a signer elsewhere can read them, and they survive a restart; yet a wall clock
that jumps while we run moves none of them.
"""

import time


class SteadyClock:
    """Seconds since the epoch that never jump within one process."""

    def __init__(self) -> None:
        self._offset = time.time() - _elapsed()

    def __call__(self) -> float:
        return self._offset + _elapsed()


def _elapsed() -> float:
    """Also counts while the machine sleeps, where it can be asked: the peer's timers do not stop with us."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
