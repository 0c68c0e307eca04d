"""The soak's verdict: flat memory alone is not enough, and one wrong outcome never hides another."""

from typing import Any

import pytest

from benchmarks.soak import STRETCH_SECONDS, Memory, Payer, sum_up
from bridge.app.stage import Act

MINUTES = 0.5
ENOUGH = 150
"""Payments in that time."""


class Nobody:
    """Stands for the client: nothing is sent here."""


def flat(*seconds: int) -> Memory:
    """Stretches of those lengths in which nothing more was held."""
    return Memory([[(float(second), 80.0) for second in range(length)] for length in seconds])


FLAT = flat(120)


def payer(**amounts: int) -> Payer:
    """One who waits for the outcomes of these payments."""
    client: Any = Nobody()
    return Payer(client, Act("today", "json-rpc"), ("ak_1", "ak_2"), sent=dict(amounts))


def paid(outcome: str, count: int = ENOUGH) -> Payer:
    """One whose payments of one aetto each all ended so."""
    one = payer(**{f"a{number}": 1 for number in range(count)})
    for command_id in tuple(one.sent):
        one.take(command_id, outcome)
    return one


def is_good(one: Payer, memory: Memory, held: int) -> bool:
    """Whether all is well if the node has so many aettos left of the payer's."""
    return sum_up({"today": one}, memory, [one.astray(held)], MINUTES)


def test_a_bridge_that_fails_every_payment_is_not_ok() -> None:
    """It holds no memory either, and its books are right: nothing moved."""
    one = paid("failed")
    assert not is_good(one, FLAT, one.act.initiator_amount)


def test_a_bridge_that_pays_and_whose_books_are_right_is_ok() -> None:
    """The verdict must be able to be good."""
    one = paid("succeeded")
    assert is_good(one, FLAT, one.act.initiator_amount - ENOUGH)


def test_a_bridge_that_hardly_pays_is_not_ok() -> None:
    """One payment less than are asked for: what does nothing keeps its memory flat."""
    one = paid("succeeded", ENOUGH - 1)
    assert not is_good(one, FLAT, one.act.initiator_amount - ENOUGH + 1)


@pytest.mark.parametrize(("seconds", "is_judged"), [((120, 120), True), ((120, 61), True), ((120, 50), False)])
def test_each_stretch_has_to_be_judged(
    seconds: tuple[int, ...], capsys: pytest.CaptureFixture[str], *, is_judged: bool
) -> None:
    """One that ended too early would else be left out without a word, and be the one that grew."""
    one = paid("succeeded")
    assert is_good(one, flat(*seconds), one.act.initiator_amount - ENOUGH) is is_judged
    assert f"stretches judged {2 if is_judged else 1} of 2" in capsys.readouterr().out.splitlines()[-1]


def test_one_stretch_that_grows_is_enough() -> None:
    """However flat the others are."""
    one, memory = paid("succeeded"), flat(120)
    memory.stretches.append([(float(second), 80.0 + second / 50) for second in range(int(STRETCH_SECONDS))])
    assert not is_good(one, memory, one.act.initiator_amount - ENOUGH)


def test_two_wrong_outcomes_do_not_make_up_for_each_other() -> None:
    """One failed and was applied, one succeeded and was not: as many as should be, and the wrong ones."""
    one = payer(a=1000, b=1001)
    one.take("a", "failed")
    one.take("b", "succeeded")
    assert one.astray(one.act.initiator_amount - 1000) != 0
