"""What a fault run recorded: the oracle's whole input. Plain facts, in the order they were seen; no opinion.

Filled by whoever ran the faults: the simulation in virtual time, or real processes. The truth is what the node
did (`Pair.states`), never what the bridge says of itself; what the bridge says is judged against it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

TERMINAL = frozenset({"succeeded", "failed", "rejected", "unknown"})


@dataclass(frozen=True, slots=True)
class Sent:
    """A command a client gave to the broker. The same one given twice is listed twice."""

    command_id: str
    channel: str
    """Our name of the channel's role."""
    kind: str
    author: str
    amount: int | None = None
    """Unique in the run for what moves coins; None for what moves none."""
    is_confirmed: bool = True
    """Whether the broker confirmed it. What it did not need never have arrived."""


@dataclass(frozen=True, slots=True)
class State:
    """A state both parties signed, as one side of the node took it up."""

    role: str
    """`initiator` or `responder`: whose side of the node."""
    round: int
    kind: str
    """The node's name of the transaction's type, e.g. `channel_offchain_tx`."""
    tx_hash: str
    amount: int | None
    """What its updates moved; None for the opening and for what moves nothing."""
    payer: str | None
    """The role that paid or deposited, or for a withdrawal the one that took."""
    initiator_balance: int
    responder_balance: int


@dataclass(frozen=True, slots=True)
class Request:
    """One sign request of the node to one side, and how it was answered. Seconds of one clock."""

    role: str
    tag: str
    round: int
    tx_hash: str
    asked_at: float
    answered_at: float | None
    answer: str | None
    """`signed`, or `refused` with its code; None as long as it is open."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One channel of the chain: two roles, each with our name of it, and what the node knows."""

    name: str
    initiator: str
    responder: str
    """Our names of the two roles. A role served by somebody else has a name no command was sent to."""
    states: tuple[State, ...]
    """In the order they were taken up, both sides. After a rollback a round may come again."""
    final_rounds: Mapping[str, int] = field(default_factory=dict)
    """Role to the round it stands at in the end. A role is absent when the node holds nothing of it any more."""
    requests: tuple[Request, ...] = ()
    is_lost: bool = False
    """The node itself was killed under it, or a fault was injected that is known to end a channel."""
    is_closed: bool = False

    def channel(self, role: str) -> str:
        return self.initiator if role == "initiator" else self.responder


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message read from the bus: a result, an event or a dead letter."""

    routing_key: str
    body: bytes
    headers: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Forward:
    """A ledger row of the journal: a signature handed to the node."""

    channel: str
    round: int | None
    tx_hash: str
    tag: str
    command_id: str | None
    at: float
    """Seconds since the epoch, the bridge's clock, as in its events."""
    abandoned_by: str | None = None
    """The evidence the ledger itself has recorded, if any."""
    signed_tx: str = ""
    """As it went to the node."""


@dataclass(frozen=True)
class Evidence:
    """Everything of one run."""

    sent: Sequence[Sent]
    pairs: Sequence[Pair]
    results: Sequence[Arrived]
    """Every copy, as received by the authors."""
    events: Sequence[Arrived]
    """Every copy, as received."""
    letters: Sequence[Arrived] = ()
    forwards: Sequence[Forward] = ()
    """The ledger in journal order."""
    written: Sequence[tuple[str, str]] = ()
    """Channel and signed transaction of each signed reply that was written to a node's socket, where that was seen."""
    booked: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Channel to what the latest entry in the journal leaves both in it: its event may still wait for the broker."""
    waiting: frozenset[str] = frozenset()
    """Commands that the journal holds as not ended."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Whatever else was written where people read: logs, metrics; by name."""
    secrets: frozenset[str] = frozenset()
    """Keys, credentials and passwords of this run."""

    @cached_property
    def outcomes(self) -> dict[str, list[dict[str, Any]]]:
        """Command id to its results in order, without repeats, status answers, and refused sign replies."""
        found: dict[str, list[dict[str, Any]]] = {}
        for arrived in self.results:
            body = json.loads(arrived.body)
            command_id = body.get("command_id")
            if command_id is None or body["outcome"] == "accepted":
                continue
            body["duplicate"] = False
            known = found.setdefault(command_id, [])
            if body not in known:
                known.append(body)
        return found

    @cached_property
    def verdicts(self) -> dict[str, dict[str, Any]]:
        """Command id to the latest that was said of it: terminal, or `in_doubt`."""
        return {
            command_id: next((body for body in bodies if body["outcome"] in TERMINAL), bodies[-1])
            for command_id, bodies in self.outcomes.items()
        }

    @cached_property
    def event_bodies(self) -> dict[str, list[dict[str, Any]]]:
        """Channel to its events by `seq`, without repeats."""
        found: dict[str, dict[int, dict[str, Any]]] = {}
        for arrived in self.events:
            body = json.loads(arrived.body)
            found.setdefault(body["channel"], {}).setdefault(body["seq"], body)
        return {channel: [bodies[seq] for seq in sorted(bodies)] for channel, bodies in found.items()}

    @cached_property
    def applied(self) -> dict[str, list[State]]:
        """Pair to the states that count in the end, round by round."""
        return {pair.name: history(pair) for pair in self.pairs}

    @cached_property
    def told(self) -> dict[str, set[str]]:
        """Channel to the words of its events, `family.name`."""
        return {
            channel: {f"{body['family']}.{body['name']}" for body in bodies}
            for channel, bodies in self.event_bodies.items()
        }

    def outcome(self, command_id: str) -> str | None:
        """The word for it, None when nothing was ever said."""
        verdict = self.verdicts.get(command_id)
        return None if verdict is None else str(verdict["outcome"])


def history(pair: Pair) -> list[State]:
    """Of each round the state taken up last, up to the round the sides agree on.

    What one side took up and both rolled back has not happened; what only one of them holds counts, because
    that one can bring it to the chain.
    """
    latest: dict[int, State] = {}
    for state in pair.states:
        latest[state.round] = state
    top = max(pair.final_rounds.values(), default=max(latest, default=0))
    return [latest[round_] for round_ in sorted(latest) if round_ <= top]


def digest(body: bytes) -> str:
    """What the next event carries as `prev`."""
    return hashlib.sha256(body).hexdigest()
