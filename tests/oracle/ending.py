"""Rules about what no amount tells: messages, and the close of a channel."""

from collections import Counter
from collections.abc import Iterator

from tests.oracle.evidence import Evidence, Sent
from tests.oracle.violation import Violation


def messages_are_as_told(evidence: Evidence) -> Iterator[Violation]:
    """G8: success means that the sender's node took it, failure that it did not, and `at_most_once` what it says."""
    for sent in {sent.command_id: sent for sent in evidence.sent if sent.text is not None}.values():
        if sent.channel not in evidence.sides:
            continue
        outcome, found = evidence.outcome(sent.command_id), _count(evidence, sent)
        taken, delivered = found[False], found[True]
        if outcome == "succeeded" and not taken and sent.text not in evidence.swallowed:
            yield Violation("messages are as told", sent.command_id, "it has succeeded, and the node never took it")
        if outcome in ("failed", "rejected") and taken:
            yield Violation("messages are as told", sent.command_id, f"it {outcome}, and the node has taken it")
        if max(taken, delivered) > 1 and not sent.may_repeat:
            text = f"at most once, and it was taken {taken} times and delivered {delivered} times"
            yield Violation("messages are as told", sent.command_id, text)


def letters_are_told_once(evidence: Evidence) -> Iterator[Violation]:
    """G8: the receiver drops repeats."""
    told = Counter(
        (channel, number)
        for channel, bodies in evidence.event_bodies.items()
        for body in bodies
        if (number := body.get("data", {}).get("message_id")) is not None
    )
    for (channel, number), times in told.items():
        if times > 1:
            yield Violation("letters are told once", channel, f"{number} was told {times} times")


def _count(evidence: Evidence, sent: Sent) -> Counter[bool]:
    """How often the node took it, under False, and passed it on, under True."""
    pair, role = evidence.sides[sent.channel]
    return Counter(said.is_delivery for said in pair.messages if (said.role, said.text) == (role, sent.text))


def a_close_is_as_told(evidence: Evidence) -> Iterator[Violation]:
    """A shutdown that succeeded has closed the channel on the chain; one that failed has not, by none of its own."""
    for sent in {sent.command_id: sent for sent in evidence.sent if sent.kind == "shutdown"}.values():
        if sent.channel not in evidence.sides:
            continue
        pair, _ = evidence.sides[sent.channel]
        outcome = evidence.outcome(sent.command_id)
        own = {forward.tx_hash for forward in evidence.forwards if forward.command_id == sent.command_id}
        if outcome == "succeeded" and (not pair.is_closed or pair.closed_by is None):
            yield Violation("a close is as told", sent.command_id, "it has succeeded, and the chain holds no close")
        if outcome in ("failed", "rejected") and pair.closed_by in own:
            yield Violation("a close is as told", sent.command_id, f"it {outcome}, and its transaction is on the chain")
