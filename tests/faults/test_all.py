"""What `make faults` makes of its parts: none can pass by skipping, and the last line of each is what is told of it."""

from pathlib import Path

import pytest

from tests.faults import __main__ as faults
from tests.faults.__main__ import Part, live, sum_up

PROGRAM = """
import os
print("something on the way")
print("the figures:", os.environ.get("CHANNEL_BRIDGE_REQUIRE_BROKER"))
"""


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Part:
    """A program of some lines, in a place of its own, of which the environment says nothing yet."""
    (tmp_path / "telling.py").write_text(PROGRAM)
    monkeypatch.setattr(faults, "ROOT", tmp_path)
    monkeypatch.delenv("CHANNEL_BRIDGE_REQUIRE_BROKER", raising=False)
    return Part("telling", ("telling",), 30.0)


async def test_no_part_can_pass_by_skipping_what_needs_a_broker(part: Part, tmp_path: Path) -> None:
    """A machine on which no RabbitMQ is found would else prove everything about one."""
    ended = await live(part, tmp_path)
    assert ended.is_good
    assert ended.figures == "the figures: 1"


async def test_the_last_line_of_a_part_is_told_and_no_other(part: Part, tmp_path: Path) -> None:
    """So whatever a part has found must stand in it."""
    ended = await live(part, tmp_path)
    assert sum_up([ended], 60.0) == "faults: ok  1 parts in 1.0 min  the figures: 1"
