"""Rules about the books: every entry as it was told, against itself, the one before it, and what the node did."""

from collections.abc import Iterator
from typing import Any

from tests.oracle.evidence import Evidence, Pair, State
from tests.oracle.violation import Violation

HELD = ("initiator_balance", "responder_balance")
Entry = dict[str, Any]


def _entries(evidence: Evidence, channel: str) -> list[Entry]:
    """In the order they were posted."""
    told = evidence.event_bodies.get(channel, [])
    return [body["data"] for body in told if (body["family"], body["name"]) == ("ledger", "posted")]


def _books(evidence: Evidence) -> Iterator[tuple[Pair, str, list[Entry]]]:
    for pair in evidence.pairs:
        for role in ("initiator", "responder"):
            yield pair, role, _entries(evidence, pair.channel(role))


def books_are_kept(evidence: Evidence) -> Iterator[Violation]:
    """A channel of ours in which states were applied has entries: of books nobody keeps the rules below say nothing.

    A legacy bridge that dies as its channel opens may never hear of the first state, and the channel is lost with that.
    """
    for pair, role, entries in _books(evidence):
        took_part = pair.channel(role) in evidence.event_bodies
        rounds = {state.round for state in pair.states if state.role == role}
        if took_part and not entries and len(rounds) > pair.is_lost:
            yield Violation("books are kept", pair.channel(role), "states were applied, and nothing was posted")


def entries_balance(evidence: Evidence) -> Iterator[Violation]:
    """Double entry: of each entry the debits are the credits."""
    for pair, role, entries in _books(evidence):
        for entry in entries:
            debit, credit = (sum(int(line[side]) for line in entry["lines"]) for side in ("debit", "credit"))
            if debit != credit:
                yield Violation("entries balance", pair.channel(role), f"{entry['entry_id']}: {debit}, {credit}")


def entries_follow_each_other(evidence: Evidence) -> Iterator[Violation]:
    """Numbered without a gap, and each line's balance is the one before it and what the line adds."""
    for pair, role, entries in _books(evidence):
        held: dict[str, int] = {}
        for number, entry in enumerate(entries, 1):
            if entry["entry"] != number:
                yield Violation("entries follow each other", pair.channel(role), f"{entry['entry']} stands at {number}")
            for line in entry["lines"]:
                wanted = held.get(line["account"], 0) + int(line["debit"]) - int(line["credit"])
                held[line["account"]] = int(line["balance"])
                if held[line["account"]] != wanted:
                    text = f"{entry['entry_id']}: {line['account']} is {line['balance']}, not {wanted}"
                    yield Violation("entries follow each other", pair.channel(role), text)


def no_fact_is_booked_twice(evidence: Evidence) -> Iterator[Violation]:
    """A co-signed state that stands is in the books once; one that was gone back behind may come again."""
    for pair, role, entries in _books(evidence):
        standing: set[str] = set()
        for entry in entries:
            if entry["kind"] == "reversal":
                standing.discard(entry["reverses"])
            elif entry["fact_id"] in standing:
                yield Violation("no fact is booked twice", pair.channel(role), f"{entry['entry_id']}: a fact again")
            else:
                standing.add(entry["fact_id"])


def books_are_the_nodes(evidence: Evidence) -> Iterator[Violation]:
    """What an entry leaves in the channel is what the node's own state says; at the end that of the last state."""
    for pair, role, entries in _books(evidence):
        states = {state.tx_hash: state for state in pair.states}
        for entry in entries:
            state = states.get(str(entry["tx_hash"]))
            if state is not None and entry["kind"] not in ("reversal", "close") and _held(entry) != _has(state):
                text = f"{entry['entry_id']}: {_held(entry)} at round {state.round}, the node has {_has(state)}"
                yield Violation("books are the nodes", pair.channel(role), text)
        if not entries or pair.is_lost or pair.is_closed:
            continue
        final = evidence.applied[pair.name][-1]
        end = evidence.booked.get(pair.channel(role), _held(entries[-1]))
        if end != _has(final):
            text = f"the books end with {end}, the node with {_has(final)}"
            yield Violation("books are the nodes", pair.channel(role), text)


def what_is_unexplained_is_told(evidence: Evidence) -> Iterator[Violation]:
    """Something in suspense, and no alarm, would be a hole nobody looks into."""
    for pair, role, entries in _books(evidence):
        used = any(line["account"] == "suspense" for entry in entries for line in entry["lines"])
        if used and "alarm.books_disagree" not in evidence.told.get(pair.channel(role), set()):
            yield Violation("what is unexplained is told", pair.channel(role), "suspense was used, nobody was called")


def _held(entry: Entry) -> tuple[int, int]:
    initiator, responder = (int(entry[name]) for name in HELD)
    return initiator, responder


def _has(state: State) -> tuple[int, int]:
    return state.initiator_balance, state.responder_balance
