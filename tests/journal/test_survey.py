"""A journal at a glance: what waits, what is in doubt, and events by number and by time."""

from pathlib import Path

import pytest

from bridge.channel.state import State, encode
from bridge.errors import JournalUnavailable
from bridge.journal.journal import FILE
from bridge.journal.record import Batch, EventRow, NewOutbox
from bridge.journal.survey import survey
from tests.journal.given import ACME, BETA, command, envelope, open_journal


def event(seq: int) -> EventRow:
    return EventRow(ACME, seq, f"event:{ACME}:{seq}", f"{ACME}.a.b", "t", b"{}", {"ce-id": str(seq)}, float(seq))


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    async with open_journal(tmp_path) as journal:
        lanes = (f"events/{ACME}", f"sign/{ACME}", "results/alice", f"events/{BETA}")
        await journal.commit(
            Batch(
                channel=ACME,
                state=encode(State(round=3)),
                seq=9,
                events=tuple(event(seq) for seq in range(4, 10)),
                add_inbox=(command("a"), command("b", status="in_doubt"), command("c", BETA)),
                outbox=tuple(NewOutbox(lane, envelope()) for lane in lanes),
            )
        )
        await journal.commit(Batch(channel=BETA, seq=0))
    return tmp_path / FILE


def test_what_waits_is_counted_by_channel(file: Path) -> None:
    with survey(file) as found:
        acme, beta = found.channels()
    assert (acme.name, acme.backlog, acme.outbox, acme.in_doubt) == (ACME, 1, 2, ("b",))
    assert (beta.name, beta.backlog, beta.outbox, beta.in_doubt, beta.state) == (BETA, 1, 1, (), None)


def test_events_are_found_by_number_and_by_time(file: Path) -> None:
    with survey(file) as found:
        assert [row.seq for row in found.events(ACME, 5, 7, None, None)] == [5, 6, 7]
        assert [row.seq for row in found.events(ACME, 1, 99, 6.0, 8.0)] == [6, 7]
        assert [row.seq for row in found.latest_events(ACME, 2)] == [8, 9]
        assert found.latest_events(BETA, 2) == ()
        assert (found.span(ACME), found.span(BETA)) == ((4, 9, 9), (0, 0, 0))
        assert found.newest_instant() == 9.0


def test_a_command_is_found_by_its_id(file: Path) -> None:
    with survey(file) as found:
        row = found.command("b")
        assert row is not None
        assert (row.status, found.command("nobody")) == ("in_doubt", None)


def test_an_empty_file_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    with pytest.raises(JournalUnavailable, match="holds no journal"), survey(tmp_path / FILE):
        pass
