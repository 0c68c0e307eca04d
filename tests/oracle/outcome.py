"""Rules about results: every accepted command is answered, and ends once."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from math import floor
from typing import Any

from tests.oracle.evidence import TERMINAL, Evidence, Pair
from tests.oracle.violation import Violation

HALTS = frozenset(
    {
        "alarm.invariant_violation",
        "alarm.foreign_state",
        "alarm.recovery_required",
    }
)
REFUSED_SECONDS, LEAST_REFUSALS = 145.0, 5
"""The operators are called after 150 s of failing tries, five at least (guarantees.md section 3)."""
CALLS = frozenset({"alarm.foreign_state", "alarm.recovery_required"})
"""What is said of a channel that was taken from us."""


def each_command_has_an_outcome(evidence: Evidence) -> Iterator[Violation]:
    """G5: nothing the broker took is lost. `in_doubt` is an outcome; whether one may remain is the run's matter.

    Only where the channel is lost and operators were called may a command wait, kept in the journal. The side that can
    come back no more calls them; the other may only see that its peer is away.
    """
    lost = [{pair.initiator, pair.responder} for pair in evidence.pairs if pair.is_lost]
    called = {
        channel
        for both in lost
        if any("alarm.recovery_required" in evidence.told.get(one, ()) for one in both)
        for channel in both
    }
    for sent in {sent.command_id: sent for sent in evidence.sent if sent.is_confirmed}.values():
        waits = sent.channel in called and sent.command_id in evidence.waiting
        if sent.command_id not in evidence.outcomes and not waits:
            yield Violation("each command has an outcome", sent.command_id, f"nothing was said of this {sent.kind}")


def no_channel_is_halted(evidence: Evidence) -> Iterator[Violation]:
    """A broken invariant is a bug; a foreign state or a call for recovery needs a channel that was taken from us."""
    for channel, bodies in evidence.event_bodies.items():
        words = {f"{body['family']}.{body['name']}" for body in bodies if not _is_owed(evidence, channel, body)}
        for word in sorted(words & HALTS):
            yield Violation("no channel is halted", channel, word)


def _is_owed(evidence: Evidence, channel: str, body: dict[str, Any]) -> bool:
    """Whether the operators have to be told so: the channel is lost, or the run has ended it by then."""
    if channel not in evidence.sides or f"{body['family']}.{body['name']}" not in CALLS:
        return False
    pair, role = evidence.sides[channel]
    told_at = datetime.fromisoformat(body["at"]).timestamp()
    is_taken = pair.taken_at is not None and told_at >= floor(pair.taken_at * 1000) / 1000
    return pair.is_lost or is_taken or (pair.is_legacy and _was_refused(pair, role, told_at))


def _was_refused(pair: Pair, role: str, told_at: float) -> bool:
    """Whether the node has let this side in no more for as long as it takes to call its operators."""
    begin = told_at - REFUSED_SECONDS
    came = [fact.what for fact in pair.facts if fact.role == role and begin <= fact.at <= told_at]
    return came.count("refused") >= LEAST_REFUSALS and "admitted" not in came


def what_was_used_after_all_is_told(evidence: Evidence) -> Iterator[Violation]:
    """A signature cannot be taken back: where the node shows that a failed command has happened after all, its channel
    says so, once, and corrects the outcome; otherwise nothing of the kind is said. Where the node lost the channel
    before it could show it, nobody can know.
    """
    due = dict.fromkeys(_used_after_all(evidence), 1)
    for word, outcome in (("alarm.abandoned_state_used", None), ("command.outcome_corrected", "succeeded")):
        told = Counter(
            (channel, body["data"]["tx_hash"], body["data"]["command_id"])
            for channel, bodies in evidence.event_bodies.items()
            for body in bodies
            if f"{body['family']}.{body['name']}" == word and body["data"].get("outcome") == outcome
        )
        for channel, tx_hash, command_id in sorted(due.keys() | told.keys()):
            found = channel, tx_hash, command_id
            if told[found] != due.get(found, 0):
                text = f"{channel} told {word} {told[found]} times, due {due.get(found, 0)}: {tx_hash}"
                yield Violation("what was used after all is told", command_id, text)


def _used_after_all(evidence: Evidence) -> Iterator[tuple[str, str, str]]:
    """Channel, transaction and command of each payment told `failed` whose signature the node shows as used."""
    moved: dict[tuple[str, int | None], str] = {
        (sent.channel, sent.amount): sent.command_id for sent in evidence.sent if sent.amount is not None
    }
    for pair in evidence.pairs:
        for state in evidence.applied[pair.name]:
            for channel in (pair.initiator, pair.responder):
                command_id = moved.get((channel, state.amount))
                verdict = evidence.verdicts.get(command_id or "", {})
                is_used = (channel, state.tx_hash) in evidence.reused - evidence.unseen
                if command_id and is_used and verdict.get("outcome") == "failed":
                    yield channel, state.tx_hash, command_id


def each_command_ends_once(evidence: Evidence) -> Iterator[Violation]:
    """G2: one terminal outcome; what was in doubt may be said before it, nothing after it.

    A refused repeat of an id (another body, another author) is a rejection of the repeat, not a second end.
    """
    for command_id, bodies in evidence.outcomes.items():
        own = [body for body in bodies if not _is_refused_repeat(body, bodies)]
        words = [body["outcome"] for body in own]
        ends = [word for word in words if word in TERMINAL]
        if len(ends) > 1 or (ends and words[-1] not in TERMINAL):
            yield Violation("each command ends once", command_id, f"it was told {words}")


def _is_refused_repeat(body: dict[str, object], bodies: list[dict[str, object]]) -> bool:
    return body.get("code") in ("idempotency_conflict", "forbidden") and len(bodies) > 1


def repeated_results_are_identical(evidence: Evidence) -> Iterator[Violation]:
    """At least once means the same bytes again; only an answer to a repeated id says `duplicate`."""
    first: dict[tuple[str, str, str | None], bytes] = {}
    for arrived in evidence.results:
        body = json.loads(arrived.body)
        command_id, outcome = body.get("command_id"), body["outcome"]
        if command_id is None or outcome == "accepted":
            continue
        if body["duplicate"]:
            known = [dict(told) for told in evidence.outcomes[command_id] if told["outcome"] == outcome]
            if len(known) > 1:
                yield Violation("repeated results are identical", command_id, f"the repeat of {outcome} differs")
            continue
        key = command_id, outcome, body.get("code")
        if first.setdefault(key, arrived.body) != arrived.body and outcome in TERMINAL - {"rejected"}:
            yield Violation("repeated results are identical", command_id, f"{outcome} came with two bodies")
