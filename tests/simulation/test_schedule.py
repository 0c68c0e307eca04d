"""Drawn crash schedules: a quick share of them, and that the search finds what is planted."""

from typing import Any
from unittest.mock import patch

from hypothesis import given, settings

from bridge.journal.journal import Journal
from tests.simulation.plan import Plan
from tests.simulation.schedule import check, plans, try_share


@settings(max_examples=12, deadline=None)
@given(plan=plans())
def test_no_schedule_of_crashes_breaks_a_rule(plan: Plan) -> None:
    """Others each time; `python -m tests.simulation.schedule` draws hundreds."""
    check(plan)


def test_the_search_finds_a_credential_that_is_not_stored() -> None:
    """And tells the schedule, made as short as it can be."""
    original = Journal.commit

    async def commit(self: Journal, batch: Any) -> Any:
        object.__setattr__(batch, "fsm_id", None)
        return await original(self, batch)

    with patch.object(Journal, "commit", commit):
        share = try_share(0, 20)
    assert "no channel is halted" in share.found
    assert "plan=Plan(" in share.found
