"""Every event of the bus contract: family, name, and the model that describes what stands under `data`.

The one list: documents and schemas are made from it, and the system tests hold every event they see to it. Where the
name is the node's own word, `ANY` stands for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.wire.eventdata import (
    Acknowledged,
    ApprovalAnswered,
    ApprovalRefused,
    ApprovalRequested,
    AuditHead,
    CommandStarted,
    CommandWaiting,
    Ended,
    EventData,
    ExposureCleared,
    MessageReceived,
    OutcomeCorrected,
    PolicyDenied,
    Resolved,
    Reverted,
)
from bridge.wire.ledgerdata import BooksDisagree, Posted
from bridge.wire.reportdata import (
    AbandonedStateUsed,
    ChainTransaction,
    ChannelErrored,
    ClosedOnChain,
    ConflictReported,
    CosignedState,
    ForeignState,
    Halted,
    LinkAttached,
    LinkDetached,
    LinkReattached,
    LinkUnreachable,
    NodeInfo,
    NodeLeft,
    NotAsked,
    NotAskedBecause,
    Proven,
    RecoveryRequired,
    RequestRefused,
    Sentence,
    SignDenied,
    SignEnded,
    SignExpiring,
    SignForwarded,
    SignRequested,
    SignState,
    Unhandled,
    Unroutable,
    Withheld,
)

ANY = "*"
"""Stands for a name that is the node's own word."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the contract. `data` describes what stands under that key."""

    family: str
    name: str
    data: type[EventData]

    @property
    def is_open(self) -> bool:
        """Whether the name is the node's own word."""
        return self.name == ANY


def _events(family: str, names: Mapping[str, type[EventData]]) -> tuple[Event, ...]:
    return tuple(Event(family, name, data) for name, data in names.items())


_OWN: Mapping[str, type[EventData]] = {"succeeded": Ended, "failed": Ended, "in_doubt": Ended}
_PEERS: Mapping[str, type[EventData]] = {"acknowledged": Acknowledged, "reverted": Reverted}

EVENTS: tuple[Event, ...] = (
    *_events("transfer", {**_OWN, "received": Acknowledged, "reverted": Reverted}),
    *_events("deposit", {**_OWN, **_PEERS}),
    *_events("withdraw", {**_OWN, **_PEERS}),
    *_events("shutdown", {**_OWN, **_PEERS}),
    *_events("message", {"succeeded": Ended, "failed": Ended, "unknown": Ended, "received": MessageReceived}),
    *_events("checkpoint", _OWN),
    *_events("resolve", {"succeeded": Ended, "failed": Ended}),
    *_events(
        "command",
        {
            "started": CommandStarted,
            "waiting": CommandWaiting,
            "policy_denied": PolicyDenied,
            "approval_requested": ApprovalRequested,
            "approval_given": ApprovalAnswered,
            "approval_denied": ApprovalAnswered,
            "approval_refused": ApprovalRefused,
            "exposure_cleared": ExposureCleared,
            "outcome_corrected": OutcomeCorrected,
        },
    ),
    *_events(
        "sign",
        {
            "requested": SignRequested,
            "forwarded": SignForwarded,
            "expiring": SignExpiring,
            "expired": SignState,
            "refused": SignEnded,
            "withdrawn": SignEnded,
            "suspended": SignEnded,
            "resumed": SignState,
            "withheld": Withheld,
            "misbehaved": SignState,
            "mismatch": NotAskedBecause,
            "denied": SignDenied,
            "busy": NotAsked,
            "unexpected": NotAsked,
            "lapses": NotAskedBecause,
        },
    ),
    *_events("chain", {ANY: ChainTransaction}),
    *_events(
        "info",
        {"state": CosignedState, "proof": Proven, "closed_on_chain": ClosedOnChain, "leave": NodeLeft, ANY: NodeInfo},
    ),
    *_events("conflict", {"reported": ConflictReported}),
    *_events("error", {"request": RequestRefused, "channel": ChannelErrored}),
    *_events(
        "link",
        {
            "attached": LinkAttached,
            "detached": LinkDetached,
            "reattached": LinkReattached,
            "unreachable": LinkUnreachable,
        },
    ),
    *_events(
        "alarm",
        {
            "recovery_required": RecoveryRequired,
            "foreign_state": ForeignState,
            "abandoned_state_used": AbandonedStateUsed,
            "owner_conflict": Sentence,
            "protocol_violation": Sentence,
            "invariant_violation": Halted,
            "event_unroutable": Unroutable,
            "books_disagree": BooksDisagree,
        },
    ),
    *_events("ledger", {"posted": Posted}),
    *_events("audit", {"resolved": Resolved, "head": AuditHead}),
    *_events("unhandled", {ANY: Unhandled}),
)
"""Every event there is, in the order of the documents."""

_BY_NAME = {(event.family, event.name): event for event in EVENTS}


def find_event(family: str, name: str) -> Event | None:
    """The line this event stands on; None if the contract does not know it."""
    return _BY_NAME.get((family, name)) or _BY_NAME.get((family, ANY))
