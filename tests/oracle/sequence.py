"""Rules about events: whoever drops the `seq` it has seen sees each event once, in order (G3)."""

import json
from collections.abc import Iterator

from tests.oracle.evidence import Arrived, Evidence, digest
from tests.oracle.violation import Violation


def _by_channel(evidence: Evidence) -> dict[str, list[tuple[int, str, Arrived]]]:
    """Channel to (`seq`, `prev`, message) as received."""
    found: dict[str, list[tuple[int, str, Arrived]]] = {}
    for arrived in evidence.events:
        body = json.loads(arrived.body)
        found.setdefault(body["channel"], []).append((body["seq"], body["prev"], arrived))
    return found


def numbers_have_no_gap(evidence: Evidence) -> Iterator[Violation]:
    """A reader that drops what it has seen must never have to wait for something that does not come."""
    for channel, events in _by_channel(evidence).items():
        highest = 0
        for seq, _, _ in events:
            if seq > highest + 1:
                yield Violation("numbers have no gap", channel, f"{seq} follows {highest}")
            highest = max(highest, seq)


def repeats_are_identical(evidence: Evidence) -> Iterator[Violation]:
    """A repeat that says something else makes every reader's memory a lie."""
    for channel, events in _by_channel(evidence).items():
        first: dict[int, Arrived] = {}
        for seq, _, arrived in events:
            known = first.setdefault(seq, arrived)
            if (known.body, known.headers.get("ce-id")) != (arrived.body, arrived.headers.get("ce-id")):
                yield Violation("repeats are identical", channel, f"{seq} came with two bodies or ids")


def the_chain_of_digests_holds(evidence: Evidence) -> Iterator[Violation]:
    """`prev` shows a gap or an edit even to somebody who keeps no numbers."""
    for channel, events in _by_channel(evidence).items():
        bodies = {seq: arrived.body for seq, _, arrived in events}
        for seq, prev, _ in events:
            before = bodies.get(seq - 1)
            expected = "" if seq == 1 else None if before is None else digest(before)
            if expected is not None and prev != expected:
                yield Violation("the chain of digests holds", channel, f"{seq} does not continue {seq - 1}")


def the_last_event_arrived(evidence: Evidence) -> Iterator[Violation]:
    """What is lost at the end leaves no gap. The journal knows how far it told; the run has waited for it."""
    for channel, last in evidence.last_seq.items():
        highest = max((body["seq"] for body in evidence.event_bodies.get(channel, ())), default=0)
        if highest < last:  # more is no fault: what was told as the bridge died may still stand in its outbox
            yield Violation("the last event arrived", channel, f"{highest} was received, {last} was told")


def each_channel_was_heard(evidence: Evidence) -> Iterator[Violation]:
    """Of the run itself: a channel that opened and of which no event was read is one that nothing was proved of.

    A role that somebody else serves has no events of ours; both of a pair never have none.
    """
    for pair in evidence.pairs:
        names = {pair.initiator, pair.responder}
        ours = {sent.channel for sent in evidence.sent} | {forward.channel for forward in evidence.forwards}
        silent = names - evidence.event_bodies.keys()
        for channel in sorted(silent & (ours | evidence.last_seq.keys()) or (silent if silent == names else ())):
            if pair.states:
                yield Violation("each channel was heard", channel, "it opened, and no event of it was received")
