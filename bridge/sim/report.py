"""What an FSM tells its client unasked, in words both dialects share. A skin makes frames of these.

A transaction is given in its parts, signatures and inner bytes: JSON-RPC shows them wrapped, legacy bare.
"""

from dataclasses import dataclass, field

from bridge.channel.identifier import Account
from bridge.channel.request import Tag
from bridge.channel.transaction import Kind, Update


@dataclass(frozen=True, slots=True)
class Info:
    event: str
    fsm_id: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SignWanted:
    tag: Tag
    inner: bytes
    signatures: tuple[bytes, ...]
    updates: tuple[Update, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """A new co-signed state, as a serialized signed_tx."""

    signed: bytes


@dataclass(frozen=True, slots=True)
class Conflict:
    """What was running is void. `round` is that of the side which raised it."""

    round: int
    code: int


@dataclass(frozen=True, slots=True)
class OnChain:
    info: str
    kind: Kind
    signed: bytes


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message from the peer."""

    sender: Account
    receiver: Account
    text: str


@dataclass(frozen=True, slots=True)
class Left:
    signed: bytes


@dataclass(frozen=True, slots=True)
class Complaint:
    """The FSM's own error text (`channels.error`)."""

    message: str


Report = Info | SignWanted | Updated | Conflict | OnChain | Delivered | Left | Complaint
