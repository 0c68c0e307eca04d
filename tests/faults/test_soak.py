"""The soak's verdict: flat memory alone is not enough, and one wrong outcome never hides another."""

from typing import Any

from benchmarks.soak import Memory, Payer, sum_up
from bridge.app.stage import Act

FLAT = Memory([[(float(second), 80.0) for second in range(120)]])


class Nobody:
    """Stands for the client: nothing is sent here."""


def payer(**amounts: int) -> Payer:
    """One who waits for the outcomes of these payments."""
    client: Any = Nobody()
    return Payer(client, Act("today", "json-rpc"), ("ak_1", "ak_2"), sent=dict(amounts))


def test_a_bridge_that_fails_every_payment_is_not_ok() -> None:
    """It holds no memory either, and its books are right: nothing moved."""
    one = payer(a=1, b=2)
    one.take("a", "failed")
    one.take("b", "failed")
    assert not sum_up({"today": one}, FLAT, [one.astray(one.act.initiator_amount)], 2.0)


def test_a_bridge_that_pays_and_whose_books_are_right_is_ok() -> None:
    """The verdict must be able to be good."""
    one = payer(a=1, b=2)
    one.take("a", "succeeded")
    one.take("b", "succeeded")
    assert sum_up({"today": one}, FLAT, [one.astray(one.act.initiator_amount - 3)], 2.0)


def test_two_wrong_outcomes_do_not_make_up_for_each_other() -> None:
    """One failed and was applied, one succeeded and was not: as many as should be, and the wrong ones."""
    one = payer(a=1000, b=1001)
    one.take("a", "failed")
    one.take("b", "succeeded")
    assert one.astray(one.act.initiator_amount - 1000) != 0
