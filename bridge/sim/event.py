"""Everything that can happen to an FSM, and the states it can be in (protocol.md F.1).

An event is handled, or postponed until the state changes, in the order they came; that is how the node's own state
machine works, and where its traps come from.
"""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bridge.sim.draft import Operation
from bridge.sim.request import Reply, Request

if TYPE_CHECKING:
    from bridge.sim.fsm import Fsm

# --- events -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose handler waits for the answer and reads nothing meanwhile."""

    request: Request
    answer: "asyncio.Future[Any]"


@dataclass(frozen=True, slots=True)
class ClientGone:
    """The socket of this client ended."""

    client: "Client"


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The timer of this stay in a state; out of date if the FSM is in another by now."""

    state: "State"


@dataclass(frozen=True, slots=True)
class PeerMet:
    """Initiator and responder found each other."""

    peer: "Fsm"


@dataclass(frozen=True, slots=True)
class Proposed:
    """The peer's operation, with his signature (or both)."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Our operation with both signatures."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """The peer's conflict about the running operation: his code, his round."""

    code: int
    round: int


@dataclass(frozen=True, slots=True)
class PeerLocked:
    """The peer saw the transaction deep enough."""


@dataclass(frozen=True, slots=True)
class PeerSaid:
    text: str


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """The peer's client said leave; his FSM ends after this."""


@dataclass(frozen=True, slots=True)
class PeerGone:
    """The peer's FSM ended."""


@dataclass(frozen=True, slots=True)
class PeerUnattended:
    """The peer's client may be away: what we kept of his may be used now."""


@dataclass(frozen=True, slots=True)
class PeerReturned:
    """An initiator born of a reestablish, with the latest state he has."""

    peer: "Fsm"
    signed: bytes


@dataclass(frozen=True, slots=True)
class Reestablished:
    """The responder holds the same state as we."""


@dataclass(frozen=True, slots=True)
class TransactionSeen:
    """In a block."""

    signed: bytes


@dataclass(frozen=True, slots=True)
class TransactionDeep:
    """The operation in AwaitingLock or Closing is as deep as the channel wants."""


Event = (
    Call
    | Reply
    | ClientGone
    | TimedOut
    | PeerMet
    | Proposed
    | Acknowledged
    | PeerRefused
    | PeerLocked
    | PeerSaid
    | PeerLeft
    | PeerGone
    | PeerUnattended
    | PeerReturned
    | Reestablished
    | TransactionSeen
    | TransactionDeep
)

# --- states -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AwaitingPeer:
    """Opening: the other party has not come yet."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A responder waits for the half-signed create transaction."""


@dataclass(frozen=True, slots=True)
class AwaitingSignature:
    """Our own client is asked."""

    operation: Operation
    is_ours: bool
    """Whether we proposed it."""


@dataclass(frozen=True, slots=True)
class HalfSigned:
    """Our signature is at the peer."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class AwaitingLock:
    """Co-signed and pushed; waits for depth, ours and the peer's."""

    operation: Operation
    is_locked: bool = False
    is_peer_locked: bool = False


@dataclass(frozen=True, slots=True)
class Open:
    """Ready for work."""


@dataclass(frozen=True, slots=True)
class Closing:
    """A co-signed close waits for the chain."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class AwaitingReturn:
    """A responder born of a reestablish waits for the initiator."""


@dataclass(frozen=True, slots=True)
class Returning:
    """An initiator born of a reestablish waits for the responder's answer."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing is heard any more."""


State = (
    AwaitingPeer
    | Accepted
    | AwaitingSignature
    | HalfSigned
    | AwaitingLock
    | Open
    | Closing
    | AwaitingReturn
    | Returning
    | Ended
)

UNFUNDED = (AwaitingPeer, Accepted)


class Client(Protocol):
    """A handler of one socket, as its FSM sees it."""

    has_spoken: bool

    def deliver(self, report: Any, channel_id: str | None) -> None:
        """Send this when the handler is free. Does not block."""
        ...

    def finish(self, code: int) -> None:
        """Close after what was delivered."""
        ...

    def evict(self) -> None:
        """Another client took over: the connection is torn down without a frame."""
        ...
