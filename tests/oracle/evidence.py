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
    text: str | None = None
    """What the node is given. Unique in the run for a message."""
    may_repeat: bool = False
    """Whether a message was sent `at_least_once`."""


def letter(command_id: str, info: str) -> str:
    """What the node is given of a message that is said at least once."""
    return f"channel-bridge:message:{command_id}\n{info}"


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
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Request:
    """One sign request of the node to one side, and how it was answered."""

    role: str
    tag: str
    round: int
    tx_hash: str
    asked_at: float
    answered_at: float | None
    answer: str | None
    """`signed`, or `refused` with its code; None as long as it is open."""
    reply_hash: str | None = None
    """Of the transaction that came back."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A signed reply as the node received it, asked for or not."""

    role: str
    tag: str
    round: int
    """0 for a close."""
    tx_hash: str
    signed: str
    """The hash over transaction and signatures."""
    at: float
    is_stray: bool = False


@dataclass(frozen=True, slots=True)
class Fact:
    """What the node said or answered to one side, from which it follows that a signature came to nothing."""

    role: str
    what: str
    """`conflict`, the name of an `info`, `state` for the answer to a state query; `admitted` or `refused` when a client
    came back; `reused`.
    """
    round: int
    """The latest co-signed one of that side at that moment."""
    at: float
    code: int | None = None
    """Of a conflict."""
    raised_at: int | None = None
    """The round that a conflict names."""
    half_hash: str | None = None
    """What a state answer shows as half-signed."""
    reused_hash: str | None = None
    """Of `reused`: the transaction for which an earlier signature of this side counted, while its client was away."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message, as the node took it from its sender or passed it on."""

    role: str
    """The sender's."""
    text: str
    is_delivery: bool
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Pair:
    """One channel of the chain: two roles, each with our name of it, and what the node knows.

    All times are seconds since the epoch: whoever reads the node's notes converts its clock.
    """

    name: str
    initiator: str
    responder: str
    """Our names of the two roles. A role served by somebody else has a name no command was sent to."""
    states: tuple[State, ...]
    """In the order they were taken up, both sides. After a rollback a round may come again."""
    final_rounds: Mapping[str, int] = field(default_factory=dict)
    """Role to the round it stands at in the end. A role is absent when the node holds nothing of it any more."""
    final_hashes: Mapping[str, str] = field(default_factory=dict)
    """Role to the transaction of the state it stands at in the end."""
    requests: tuple[Request, ...] = ()
    replies: tuple[Reply, ...] = ()
    """In the order they came."""
    facts: tuple[Fact, ...] = ()
    messages: tuple[Said, ...] = ()
    is_lost: bool = False
    """The node shows that nothing is left both sides could go on with, and a fault of this run may have done that."""
    is_legacy: bool = False
    """Its node says less, and refuses whoever comes back while its FSM still waits for something."""
    taken_at: float | None = None
    """When the run itself ended it, after all else: a channel of the first legacy dialect outlives no socket."""
    is_closed: bool = False
    closed_by: str | None = None
    """The transaction that closed it on the chain."""
    acknowledge_seconds: float = 60.0
    """How long the bridge may take for an acknowledgement: its configuration in this run."""
    accept_seconds: float = 120.0
    """How long the peer's node waits for one."""

    def channel(self, role: str) -> str:
        return self.initiator if role == "initiator" else self.responder

    def role(self, channel: str) -> str | None:
        """Whose name that is, None if it is of another pair."""
        return {self.initiator: "initiator", self.responder: "responder"}.get(channel)


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
    """What the ledger itself says of it, if anything. Told in violations, believed in none."""
    signed: str = ""
    """The hash over transaction and signatures, whatever spelling the ledger holds."""


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
    """Channel and signed transaction, by its hash, of each signed reply that was written to a node's socket."""
    booked: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Channel to what the latest entry in the journal leaves both in it: its event may still wait for the broker."""
    swallowed: frozenset[str] = frozenset()
    """Messages that were taken out of a stream which went on, as no TCP does: an answer to what came behind one of them
    proves nothing here.
    """
    last_seq: Mapping[str, int] = field(default_factory=dict)
    """Channel to the number of its last event that the journal gave to the broker; empty if nobody looked."""
    waiting: frozenset[str] = frozenset()
    """Commands that the journal holds as not ended."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Whatever else was written where people read: logs, metrics; by name. One the run must have is never empty."""
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

    @cached_property
    def sides(self) -> dict[str, tuple[Pair, str]]:
        """Channel to its pair and role."""
        return {pair.channel(role): (pair, role) for pair in self.pairs for role in ("initiator", "responder")}

    @cached_property
    def reused(self) -> set[tuple[str, str]]:
        """Channel and transaction of each signature of ours that the node shows to have been used after all."""
        return {
            (pair.channel(fact.role), fact.reused_hash)
            for pair in self.pairs
            for fact in pair.facts
            if fact.reused_hash is not None
        }

    @cached_property
    def unseen(self) -> set[tuple[str, str]]:
        """Of these, those of a channel that was lost before its node answered this side once more."""
        shown = {
            (pair.channel(fact.role), fact.reused_hash)
            for pair in self.pairs
            for fact in pair.facts
            if fact.reused_hash is not None
            and (
                not pair.is_lost
                or any(said.what == "state" and said.role == fact.role and said.at > fact.at for said in pair.facts)
            )
        }
        return self.reused - shown

    @cached_property
    def corrected(self) -> dict[str, str]:
        """Command id to the outcome it was given after its end, where the node shows why."""
        return {
            body["data"]["command_id"]: body["data"]["outcome"]
            for channel, bodies in self.event_bodies.items()
            for body in bodies
            if (body["family"], body["name"]) == ("command", "outcome_corrected")
            and (channel, body["data"]["tx_hash"]) in self.reused
        }

    def outcome(self, command_id: str) -> str | None:
        """The latest word for it, None when nothing was ever said."""
        verdict = self.verdicts.get(command_id)
        return None if verdict is None else self.corrected.get(command_id, str(verdict["outcome"]))


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
