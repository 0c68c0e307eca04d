"""Which frames that bind nobody are passed on: unknown ones and the peer's messages, as long as they drown nothing.

Each event costs a durable write and a publish. A node that floods us with what we do not know must not keep payments
waiting, so beyond a share a frame is counted and told of in the log, and goes no further. While the outbox is full
none does, and no message of the peer's: he could fill our disk while the broker is away, and what he was told of a
message is only that his node took it (guarantees.md, G6 and G8). Pure besides the log: time comes in.
"""

import logging
from dataclasses import dataclass

from bridge.channel.input import Input, MessageReceived, Unhandled

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

    def passes(self, input_: Input, now: float, *, is_full: bool = False) -> bool:
        """Whether it may become an event; `is_full`: the outbox is."""
        if not isinstance(input_, Unhandled | MessageReceived):
            return True
        if now - self._began >= WINDOW_SECONDS:
            self._tell()
            self._began, self._passed, self._held = now, 0, 0
        if not is_full and isinstance(input_, MessageReceived):
            return True
        if not is_full and self._passed < MOST_FRAMES:
            self._passed += 1
            return True
        self._held += 1
        self.suppressed += 1
        return False

    def _tell(self) -> None:
        if self._held:
            log.warning("frames_suppressed", extra={"channel": self.channel, "frames": self._held})
