"""How fast a link reads: so many frames a second on average, and a pause for what is beyond.

A bucket that leaks at the wanted rate and holds one window of it, so that a burst costs nothing and a flood is read
no faster than the journal can be asked to keep it. Pure: time comes in. Facts: guarantees.md section 6.
"""

from dataclasses import dataclass

FRAMES_PER_SECOND, WINDOW_SECONDS = 5_000.0, 10.0
SHORTEST_PAUSE_SECONDS = 0.05
"""Less is let run up: a pause for each single frame would cost more than the frame."""


@dataclass(slots=True)
class Pace:
    """One channel's, over all its sockets. `longest` bounds each pause: pings must be answered in time."""

    longest: float
    """Seconds."""
    rate: float = FRAMES_PER_SECOND
    window: float = WINDOW_SECONDS
    _level: float = 0.0
    _at: float = 0.0

    def note(self, now: float) -> float:
        """One frame was read. How many seconds to read nothing; mostly none."""
        self._level = max(0.0, self._level - (now - self._at) * self.rate) + 1
        self._at = now
        owed = self._level / self.rate - self.window
        return min(owed, self.longest) if owed >= min(SHORTEST_PAUSE_SECONDS, self.longest) else 0.0
