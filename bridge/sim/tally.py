"""Counts the kinds of frame that crossed, by dialect and direction: what a demo or a test has really shown.

Kinds, never contents. A legacy kind is `action` or `action/tag`, a JSON-RPC kind its method, `result` or `error`.
"""

import json
from collections import Counter
from typing import Any, Literal

from bridge.channel.terms import Dialect

Direction = Literal["to_node", "from_node"]

SEED_KINDS: frozenset[tuple[Direction, str]] = frozenset(
    {
        ("to_node", "update/new"),
        ("from_node", "sign/update"),
        ("to_node", "update"),
        ("from_node", "sign/update_ack"),
        ("to_node", "update_ack"),
        ("from_node", "conflict"),
        ("from_node", "error"),
        ("to_node", "deposit"),
        ("from_node", "sign/deposit_tx"),
        ("to_node", "deposit_tx"),
        ("from_node", "sign/deposit_ack"),
        ("to_node", "deposit_ack"),
        ("to_node", "withdraw"),
        ("from_node", "sign/withdraw_tx"),
        ("to_node", "withdraw_tx"),
        ("from_node", "sign/withdraw_ack"),
        ("to_node", "withdraw_ack"),
        ("to_node", "message"),
        ("from_node", "message"),
        ("to_node", "shutdown"),
        ("from_node", "sign/shutdown_sign"),
        ("to_node", "shutdown_sign"),
        ("from_node", "sign/shutdown_sign_ack"),
        ("to_node", "shutdown_sign_ack"),
        ("from_node", "on_chain_tx"),
        ("from_node", "info"),
    }
)
"""The example frames of the seed document, each a kind of its own (protocol.md section B)."""


class Tally:
    def __init__(self) -> None:
        self._counts: Counter[tuple[Dialect, Direction, str]] = Counter()

    def note(self, dialect: Dialect, direction: Direction, text: str | bytes) -> None:
        """Counts one frame; a text that is none counts as `garbage`."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        self._counts[dialect, direction, _kind(value)] += 1

    def seed_kinds(self) -> list[str]:
        """The seed document's kinds seen so far, in the seed's own dialect, as `direction kind`."""
        seen = {(direction, kind) for dialect, direction, kind in self._counts if dialect is Dialect.LEGACY_SEED}
        return sorted(f"{direction} {kind}" for direction, kind in seen & SEED_KINDS)

    def report(self) -> dict[str, Any]:
        """JSON-ready: dialect, direction, kind, count; and the seed's kinds."""
        frames: dict[str, dict[str, dict[str, int]]] = {}
        for (dialect, direction, kind), count in sorted(self._counts.items()):
            frames.setdefault(dialect.value, {}).setdefault(direction, {})[kind] = count
        return {"frames": frames, "seed_kinds": self.seed_kinds()}


def _kind(value: Any) -> str:
    match value:
        case {"action": str(action), "tag": str(tag)}:
            return f"{action}/{tag}"
        case {"action": str(action)} | {"method": str(action)}:
            return action
        case {"result": _}:
            return "result"
        case {"error": _}:
            return "error"
        case _:
            return "garbage"
