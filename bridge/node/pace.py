"""How fast a link reads, and how much of it may wait for the journal: pauses for what is beyond, at last an end.

By number it is a bucket that leaks at the wanted rate and holds one window of it, so that a burst costs nothing and a
flood is read no faster than the journal can be asked to keep it. By size it is an account of what was read and is not
done with, because a disk that stalls keeps nothing at all. And what waited at the node meanwhile is older than the
moment it is read at: deadlines count from the time before. Pure: time comes in. Facts: guarantees.md section 6, G6.
"""

import sys
from collections import deque
from dataclasses import dataclass, field

FRAMES_PER_SECOND, WINDOW_SECONDS = 5_000.0, 10.0
SHORTEST_PAUSE_SECONDS = 0.05
"""Less is let run up: a pause for each single frame would cost more than the frame."""
MAX_WAITING_BYTES = 64 * 1024 * 1024
FREE_SHARE = 0.25
"""Of the most: so much may wait at no cost, more is read ever more slowly."""
FRAME_COST = 256
"""Bytes besides its text that each waiting frame takes at most: without them empty frames would be free."""


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


@dataclass(slots=True)
class Backlog:
    """One socket's: how long what is read now may have waited for it, after pauses in the reading.

    A pong stands behind all that the node had sent when its ping came, so what is read after it is younger than that.
    """

    _since: float | None = None
    """What is read was sent after this; None: it is read as soon as it comes."""
    _paused_until: float = 0.0

    @property
    def is_behind(self) -> bool:
        return self._since is not None

    def pause(self, begun: float, ended: float) -> None:
        """Nothing was read between these."""
        if self._since is None:
            self._since = begun
        self._paused_until = ended

    def ponged(self, asked_at: float) -> None:
        """The pong was read of a ping that was sent at `asked_at` or later."""
        self._since = None if asked_at >= self._paused_until else asked_at

    def waited(self, now: float) -> float:
        """Seconds, at most, between the sending of what is read now and its reading."""
        return 0.0 if self._since is None else now - self._since


@dataclass(slots=True)
class Room:
    """One channel's, over all its sockets: memory of the frames that were handed over and are not done with."""

    most: int = MAX_WAITING_BYTES
    held: int = 0
    _costs: deque[int] = field(default_factory=deque)
    """Kept, not computed again: a text that was looked at may have grown."""

    def take(self, text: str | bytes) -> bool:
        """Whether one more frame fits; then it counts. One alone always does, else it would be sent for ever."""
        cost = sys.getsizeof(text) + FRAME_COST
        if self._costs and self.held + cost > self.most:
            return False
        self._costs.append(cost)
        self.held += cost
        return True

    def give(self) -> None:
        """The oldest frame is stored, or needs not be."""
        self.held -= self._costs.popleft()

    def pause(self, longest: float) -> float:
        """How many seconds to read nothing: none at first, and the longest when all is taken."""
        free = self.most * FREE_SHARE
        pause = longest * min(1.0, (self.held - free) / (self.most - free))
        return pause if pause >= min(SHORTEST_PAUSE_SECONDS, longest) else 0.0
