"""The journal as the other rooms use it: what goes in comes out, in order, and nothing goes missing."""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bridge.channel.identifier import ChannelName, CommandId
from bridge.errors import InvariantViolation, JournalUnavailable, OwnerConflict
from bridge.journal import lookup
from bridge.journal.journal import FILE
from bridge.journal.prune import DEDUPE_SECONDS, PAGE
from bridge.journal.record import Batch, ChannelRecord, InboxRow, NewOutbox, OutboxRow
from tests.journal.given import (
    ACME,
    BETA,
    FSM_ID,
    KEY,
    OTHER_FSM_ID,
    Clock,
    command,
    envelope,
    event,
    open_journal,
)


async def test_a_channel_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    """After a crash the bridge knows of a channel only what stands here."""
    async with open_journal(tmp_path) as journal:
        await journal.commit(
            Batch(ACME, b"\x01state", 7, "digest", FSM_ID, reestablished=True, cosigned=(3, "tx_signed"))
        )
    async with open_journal(tmp_path) as journal:
        record = await journal.load(ACME)
        assert record == ChannelRecord(
            ACME, b"\x01state", 7, "digest", FSM_ID, None, reestablished=True, cosigned="tx_signed"
        )
        assert await journal.load(BETA) is None


async def test_what_a_batch_leaves_out_stays(tmp_path: Path) -> None:
    """Most steps change the state alone: they must not wipe the credential or the rescue kit."""
    async with open_journal(tmp_path) as journal:
        await journal.commit(Batch(ACME, b"1", 7, "digest", FSM_ID, reestablished=True, cosigned=(3, "tx_signed")))
        await journal.commit(Batch(ACME, state=b"2"))
        record = await journal.load(ACME)
        assert record == ChannelRecord(ACME, b"2", 7, "digest", FSM_ID, None, reestablished=True, cosigned="tx_signed")
        await journal.commit(Batch(ACME, seq=0, prev="", reestablished=False))
        record = await journal.load(ACME)
        assert record == ChannelRecord(ACME, b"2", 0, "", FSM_ID, None, reestablished=False, cosigned="tx_signed")


async def test_the_credential_before_the_newest_is_kept(tmp_path: Path) -> None:
    """A rotated `fsm_id` may never have been taken by the node; then the one before it is the right one (S1)."""
    async with open_journal(tmp_path) as journal:
        await journal.commit(Batch(ACME, fsm_id=FSM_ID))
        await journal.commit(Batch(ACME, fsm_id=OTHER_FSM_ID))
        record = await journal.load(ACME)
        assert record is not None
        assert (record.fsm_id, record.previous_fsm_id) == (OTHER_FSM_ID, FSM_ID)


async def test_the_same_credential_again_does_not_displace_the_one_before(tmp_path: Path) -> None:
    """A living channel reports the same `fsm_id` at each reconnect: kept twice, the older one would be lost."""
    async with open_journal(tmp_path) as journal:
        for fsm_id in (FSM_ID, OTHER_FSM_ID, OTHER_FSM_ID):
            await journal.commit(Batch(ACME, fsm_id=fsm_id))
        record = await journal.load(ACME)
        assert record is not None
        assert (record.fsm_id, record.previous_fsm_id) == (OTHER_FSM_ID, FSM_ID)


async def test_no_credential_stands_readable_in_any_file(tmp_path: Path) -> None:
    """Who copies the data directory must not be able to take over a channel."""
    async with open_journal(tmp_path) as journal:
        for fsm_id in (FSM_ID, OTHER_FSM_ID):
            await journal.commit(Batch(ACME, b"state in the clear", fsm_id=fsm_id))
        files = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    files["after closing"] = (tmp_path / FILE).read_bytes()
    assert b"state in the clear" in files["after closing"]
    assert b"state in the clear" in files[FILE + "-wal"]
    for secret in (FSM_ID.encode(), OTHER_FSM_ID.encode(), FSM_ID[3:20].encode(), KEY):
        assert [name for name, data in files.items() if secret in data] == []


async def test_no_credential_shows_in_a_repr(tmp_path: Path) -> None:
    """Records end up in logs and tracebacks by accident."""
    async with open_journal(tmp_path) as journal:
        batches = [Batch(ACME, fsm_id=FSM_ID), Batch(ACME, fsm_id=OTHER_FSM_ID)]
        for batch in batches:
            await journal.commit(batch)
        shown = repr([await journal.load(ACME), *batches, journal])
        assert "acme-7" in shown
        assert FSM_ID[3:] not in shown
        assert OTHER_FSM_ID[3:] not in shown


# --- the inbox --------------------------------------------------------------------------------------------


async def test_a_command_comes_back_as_it_was_given(tmp_path: Path) -> None:
    """The answer goes where this row says, and its body is what is executed."""
    async with open_journal(tmp_path) as journal:
        await journal.commit(Batch(add_inbox=(command("1"),)))
        assert await journal.find_command(CommandId("1")) == replace(command("1"), position=1)
        assert await journal.find_command(CommandId("2")) is None


async def test_commands_of_a_channel_are_taken_in_journal_order(tmp_path: Path) -> None:
    """G1: not by name, not by time, and another channel's do not stand in between."""
    given = [command("z", at=9.0), command("b", BETA), command("m", at=1.0), command("a", at=5.0)]
    async with open_journal(tmp_path) as journal:
        await journal.commit(Batch(add_inbox=tuple(given[:3])))
        await journal.commit(Batch(add_inbox=(given[3],)))
        taken = []
        while (row := await journal.next_command(ACME)) is not None:
            taken.append(row.command_id)
            await journal.commit(Batch(mark_inbox=((row.command_id, "running", None),)))
        assert taken == ["z", "m", "a"]
        left = await journal.next_command(BETA)
        assert left is not None
        assert left.command_id == "b"


async def test_a_command_put_back_stands_at_its_old_place(tmp_path: Path) -> None:
    """An attempt that is void goes back to `journaled`; what came later must not overtake it."""
    async with open_journal(tmp_path) as journal:
        await journal.commit(Batch(add_inbox=(command("1"), command("2"))))
        await journal.commit(Batch(mark_inbox=((CommandId("1"), "running", None),)))
        await journal.commit(Batch(mark_inbox=((CommandId("1"), "journaled", None),)))
        row = await journal.next_command(ACME)
        assert row is not None
        assert (row.command_id, row.position) == ("1", 1)


async def test_running_lists_what_left_the_line_and_has_not_ended(tmp_path: Path) -> None:
    """A new owner settles exactly these."""
    states = ["journaled", "running", "succeeded", "in_doubt", "failed", "unknown"]
    async with open_journal(tmp_path) as journal:
        await journal.commit(Batch(add_inbox=tuple(command(state, status=state) for state in states)))
        await journal.commit(Batch(add_inbox=(command("other", BETA, status="running"),)))
        assert [row.command_id for row in await journal.running(ACME)] == ["running", "in_doubt"]


async def test_the_outcome_stays_when_a_later_mark_has_none(tmp_path: Path) -> None:
    """A repeated id gets the stored result, byte for byte."""
    async with open_journal(tmp_path) as journal:
        await journal.commit(Batch(add_inbox=(command("1"),)))
        await journal.commit(Batch(mark_inbox=((CommandId("1"), "in_doubt", b"first"),)))
        await journal.commit(Batch(mark_inbox=((CommandId("1"), "in_doubt", None),)))
        row = await journal.find_command(CommandId("1"))
        assert row is not None
        assert (row.status, row.outcome) == ("in_doubt", b"first")
        await journal.commit(Batch(mark_inbox=((CommandId("1"), "succeeded", b"second"),)))
        row = await journal.find_command(CommandId("1"))
        assert row is not None
        assert (row.status, row.outcome) == ("succeeded", b"second")


async def test_a_mark_for_an_unknown_command_is_refused_with_its_whole_batch(tmp_path: Path) -> None:
    """A status that goes nowhere would leave a command to be run twice; half a batch would be a lie."""
    async with open_journal(tmp_path) as journal:
        batch = Batch(ACME, b"state", add_inbox=(command("1"),), mark_inbox=((CommandId("2"), "running", None),))
        with pytest.raises(InvariantViolation, match="nobody gave: 2"):
            await journal.commit(batch)
        assert await journal.load(ACME) is None
        assert await journal.find_command(CommandId("1")) is None


async def test_an_id_is_journaled_once_only(tmp_path: Path) -> None:
    """G2: twice in the line it would be run twice. Nobody asks for it after `find_command`, so it is our bug."""
    async with open_journal(tmp_path) as journal:
        await journal.commit(Batch(add_inbox=(command("1"),)))
        with pytest.raises(JournalUnavailable, match="UNIQUE"):
            await journal.commit(Batch(add_inbox=(command("1", BETA),)))


async def test_backlog_counts_what_waits(tmp_path: Path) -> None:
    """The limit of the line is judged by this; what runs or has ended does not wait."""
    async with open_journal(tmp_path) as journal:
        assert await journal.backlog() == {}
        rows = (command("1"), command("2"), command("3", status="running"), command("4", BETA), command("5", BETA))
        await journal.commit(Batch(add_inbox=rows, mark_inbox=((CommandId("4"), "failed", b"{}"),)))
        assert await journal.backlog() == {ACME: 2, BETA: 1}


# --- outbox, events ----------------------------------------------------------------------------------


async def test_a_commit_returns_its_own_outbox_rows_as_they_are_kept(tmp_path: Path) -> None:
    """The relay publishes from these without reading again: they must be what a restart would read."""
    clock = Clock(42.0)
    async with open_journal(tmp_path, clock) as journal:
        first = await journal.commit(Batch(outbox=(NewOutbox("a", envelope(b"\x00\xff")), NewOutbox("b", envelope()))))
        second = await journal.commit(Batch(outbox=(NewOutbox("a", envelope()),)))
        assert await journal.commit(Batch(ACME, b"state")) == ()
    assert first == (OutboxRow(1, "a", envelope(b"\x00\xff"), 42.0), OutboxRow(2, "b", envelope(), 42.0))
    async with open_journal(tmp_path) as journal:
        assert await journal.outbox(0, 10) == first + second


async def test_the_outbox_is_read_in_pages_and_emptied_by_confirms(tmp_path: Path) -> None:
    """F7: a row goes after its confirm and not before; its id is never given to another."""
    async with open_journal(tmp_path) as journal:
        rows = await journal.commit(Batch(outbox=tuple(NewOutbox("a", envelope(b"12345")) for _ in range(5))))
        assert await journal.outbox(0, 2) == rows[:2]
        assert await journal.outbox(rows[1].id, 2) == rows[2:4]
        assert await journal.outbox_depth() == (5, 25)
        await journal.mark_published([rows[0].id, rows[4].id, 999])
        assert await journal.outbox(0, 10) == rows[1:4]
        assert await journal.outbox_depth() == (3, 15)
        await journal.mark_published(row.id for row in rows[1:4])
        assert await journal.outbox_depth() == (0, 0)
        (later,) = await journal.commit(Batch(outbox=(NewOutbox("a", envelope()),)))
        assert later.id == 6


async def test_events_are_read_by_number_for_replay(tmp_path: Path) -> None:
    """G3: a reader that has dropped some asks for exactly those again, byte for byte."""
    async with open_journal(tmp_path) as journal:
        await journal.commit(Batch(events=tuple(event(seq) for seq in range(1, 6))))
        await journal.commit(Batch(events=(event(2, BETA),)))
        assert await journal.events(ACME, 2, 4) == (event(2), event(3), event(4))
        assert await journal.events(ACME, 6, 9) == ()


async def test_a_number_is_given_to_one_event_only(tmp_path: Path) -> None:
    """Two events of one number would pass for one; then the state is not what we believe, so all stops."""
    async with open_journal(tmp_path) as journal:
        await journal.commit(Batch(events=(event(1),)))
        with pytest.raises(JournalUnavailable):
            await journal.commit(Batch(ACME, b"state", events=(event(2), event(1, at=8.0))))
    async with open_journal(tmp_path) as journal:
        assert await journal.load(ACME) is None
        assert await journal.events(ACME, 1, 9) == (event(1),)


# --- pruning ----------------------------------------------------------------------------------------------


async def test_pruning_forgets_old_events_and_old_ended_commands(tmp_path: Path) -> None:
    """G6: the disk is bounded. What has not ended, and the outbox, are never pruned."""
    clock = Clock()
    old = clock.now - DEDUPE_SECONDS - 100
    states = ["journaled", "running", "in_doubt", "succeeded", "failed"]
    async with open_journal(tmp_path, clock) as journal:
        await journal.commit(
            Batch(
                add_inbox=(*(command(state, status=state, at=old) for state in states), command("new", at=clock.now)),
                events=(event(1, at=old), event(2, at=clock.now)),
                outbox=(NewOutbox("a", envelope()),),
            )
        )
        assert await journal.prune(clock.now - DEDUPE_SECONDS) == 3
        assert [bool(await journal.find_command(CommandId(state))) for state in states] == [
            True,
            True,
            True,
            False,
            False,
        ]
        assert await journal.events(ACME, 1, 9) == (event(2, at=clock.now),)
        assert (await journal.outbox_depth())[0] == 1


async def test_an_id_is_remembered_for_seven_days_whatever_is_pruned(tmp_path: Path) -> None:
    """An id that was forgotten while still acceptable would be run again."""
    clock = Clock()
    within, beyond = clock.now - DEDUPE_SECONDS + 1, clock.now - DEDUPE_SECONDS - 1
    rows = (command("within", status="succeeded", at=within), command("beyond", status="succeeded", at=beyond))
    async with open_journal(tmp_path, clock) as journal:
        await journal.commit(Batch(add_inbox=(*rows, command("new", at=clock.now))))
        assert await journal.prune(clock.now + 1) == 1
        assert await journal.find_command(CommandId("within")) is not None
        assert await journal.find_command(CommandId("beyond")) is None


async def test_a_clock_far_ahead_makes_no_id_forgotten(tmp_path: Path) -> None:
    """Once it is set right the id would be acceptable still, and a payment repeated under it made twice."""
    clock = Clock()
    async with open_journal(tmp_path, clock) as journal:
        await journal.commit(Batch(add_inbox=(command("paid", status="succeeded", at=clock.now),)))
        clock.now += 31 * 24 * 3600
        assert await journal.prune(clock.now) == 0
        assert await journal.find_command(CommandId("paid")) is not None
        assert journal.forgotten_until == 0


async def test_a_journal_knows_for_ever_until_when_it_has_forgotten(tmp_path: Path) -> None:
    """With commands from the future in it the clock is believed. What was forgotten then must not look new later."""
    clock = Clock()
    real, ahead = clock.now, clock.now + 31 * 24 * 3600
    paid = tuple(command(f"paid {number}", status="succeeded", at=real - number) for number in range(PAGE + 1))
    async with open_journal(tmp_path, clock) as journal:
        await journal.commit(Batch(add_inbox=(*paid, command("from the future", at=ahead))))
        clock.now = ahead
        assert await journal.prune(clock.now) == PAGE + 1
        assert journal.forgotten_until == real, "not the bound that was asked for: it would refuse what is new for days"
    clock.now = real
    async with open_journal(tmp_path, clock) as journal:
        await journal.prune(clock.now)
        assert journal.forgotten_until == real


async def test_pruning_much_takes_many_short_transactions(tmp_path: Path) -> None:
    """A signature's deadline does not wait for a month of events to be deleted."""
    async with open_journal(tmp_path) as journal:
        await journal.commit(Batch(events=tuple(event(seq) for seq in range(2 * PAGE + 1))))
        before = journal.writer.transactions
        assert await journal.prune(100.0) == 2 * PAGE + 1
        assert journal.writer.transactions - before >= 3


# --- owners and life --------------------------------------------------------------------------------------


async def test_each_owner_has_a_higher_epoch(tmp_path: Path) -> None:
    """Events and ledger rows say which owner wrote them."""
    epochs = []
    for _ in range(3):
        async with open_journal(tmp_path) as journal:
            epochs.append(journal.epoch)
    assert epochs == [1, 2, 3]


async def test_a_second_owner_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    """Two bridges on one directory would sign twice for one round."""
    async with open_journal(tmp_path) as journal:
        with pytest.raises(OwnerConflict, match="another process owns"):
            await open_journal(tmp_path).__aenter__()
        await journal.commit(Batch(ACME, b"state"))
    async with open_journal(tmp_path) as journal:
        assert journal.epoch == 2


@pytest.mark.parametrize("call", ["commit", "mark_published", "prune"])
async def test_an_older_owner_writes_nothing_after_a_newer_one_has_begun(tmp_path: Path, call: str) -> None:
    """I5: where the OS lock holds nothing (some network file systems), the epoch in the journal does."""
    async with open_journal(tmp_path) as journal:
        (row,) = await journal.commit(Batch(outbox=(NewOutbox("a", envelope()),), events=(event(1),)))
        (tmp_path / "owner.lock").unlink()
        async with open_journal(tmp_path) as newer:
            calls: Mapping[str, Callable[[], Awaitable[object]]] = {
                "commit": lambda: journal.commit(Batch(ACME, b"state")),
                "mark_published": lambda: journal.mark_published([row.id]),
                "prune": lambda: journal.prune(100.0),
            }
            with pytest.raises(JournalUnavailable, match="owner 2 has taken over from 1"):
                await calls[call]()
            assert await newer.load(ACME) is None
            assert await newer.outbox(0, 9) == (row,)
            assert await newer.events(ACME, 1, 1) == (event(1),)


async def test_another_key_is_refused_before_anything_changes(tmp_path: Path) -> None:
    """Found at the start and said plainly, not at the first reconnect in the night."""
    async with open_journal(tmp_path):
        pass
    with pytest.raises(JournalUnavailable, match="key is not the one this journal was written with"):
        await open_journal(tmp_path, key=b"x" * 32).__aenter__()
    with pytest.raises(JournalUnavailable, match="key has 5 bytes, it must have 32"):
        await open_journal(tmp_path, key=b"short").__aenter__()
    async with open_journal(tmp_path) as journal:
        assert journal.epoch == 2


async def test_after_closing_every_call_is_refused(tmp_path: Path) -> None:
    """A call that would wait for ever hangs the whole shutdown."""
    async with open_journal(tmp_path) as journal:
        await journal.close()
        with pytest.raises(JournalUnavailable, match="closed"):
            await journal.commit(Batch(ACME, b"state"))
        with pytest.raises(JournalUnavailable, match="closed"):
            await journal.load(ACME)


async def test_questions_of_every_command_do_not_grow_with_those_that_ended(tmp_path: Path) -> None:
    """A week of ended commands is kept: asking for the next one must not walk through them."""

    def plan(connection: sqlite3.Connection, sql: str) -> list[str]:
        return [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + sql, (ACME,) * sql.count("?"))]

    questions = (lookup.FIND, lookup.NEXT, lookup.RUNNING, lookup.BACKLOG)
    async with open_journal(tmp_path) as journal:
        plans = [await journal.writer.do(partial(plan, sql=sql)) for sql in questions]
    used = [word for lines in plans for word in lines[0].split() if word.startswith(("inbox_", "sqlite_"))]
    assert used == ["sqlite_autoindex_inbox_1", "inbox_line", "inbox_running", "inbox_line"]
    assert not any("TEMP B-TREE" in line for lines in plans for line in lines)


def test_a_new_inbox_row_waits_in_the_line() -> None:
    """The default status is the first of a command's life."""
    row = InboxRow(CommandId("1"), ChannelName("a"), "transfer", "alice", "h", b"", 1.0)
    assert (row.status, row.outcome, row.position) == ("journaled", None, 0)
