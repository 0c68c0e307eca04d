"""`channel-bridge ledger`: the books read, checked and written out, without owning the journal.

Prints nothing itself. Everything is one view of the journal: what is posted meanwhile is not in it. The books are
checked against themselves, against the balances the journal holds, and at the round of the latest proof against what
the node said then. Format: docs/accounting.md.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from bridge.channel.books import ACCOUNTS
from bridge.channel.identifier import ChannelName
from bridge.channel.state import State, decode
from bridge.errors import JournalUnavailable
from bridge.journal.posting import Posted, read_books
from bridge.journal.record import PostingRow
from bridge.wire.envelope import write_instant

COLUMNS = (
    *("channel", "entry", "line", "entry_id", "fact_id", "kind", "entry_round", "tx_hash", "command_id", "at", "seq"),
    *("event_id", "account", "party", "side", "debit", "credit", "balance", "unit", "reverses", "sentence"),
)
"""Of the CSV, one row a line. An entry without a line has one row with none of its fields."""
MOST_FINDINGS = 100
"""More are counted and not told one by one."""
SUSPENSE = "suspense"


@dataclass(frozen=True, slots=True)
class Found:
    channel: str
    entry: int | None
    sentence: str


@dataclass(slots=True)
class Book:
    """One channel's, as far as read. Amounts in aettos."""

    entries: int = 0
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ACCOUNTS, 0))
    standing: set[str] = field(default_factory=set)
    """Facts that are booked and not reversed."""
    held_at: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Round to what initiator and responder had in the channel."""

    @property
    def held(self) -> tuple[int, int]:
        return self.totals["channel.initiator"], self.totals["channel.responder"]


@dataclass(slots=True)
class Verdict:
    """Of all books of a journal."""

    entries: int = 0
    channels: int = 0
    findings: int = 0
    told: list[Found] = field(default_factory=list)

    def add(self, channel: str, entry: int | None, sentence: str) -> None:
        self.findings += 1
        if len(self.told) < MOST_FINDINGS:
            self.told.append(Found(channel, entry, sentence))


def write_entry(row: PostingRow) -> dict[str, Any]:
    """One line of the JSON export: the entry, and which event told of it. Raises JournalUnavailable."""
    try:
        body = json.loads(row.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise JournalUnavailable(f"entry {row.entry} of {row.channel} cannot be read: restore a backup")
    return {
        "channel": row.channel,
        "seq": row.seq,
        "event_id": row.event_id,
        "at": write_instant(row.at),
        "unit": "aetto",
        **body,
    }


def export_json(journal: Path, channel: str | None) -> Iterator[str]:
    """One JSON object an entry."""
    with read_books(journal) as posted:
        for row in posted.rows(None if channel is None else ChannelName(channel)):
            yield json.dumps(write_entry(row), separators=(",", ":"))


def export_csv(journal: Path, channel: str | None) -> Iterator[str]:
    """One row a line of an entry, below a row of names."""
    yield _csv(COLUMNS)
    with read_books(journal) as posted:
        for row in posted.rows(None if channel is None else ChannelName(channel)):
            entry = write_entry(row)
            for number, line in enumerate(entry["lines"] or [{}], 1):
                values = entry | line | {"line": number}
                yield _csv(["" if values.get(name) is None else values[name] for name in COLUMNS])


def _csv(values: Sequence[object]) -> str:
    out = StringIO()
    csv.writer(out, lineterminator="").writerow(values)
    return out.getvalue()


def verify(journal: Path) -> Verdict:
    """Raises JournalUnavailable."""
    verdict = Verdict()
    with read_books(journal) as posted:
        booked = _check_entries(verdict, posted)
        states = dict(posted.states())
    for name in sorted({*booked, *states}):
        stored = states.get(ChannelName(name))
        try:
            state = None if stored is None else decode(stored)
        except ValueError as error:
            verdict.add(name, None, f"the stored state cannot be read: {type(error).__name__}")
        else:
            _check_state(verdict, name, booked.get(name, Book()), state)
    verdict.channels = len(booked)
    return verdict


def _check_entries(verdict: Verdict, posted: Posted) -> dict[str, Book]:
    """Each against the one before. Gives what each channel's books end with: totals, last entry."""
    books: dict[str, Book] = {}
    for row in posted.rows():
        book = books.setdefault(row.channel, Book())
        verdict.entries += 1
        if row.entry != book.entries + 1:
            verdict.add(row.channel, row.entry, f"stands behind entry {book.entries}: some are missing")
        book.entries = row.entry
        try:
            _check_entry(verdict, row.channel, write_entry(row), book)
        except (JournalUnavailable, KeyError, TypeError, ValueError) as error:
            verdict.add(row.channel, row.entry, f"cannot be read: {type(error).__name__}: {error}")
    return books


def _check_entry(verdict: Verdict, channel: str, entry: dict[str, Any], book: Book) -> None:
    number, totals = entry["entry"], book.totals
    debit, credit = (sum(int(line[side]) for line in entry["lines"]) for side in ("debit", "credit"))
    if debit != credit:
        verdict.add(channel, number, f"does not balance: debit {debit}, credit {credit}")
    for line in entry["lines"]:
        totals[line["account"]] += int(line["debit"]) - int(line["credit"])
        if totals[line["account"]] != int(line["balance"]):
            sums = totals[line["account"]]
            verdict.add(channel, number, f"{line['account']} is {line['balance']}, the lines say {sums}")
    if entry["kind"] == "reversal":
        book.standing.discard(entry["reverses"])
    elif entry["fact_id"] in book.standing:
        verdict.add(channel, number, f"the fact {entry['fact_id']} is booked already")
    else:
        book.standing.add(entry["fact_id"])
    if entry["kind"] == "close":
        return  # of the same round as the state before it, and nothing is proven of it
    round_ = entry["entry_round"] - (entry["kind"] == "reversal")
    book.held_at[round_] = (totals["channel.initiator"], totals["channel.responder"])


def _check_state(verdict: Verdict, name: str, book: Book, state: State | None) -> None:
    """What the books end with, against what the journal holds of the channel."""
    if state is None:
        verdict.add(name, None, "there are books, and the journal holds no state of this channel")
        return
    totals = book.totals
    if book.entries != state.books.entries:
        verdict.add(name, book.entries, f"is the last one here, the journal has counted {state.books.entries}")
    if tuple(totals.values()) != state.books.totals:
        verdict.add(
            name, book.entries, f"the lines sum up to {_tell(totals.values())}, not {_tell(state.books.totals)}"
        )
    if totals[SUSPENSE]:
        verdict.add(name, book.entries, f"{totals[SUSPENSE]} aettos are in suspense: no fact explains them")
    _check_balances(verdict, name, book, state)
    _check_proof(verdict, name, book, state)


def _check_balances(verdict: Verdict, name: str, book: Book, state: State) -> None:
    """A closed channel holds nothing. One whose balances are not known at the moment is not judged."""
    known = (0, 0) if state.books.is_closed else (state.initiator_balance, state.responder_balance)
    if state.cosigned is None or None in known:
        return
    if not book.entries:
        verdict.add(name, None, f"the channel is at round {state.round} and nothing is booked: start the bridge once")
    elif book.held != known:
        verdict.add(name, book.entries, f"the books hold {_tell(book.held)}, the channel {known[0]} and {known[1]}")


def _check_proof(verdict: Verdict, name: str, book: Book, state: State) -> None:
    """The latest round the node has proven, with the balances it named then."""
    proven = state.proven
    if proven is None or proven.balances is None or proven.round not in book.held_at:
        return
    held = book.held_at[proven.round]
    if held != proven.balances:
        sentence = f"at round {proven.round} the books hold {_tell(held)}, the node proved {_tell(proven.balances)}"
        verdict.add(name, None, sentence)


def _tell(amounts: Iterable[int]) -> str:
    return " and ".join(map(str, amounts))


def describe(verdict: Verdict, *, as_json: bool) -> Iterator[str]:
    """The lines to print, the last one the whole in a sentence."""
    if as_json:
        told = [{"channel": one.channel, "entry": one.entry, "sentence": one.sentence} for one in verdict.told]
        yield json.dumps(
            {
                "balanced": not verdict.findings,
                "channels": verdict.channels,
                "entries": verdict.entries,
                "findings": verdict.findings,
                "found": told,
            }
        )
        return
    for one in verdict.told:
        place = "" if one.entry is None else f" entry {one.entry}"
        yield f"{one.channel}{place}: {one.sentence}"
    if verdict.findings:
        yield f"wrong: {verdict.findings} findings in {verdict.entries} entries of {verdict.channels} channels"
    else:
        yield f"ok: {verdict.entries} entries of {verdict.channels} channels, balanced, and what the channels hold"
