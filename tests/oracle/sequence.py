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
