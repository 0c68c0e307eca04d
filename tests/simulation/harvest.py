"""What a world leaves behind, as evidence: the node's book, the journals, and all that the clients got."""

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from bridge.channel.identifier import ChannelId
from bridge.channel.terms import Role
from bridge.journal.journal import FILE
from bridge.sim.server import SimulatedNode
from tests.oracle.evidence import Forward, Pair
from tests.oracle.witness import read_channel
from tests.simulation.cast import EPOCH, Cast
from tests.simulation.frame import hash_of
from tests.simulation.loop import COMMIT_SECONDS
from tests.simulation.plan import ROLES

STORING_SECONDS = 2 * COMMIT_SECONDS[1]
"""A credential is durable so long after it was read: the commit before it, and its own."""


def find_channel(node: SimulatedNode) -> ChannelId:
    """Raises ValueError unless exactly one was opened."""
    (name,) = (name for name in node.registry.book.pages if name.startswith("ch_"))
    return ChannelId(name)


def read_node(
    node: SimulatedNode, cast: Cast, *, is_lost: bool, doubled: Iterable[tuple[str, str]], **more: Any
) -> Pair:
    """What the node did and holds. `doubled`: role and text of the messages that only the network repeated."""
    pair = read_channel(
        node,
        find_channel(node),
        "c",
        {role: cast.channel(role) for role in ROLES},
        {role: cast.account(role) for role in ROLES},
        is_lost=is_lost,
        epoch=EPOCH,
        **more,
    )
    return forgive(pair, doubled)


def forgive(pair: Pair, doubled: Iterable[tuple[str, str]]) -> Pair:
    """Without one of the two times that a message was taken, and passed on, because the network doubled its frame."""
    messages = list(pair.messages)
    for role, text in doubled:
        for is_delivery in (False, True):
            found = [said for said in messages if (said.role, said.text, said.is_delivery) == (role, text, is_delivery)]
            if len(found) > 1:
                messages.remove(found[-1])
    return replace(pair, messages=tuple(messages))


def is_locked_out(node: SimulatedNode, role: str, got: dict[str, float], deaths: Iterable[float]) -> bool:
    """The stated exception of G5: the node rotated a credential while the connection, or the bridge, was dying.

    The bridge has not `got` the one the node holds, or was killed before it can have stored it.
    """
    name = find_channel(node)
    holder = node.registry.find(name, Role(role)) or node.registry.saved.get((name, Role(role)))
    if holder is None:
        return False
    return is_too_late(got.get(holder.fsm_id), deaths)


def is_too_late(at: float | None, deaths: Iterable[float]) -> bool:
    """Whether a bridge was never told something, or was killed before it can have stored it."""
    return at is None or any(at <= death <= at + STORING_SECONDS for death in deaths)


def read_ledger(directory: Path) -> list[Forward]:
    columns = "channel, round, hash, tag, command_id, at, abandoned_by, signed_tx"
    rows = _ask(directory, f"SELECT {columns} FROM ledger ORDER BY id")  # noqa: S608
    return [Forward(*(*row[:-1], hash_of(row[-1]))) for row in rows]


def read_seqs(directory: Path) -> dict[str, int]:
    """Channel to the number of the last event that the broker was given: what still waits was not."""
    waiting = dict(_ask(directory, "SELECT lane, count(*) FROM outbox WHERE lane LIKE 'events/%' GROUP BY lane"))
    told = _ask(directory, "SELECT name, seq FROM channel")
    return {name: seq - waiting.get(f"events/{name}", 0) for name, seq in told}


def read_known(directory: Path) -> dict[str, str]:
    """Channel to the latest co-signed transaction that its bridge holds."""
    return dict(_ask(directory, "SELECT name, cosigned FROM channel WHERE cosigned IS NOT NULL"))


def read_booked(directory: Path) -> dict[str, tuple[int, int]]:
    """Channel to what its latest entry leaves initiator and responder."""
    rows = _ask(directory, "SELECT channel, body FROM posting ORDER BY channel, entry")
    told = ((channel, json.loads(body)) for channel, body in rows)
    return {channel: (int(body["initiator_balance"]), int(body["responder_balance"])) for channel, body in told}


def read_waiting(directory: Path) -> list[str]:
    unended = "SELECT command_id FROM inbox WHERE status IN ('journaled', 'running')"
    return [row[0] for row in _ask(directory, unended)]


def _ask(directory: Path, question: str) -> list[Any]:
    """A journal, while it is written or as it was left."""
    with closing(sqlite3.connect(f"file:{directory / FILE}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(question).fetchall()
