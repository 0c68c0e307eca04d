"""Decide, commit, perform: what could not be stored has not happened, for nobody outside (F1 to F5).

The disk fails at one chosen write, by a trigger in the journal's own file. Nothing of that step may be seen at the
node or on the bus, the bridge must end loudly, and a bridge with a sound disk must finish the payment once.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import JournalUnavailable
from bridge.journal.journal import FILE
from tests.system.house import House, Pair, house

WRITES = {
    "F1": "BEFORE INSERT ON inbox",
    "F2": "BEFORE INSERT ON outbox WHEN NEW.properties LIKE '%command.started%'",
    "F3": "BEFORE INSERT ON outbox WHEN NEW.lane LIKE 'sign/%'",
    "F4": "BEFORE INSERT ON outbox WHEN NEW.properties LIKE '%sign.forwarded%'",
    "F5": "BEFORE UPDATE ON inbox WHEN NEW.outcome IS NOT NULL",
}


@contextmanager
def broken(directory: Path, write: str) -> Iterator[None]:
    """As if the disk refused exactly this write."""
    with closing(sqlite3.connect(directory / "data" / FILE, isolation_level=None)) as connection:
        connection.execute(f"CREATE TRIGGER no_disk {write} BEGIN SELECT RAISE(ABORT, 'no disk'); END")
        yield
        connection.execute("DROP TRIGGER no_disk")


def frames(home: House, method: str) -> int:
    """How many frames of that kind reached the node."""
    counts: dict[str, Any] = home.node.tally.report()["frames"]["json-rpc"]["to_node"]
    return int(counts.get(method, 0))


def seen(home: House) -> dict[str, int]:
    """What the outside has seen of the payment, in the order of its writes."""
    return {
        "F2": frames(home, "channels.update.new"),
        "F3": len(home.find(home.pairs[0].initiator, "sign.requested", tag="update")),
        "F4": frames(home, "channels.update"),
        "F5": len(home.results),
    }


def is_unavailable(error: BaseException) -> bool:
    group = error if isinstance(error, BaseExceptionGroup) else BaseExceptionGroup("", [error])
    return group.subgroup(JournalUnavailable) is not None


@pytest.mark.parametrize("point", WRITES)
async def test_what_could_not_be_stored_has_not_happened(amqp_url: str, tmp_path: Path, point: str) -> None:
    pair = Pair("today")
    async with house(amqp_url, tmp_path, pair) as home:
        await home.opened()
        payer, payee = pair.account("initiator"), pair.account("responder")
        with broken(tmp_path, WRITES[point]):
            command_id = await home.send(pair.initiator, "transfer", from_=payer, to=payee, amount="5")
            assert home.running is not None
            with pytest.raises(BaseException) as failure:  # noqa: PT011  # a group or the error itself
                async with asyncio.timeout(30):
                    await home.running
            assert is_unavailable(failure.value)
            later = [number for name, number in seen(home).items() if name >= point]
            assert later == [0] * len(later)
        await home.start_bridge()
        assert (await home.outcome(command_id))["outcome"] == "succeeded"
        assert home.state(pair.initiator).round == 2
        assert home.state(pair.initiator).initiator_balance == pair.initiator_amount - 5
        assert [r["outcome"] for r in home.results if r.get("command_id") == command_id] == ["succeeded"]
