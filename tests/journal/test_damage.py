"""A journal that was damaged, cut or made unusable is refused at the start, in a sentence that says what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.errors import JournalUnavailable
from bridge.journal.journal import FILE
from bridge.journal.record import Batch
from tests.journal.given import ACME, command, event, open_journal

PAGE = 4096


def flip_in_the_middle(file: Path) -> None:
    content = bytearray(file.read_bytes())
    middle = len(content) // PAGE // 2 * PAGE
    content[middle : middle + 64] = bytes(byte ^ 0xFF for byte in content[middle : middle + 64])
    file.write_bytes(content)


def flip_the_head(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[:16] = bytes(16)
    file.write_bytes(content)


def cut_half(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // PAGE // 2 * PAGE])


@pytest.mark.parametrize("harm", [flip_in_the_middle, flip_the_head, cut_half])
async def test_a_damaged_journal_is_refused_and_left_alone(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """Met later it would be met in the middle of a payment; changed, nobody could mend it."""
    async with open_journal(tmp_path) as journal:
        numbers = range(1, 300)
        commands, events = (command(f"c{number}") for number in numbers), (event(number) for number in numbers)
        await journal.commit(Batch(ACME, add_inbox=tuple(commands), events=tuple(events)))
    file = tmp_path / FILE
    harm(file)
    before = file.read_bytes()
    with pytest.raises(JournalUnavailable, match=r"is damaged: .*operations\.md"):
        await open_journal(tmp_path).__aenter__()
    assert file.read_bytes() == before


async def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """Named with the path: it is mended outside of the bridge."""
    (tmp_path / FILE).mkdir()
    with pytest.raises(JournalUnavailable, match=str(tmp_path)):
        await open_journal(tmp_path).__aenter__()
