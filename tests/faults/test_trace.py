"""The verdict on the write-ahead rule: what it saw must be enough, and each event is held as each result is."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.journal.schema import TABLES
from bridge.journal.seal import Seal
from tests.faults.ahead import Ahead
from tests.faults.proxy import Crossing
from tests.faults.split import Direction, Piece
from tests.faults.trace import Told

BODY = json.dumps({"channel": "shop-i", "seq": 7, "family": "info", "name": "open"}).encode()
MET = {"F1": 20, "F2": 20, "F3": 48, "F4": 48, "F4 ack": 48, "F5": 20, "F5 event": 300, "F6": 8}
"""What a good run of 20 payments meets."""


class Passed:
    """Stands for a connection: counts what was let through."""

    def __init__(self) -> None:
        self.count = 0

    async def write(self, direction: Direction, data: bytes) -> None:
        self.count += direction is Direction.OUT and bool(data)


@pytest.fixture
def ahead(tmp_path: Path) -> Iterator[Ahead]:
    """Over a journal without a row."""
    with closing(sqlite3.connect(tmp_path / "journal")) as connection:
        connection.executescript(TABLES)
    made = Ahead(tmp_path / "journal", Seal(bytes(32)), "t1")
    yield made
    made.close()


def store(ahead: Ahead, body: bytes) -> None:
    values = ("shop-i", 7, "event:shop-i:7", "shop-i.info.open", "info.open", body, "{}", 0.0)
    with closing(sqlite3.connect(ahead.file)) as connection, connection:
        connection.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)


async def publish(ahead: Ahead, body: bytes) -> int:
    """How much was let pass."""
    connection: Any = Passed()
    piece = Piece(b"as it came", "basic.publish", body, "t1.events", "shop-i.info.open")
    await ahead.see_broker(Crossing(connection, Direction.OUT, piece))
    return int(connection.count)


async def test_an_event_that_is_in_the_journal_may_be_published(ahead: Ahead) -> None:
    """F5: its row stands before anybody hears of it."""
    store(ahead, BODY)
    assert await publish(ahead, BODY) == 1
    assert (ahead.checked, ahead.exceptions) == (Counter({"F5 event": 1}), [])


@pytest.mark.parametrize("stored", [None, BODY + b" "])
async def test_an_event_that_outruns_its_row_is_an_exception(ahead: Ahead, stored: bytes | None) -> None:
    """No row, or one with another body: after a crash its number would be told once more, of something else."""
    if stored is not None:
        store(ahead, stored)
    assert await publish(ahead, BODY) == 1
    assert ahead.exceptions == ["F5 event 7 of shop-i before its row"]


def told(ahead: Ahead, succeeded: int = 20, **met: int) -> Told:
    ahead.checked = Counter(MET | {point.replace("_", " "): count for point, count in met.items()})
    return Told(ahead, succeeded, 20, 4, 5.0)


def test_a_run_that_met_each_point_as_often_as_it_paid_is_good(ahead: Ahead) -> None:
    """And its line tells how often each was met."""
    assert told(ahead).is_good
    assert "(F1 20, F2 20, F3 48, F4 48, F4 ack 48, F5 20, F5 event 300, F6 8), 0 exceptions, 0 violations, 5 s" in str(
        told(ahead)
    )


@pytest.mark.parametrize(("point", "count"), [("F1", 19), ("F3", 39), ("F4", 39), ("F5", 19), ("F5_event", 39)])
def test_a_point_that_was_met_too_seldom_proves_nothing(ahead: Ahead, point: str, count: int) -> None:
    """A splitter that overlooks all but one crossing would else find no exception."""
    seen = told(ahead, **{point: count})
    assert not seen.is_good
    assert f"too few: {point.replace('_', ' ')} below {count + 1}, " in str(seen)


def test_an_exception_fails_the_run(ahead: Ahead) -> None:
    """One is enough."""
    seen = told(ahead)
    ahead.exceptions.append("F1 ack of 1 before its inbox row")
    assert not seen.is_good
    assert " 1 exceptions, " in str(seen)


def test_a_violation_fails_the_run(ahead: Ahead) -> None:
    """What left the bridge in time may still be wrong."""
    seen = replace(told(ahead), violations=("nothing is applied twice: t0: 17",))
    assert not seen.is_good
    assert " 0 exceptions, 1 violations, " in str(seen)
