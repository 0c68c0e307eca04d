"""Everything that can happen to a channel. With `effect`, this list is the design.

Node inputs are what both dialects decode to; `raw` is the received text with any `fsm_id` masked, kept as
evidence and left out of comparison. A field the dialect does not have is None.
"""

from dataclasses import dataclass, field

from bridge.channel.command import Command, Query, Resolve
from bridge.channel.identifier import (
    Account,
    ApprovalRequestId,
    ChannelId,
    FsmId,
    RequestId,
    SignRequestId,
    TransactionHash,
)
from bridge.channel.request import Tag
from bridge.channel.transaction import Transaction, Update
from bridge.errors import Code

# --- from the node -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What every decoded frame has. `raw` is evidence for events, at most one frame long."""

    channel_id: ChannelId | None = None
    raw: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoReported(Frame):
    """`info`: a change of the FSM. `event` is the node's word; unknown words are informative, never an error."""

    event: str
    fsm_id: FsmId | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignRequested(Frame):
    """`sign`: the node waits for our signature. `updates` None: the dialect did not tell."""

    tag: Tag
    transaction: Transaction
    updates: tuple[Update, ...] | None = None
    signers: tuple[Account | None, ...] = ()
    """Which party made each of the transaction's signatures, in their order; None: neither."""
    arrived_at: float | None = None
    """When the frame came, by the steady clock, where that was before it was this input's turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateUpdated(Frame):
    """`update` {state}: a new co-signed state. The only proof that a payment happened."""

    transaction: Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflicted(Frame):
    """`conflict`: what was running is void. `round` is that of the side which raised it; legacy code is 2."""

    round: int
    code: int = 2
    message: str = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReported(Frame):
    """`on_chain_tx`. `info` None in legacy; `kind` of the transaction is decoded in both."""

    transaction: Transaction
    info: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReceived(Frame):
    """A generic message from the peer. Accounts are text: old nodes write them in forms we only pass on."""

    from_account: str
    to_account: str
    info: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelLeft(Frame):
    """`leave`: one side left in order; the state is the latest co-signed one."""

    transaction: Transaction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelErrored(Frame):
    """`error` {message}: the FSM's own complaint, e.g. `bad_signature`."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRefused(Frame):
    """An error answer to a request. `reasons` are the neutral words of protocol.md section D, rule 2.

    `codes` are the node's data codes (1001 …), or the top code where there is none. `request` is the echoed
    request as JSON text, or "".
    """

    request_id: RequestId | None
    codes: tuple[int, ...]
    reasons: tuple[str, ...]
    request: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The node took the request for work; never more than that."""


@dataclass(frozen=True, slots=True)
class Balances:
    entries: tuple[tuple[Account, int], ...]


@dataclass(frozen=True, slots=True)
class OffchainState:
    """The latest co-signed transaction and, on the proposing side, the half-signed one on its way."""

    signed: Transaction | None
    half_signed: Transaction | None


@dataclass(frozen=True, slots=True)
class Proof:
    poi: str


@dataclass(frozen=True, slots=True)
class History:
    """Conflict codes of the node's memory, newest first, each with its round and the node's own time of it."""

    conflicts: tuple[tuple[int, int | None, str], ...]


@dataclass(frozen=True, slots=True)
class OtherAnswer:
    """An answer to a request we do not make; kept as JSON text."""

    text: str


Answer = Accepted | Balances | OffchainState | Proof | History | OtherAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestAnswered(Frame):
    """A result. Legacy answers have no id: they belong to the oldest open query of their kind."""

    request_id: RequestId | None
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Unhandled(Frame):
    """A well-formed frame with a method we do not know: passed on as an event, counted, never an error."""

    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRejected(Frame):
    """A text from the node that is no frame. `reason` is for people; `raw` holds its first 1,000 bytes.

    `tag`: the node waits for this signature all the same.
    """

    reason: str
    tag: Tag | None = None


NodeInput = (
    InfoReported
    | SignRequested
    | StateUpdated
    | Conflicted
    | ChainReported
    | MessageReceived
    | ChannelLeft
    | ChannelErrored
    | RequestRefused
    | RequestAnswered
    | Unhandled
)

# --- from the link, the bus and the clock --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TakenOver:
    """This process owns the channel as of now: whatever socket there was is another's or gone."""


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The WebSocket is open. `resumed`: opened with a stored credential, so a reconnect or a reestablish."""

    resumed: bool
    presented: str = ""
    """Fingerprint of the `fsm_id` it was opened with: the node's answer to another one is a reestablish."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The WebSocket is gone. `code` is the close code (1006: no close frame), `reason` for people."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LinkFailed:
    """An attempt to connect ended without a link. Told once per outage and again at each doubling."""

    attempts: int
    reason: str
    code: Code = Code.CONNECTION_LOST


@dataclass(frozen=True, slots=True)
class CommandDue:
    """The command at the head of the channel's line. Given only while `state.operation` is None."""

    command: Command
    author: str = ""
    """The broker's user who gave it: his own approval of it does not count."""
    body_hash: str = ""
    """What an approval of it must name."""


@dataclass(frozen=True, slots=True)
class QueryDue:
    """A query stands outside the line: given at once."""

    query: Query


@dataclass(frozen=True, slots=True)
class Signed:
    """A checked signature: `signed_tx` is what the node gets, `hash` that of its inner transaction."""

    signed_tx: str
    hash: str
    replaces: tuple[TransactionHash, ...] = ()
    """Transactions the signer says it had signed for that round before, and which we had declared abandoned."""


@dataclass(frozen=True, slots=True)
class Declined:
    """The signer says no."""

    reason: str


@dataclass(frozen=True, slots=True)
class BadReply:
    """A reply that failed the checks of guarantees.md 5.2; the request stays open."""

    reason: str
    code: Code = Code.SIGN_REPLY_INVALID


@dataclass(frozen=True, slots=True)
class SignReplied:
    """A signer's reply, already checked against the open request with this id."""

    sign_request_id: SignRequestId
    author: str
    verdict: Signed | Declined | BadReply


@dataclass(frozen=True, slots=True)
class ApprovalGiven:
    """An approver's answer. `author` is vouched for by the broker."""

    approval_request_id: ApprovalRequestId
    author: str
    body_hash: str
    is_approved: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResolveDue:
    """An operator settles what is in doubt. Stands outside the line."""

    resolve: Resolve
    author: str


@dataclass(frozen=True, slots=True)
class Withheld:
    """A signature that was to be sent by a deadline and was not: it reached nobody."""

    request_id: RequestId


@dataclass(frozen=True, slots=True)
class ChainSeen:
    """What the chain says by itself: its height, and the nonce of our account's latest transaction in a block."""

    height: int
    nonce: int


@dataclass(frozen=True, slots=True)
class CloseSeen:
    """The mutual close with this hash is in a block: its nonce is used, and the chain has the channel no more."""

    hash: str


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed. Given at least at the instant `next_wake(state)` names."""


Input = (
    NodeInput
    | FrameRejected
    | TakenOver
    | LinkUp
    | LinkDown
    | LinkFailed
    | CommandDue
    | QueryDue
    | ResolveDue
    | Withheld
    | ChainSeen
    | CloseSeen
    | SignReplied
    | ApprovalGiven
    | Ticked
)
