"""Books kept by the consumer of the documents, against the node, over a real RabbitMQ and in every dialect."""

import asyncio
import csv
import io
import json
from pathlib import Path

from typer.testing import CliRunner

from bridge.app.cli import app
from tests.system.accountant import Accountant
from tests.system.house import House, Pair
from tests.system.test_flows import pay

run = CliRunner().invoke


async def booked(accountant: Accountant, home: House, *channels: str) -> None:
    """Until all that was posted so far is in the file. Events come to the house as they come to the consumer."""
    wanted = {name: home.state(name).books.entries for name in channels}
    async with asyncio.timeout(60):
        while any(accountant.entries().get(name, 0) < count for name, count in wanted.items()):
            assert not accountant.has_ended
            await asyncio.sleep(0.02)


def held(accountant: Accountant, channel: str) -> tuple[int, int]:
    sums = accountant.sums(channel)
    return sums["channel.initiator"], sums["channel.responder"]


def of_node(home: House) -> tuple[int, int]:
    """What the node's latest co-signed state says."""
    (page,) = (page for page in home.node.registry.book.pages.values() if page.states)
    (pair,) = home.pairs
    balances = page.states[-1]["balances"]
    return int(balances[pair.account("initiator")]), int(balances[pair.account("responder")])


async def test_a_killed_consumer_keeps_the_books_of_every_flow(home: House, pair: Pair, tmp_path: Path) -> None:
    """The done-when in small: open, pay, deposit, withdraw, close; and every step is in both roles' books once."""
    channels = (pair.initiator, pair.responder)
    accountant = Accountant(home.url, home.prefix, tmp_path, *channels)
    await accountant.start()
    try:
        await accountant.listens()
        assert await accountant.fill(tmp_path / "data") == "2 entries booked"  # posted before the consumer came
        for role in ("initiator", "responder"):
            await pay(home, pair, role, 7)
        await accountant.kill()
        assert (await home.run(pair.initiator, "deposit", amount="100"))["outcome"] == "succeeded"
        await home.event(pair.responder, "deposit.acknowledged")
        await accountant.start()
        assert (await home.run(pair.responder, "withdraw", amount="40"))["outcome"] == "succeeded"
        await home.event(pair.initiator, "withdraw.acknowledged")
        await booked(accountant, home, *channels)
        for name in channels:
            assert held(accountant, name) == of_node(home)
            assert held(accountant, name) == (pair.initiator_amount + 100, pair.responder_amount - 40)
        check_journal(tmp_path / "data", entries=10)
        assert (await home.run(pair.initiator, "shutdown"))["outcome"] == "succeeded"
        await home.event(pair.responder, "shutdown.acknowledged")
        await booked(accountant, home, *channels)
        await check_closed(accountant, home, pair)
        check_journal(tmp_path / "data", entries=12)
    finally:
        await accountant.kill()


async def check_closed(accountant: Accountant, home: House, pair: Pair) -> None:
    """All is out of the channel, nothing unexplained, and both roles tell of the same facts."""
    for name in (pair.initiator, pair.responder):
        sums = accountant.sums(name)
        assert (sums["channel.initiator"], sums["channel.responder"]) == (0, 0)
        assert sum(sums.values()) == 0
        assert "suspense" not in sums
        assert sums["fee.initiator"] > 0
    facts = [
        [fact for (fact,) in accountant.ask("SELECT fact_id FROM entry WHERE channel=? ORDER BY entry", name)]
        for name in (pair.initiator, pair.responder)
    ]
    assert facts[0] == facts[1]
    assert home.find(pair.initiator, "alarm.books_disagree") == []


def check_journal(data: Path, entries: int) -> None:
    """While the bridge runs: verified, and both exports hold every entry."""
    result = run(app, ["ledger", "verify", "--json", "--journal", str(data)])
    told = json.loads(result.output)
    assert (result.exit_code, told["balanced"], told["entries"], told["channels"]) == (0, True, entries, 2), told
    lines = run(app, ["ledger", "export", "--format", "json", "--journal", str(data)]).output.splitlines()
    rows = list(csv.DictReader(io.StringIO(run(app, ["ledger", "export", "--journal", str(data)]).output)))
    assert len(lines) == entries
    assert sum(int(row["debit"]) - int(row["credit"]) for row in rows) == 0
    assert {row["event_id"] for row in rows} == {json.loads(line)["event_id"] for line in lines}
