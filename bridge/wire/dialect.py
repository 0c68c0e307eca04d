"""The two node dialects behind one vocabulary: text in, an input out; a request in, text out.

A dialect decides nothing and remembers nothing. Its facts: protocol.md sections A to D and observed.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bridge.channel.identifier import ChannelId, FsmId
from bridge.channel.input import NodeInput
from bridge.channel.request import NodeRequest
from bridge.channel.terms import Terms


@dataclass(frozen=True, slots=True)
class Resume:
    """What a channel that was opened before presents to get back to it.

    JSON-RPC wants `fsm_id`, late legacy wants `offchain_tx` (the latest co-signed transaction, as text).
    """

    channel_id: ChannelId
    fsm_id: FsmId | None = field(default=None, repr=False)
    offchain_tx: str | None = None


class Codec(Protocol):
    """One dialect."""

    def decode(self, text: str | bytes) -> NodeInput:
        """One frame as one input. Raises `FrameError`, and nothing else, whatever the bytes."""
        ...

    def encode(self, request: NodeRequest) -> str:
        """One request as one frame. Raises `UnsupportedInDialect` where the dialect has no word for it."""
        ...

    def query(self, terms: Terms, resume: Resume | None) -> Mapping[str, str]:
        """The query parameters of the WebSocket's URL, unescaped (protocol.md A.2, A.3)."""
        ...

    def is_resumable(self) -> bool:
        """Whether a channel can be attached again after its socket was lost."""
        ...
