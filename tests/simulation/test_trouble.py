"""A signer's mischief reaches the bridge, and the bridge says what became of it."""

import pytest

from tests.simulation.plan import FIRST_AMOUNT, Mischief, Plan, Step
from tests.simulation.world import Ending, run

STEPS = tuple(Step(float(number), "initiator", "transfer", FIRST_AMOUNT + number) for number in range(3))


def spoil(how: str) -> Ending:
    """The second payment's reply is spoilt."""
    ending = run(Plan(2, steps=STEPS, faults=(Mischief(0.9, how),)))
    assert [str(violation) for violation in ending.violations] == []
    return ending


def codes(ending: Ending) -> list[str | None]:
    return [ending.evidence.verdicts[f"command-{number}"]["code"] for number in range(len(STEPS))]


@pytest.mark.parametrize("how", ["doubled", "crossed"])
def test_the_right_answer_among_others_counts(how: str) -> None:
    """What is wrong with one answer is not held against the next."""
    assert codes(spoil(how)) == [None] * 3


def test_an_answer_to_another_request_is_no_answer() -> None:
    """The request stays open until its deadline: nothing was signed, and the line goes on behind it."""
    assert codes(spoil("swapped")) == [None, "sign_timeout", None]
