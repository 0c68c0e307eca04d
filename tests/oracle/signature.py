"""Rules about signatures, which cannot be taken back (guarantees.md sections 2 and 3).

What the ledger says of its own rows proves nothing: its unique index demands that something is said. An earlier
signature was abandoned if the node never had it, or if a fact of the node, between the two, says that it was void.
"""

from collections import Counter
from collections.abc import Iterator

from bridge.channel.request import Tag
from tests.oracle.evidence import Evidence, Fact, Forward, Pair, Reply
from tests.oracle.violation import Violation

WAY_SECONDS = 1.0
"""Granted for the way of a reply."""
CLOCKS_SECONDS = 0.01
"""How far the clocks of two processes on one machine may be apart; the node's own notes are compared exactly."""
PEER_TIMEOUT = 3
VOIDING = frozenset({"aborted_update", "peer_disconnected", "channel_reestablished"})
UPDATES = frozenset({Tag.UPDATE.value, Tag.UPDATE_ACK.value})
CLOSES = frozenset({Tag.SHUTDOWN.value, Tag.SHUTDOWN_ACK.value})
FIRST = {
    Tag.UPDATE_ACK.value: Tag.UPDATE.value,
    Tag.DEPOSIT_ACK.value: Tag.DEPOSIT.value,
    Tag.WITHDRAW_ACK.value: Tag.WITHDRAW.value,
    Tag.SHUTDOWN_ACK.value: Tag.SHUTDOWN.value,
}
"""Of an acknowledgement: the tag of the signature before it."""
CLOSE = "close"
Place = int | str
"""A round, or `close`: all closes of a channel are alternatives, as the transactions of a round are."""


# --- one transaction a round, by the ledger -----------------------------------------------------------------


def one_transaction_a_round(evidence: Evidence) -> Iterator[Violation]:
    """I4: another transaction for a round is signed only after evidence of the node that the first was abandoned."""
    for before, after in _second_thoughts(evidence):
        if before.tx_hash != after.tx_hash:
            yield Violation("one transaction a round", after.channel, _tell(before, after))


def one_delivery_an_attempt(evidence: Evidence) -> Iterator[Violation]:
    """I3: a signed reply goes out once; whether it arrived, the node is asked. A further attempt needs evidence."""
    for before, after in _second_thoughts(evidence):
        if before.tx_hash == after.tx_hash:
            yield Violation("one delivery an attempt", after.channel, _tell(before, after))


def _tell(before: Forward, after: Forward) -> str:
    ids = f"for {before.command_id} and then for {after.command_id}"
    return f"{_place(after)} was signed {ids}; the ledger says {before.abandoned_by!r}, the node nothing like it"


def _place(forward: Forward) -> Place:
    return CLOSE if forward.round is None else forward.round


def _second_thoughts(evidence: Evidence) -> Iterator[tuple[Forward, Forward]]:
    """Each signature for a place that had one, where the node does not show that the earlier one was abandoned."""
    held: dict[tuple[str, Place], Forward] = {}
    for forward in evidence.forwards:
        before = held.get((forward.channel, _place(forward)))
        held[forward.channel, _place(forward)] = forward
        if before is not None and not _was_abandoned(evidence, before, forward):
            yield before, forward


def _was_abandoned(evidence: Evidence, before: Forward, after: Forward) -> bool:
    """Whether it never came to the node before the second was stored, or was void there by then."""
    if before.channel not in evidence.sides:
        return False  # nobody saw anything of it
    pair, role = evidence.sides[before.channel]
    came = [reply for reply in pair.replies if (reply.role, reply.tx_hash) == (role, before.tx_hash)]
    arrived = [reply for reply in came if before.at - CLOCKS_SECONDS <= reply.at <= after.at]
    is_checkpoint = any(sent.command_id == after.command_id and sent.kind == "checkpoint" for sent in evidence.sent)
    return not arrived or _is_void(pair, arrived[0], after.at, settles=is_checkpoint)


# --- one transaction a round, by the node -------------------------------------------------------------------


def the_node_got_one_transaction_a_round(evidence: Evidence) -> Iterator[Violation]:
    """The same as the node saw it, whatever the ledger holds."""
    for pair in evidence.pairs:
        held: dict[tuple[str, Place], Reply] = {}
        for reply in pair.replies:
            place: Place = CLOSE if reply.tag in CLOSES else reply.round
            before = held.get((reply.role, place))
            held[reply.role, place] = reply
            if before is None or before.tx_hash == reply.tx_hash:
                continue
            # What was asked for is not known here: an update behind what goes to the chain may be a checkpoint.
            settles = before.tag not in UPDATES and reply.tag in UPDATES
            if not _is_void(pair, before, reply.at, settles=settles):
                text = f"{place}: {before.tag} {before.tx_hash[:8]} and then {reply.tag} {reply.tx_hash[:8]}"
                yield Violation("the node got one transaction a round", pair.channel(reply.role), text)


def _is_void(pair: Pair, reply: Reply, end: float, *, settles: bool) -> bool:
    """Whether the node has shown between that reply and the end that it counts for nothing.

    `settles`: what follows is an operator's checkpoint, which settles a timeout (rule 10).
    """
    begin = _asked_at(pair, reply) if reply.is_stray else reply.at
    facts = (fact for fact in pair.facts if fact.role == reply.role and begin <= fact.at <= end)
    return any(_voids(fact, reply, settles=settles) for fact in facts) or _was_superseded(pair, reply, end)


def _asked_at(pair: Pair, reply: Reply) -> float:
    """A reply that nobody waited for any more has crossed the report that says why: that may have come before it."""
    asked = (
        request.asked_at
        for request in pair.requests
        if (request.role, request.tx_hash) == (reply.role, reply.tx_hash) and request.asked_at <= reply.at
    )
    return max(asked, default=reply.at)


def _voids(fact: Fact, reply: Reply, *, settles: bool) -> bool:
    """A conflict of a higher round, or for want of time, proves nothing: the peer may hold the state (rules 5 and 9).

    A side that stands below the round and shows nothing of ours as half-signed has let go of it (docs/adr/0026). Only
    for updates: what goes to the chain is never shown so.
    """
    if reply.tag not in CLOSES and max(fact.round, fact.raised_at or 0) >= reply.round:
        return False
    match fact.what:
        case "conflict":
            return settles or fact.code != PEER_TIMEOUT
        case "state":
            return reply.tag in UPDATES and fact.half_hash != reply.tx_hash
        case _:
            return fact.what in VOIDING


def _was_superseded(pair: Pair, reply: Reply, end: float) -> bool:
    """Another transaction was co-signed at that round or above."""
    if reply.tag in CLOSES:
        return False
    states = (state for state in pair.states if state.role == reply.role and reply.at <= state.at <= end)
    return any(state.round >= reply.round and state.tx_hash != reply.tx_hash for state in states)


# --- what was written ---------------------------------------------------------------------------------------


def each_signature_is_written_once(evidence: Evidence) -> Iterator[Violation]:
    """F4: first the ledger, then the node, and never again: a stray signed reply can close a channel (observed)."""
    recorded = Counter((forward.channel, forward.signed) for forward in evidence.forwards)
    for (channel, signed), count in Counter(evidence.written).items():
        if count > recorded[channel, signed]:
            text = f"{count} frames, {recorded[channel, signed]} ledger rows of {signed[:24]}"
            yield Violation("each signature is written once", channel, text)


def what_was_signed_was_seen(evidence: Evidence) -> Iterator[Violation]:
    """Of the run itself: where the node got signatures and nobody saw one written, the rule above was asleep."""
    seen = Counter(channel for channel, _ in evidence.written)
    for pair in evidence.pairs:
        for role, count in Counter(request.role for request in pair.requests if request.answer == "signed").items():
            if not seen[pair.channel(role)]:
                text = f"{count} requests were answered, none of the answers was seen"
                yield Violation("what was signed was seen", pair.channel(role), text)


# --- acknowledgements ---------------------------------------------------------------------------------------


def acknowledgements_are_in_time(evidence: Evidence) -> Iterator[Violation]:
    """A late acknowledgement leaves the two sides at different rounds for ever (observed)."""
    for pair in evidence.pairs:
        for request in pair.requests:
            if not request.tag.endswith("_ack") or request.answer != "signed" or request.answered_at is None:
                continue
            waited = request.answered_at - request.asked_at
            if waited > pair.acknowledge_seconds + WAY_SECONDS:
                text = f"{request.tag} of round {request.round} was signed after {waited:.1f} s"
                yield Violation("acknowledgements are in time", pair.channel(request.role), text)


def acknowledgements_come_before_the_peer_gives_up(evidence: Evidence) -> Iterator[Violation]:
    """What the deadline is for: the peer's node waits from the moment it got its own side's signature."""
    for pair in evidence.pairs:
        begun: dict[tuple[str, str], float] = {}
        for reply in pair.replies:  # of several attempts with the same bytes the latest counts
            if reply.tag not in FIRST:
                begun[reply.tag, reply.tx_hash] = reply.at
                continue
            since = begun.get((FIRST[reply.tag], reply.tx_hash), reply.at)
            if reply.at - since > pair.accept_seconds:
                text = f"{reply.tag} of round {reply.round} came {reply.at - since:.1f} s after the peer's"
                yield Violation("acknowledgements come before the peer gives up", pair.channel(reply.role), text)
