"""`channel-bridge ledger`: what an accountant sees of the journal, and the exit codes his scripts rely on."""

import csv
import io
import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.app.cli import app
from bridge.app.cli.terminal import FAILED, JOURNAL_FAILED
from bridge.app.contract import Contract, Names
from bridge.channel.effect import Publish
from bridge.channel.identifier import ChannelName
from bridge.channel.request import Tag
from bridge.channel.state import encode
from bridge.errors import InvariantViolation
from bridge.journal.journal import FILE, Journal
from bridge.journal.record import Batch, PostingRow
from bridge.journal.schema import AUDIT, TABLES
from tests.channel.given import Channel, create, moved, offchain, opened, proposed, shutdown
from tests.channel.test_bookkeeping import acknowledged, closing, proven, reestablish

run = CliRunner().invoke


def lived() -> Channel:
    """Three entries, the last one proven."""
    channel = acknowledged(opened(), Tag.UPDATE_ACK, offchain(2), moved(7, back=True))
    acknowledged(channel, Tag.UPDATE_ACK, offchain(3), moved(5, back=True))
    return proven(channel, 1012, 488)


async def keep(directory: Path, channel: Channel) -> Path:
    """The journal a bridge would have left: each event in order, and the state."""
    journal = await Journal.open(directory, b"k" * 32, lambda: 1.0)
    contract = Contract(Names("channels", "channel-bridge"), channel.terms, seq=0, prev="", epoch=1)
    published = [effect for effect in channel.all if isinstance(effect, Publish)]
    batch, _ = contract.compose(channel.state, published, {}, channel.now)
    await journal.commit(batch)
    await journal.close()
    return directory


@pytest.fixture
async def journal(tmp_path: Path) -> Path:
    return await keep(tmp_path, lived())


def verify(journal: Path, *words: str) -> tuple[int, str]:
    result = run(app, ["ledger", "verify", "--journal", str(journal), *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_whole_books_are_told(journal: Path) -> None:
    code, output = verify(journal)
    assert (code, output.strip()) == (
        0,
        "ok: 3 entries of 1 channels, balanced, and what the channels hold",
    )


async def test_a_closed_channel_with_a_proof_of_its_last_round_is_whole(tmp_path: Path) -> None:
    """The proof is of what the channel held, the close of the same round takes it out."""
    channel = lived()
    proposed(channel, shutdown(), Tag.SHUTDOWN, closing(1002, 478, channel.terms.initiator), None)
    channel.info("closed_confirmed")
    code, output = verify(await keep(tmp_path, channel))
    assert (code, output[:12]) == (0, "ok: 4 entrie"), output


async def test_books_with_a_reversal_are_whole(tmp_path: Path) -> None:
    channel = acknowledged(opened(), Tag.UPDATE_ACK, offchain(2), moved(7, back=True))
    reestablish(channel, create())
    acknowledged(channel, Tag.UPDATE_ACK, offchain(2), moved(7, back=True))
    code, output = verify(await keep(tmp_path, channel))
    assert code == 0, output


async def test_a_proof_of_what_was_gone_back_behind_is_compared_with_what_stood_then(tmp_path: Path) -> None:
    """The reversal is of round 2, and what it leaves is round 1."""
    channel = proven(acknowledged(opened(), Tag.UPDATE_ACK, offchain(2), moved(7, back=True)), 1007, 493)
    reestablish(channel, create())
    code, output = verify(await keep(tmp_path, channel))
    assert code == 0, output


async def test_what_is_in_suspense_is_a_finding(tmp_path: Path) -> None:
    code, output = verify(await keep(tmp_path, proven(opened(), 1000, 507)))
    assert code == FAILED
    assert "acme-7 entry 2: -7 aettos are in suspense" in output


DAMAGE = {
    "an amount": ('UPDATE posting SET body=replace(body, \'"debit":"7"\', \'"debit":"8"\')', "does not balance"),
    "both sides of an amount": (
        'UPDATE posting SET body=replace(replace(body, \'"debit":"7"\', \'"debit":"8"\'),'
        ' \'"credit":"7"\', \'"credit":"8"\')',
        "the lines say",
    ),
    "an entry less": ("DELETE FROM posting WHERE entry=2", "entry 3: stands behind entry 1"),
    "the last entry less": ("DELETE FROM posting WHERE entry=3", "the journal has counted 3"),
    "all entries less": ("DELETE FROM posting", "nothing is booked"),
    "no object": ("UPDATE posting SET body='[]' WHERE entry=3", "entry 3: cannot be read"),
    "no JSON": ("UPDATE posting SET body='{' WHERE entry=3", "entry 3: cannot be read"),
    "no number": ("UPDATE posting SET body=replace(body, '\"7\"', '\"seven\"')", "entry 2: cannot be read"),
    "a fact twice": (
        "UPDATE posting SET body=replace(body, ':3:payment:b3', ':2:payment:b2') WHERE entry=3",
        "is booked already",
    ),
    "no state": ("UPDATE channel SET state=NULL", "holds no state"),
    "a damaged state": ("UPDATE channel SET state=CAST(x'027b' AS BLOB)", "the stored state cannot be read"),
}


@pytest.mark.parametrize("name", DAMAGE)
async def test_what_somebody_did_to_the_books_is_found(name: str, tmp_path: Path) -> None:
    """An alert with exit code 1 and a sentence, never a crash."""
    statement, sentence = DAMAGE[name]
    channel = acknowledged(opened(), Tag.UPDATE_ACK, offchain(2, "b"), moved(7, back=True))
    acknowledged(channel, Tag.UPDATE_ACK, offchain(3, "b"), moved(5, back=True))
    journal = await keep(tmp_path, channel)
    if name == "a fact twice":
        statement = statement.replace("b3", offchain(3, "b").hash).replace("b2", offchain(2, "b").hash)
    edit(journal, statement)
    code, output = verify(journal)
    assert code == FAILED
    assert sentence in output
    assert output.splitlines()[-1].startswith("wrong: ")


def edit(journal: Path, statement: str) -> None:
    with sqlite3.connect(journal / FILE) as connection:
        connection.executescript(f"DROP TRIGGER posting_unchanged; DROP TRIGGER posting_kept; {statement}")
    connection.close()


async def test_books_that_are_not_what_the_node_proved_are_found(tmp_path: Path) -> None:
    """Somebody with the file changed the entries and the state alike; the proof's balances still say otherwise."""
    channel = lived()
    held = channel.state.books.totals
    assert channel.state.proven is not None
    assert channel.state.proven.balances == held[:2] == (1012, 488)
    journal = await keep(tmp_path, channel)
    state = encode(channel.state).replace(b'"balances":[1012,488]', b'"balances":[1013,487]')
    assert state != encode(channel.state)
    with sqlite3.connect(journal / FILE) as connection:
        connection.execute("UPDATE channel SET state=?", (state,))
    connection.close()
    code, output = verify(journal)
    assert code == FAILED
    assert "at round 3 the books hold 1012 and 488, the node proved 1013 and 487" in output


def test_json_says_the_same(journal: Path) -> None:
    edit(journal, "DELETE FROM posting WHERE entry=3")
    code, output = verify(journal, "--json")
    told = json.loads(output)
    assert (code, told["balanced"], told["entries"], told["channels"]) == (FAILED, False, 2, 1)
    assert told["findings"] == len(told["found"]) > 0


def test_the_journal_itself_takes_no_change(journal: Path) -> None:
    """Append-only for our own code; whoever holds the file can drop the triggers, and then `verify` looks."""
    with sqlite3.connect(journal / FILE) as connection:
        for statement in ("UPDATE posting SET entry=9", "DELETE FROM posting"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)
    connection.close()


async def test_an_entry_is_posted_once(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, b"k" * 32, lambda: 1.0)
    row = PostingRow(ChannelName("acme-7"), 1, 1, "event:acme-7:1", 1.0, b"{}")
    await journal.commit(Batch(postings=(row,)))
    with pytest.raises(InvariantViolation, match="entry 1 of acme-7 is posted already"):
        await journal.commit(Batch(postings=(row,)))
    await journal.close()


async def test_a_journal_from_before_the_books_gets_them(tmp_path: Path) -> None:
    """Until the bridge was started once, the command says what to do."""
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.executescript(f"{TABLES} {AUDIT} PRAGMA user_version=2;")
    connection.close()
    result = run(app, ["ledger", "verify", "--journal", str(tmp_path)])
    assert result.exit_code == JOURNAL_FAILED
    await (await Journal.open(tmp_path, b"k" * 32, lambda: 1.0)).close()
    assert verify(tmp_path) == (0, "ok: 0 entries of 0 channels, balanced, and what the channels hold\n")


def test_both_exports_hold_every_line_with_its_evidence(journal: Path) -> None:
    """Amounts are texts of whole aettos: no program on the way can round them."""
    text = run(app, ["ledger", "export", "--journal", str(journal)]).output
    rows = list(csv.DictReader(io.StringIO(text)))
    entries = [
        json.loads(line)
        for line in run(app, ["ledger", "export", "--format", "json", "--journal", str(journal)]).output.splitlines()
    ]
    assert [entry["entry"] for entry in entries] == [1, 2, 3]
    assert sum(len(entry["lines"]) for entry in entries) == len(rows) == 10
    assert sum(int(row["debit"]) - int(row["credit"]) for row in rows) == 0
    assert {(row["event_id"], row["tx_hash"]) for row in rows} == {(e["event_id"], e["tx_hash"]) for e in entries}
    assert all(isinstance(line["debit"], str) for entry in entries for line in entry["lines"])
    assert {row["unit"] for row in rows} == {"aetto"}


def test_one_channel_may_be_asked_for(journal: Path) -> None:
    for channel, count in (("acme-7", 3), ("nobody", 0)):
        words = ["ledger", "export", "--format", "json", "--channel", channel, "--journal", str(journal)]
        assert len(run(app, words).output.splitlines()) == count
