"""The sweep of all durable writes: one that was missed is tried again, and what is missed in the end is told."""

from typing import Any

import pytest

from tests.faults.writes import TRIES, Sweep, weigh
from tests.system.house import Pair

PAIR = Pair("j00")


class Killed:
    """Stands for a bridge."""

    async def kill(self) -> None:
        pass


class Scripted(Sweep):
    """A house of which only this is known: how many writes the flow comes to, time after time."""

    def __init__(self, *writes: int) -> None:
        nothing: Any = None
        super().__init__(nothing, "json-rpc")
        self.script = list(writes)
        self.tried: list[int] = []

    async def start(self, side: str = "never", number: int = 0) -> Any:
        assert (side, number) != ("never", 0), "nobody would be killed"
        return Killed()

    async def _open_one(self, flow: str, pairs: list[Pair]) -> Pair | None:
        return (pairs.pop() if flow == "shutdown" else pairs[-1]) if pairs else None

    async def trial(self, flow: str, pair: Pair, pairs: list[Pair], side: str, number: int, bridge: Any) -> Any:
        self.tried.append(number)
        self.writes = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return Killed() if number <= self.writes else None


async def test_every_write_that_was_counted_is_tried_and_none_is_excused_unseen() -> None:
    """The last of eight does not come: once it was dropped without a word, as one in eight may be."""
    trials = Scripted(7)
    assert await trials.flow("transfer", "before", [PAIR], 1, 8) is None
    assert trials.tried == [1, 2, 3, 4, 5, 6, 7, *[8] * TRIES, 9]
    assert trials.missed == [8]


async def test_what_was_missed_is_tried_again_until_it_was_hit() -> None:
    """Commits come together by chance: the next time they may not."""
    trials = Scripted(7, 8)
    assert await trials.again("transfer", "after", [PAIR], [8]) == []
    assert trials.tried == [8, 8]
    stubborn = Scripted(7)
    assert await stubborn.again("transfer", "after", [PAIR], [7, 8]) == [8]
    assert stubborn.tried == [7, *[8] * TRIES]


async def test_what_a_house_has_no_channels_left_for_is_missed_still() -> None:
    """The next house goes on with it."""
    trials = Scripted(8)
    assert await trials.again("shutdown", "after", [PAIR], [6, 8]) == [8]


@pytest.mark.parametrize(("missed", "merged", "owed"), [([], 0, 0), ([16], 1, 0), ([14, 16], 1, 1), ([3], 0, 1)])
def test_only_what_may_have_been_merged_is_excused(missed: list[int], merged: int, owed: int) -> None:
    """Of sixteen writes the last two; any other was there each time, and nobody died at it."""
    judged = weigh("transfer", "before", missed, 16)
    assert (judged.missed, judged.merged, len(judged.violations)) == (len(missed), merged, owed)


def test_the_counts_of_all_houses_add_up() -> None:
    """Their sum is in the last line."""
    judged = weigh("transfer", "before", [16], 16) + weigh("transfer", "after", [3, 16], 16)
    assert (judged.missed, judged.merged, judged.writes, len(judged.violations)) == (3, 2, 16, 1)
