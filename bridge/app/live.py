"""The demo's live view: what crosses the bus, as it does, and where each channel stands.

On a terminal a table that redraws itself; elsewhere one line a message, so that a log of it reads well.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

LINES = 16
ARROWS = {"command": "-->", "result": "<--", "event": "<--", "sign": "<->"}
COLOURS = {"command": "cyan", "result": "green", "event": "white", "sign": "yellow"}


@dataclass
class Board:
    """Keeps the latest messages and a row a channel. `show` draws; `note` adds."""

    console: Console = field(default_factory=Console)
    channels: dict[str, dict[str, str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    _lines: deque[Text] = field(default_factory=lambda: deque(maxlen=LINES))
    _live: Live | None = None

    def __enter__(self) -> "Board":
        if self.console.is_terminal:
            self._live = Live(self._draw(), console=self.console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """A headline: what the demo does next."""
        self._add(Text(f"== {text}", style="bold"))

    def note(self, kind: str, key: str, text: str) -> None:
        """One message on the bus."""
        self.counts[kind] += 1
        line = f"{ARROWS[kind]} {kind:<8}{key:<46}{text}"
        self._add(Text(line, style=COLOURS[kind], no_wrap=True, overflow="ellipsis"))

    def set(self, channel: str, **columns: str) -> None:
        self.channels.setdefault(channel, {}).update(columns)

    def _add(self, line: Text) -> None:
        self._lines.append(line)
        if self._live is None:
            self.console.print(line, soft_wrap=True)
        else:
            self._live.update(self._draw())

    def _draw(self) -> Group:
        table = Table(expand=True, title="state channels over RabbitMQ")
        columns = ("channel", "dialect", "state", "round", "own balance", "latest")
        for column in columns:
            table.add_column(column, no_wrap=True)
        for name, values in sorted(self.channels.items()):
            table.add_row(name, *(values.get(column, "") for column in columns[1:]))
        return Group(table, *self._lines)


def describe(data: dict[str, Any]) -> str:
    """The few fields of an event that tell its story."""
    words = [f"{key}={data[key]}" for key in ("amount", "round", "code", "tag", "info", "sentence") if data.get(key)]
    return " ".join(words)[:120]
