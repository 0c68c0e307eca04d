"""How many frames of unknown kinds are passed on: enough to see them, too few to drown the channel's own.

Each event costs a durable write and a publish. A node that floods us with what we do not know must not keep payments
waiting, so beyond a share a frame is counted and told of in the log, and goes no further. What we do understand
always passes. Pure besides the log: time comes in.
"""

import logging
from dataclasses import dataclass

log = logging.getLogger(__name__)

WINDOW_SECONDS, MOST_FRAMES = 10.0, 50


@dataclass(slots=True)
class Sieve:
    """One channel's."""

    channel: str
    suppressed: int = 0
    """Frames that went no further, in all."""
    _began: float = 0.0
    _passed: int = 0
    _held: int = 0

    def passes(self, now: float) -> bool:
        """Whether one more frame of an unknown kind may become an event."""
        if now - self._began >= WINDOW_SECONDS:
            self._tell()
            self._began, self._passed, self._held = now, 0, 0
        if self._passed < MOST_FRAMES:
            self._passed += 1
            return True
        self._held += 1
        self.suppressed += 1
        return False

    def _tell(self) -> None:
        if self._held:
            log.warning("frames_suppressed", extra={"channel": self.channel, "frames": self._held})
