"""The store refuses what would let two signatures count for one attempt or one round, whatever it is told."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.channel.identifier import CommandId
from bridge.errors import InvariantViolation
from bridge.journal.journal import Journal
from bridge.journal.ledger import ROUNDS_KEPT
from bridge.journal.prune import DEDUPE_SECONDS
from bridge.journal.record import Abandoned, Batch, LedgerRow
from tests.journal.given import ACME, BETA, Clock, command, ledger_row, open_journal

FIRST = LedgerRow(ACME, 3, "h1", "c1", "update", "tx_first", 1, 9.0, attempt=1)
EVIDENCE = Abandoned(3, "h1", "c1", "conflict 2", is_exposed=True)


async def keep(journal: Journal, *rows: LedgerRow, abandon: Sequence[Abandoned] = ()) -> None:
    await journal.commit(Batch(ACME, abandon=tuple(abandon), ledger=rows))


async def test_the_ledger_is_kept_in_order_and_whole(tmp_path: Path) -> None:
    """What the peer may hold against us: every field, and a transaction without a round too."""
    rows = (FIRST, replace(FIRST, round=4, hash="h2", attempt=2), replace(FIRST, round=None, command_id=None))
    async with open_journal(tmp_path) as journal:
        await keep(journal, *rows[:2])
        await keep(journal, *rows[2:], replace(FIRST, channel=BETA, command_id="c2"))
        assert await journal.ledger(ACME) == rows


async def test_a_signature_is_refused_twice_for_one_attempt(tmp_path: Path) -> None:
    """I3: the second one, at whatever round, would be a second payment. Nothing of its batch is stored."""
    async with open_journal(tmp_path) as journal:
        await keep(journal, FIRST)
        with pytest.raises(InvariantViolation, match="attempt 1 of command c1"):
            await journal.commit(Batch(ACME, state=b"beyond", ledger=(replace(FIRST, round=4, hash="h2"),)))
        record = await journal.load(ACME)
        assert record is not None
        assert record.state is None
        assert await journal.ledger(ACME) == (FIRST,)


@pytest.mark.parametrize(
    "second",
    [
        replace(FIRST, hash="h2", attempt=2),
        replace(FIRST, attempt=2),
        replace(FIRST, command_id="c2"),
        replace(FIRST, hash="h2", command_id=None, tag="update_ack", attempt=0),
    ],
    ids=["another hash", "the same again", "the same hash for another command", "the peer's proposal"],
)
async def test_a_round_takes_a_second_signature_only_after_evidence(tmp_path: Path, second: LedgerRow) -> None:
    """I4: without the node's word against the first, both could count."""
    async with open_journal(tmp_path) as journal:
        await keep(journal, FIRST)
        with pytest.raises(InvariantViolation, match="a second signature"):
            await keep(journal, second)
        await keep(journal, second, abandon=[EVIDENCE])
        abandoned = replace(FIRST, abandoned_by="conflict 2", is_exposed=True)
        assert await journal.ledger(ACME) == (abandoned, second)


async def test_other_channels_go_on_after_a_refused_signature(tmp_path: Path) -> None:
    """A bug met in one channel halts that one; the journal itself is sound."""
    async with open_journal(tmp_path) as journal:
        await keep(journal, FIRST)
        with pytest.raises(InvariantViolation):
            await keep(journal, replace(FIRST, attempt=2))
        await journal.commit(Batch(BETA, ledger=(replace(FIRST, channel=BETA, command_id="c9"),)))
        assert len(await journal.ledger(BETA)) == 1


async def test_evidence_counts_for_the_signature_it_names_and_no_other(tmp_path: Path) -> None:
    """Evidence about another command, round or hash must not open the round."""
    wrong = [replace(EVIDENCE, command_id="c2"), replace(EVIDENCE, round=4), replace(EVIDENCE, hash="h2")]
    async with open_journal(tmp_path) as journal:
        await keep(journal, FIRST)
        for evidence in wrong:
            with pytest.raises(InvariantViolation, match="nobody gave"):
                await keep(journal, replace(FIRST, attempt=2), abandon=[evidence])
        await journal.commit(Batch(BETA, ledger=(replace(FIRST, channel=BETA, command_id="c9"),)))
        with pytest.raises(InvariantViolation, match="nobody gave"):
            await journal.commit(Batch(BETA, abandon=(EVIDENCE,)))


async def test_the_first_evidence_stays(tmp_path: Path) -> None:
    """Whoever reads the ledger after a dispute must see why the second was signed, not what was said later."""
    async with open_journal(tmp_path) as journal:
        await keep(journal, FIRST, abandon=())
        await keep(journal, abandon=[EVIDENCE])
        await keep(journal, abandon=[replace(EVIDENCE, evidence="probe: was pending", is_exposed=False)])
        (row,) = await journal.ledger(ACME)
        assert (row.abandoned_by, row.is_exposed) == ("conflict 2", True)


async def test_the_same_signature_given_again_is_abandoned_by_itself(tmp_path: Path) -> None:
    """Two attempts may give the same bytes: evidence is about the latest, and is needed for each."""
    again = replace(FIRST, attempt=2)
    async with open_journal(tmp_path) as journal:
        await keep(journal, FIRST)
        await keep(journal, again, abandon=[EVIDENCE])
        with pytest.raises(InvariantViolation, match="a second signature"):
            await keep(journal, replace(FIRST, attempt=3))
        await keep(journal, replace(FIRST, attempt=3), abandon=[replace(EVIDENCE, evidence="conflict 4")])
        assert [row.abandoned_by for row in await journal.ledger(ACME)] == ["conflict 2", "conflict 4", None]


async def test_the_invariants_hold_over_a_restart(tmp_path: Path) -> None:
    """The second signature comes after a crash as a rule: the memory of the first owner is no protection."""
    async with open_journal(tmp_path) as journal:
        await keep(journal, FIRST)
    async with open_journal(tmp_path) as journal:
        with pytest.raises(InvariantViolation):
            await keep(journal, replace(FIRST, hash="h2", command_id="c2"))


# --- pruning ----------------------------------------------------------------------------------------------


async def test_pruning_forgets_signatures_of_rounds_long_co_signed(tmp_path: Path) -> None:
    """G6. Only rounds below the latest ones are settled for ever, and the latest co-signed state always stays."""
    clock = Clock()
    rows = [replace(FIRST, round=n, hash=f"h{n}", command_id=f"c{n}", at=clock.now - 50) for n in range(1, 12)]
    async with open_journal(tmp_path, clock) as journal:
        await journal.commit(Batch(ACME, cosigned=(10, "tx_10"), ledger=tuple(rows)))
        assert await journal.prune(clock.now - 51) == 0
        assert await journal.prune(clock.now - 49) == 10 - ROUNDS_KEPT - 1
        assert [row.round for row in await journal.ledger(ACME)] == [8, 9, 10, 11]
        record = await journal.load(ACME)
        assert record is not None
        assert record.cosigned == "tx_10"


async def test_pruning_keeps_what_no_co_signed_state_has_settled(tmp_path: Path) -> None:
    """Before the first co-signed state, and without a round, nothing says that the signature is of no use any more."""
    clock = Clock()
    async with open_journal(tmp_path, clock) as journal:
        await keep(journal, replace(ledger_row("h1"), at=0.0), replace(FIRST, round=None, command_id="c2", at=0.0))
        await journal.commit(Batch(BETA, cosigned=(100, "tx")))
        assert await journal.prune(clock.now) == 0
        assert len(await journal.ledger(ACME)) == 2


async def test_an_id_is_remembered_as_long_as_a_signature_of_it(tmp_path: Path) -> None:
    """Given again after it was forgotten, its first attempt would halt the channel: a client's slip must not."""
    clock = Clock()
    old = clock.now - DEDUPE_SECONDS - 100
    async with open_journal(tmp_path, clock) as journal:
        ended = (command("c1", status="succeeded", at=old), command("c2", status="succeeded", at=old))
        rows = (*ended, command("new", at=clock.now))
        await journal.commit(Batch(ACME, cosigned=(3, "tx"), add_inbox=rows, ledger=(replace(FIRST, at=old),)))
        assert await journal.prune(clock.now) == 1
        assert await journal.find_command(CommandId("c2")) is None
        assert await journal.find_command(CommandId("c1")) is not None
        await journal.commit(Batch(ACME, cosigned=(9, "tx")))
        assert await journal.prune(clock.now) == 2
        assert await journal.find_command(CommandId("c1")) is None
