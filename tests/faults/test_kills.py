"""The verdict on random kills: what did not succeed has failed with evidence, and the line says by which codes."""

from dataclasses import replace
from typing import Any

import pytest

from tests.faults.kills import Toll, take
from tests.oracle.given import GOOD, RESULTS, SENT, result

TIMES = 250
"""So many succeed besides the one that did not: the share that is asked for."""


def toll(outcome: str, **fields: Any) -> Toll:
    """Of a run in which all went well but for one payment, which was never applied."""
    others = [one for one in RESULTS if b'"command_id": "3"' not in one.body]
    many = [f"more {number}" for number in range(TIMES)]
    sent = [*SENT, *(replace(SENT[4], command_id=name) for name in many)]
    results = [*others, result("3", outcome, executed=False, **fields), *(result(name, "succeeded") for name in many)]
    return take(replace(GOOD, sent=sent, results=results), 3, 2, 9.0)


def test_one_that_failed_with_evidence_is_good_and_told_by_its_code() -> None:
    """The share allows it."""
    seen = toll("failed", code="conflict", data={"node_code": 2})
    assert seen.is_good, seen.violations
    assert "1 failed, 255 succeeded (by code 1 conflict; 0 without evidence), 99.61 % succeeded, 0 viol" in str(seen)


@pytest.mark.parametrize("outcome", ["rejected", "in_doubt", "failed"])
def test_one_without_evidence_fails_the_run(outcome: str) -> None:
    """However many succeeded: nobody knows whether to pay it again."""
    seen = toll(outcome, code="conflict")
    assert not seen.is_good
    assert [violation for violation in seen.violations if violation.startswith("the rest failed with evidence: 3: ")]
    assert "1 without evidence" in str(seen)
