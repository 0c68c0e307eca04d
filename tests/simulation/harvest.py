"""What a world leaves behind, as evidence: the node's book, the journals, and all that the clients got."""

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from bridge.channel.identifier import ChannelId
from bridge.channel.terms import Role
from bridge.journal.journal import FILE
from bridge.sim.server import SimulatedNode
from tests.oracle.evidence import Forward, Pair
from tests.oracle.page import read_pair
from tests.simulation.cast import Cast
from tests.simulation.loop import COMMIT_SECONDS
from tests.simulation.plan import ROLES

STORING_SECONDS = 2 * COMMIT_SECONDS[1]
"""A credential is durable so long after it was read: the commit before it, and its own."""


def find_channel(node: SimulatedNode) -> ChannelId:
    """Raises ValueError unless exactly one was opened."""
    (name,) = (name for name in node.registry.book.pages if name.startswith("ch_"))
    return ChannelId(name)


def read_node(node: SimulatedNode, cast: Cast, *, is_lost: bool) -> Pair:
    """What the node did and holds."""
    name = find_channel(node)
    registry = node.registry
    page = registry.book.pages[name]
    rounds = {}
    for role in Role:
        alive, saved = registry.find(name, role), registry.saved.get((name, role))
        if alive is not None:
            rounds[role.value] = alive.round
        elif saved is not None:
            rounds[role.value] = saved.cosigned.round
    return read_pair(
        "c",
        {role: cast.channel(role) for role in ROLES},
        {role: cast.account(role) for role in ROLES},
        {"states": list(page.states), "signatures": [entry.write() for entry in page.signatures]},
        rounds,
        is_lost=is_lost,
        is_closed=name not in node.chain.ledger.channels,
    )


def is_locked_out(node: SimulatedNode, role: str, got: dict[str, float], deaths: Iterable[float]) -> bool:
    """The stated exception of G5: the node rotated a credential while the connection, or the bridge, was dying.

    The bridge has not `got` the one the node holds, or was killed before it can have stored it.
    """
    name = find_channel(node)
    holder = node.registry.find(name, Role(role)) or node.registry.saved.get((name, Role(role)))
    if holder is None:
        return False
    at = got.get(holder.fsm_id)
    return at is None or any(at <= death <= at + STORING_SECONDS for death in deaths)


def read_ledger(directory: Path) -> list[Forward]:
    columns = "channel, round, hash, tag, command_id, at, abandoned_by, signed_tx"
    return [Forward(*row) for row in _ask(directory, f"SELECT {columns} FROM ledger ORDER BY id")]  # noqa: S608


def read_booked(directory: Path) -> dict[str, tuple[int, int]]:
    """Channel to what its latest entry leaves initiator and responder."""
    rows = _ask(directory, "SELECT channel, body FROM posting ORDER BY channel, entry")
    told = ((channel, json.loads(body)) for channel, body in rows)
    return {channel: (int(body["initiator_balance"]), int(body["responder_balance"])) for channel, body in told}


def read_waiting(directory: Path) -> list[str]:
    unended = "SELECT command_id FROM inbox WHERE status IN ('journaled', 'running')"
    return [row[0] for row in _ask(directory, unended)]


def _ask(directory: Path, question: str) -> list[Any]:
    """A journal as it was left."""
    with closing(sqlite3.connect(f"file:{directory / FILE}?mode=ro", uri=True)) as connection:
        return connection.execute(question).fetchall()
