"""The journal fails under a working bridge: it ends, loudly, and nothing of what could not be kept has happened.

Each failure comes from outside: a limit on the size of files, a trigger somebody put into the database, files that
are taken away. Afterwards the cause is mended and the same payments go through, each once.
"""

import shutil
import sqlite3
from pathlib import Path

import pytest

from bridge.app.cli.terminal import JOURNAL_FAILED
from bridge.journal.journal import FILE
from tests.faults.journal_home import Bridge, Home, home

pytestmark = [pytest.mark.timeout(240), pytest.mark.fault]
PAYMENTS = 30


async def check_it_ended(bridge: Bridge, word: str) -> None:
    """With its exit code, one clear line, and what to do in it."""
    assert await bridge.end() == JOURNAL_FAILED, bridge.log
    told = [line for line in bridge.lines if "journal_unavailable" in line]
    assert len(told) == 1, bridge.log
    assert word in told[0]
    assert "then start again" in told[0]
    assert "Traceback" not in bridge.log


def check_each_signature_was_kept(made: Home) -> None:
    """No effect without its record: the node was given what the ledger holds, and no more."""
    kept = made.execute("SELECT count(*) FROM ledger")[0][0]
    assert made.signed() <= kept


async def check_they_go_through(made: Home, ids: list[str]) -> None:
    await (await made.start()).ready()
    for command_id in ids:
        await made.paid(command_id)
    assert sorted(made.applied()) == [1000 + number for number in range(len(ids))]
    made.check_events()


async def test_a_full_disk_ends_the_bridge_and_harms_nothing(amqp_url: str, tmp_path: Path) -> None:
    """The most likely fault of all: some other program's logs have filled the disk."""
    async with home(amqp_url, tmp_path) as made:
        bridge = await (await made.start()).ready()
        await made.opened()
        await made.paid(await made.pay(1000))
        bridge.limit_files((made.data / f"{FILE}-wal").stat().st_size + 100_000)
        ids = [await made.pay(1001 + number) for number in range(PAYMENTS)]
        await check_it_ended(bridge, "journal could not be written")
        check_each_signature_was_kept(made)
        assert len(made.applied()) < PAYMENTS, "the disk was never full"
        await check_they_go_through(made, [*(made.house.final), *(i for i in ids if i not in made.house.final)])


BREAKS = {
    "F1 journaled": "INSERT ON inbox",
    "F2 sent": "UPDATE OF status ON inbox WHEN NEW.status = 'running'",
    "F3 awaiting_sign": "INSERT ON outbox WHEN NEW.lane LIKE 'sign/%'",
    "F4 signed_sent": "INSERT ON ledger",
    "F5 succeeded": "UPDATE OF status ON inbox WHEN NEW.status = 'succeeded'",
    "F7 published": "DELETE ON outbox",
}


@pytest.mark.parametrize("moment", BREAKS)
async def test_a_failed_commit_has_no_effect(amqp_url: str, tmp_path: Path, moment: str) -> None:
    """At each of the durable writes of a payment: what it stands before must not have happened."""
    async with home(amqp_url, tmp_path) as made:
        bridge = await (await made.start()).ready()
        await made.opened()
        await made.paid(await made.pay(1000))
        before = made.signed()
        trouble = f"CREATE TRIGGER trouble BEFORE {BREAKS[moment]} BEGIN SELECT RAISE(ABORT, 'out of order'); END"
        made.execute(trouble)
        command_id = await made.pay(1001)
        await check_it_ended(bridge, "out of order")
        check_each_signature_was_kept(made)
        if moment < "F5":
            assert made.signed() == before
            assert made.applied() == [1000]
        if moment != "F7 published":
            assert command_id not in made.house.final
        made.execute("DROP TRIGGER trouble")
        await check_they_go_through(
            made, [*made.house.final, *([] if command_id in made.house.final else [command_id])]
        )


async def test_a_directory_that_is_removed_ends_the_bridge(amqp_url: str, tmp_path: Path) -> None:
    """SQLite would write on into files without a name, and every payment since be forgotten at the next start."""
    async with home(amqp_url, tmp_path) as made:
        bridge = await (await made.start()).ready()
        await made.opened()
        await made.paid(await made.pay(1000))
        made.data.rename(tmp_path / "moved away")
        before = made.signed()
        command_id = await made.pay(1001)
        await check_it_ended(bridge, "while it was in use")
        assert made.signed() == before
        (tmp_path / "moved away").rename(made.data)
        await check_they_go_through(made, [*made.house.final, command_id])


async def test_a_damaged_journal_is_refused_by_the_process(amqp_url: str, tmp_path: Path) -> None:
    """Nothing is attached, read from the bus or signed with half a memory; the files are left as they are."""
    async with home(amqp_url, tmp_path) as made:
        first = await (await made.start()).ready()
        await made.opened()
        await made.paid(await made.pay(1000))
        await first.kill()
        made.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        content = bytearray((made.data / FILE).read_bytes())
        content[8192:8256] = bytes(byte ^ 0xFF for byte in content[8192:8256])
        (made.data / FILE).write_bytes(content)
        second = await made.start()
        assert await second.end() == JOURNAL_FAILED
        assert second.log.count("journal_unavailable") == 1
        assert second.tells("operations.md")
        assert not second.tells("Traceback"), second.log
        assert (made.data / FILE).read_bytes() == bytes(content)


def copy_consistently(source: Path, target: Path) -> None:
    """As docs/operations.md says a backup is made, while the bridge runs."""
    target.mkdir(mode=0o700)
    with sqlite3.connect(source / FILE) as one, sqlite3.connect(target / FILE) as two:
        one.backup(two)
    one.close()
    two.close()


@pytest.mark.parametrize("how", ["yesterday's copy", "without its write-ahead log"])
async def test_a_journal_older_than_the_channel_stops_that_channel(amqp_url: str, tmp_path: Path, how: str) -> None:
    """The node holds rounds the journal cannot explain: going on could sign a round twice."""
    async with home(amqp_url, tmp_path) as made:
        first = await (await made.start()).ready()
        await made.opened()
        await made.paid(await made.pay(1000))
        await made.house.event("today-r", "transfer.received")
        made.execute("PRAGMA wal_checkpoint(FULL)")
        copy_consistently(made.data, tmp_path / "yesterday")
        for number in range(3):
            await made.paid(await made.pay(2000 + number))
        await first.kill()
        if how == "yesterday's copy":
            shutil.rmtree(made.data)
            (tmp_path / "yesterday").rename(made.data)
        else:
            (made.data / f"{FILE}-wal").unlink()
        signed, states = made.signed(), len(made.applied())
        second = await (await made.start()).ready()
        for name in ("today-i", "today-r"):
            await made.house.event(name, "alarm.foreign_state")
        command_id = await made.pay(3000)
        outcome = await made.house.outcome(command_id)
        assert (outcome["outcome"], outcome["code"]) == ("failed", "channel_not_open")
        assert (made.signed(), len(made.applied())) == (signed, states)
        assert second.process.returncode is None
