"""A message that came to the dead letters, or was unrouted: what it was, who wrote it, and why it lies there.

Two hands put them there. The bridge writes what it refused, with the reasons in headers; the broker moves what was
delivered too often or rejected, and says so in `x-death`. Unrouted messages keep exchange and key. Nothing in a
letter is trusted: all of it is text for people, until `incoming` has read the body anew. Pure.
Contract: design.md section 4, guarantees.md section 8.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bridge.wire.cloudevent import readable_body
from bridge.wire.envelope import Received
from bridge.wire.incoming import readable_command_id, split_command_key
from bridge.wire.strictbody import clip

LETTER = "letter"
"""Header of a replay: the letter it comes from."""
AUTHOR = "author"
"""Header of whatever is published again: who wrote it. The property `user_id` is that of who publishes."""
REPLAYED = "replayed"
"""Header of whatever is published again: the instant."""

Hand = Literal["bridge", "broker", "nobody"]
"""Who put it there; `nobody`: no queue wanted it."""

_ID = re.compile(r"[0-9a-f]{16}")
_DEATHS = "x-death"


@dataclass(frozen=True, slots=True)
class Letter:
    """`exchange` and `routing_key` are those it was written to, in full."""

    letter_id: str
    """16 hex digits, the same at every look: of the AMQP message id, the key and the body."""
    hand: Hand
    exchange: str
    routing_key: str
    queue: str
    """The queue it was taken from; empty if it was in none."""
    author: str
    """The broker's user; empty if it cannot be told."""
    code: str
    """Why, as a stable word: an error code of the bridge, or the broker's reason."""
    reason: str
    path: str
    at: str
    """When it came here, as whoever put it says; may be empty."""
    body: bytes
    content_type: str | None = None
    """Of the body as it was written; a structured CloudEvent stays one."""

    @property
    def kind(self) -> str:
        """What it was, by the exchange it was written to: `commands`, `sign-replies`, `results`, …"""
        return self.exchange.rpartition(".")[2]

    @property
    def channel(self) -> str:
        if self.kind == "commands":
            return split_command_key(self.routing_key)[0]
        words = self.routing_key.split(".")
        return words[1] if self.kind in ("sign-replies", "results") and len(words) > 1 else words[0]

    @property
    def command(self) -> str:
        """The kind of command; empty of what is none."""
        return split_command_key(self.routing_key)[1] if self.kind == "commands" else ""

    @property
    def command_id(self) -> str | None:
        return readable_command_id(self.plain)

    @property
    def plain(self) -> bytes:
        """The body, out of the structured CloudEvent it may stand in: what is repaired and sent again."""
        return readable_body(Received(self.exchange, self.routing_key, self.body, content_type=self.content_type))


def read_letter(received: Received) -> Letter:
    """Any message: whatever its headers hold, it is somebody's letter. Raises nothing."""
    headers = received.headers
    # A letter of the bridge has no deaths; one moved by the broker has the latest first.
    deaths = headers.get(_DEATHS)
    if isinstance(deaths, list) and deaths and isinstance(deaths[0], Mapping):
        return _moved(received, deaths[0])
    # Only the bridge may write this exchange: what stands in another one's headers anybody may have put there.
    is_ours = received.exchange.endswith(".dead-letters") and isinstance(headers.get("code"), str)
    if is_ours and isinstance(headers.get("source_exchange"), str):
        return _refused(received)
    return Letter(
        letter_id=_identify(received),
        hand="nobody",
        exchange=received.exchange,
        routing_key=received.routing_key,
        queue="",
        author=received.user_id or "",
        code="unrouted",
        reason="no queue was bound for it",
        path="",
        at=_text(headers.get("ce-time")),
        body=received.body,
        content_type=received.content_type,
    )


def _refused(received: Received) -> Letter:
    word = {name: _text(value) for name, value in received.headers.items()}
    return Letter(
        letter_id=_identify(received),
        hand="bridge",
        exchange=word["source_exchange"],
        routing_key=word.get("routing_key", ""),
        queue=word.get("source_queue", ""),
        author=word.get("author", "").strip("_"),
        code=word["code"],
        reason=word.get("reason", ""),
        path=word.get("path", ""),
        at=word.get("first_seen", ""),
        body=received.body,
        content_type=word.get("source_content_type"),
    )


def _moved(received: Received, death: Mapping[str, object]) -> Letter:
    keys = death.get("routing-keys")
    return Letter(
        letter_id=_identify(received),
        hand="broker",
        exchange=_text(death.get("exchange")),
        routing_key=_text(keys[0]) if isinstance(keys, list) and keys else "",
        queue=_text(death.get("queue")),
        author=received.user_id or "",
        code=_text(death.get("reason")),
        reason=f"the broker took it from {_text(death.get('queue'))}: {_text(death.get('reason'))}",
        path="",
        at=_text(death.get("time")),
        body=received.body,
        content_type=received.content_type,
    )


def read_letter_id(value: object) -> str | None:
    """None for what is none: the header of a replay is written by whoever sends it."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def _identify(received: Received) -> str:
    parts = (received.message_id or "", received.routing_key)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace") + b"\0" + received.body).hexdigest()[:16]


def _text(value: object) -> str:
    """A header as one line of at most 200 bytes: others wrote it, and it goes to a terminal."""
    text = "" if value is None else str(value)
    return clip("".join(character if character.isprintable() else "?" for character in text))
