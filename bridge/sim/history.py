"""What an FSM remembers of its last events, as `channels.history.fetch` shows it.

Two oddities are the node's (observed.md, "Recovery"): texts come as `ba_…`, and as soon as the window reaches the
entry of a disconnect the whole answer is a bare "ok".
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bridge.sim.report import Complaint, Conflict, Delivered, Info, Left, OnChain, Report, SignWanted, Updated
from bridge.sim.request import INTERNAL_ERROR, OK, AskHistory, RequestRefused
from bridge.wire import encoding

TYPES = {"rpt": "report", "rcv": "receive", "snd": "send", "req": "request"}
TAGS = frozenset({"info", "on_chain_tx", "conflict", "update", "leave", "error", "debug"})
CONFLICT_TEXTS = {1: "validation error", 2: "conflict", 3: "timeout", 4: "abort", 5: "rejected on-chain"}


def conflict_text(code: int) -> str:
    return CONFLICT_TEXTS.get(code, "unknown" if code < 128 else "user-defined")


@dataclass(frozen=True, slots=True)
class Entry:
    type: str
    tag: str
    info: Any
    at: datetime

    def write(self) -> dict[str, Any]:
        time = self.at.isoformat(timespec="microseconds").replace("+00:00", "Z")
        return {"type": self.type, "tag": self.tag, "time": time, "info": self.info}


@dataclass
class History:
    """The last `keep` events, the newest last."""

    keep: int
    entries: deque[Entry] = field(init=False)

    def __post_init__(self) -> None:
        self.entries = deque(maxlen=self.keep)

    def note_report(self, report: Report, channel_id: str | None) -> None:
        match report:
            case Info(event, _):
                self._note("report", "info", {"event": event})
            case Updated(signed):
                self._note("report", "update", {"state": _text(encoding.encode("tx", signed))})
            case Left(signed):
                self._note("report", "leave", {"state": _text(encoding.encode("tx", signed))})
            case Conflict(round, code):
                info = {"channel_id": channel_id, "round": round, "error_code": code}
                self._note("report", "conflict", info | {"error_msg": _text(conflict_text(code))})
            case OnChain(info_text, kind, signed):
                info = {"info": _text(info_text), "type": _text(kind), "tx": _text(encoding.encode("tx", signed))}
                self._note("report", "on_chain_tx", info)
            case Complaint(message):
                self._note("report", "error", {"message": _text(message)})
            case SignWanted() | Delivered():
                pass  # the node keeps neither among its reports

    def note_disconnect(self) -> None:
        self._note("receive", "disconnect", None)

    def fetch(self, asked: AskHistory) -> Any:
        """Newest first. Raises RequestRefused for a filter that names what does not exist."""
        if not set(asked.types) <= TYPES.keys() or not set(asked.tags) <= TAGS:
            raise RequestRefused(INTERNAL_ERROR)
        types = {TYPES[name] for name in asked.types}
        found = [
            entry
            for entry in reversed(self.entries)
            if (not types or entry.type in types) and (not asked.tags or entry.tag in asked.tags)
        ][: asked.count]
        if any(entry.tag == "disconnect" for entry in found):
            return OK
        return [entry.write() for entry in found]

    def _note(self, kind: str, tag: str, info: Any) -> None:
        self.entries.append(Entry(kind, tag, info, datetime.now(UTC)))


def _text(text: str) -> str:
    return encoding.encode("ba", text.encode())
