"""Rules about signatures, which cannot be taken back (guarantees.md sections 2 and 3)."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from math import floor
from typing import Any

from tests.oracle.evidence import Evidence, Forward
from tests.oracle.violation import Violation

ACKNOWLEDGED_SECONDS = 60.0
"""Always below the peer's `timeout_accept`; a second is granted for the way of the reply."""
WAY_SECONDS = 1.0
ABANDONING = frozenset(
    {
        "conflict.reported",
        "info.aborted_update",
        "info.peer_disconnected",
        "info.channel_reestablished",
        "alarm.abandoned_state_used",
    }
)
"""Events by which the bridge recorded that the node gave an operation up."""


def one_transaction_a_round(evidence: Evidence) -> Iterator[Violation]:
    """I4: another transaction for a round is signed only after recorded evidence that the first was abandoned."""
    for before, after in _second_thoughts(evidence):
        if before.tx_hash != after.tx_hash:
            text = f"round {after.round} was signed for {before.command_id} and then for {after.command_id}"
            yield Violation("one transaction a round", after.channel, text)


def one_delivery_an_attempt(evidence: Evidence) -> Iterator[Violation]:
    """I3: a signed reply goes out once; whether it arrived, the node is asked. A further attempt needs evidence."""
    for before, after in _second_thoughts(evidence):
        if before.tx_hash == after.tx_hash:
            text = f"{after.tag} of round {after.round} went out twice, for {before.command_id} and {after.command_id}"
            yield Violation("one delivery an attempt", after.channel, text)


def _second_thoughts(evidence: Evidence) -> Iterator[tuple[Forward, Forward]]:
    """Each signature for a round that had one, without recorded evidence that the earlier one was abandoned."""
    held: dict[tuple[str, int], Forward] = {}
    for forward in evidence.forwards:
        if forward.round is None:
            continue
        before = held.get((forward.channel, forward.round))
        held[forward.channel, forward.round] = forward
        if before is not None and not _was_abandoned(evidence, before, forward):
            yield before, forward


def _was_abandoned(evidence: Evidence, before: Forward, after: Forward) -> bool:
    """Told between the two, by an event or by the first command's own end."""
    if before.abandoned_by is not None:
        return True
    told = (
        f"{body['family']}.{body['name']}"
        for body in evidence.event_bodies.get(after.channel, ())
        if _is_between(before, body, after)
    )
    if any(word in ABANDONING for word in told):
        return True
    ended = evidence.outcomes.get(before.command_id or "", ())
    return any(body["outcome"] == "failed" and _is_between(before, body, after) for body in ended)


def _is_between(before: Forward, body: dict[str, Any], after: Forward) -> bool:
    """Bodies tell the millisecond only."""
    told = datetime.fromisoformat(body["at"]).timestamp()
    return floor(before.at * 1000) <= round(told * 1000) <= floor(after.at * 1000)


def each_signature_is_written_once(evidence: Evidence) -> Iterator[Violation]:
    """F4: first the ledger, then the node, and never again: a stray signed reply can close a channel (observed)."""
    recorded = Counter((forward.channel, forward.signed_tx) for forward in evidence.forwards)
    for (channel, signed_tx), count in Counter(evidence.written).items():
        if count > recorded[channel, signed_tx]:
            text = f"{count} frames, {recorded[channel, signed_tx]} ledger rows of {signed_tx[:24]}…"
            yield Violation("each signature is written once", channel, text)


def acknowledgements_are_in_time(evidence: Evidence) -> Iterator[Violation]:
    """A late acknowledgement leaves the two sides at different rounds for ever (observed)."""
    for pair in evidence.pairs:
        for request in pair.requests:
            if not request.tag.endswith("_ack") or request.answer != "signed" or request.answered_at is None:
                continue
            waited = request.answered_at - request.asked_at
            if waited > ACKNOWLEDGED_SECONDS + WAY_SECONDS:
                text = f"{request.tag} of round {request.round} was signed after {waited:.1f} s"
                yield Violation("acknowledgements are in time", pair.channel(request.role), text)
