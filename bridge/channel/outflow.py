"""How much went to the peer lately: what the hourly and the daily limit of a policy are counted from.

A part of the channel's stored state, so it is committed with the step that pays and read back after a crash. What is
under way is held and counts for as long as it may still be paid; what is paid counts for a day. Time never runs
backwards here: a clock that does after a restart lets nothing be forgotten early.
"""

from dataclasses import dataclass, replace

HOUR, DAY = 3600.0, 86_400.0
MOST_EXACT = 40
"""So many payments are remembered to the instant. Beyond, neighbours are put together under the later instant."""
HOUR_GRAIN, DAY_GRAIN = 300.0, 3600.0
"""How close neighbours are, within the last hour and before it. They may count so much longer, never shorter."""


@dataclass(frozen=True, slots=True)
class Held:
    """What an attempt may cost. `key` names the command or the proposal."""

    key: str
    amount: int


@dataclass(frozen=True, slots=True)
class Spent:
    at: float
    amount: int


@dataclass(frozen=True, slots=True)
class Outflow:
    """Amounts in aettos, instants in seconds since the epoch."""

    held: tuple[Held, ...] = ()
    spent: tuple[Spent, ...] = ()
    """Oldest first."""

    def hold(self, key: str, amount: int) -> "Outflow":
        """Reserve. A key that is held already keeps one entry: its attempts pay once."""
        others = tuple(held for held in self.held if held.key != key)
        return replace(self, held=(*others, Held(key, amount)) if amount > 0 else others)

    def release(self, key: str) -> "Outflow":
        """It was not paid and cannot be any more."""
        return replace(self, held=tuple(held for held in self.held if held.key != key))

    def spend(self, key: str, now: float) -> "Outflow":
        """It was paid, or may have been: from now on it ages."""
        amount = sum(held.amount for held in self.held if held.key == key)
        at = max(now, self.spent[-1].at) if self.spent else now
        return replace(self.release(key), spent=_thin((*self.spent, Spent(at, amount)), at))

    def within(self, seconds: float, now: float, but: str = "") -> int:
        """What was paid in the last `seconds`, and all that may still be, except under the key `but`."""
        since = now - seconds
        paid = sum(spent.amount for spent in self.spent if spent.at > since)
        return paid + sum(held.amount for held in self.held if held.key != but)


NOTHING = Outflow()


def _thin(spent: tuple[Spent, ...], now: float) -> tuple[Spent, ...]:
    """Without what is older than a day; and short, however many payments there are."""
    young = tuple(one for one in spent if one.at > now - DAY)
    if len(young) <= MOST_EXACT:
        return young
    kept: list[Spent] = []
    for one in young:
        if kept and _place(kept[-1], now) == _place(one, now):
            kept[-1] = Spent(one.at, kept[-1].amount + one.amount)
        else:
            kept.append(one)
    return tuple(kept)


def _place(spent: Spent, now: float) -> tuple[float, int]:
    """Neighbours stand in the same place."""
    grain = HOUR_GRAIN if spent.at > now - HOUR else DAY_GRAIN
    return grain, int(spent.at // grain)
