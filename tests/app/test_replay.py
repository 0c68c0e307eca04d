"""Which events `events replay` takes: ranges as people write them, and what is no longer kept is counted."""

from pathlib import Path

import pytest
import typer

from bridge.app.replay import ALL, Found, Range, check_label, envelope, find, opened, read_instant, read_seq
from bridge.channel.identifier import ChannelName
from bridge.journal.record import Batch, EventRow
from bridge.wire.envelope import write_instant
from tests.journal.given import ACME, BETA, open_journal


@pytest.mark.parametrize(
    ("text", "expected"), [("12", (12, 12)), ("12-40", (12, 40)), ("12-", (12, ALL)), ("-40", (1, 40))]
)
def test_a_range_is_read_as_it_is_written(text: str, expected: tuple[int, int]) -> None:
    assert read_seq(text) == expected


@pytest.mark.parametrize("text", ["", "-", "a", "1-b", "1-2-3", " 1"])
def test_what_is_no_range_is_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        read_seq(text)


def test_an_instant_needs_its_offset() -> None:
    """Local time would mean another range on another machine."""
    assert read_instant("1970-01-01T00:01:00Z", "--since") == 60.0
    assert read_instant(None, "--since") is None
    for text in ("1970-01-01T00:01:00", "yesterday"):
        with pytest.raises(typer.BadParameter):
            read_instant(text, "--since")


@pytest.mark.parametrize("label", ["", "a b", "a/b", "x" * 65])
def test_a_label_that_tears_a_queues_name_is_wrong_usage(label: str) -> None:
    with pytest.raises(typer.BadParameter):
        check_label(label)


def event(channel: ChannelName, seq: int) -> EventRow:
    body = b'{"data":{"command_id":"t-1"}}'
    return EventRow(channel, seq, f"event:{channel}:{seq}", f"{channel}.a.b", "t.v1", body, {"ce-id": "e"}, float(seq))


async def test_what_is_found_and_what_is_no_longer_kept(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal:
        await journal.commit(Batch(channel=ACME, seq=9, events=tuple(event(ACME, seq) for seq in range(4, 10))))
        await journal.commit(Batch(channel=BETA, seq=2))
    with opened(tmp_path) as kept:
        assert find(kept, Range()) == (Found(ACME, 6, 4, 9, 3),)
        assert find(kept, Range((ACME,), 2, 6)) == (Found(ACME, 3, 4, 6, 2),)
        assert find(kept, Range((ACME,), since=7.0, until=9.0)) == (Found(ACME, 2, 7, 8, 3),)
        assert find(kept, Range((BETA,))) == (Found(BETA, 0, 0, 0, 2),)


def test_an_event_goes_out_as_it_did_and_says_that_it_comes_again() -> None:
    made = envelope(event(ACME, 4), "channels.client.books.replay-1", 60.0)
    assert (made.routing_key, made.body, made.type) == (f"{ACME}.a.b", event(ACME, 4).body, "t.v1")
    assert (made.correlation_id, made.timestamp) == ("t-1", 4.0)
    assert made.headers == {"ce-id": "e", "replayed": write_instant(60.0)}
