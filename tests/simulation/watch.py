"""What stands at the walls of the bridge's processes: numbers each frame and each commit, and does as ordered."""

import re
from collections.abc import Callable

from tests.simulation.frame import read_frame, read_message, read_query, read_signed
from tests.simulation.network import End, Fate
from tests.simulation.point import Action, Kind, Points
from tests.simulation.process import CURRENT, Process

FATES = {
    Action.SWALLOW: Fate.SWALLOW,
    Action.DOUBLE: Fate.DOUBLE,
    Action.LATE: Fate.LATE,
    Action.KILL_BEFORE: Fate.GONE,
}
ENDS = frozenset({"info.close_mutual", "info.closed_confirmed"})
CREDENTIAL = re.compile(rb'"fsm_id":"(ba_[^"]+)"')


class Watch:
    """The network's watcher and the loop's."""

    def __init__(self, points: Points, kill: Callable[[Process], None]) -> None:
        self._points = points
        self._kill = kill
        self._condemned: Process | None = None
        self._deaf: set[End] = set()
        """Whose handshake was never answered, or twice: what comes behind it is read by nobody."""
        self.written: list[tuple[str, str]] = []
        """Role and signed transaction, by its hash, of each signed reply on its way to the node."""
        self.doubled: list[tuple[str, str]] = []
        """Role and text of each message that came to the node twice and was written once."""
        self.swallowed: set[str] = set()
        """Messages that were lost on a socket that lived on."""
        self.ends: dict[str, float] = {}
        """Role to when its bridge was told that the channel is closed."""
        self.credentials: dict[str, float] = {}
        """Every `fsm_id` a bridge got, and when it did last. Secrets."""

    # --- frames -------------------------------------------------------------------------------------------

    def frame(self, end: End, data: bytes) -> tuple[Fate, Callable[[], None] | None]:
        """Only the bridge's ends ask: on writing for the node, and on reading from it."""
        frame = read_frame(data)
        is_out = frame.word == "request" or (frame.word != "response" and bool(data[1] & 0x80))
        if frame.word == "request":
            end.who = read_query(data).get("role", "")
        if frame.word == "response":
            end.network.release(end)
        if frame.is_beat:
            return Fate.PASS, None
        arrow = ">" if is_out else "<"
        action = self._points.reach(Kind.FRAME, end.process, f"{end.who} {arrow} {frame.word}", frame.text)
        if frame.word == "response" and action in (Action.SWALLOW, Action.LATE, Action.DOUBLE):
            self._deaf.add(end)
        if action in (None, Action.DOUBLE, Action.KILL_AFTER) and end not in self._deaf:
            now = end.network.loop.time()
            self.credentials.update((found.decode(), now) for found in CREDENTIAL.findall(frame.text))
            if frame.word in ENDS:
                self.ends[end.who] = now
        if is_out and action is not Action.KILL_BEFORE:
            self.written += [(end.who, found) for found in read_signed(frame.text)]
        if is_out and action in (Action.DOUBLE, Action.SWALLOW):
            self._note_spoilt(end.who, read_message(frame.text), action)
        if action is Action.KILL_BEFORE:
            self._kill_owner(end.process)
        if action is Action.KILL_AFTER:
            return Fate.PASS, lambda: self._kill_owner(end.process)
        return (Fate.PASS, None) if action is None else (FATES[action], None)

    def _note_spoilt(self, role: str, text: str | None, action: Action) -> None:
        """No stream doubles or leaves out a frame: what follows from that is no fault of the bridge."""
        if text is not None and action is Action.DOUBLE:
            self.doubled.append((role, text))
        elif text is not None:
            self.swallowed.add(text)

    def _kill_owner(self, process: Process | None) -> None:
        if process is not None:
            self._kill(process)

    # --- commits ------------------------------------------------------------------------------------------

    def before(self) -> None:
        process = CURRENT.get()
        action = self._points.reach(Kind.COMMIT, process, "group")
        if action is Action.KILL_BEFORE:
            self._kill_owner(process)
        self._condemned = process if action is Action.KILL_AFTER else None

    def after(self) -> None:
        self._kill_owner(self._condemned)
        self._condemned = None
