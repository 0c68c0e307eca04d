"""What a house of real processes leaves behind, as evidence for the oracle.

The node's own book is the truth, the journal's file tells the signatures, the client's copies tell the rest.
"""

import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any

from bridge.channel.terms import Role
from bridge.journal.journal import FILE
from bridge.sim.view import channels
from bridge.wire.envelope import Received
from tests.faults.journal_home import Home
from tests.oracle.evidence import Arrived, Evidence, Forward, Pair, Sent
from tests.oracle.page import read_pair
from tests.simulation.harvest import read_booked
from tests.system.house import House
from tests.system.house import Pair as HousePair

MOVES = ("transfer", "deposit", "withdraw")
ROLES = ("initiator", "responder")


def gather(home: Home, *, losers: Collection[str] = ()) -> Evidence:
    """Everything of one run. `losers`: the dialects in which a channel may be gone, with its node or its socket."""
    house = home.house
    return Evidence(
        sent=[
            Sent(command_id, channel, kind, "client", int(body["amount"]) if kind in MOVES else None)
            for command_id, channel, kind, body in house.sent
        ],
        pairs=[_read(house, pair, may_lose=pair.dialect in losers) for pair in house.pairs],
        results=_arrived(house.received["results"]),
        events=_arrived(house.received["events"]),
        letters=_arrived(house.received["letters"]),
        forwards=_forwards(home.data / FILE),
        waiting=_waiting(home.data / FILE),
        booked=read_booked(home.data),
        texts={f"bridge {number}": bridge.log for number, bridge in enumerate(home.bridges)},
        secrets=_secrets(house),
    )


def _arrived(received: list[Received]) -> list[Arrived]:
    return [Arrived(one.routing_key, one.body, one.headers) for one in received]


def _read(house: House, pair: HousePair, *, may_lose: bool) -> Pair:
    accounts = {role: pair.account(role) for role in ROLES}
    page = next(
        page
        for page in house.node.registry.book.pages.values()
        if page.states and set(accounts.values()) <= set(page.states[0]["balances"])
    )
    shown = next(one for one in channels(house.node)["channels"] if one["states"] == list(page.states))
    rounds = {role.value: shown["sides"][role.value]["round"] for role in Role}
    return read_pair(
        pair.name,
        {"initiator": pair.initiator, "responder": pair.responder},
        accounts,
        {"states": list(page.states), "signatures": [entry.write() for entry in page.signatures]},
        {role: number for role, number in rounds.items() if number is not None},
        is_lost=may_lose,
        is_closed=not shown["is_on_chain"],
    )


def _ask(file: Path, question: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(question).fetchall()


def _forwards(file: Path) -> list[Forward]:
    rows = _ask(file, "SELECT channel, round, hash, tag, command_id, at, abandoned_by FROM ledger ORDER BY id")
    return [Forward(*row) for row in rows]


def _waiting(file: Path) -> frozenset[str]:
    rows = _ask(file, "SELECT command_id FROM inbox WHERE status IN ('journaled', 'running')")
    return frozenset(str(row[0]) for row in rows)


def _secrets(house: House) -> frozenset[str]:
    keys = {pair.key(role).hex() for pair in house.pairs for role in ROLES}
    ids = {fsm.fsm_id for fsm in house.node.registry.alive if fsm.fsm_id}
    return frozenset(keys | ids | {(house.directory / "journal.key").read_text()})
