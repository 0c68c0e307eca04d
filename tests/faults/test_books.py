"""The verdict on the books: what the consumer has in its table is half of it, the run it came from the other half."""

from random import Random

import pytest

from tests.faults.books import STEP, Toll, draw_amount


def toll(wrong: tuple[str, ...] = (), violations: tuple[str, ...] = ()) -> Toll:
    return Toll(1000, 3, 25, 24, 2008, wrong, violations, 60.0)


def test_a_table_that_is_whole_of_a_run_that_was_right_is_good() -> None:
    """And the last line says both."""
    assert toll().is_good
    assert "0 differences to the node, 0 violations, 60 s" in str(toll())


@pytest.mark.parametrize("seen", [toll(wrong=("b1-i",)), toll(violations=("nothing is applied twice: b1: 17",))])
def test_either_half_alone_is_not_enough(seen: Toll) -> None:
    """Books may agree with a node that paid twice."""
    assert not seen.is_good


def test_each_payment_has_an_amount_of_its_own() -> None:
    """An amount in a state names its command; two of one amount would be taken for each other."""
    random = Random(1)  # noqa: S311  # to repeat a test
    amounts = [draw_amount(random, number) for number in range(STEP)]
    assert len(set(amounts)) == STEP
