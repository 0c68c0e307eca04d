"""The books of one role of one channel: accounts, the entries between them, and what each entry leaves on them.

Pure data. Amounts are aettos and whole numbers; a debit is positive. What the books hold is a part of the channel's
stored state, so an entry is committed with the step that made it: once, whatever crashes. When something is
booked is `bookkeeping`. Chart of accounts with worked examples: docs/accounting.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass

ACCOUNTS = (
    "channel.initiator",
    "channel.responder",
    "chain.initiator",
    "chain.responder",
    "fee.initiator",
    "fee.responder",
    "brought_forward",
    "suspense",
)
"""In the order of `Books.totals`. The first two are the node's balances; `suspense` is 0 unless something is wrong."""
INITIATOR, RESPONDER = "initiator", "responder"

Move = tuple[str, int]
"""An account and what is added to it: a debit is positive, a credit negative."""


@dataclass(frozen=True, slots=True)
class Line:
    account: str
    debit: int
    credit: int
    balance: int
    """Of the account after this line; positive is a debit balance."""


@dataclass(frozen=True, slots=True)
class Books:
    """Nothing is in them before the channel's first co-signed state."""

    entries: int = 0
    """How many were posted; the next has the number above."""
    round: int = 0
    """Of the co-signed state that is booked, with its hash."""
    hash: str = ""
    fact: str = ""
    """What the latest entry is about: a reversal names it."""
    totals: tuple[int, ...] = (0,) * len(ACCOUNTS)
    is_closed: bool = False

    @property
    def held(self) -> tuple[int, int]:
        """What initiator and responder have in the channel."""
        return self.totals[0], self.totals[1]

    def enter(self, moves: Iterable[Move]) -> tuple[tuple[int, ...], tuple[Line, ...]]:
        """The totals after these moves, and the lines that lead there. A move of nothing makes no line."""
        totals, lines = list(self.totals), []
        for account, amount in moves:
            if not amount:
                continue
            place = ACCOUNTS.index(account)
            totals[place] += amount
            lines.append(Line(account, max(amount, 0), max(-amount, 0), totals[place]))
        return tuple(totals), tuple(lines)


EMPTY = Books()


def balance(moves: Iterable[Move]) -> tuple[Move, ...]:
    """The moves, and what is missing to a sum of zero put into suspense."""
    entered = tuple(moves)
    rest = -sum(amount for _, amount in entered)
    return (*entered, ("suspense", rest)) if rest else entered
