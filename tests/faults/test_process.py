"""A quick share of `make faults`: the same programs with real processes, a few kills, a few effects, a few points."""

import asyncio
import signal
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bridge.journal.schema import TABLES
from bridge.journal.seal import Seal
from tests.faults import fsync
from tests.faults.__main__ import PARTS, Ended, Part, run, sum_up
from tests.faults.ahead import Ahead
from tests.faults.journal_home import home
from tests.faults.kills import Load, strike
from tests.faults.proxy import Crossing
from tests.faults.split import Direction, Piece
from tests.faults.trace import POINTS, trace
from tests.faults.trial import lane


async def test_no_kill_of_the_bridge_loses_or_doubles_a_payment(amqp_url: str, tmp_path: Path) -> None:
    """Payments -> X X X -> each has one outcome, and the node's book says the same."""
    toll = await strike(amqp_url, tmp_path, Load(payments=40, channels=2, kills=3, seed=5))
    assert toll.violations == ()
    assert toll.counts["succeeded"] >= 36, str(toll)  # two channels paid from both sides at once: some conflict


async def test_no_effect_outruns_its_record(amqp_url: str, tmp_path: Path) -> None:
    """Frames, publishes and acks are held while the journal's file is read: what they stand on is there."""
    told = await trace(amqp_url, tmp_path, payments=12, channels=1)
    assert told.ahead.exceptions == []
    assert told.violations == ()
    assert all(told.ahead.checked[point] for point in POINTS), told


async def test_a_drawn_crossing_may_be_the_last_thing_that_happens(amqp_url: str, tmp_path: Path) -> None:
    """A kill, a lost, doubled or late frame at any crossing: the command has its true outcome all the same."""
    done = await lane(amqp_url, tmp_path, draws=3, seed=11, opening=asyncio.Lock(), is_short=True)
    assert done.violations == []
    assert done.actions.total() - done.actions["missed"] == 3


async def test_secrets_are_read_again_on_a_signal_and_payments_go_on(amqp_url: str, tmp_path: Path) -> None:
    """SIGHUP ends a process that does not ask for it."""
    async with home(amqp_url, tmp_path) as made:
        bridge = await (await made.start()).ready()
        await made.opened()
        bridge.signal(signal.SIGHUP)
        await bridge.until_told("secrets_reloaded")
        await made.paid(await made.pay(1))
        assert bridge.process.returncode is None, bridge.log
        await made.quiet()


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A journal nobody has written to."""
    file = tmp_path / "journal.sqlite3"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(TABLES)
    return file


class Nowhere:
    """Stands for a connection: what is passed on goes to nobody."""

    async def write(self, *_: object) -> None:
        await asyncio.sleep(0)


async def let_pass(ahead: Ahead, *pieces: tuple[Direction, Piece]) -> None:
    connection: Any = Nowhere()
    for direction, piece in pieces:
        await ahead.see_broker(Crossing(connection, direction, piece))


async def test_an_ack_before_its_row_is_an_exception(empty: Path) -> None:
    """The trace must be able to fail: an acked command that nobody holds is the loss it looks for."""
    ahead = Ahead(empty, Seal(bytes(32)), "p")
    delivered = Piece(b"", "basic.deliver", b'{"command_id": "1"}', "p.commands", "a.transfer", 1, 9)
    acked = Piece(b"", "basic.ack", amqp_channel=1, delivery_tag=9)
    await let_pass(ahead, (Direction.BACK, delivered), (Direction.OUT, acked))
    ahead.close()
    assert len(ahead.exceptions) == 1
    assert ahead.checked == {"F1": 1}


async def test_a_result_before_its_outcome_is_an_exception(empty: Path) -> None:
    """A result that a crash could take back would be said twice, and differently."""
    ahead = Ahead(empty, Seal(bytes(32)), "p")
    said = Piece(b"", "basic.publish", b'{"command_id": "1", "outcome": "succeeded"}', "p.results", "alice.a")
    await let_pass(ahead, (Direction.OUT, said))
    ahead.close()
    assert len(ahead.exceptions) == 1


def test_a_commit_without_its_sync_is_counted() -> None:
    """Two commits and one fdatasync behind both: the first was not on the disk when the second began."""
    head = "\\x00\\x00\\x00\\x02\\x00\\x00\\x00\\x02" + "\\x11" * 16
    write = f'7 pwrite64(4<\\x2f>, "{head}", 24, 56) = 24'
    middle = f'7 pwrite64(4<\\x2f>, "{head.replace("02", "00")}", 24, 56) = 24'
    sync = "7 fdatasync(4<\\x2f>) = 0"
    assert fsync.read([middle, write, sync, write, sync]) == fsync.Count(2, 0)
    assert fsync.read([write, write, sync]) == fsync.Count(2, 1)
    assert fsync.read([write]) == fsync.Count(1, 1)


async def test_syncs_that_nobody_could_count_are_not_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without strace nothing was seen, and `make faults` says ok of nothing it did not see."""
    monkeypatch.setenv("PATH", str(tmp_path))
    counted = await fsync.count("amqp://nobody.is.asked", tmp_path)
    assert not counted.is_good
    assert "install the package strace" in str(counted)


async def test_a_part_that_hangs_or_fails_fails_the_whole(tmp_path: Path) -> None:
    """`make faults` must not wait for ever, and must not say ok of what it did not see."""
    hangs = Part("hangs", ("http.server", "0"), 0.5)
    fails = Part("fails", ("tests.faults.no_such_part",), 20.0)
    ended = await run([hangs, fails], tmp_path)
    assert [one.is_good for one in ended] == [False, False]
    assert ended[0].figures.startswith("not over after")
    assert sum_up(ended, 60.0).startswith("faults: FAILED (hangs, fails)")


def test_the_last_line_tells_each_parts_figures() -> None:
    """Whoever reads only the last line reads what was measured."""
    ended = [Ended(PARTS[0], is_good=True, seconds=3.0, figures="kills: 200 kill -9")]
    assert sum_up(ended, 60.0) == "faults: ok  1 parts in 1.0 min  kills: 200 kill -9"


def test_every_part_is_a_program_that_is_there() -> None:
    """A part that was renamed away would be a failure nobody sees before the long run."""
    for part in PARTS:
        assert find_spec(part.words[0]) is not None, part.name
