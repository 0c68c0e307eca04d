"""What a house of real processes leaves behind, as evidence for the oracle.

The node's own book is the truth, the journal's file tells the signatures, the client's copies tell the rest.
"""

import asyncio
import time
import tomllib
from collections import Counter
from collections.abc import Collection
from typing import Any
from urllib.parse import unquote, urlsplit

from bridge.channel.terms import Dialect
from bridge.sim.server import SimulatedNode
from bridge.wire.envelope import Received
from tests.faults.journal_home import Home
from tests.oracle.evidence import Arrived, Evidence, Pair, Sent, letter
from tests.oracle.witness import find_channels, read_channel, shows_loss, written
from tests.simulation.frame import read_frame, read_message, read_signed
from tests.simulation.harvest import forgive, read_booked, read_known, read_ledger, read_seqs, read_waiting
from tests.system.house import House
from tests.system.house import Pair as HousePair

MOVES = ("transfer", "deposit", "withdraw")
ROLES = ("initiator", "responder")


def gather(home: Home, *, losers: Collection[str] = ()) -> Evidence:
    """Everything of one run. `losers`: the dialects in which a channel may be lost, with its node or its socket.

    That is a permission: a channel that both sides could go on with is judged like any other.
    """
    house = home.house
    pairs = [_read(home, pair, may_lose=pair.dialect in losers) for pair in house.pairs]
    return Evidence(
        sent=[_sent(*command) for command in house.sent],
        pairs=pairs,
        results=_arrived(house.received["results"]),
        events=_arrived(house.received["events"]),
        letters=_arrived(house.received["letters"]),
        forwards=read_ledger(home.data),
        written=_written(home, pairs),
        swallowed=frozenset(_messages(home.swallowed)),
        last_seq=read_seqs(home.data),
        waiting=frozenset(read_waiting(home.data)),
        booked=read_booked(home.data),
        texts=_texts(home),
        secrets=_secrets(house),
    )


def _texts(home: Home) -> dict[str, str]:
    """What each bridge logged, and the metrics read of some. One that died at once may have said nothing; all not."""
    logs = {f"bridge {number}": bridge.log for number, bridge in enumerate(home.bridges) if bridge.lines}
    return (logs or {"logs": ""}) | (home.pages or {"metrics": ""})


def _sent(command_id: str, channel: str, kind: str, body: dict[str, Any]) -> Sent:
    info, may_repeat = body.get("info"), body.get("delivery") == "at_least_once"
    return Sent(
        command_id,
        channel,
        kind,
        "client",
        int(body["amount"]) if kind in MOVES else None,
        text=letter(command_id, info) if info is not None and may_repeat else info,
        may_repeat=may_repeat,
    )


def _arrived(received: list[Received]) -> list[Arrived]:
    return [Arrived(one.routing_key, one.body, one.headers) for one in received]


def _read(home: Home, pair: HousePair, *, may_lose: bool) -> Pair:
    """Between the node's clock and the clocks of the bridges lies what both are apart here."""
    node, roles = home.house.node, {"initiator": pair.initiator, "responder": pair.responder}
    accounts = {role: pair.account(role) for role in ROLES}
    (channel,) = find_channels(node, accounts.values())
    known = read_known(home.data)
    held = {role: known[name] for role, name in roles.items() if name in known}
    read = read_channel(
        node,
        channel,
        pair.name,
        roles,
        accounts,
        is_lost=may_lose and shows_loss(node, channel, _dialect(pair), held),
        is_legacy=_dialect(pair).is_legacy,
        epoch=time.time() - asyncio.get_running_loop().time(),
        **_timers(home, pair.initiator),
    )
    return forgive(read, [(role, text) for role in ROLES for text in _messages(home.doubled)])


def _dialect(pair: HousePair) -> Dialect:
    return Dialect("-".join(part for part in (pair.dialect, pair.profile) if part))


def _timers(home: Home, channel: str) -> dict[str, float]:
    """As this run's bridges and node were told them."""
    entries = tomllib.loads(home.config.read_text())["channels"]
    (entry,) = (entry for entry in entries if entry["name"] == channel)
    told: dict[str, float] = {}
    if "acknowledge_seconds" in entry:
        told["acknowledge_seconds"] = float(entry["acknowledge_seconds"])
    if "timeout_accept" in entry.get("opening", {}):
        told["accept_seconds"] = entry["opening"]["timeout_accept"] / 1000
    return told


def _written(home: Home, pairs: list[Pair]) -> list[tuple[str, str]]:
    """What the node got, without the second copy of what a proxy passed on twice."""
    spare = Counter(signed for data in home.doubled for signed in read_signed(read_frame(data).text))
    counts = Counter(written(pairs))
    for channel, signed in list(counts):
        counts[channel, signed] = max(1, counts[channel, signed] - spare[signed])
    return list(counts.elements())


def _messages(frames: list[bytes]) -> list[str]:
    found = (read_message(read_frame(data).text) for data in frames)
    return [text for text in found if text is not None]


def _secrets(house: House) -> frozenset[str]:
    keys = {pair.key(role).hex() for pair in house.pairs for role in ROLES}
    return frozenset(keys | ids_of(house.node) | passwords_of(house.url) | {house._key_file().read_text()})


def ids_of(node: SimulatedNode) -> set[str]:
    """Every credential of a channel there was, those that were rotated away among them."""
    return set(node.registry.issued)


def passwords_of(url: str) -> set[str]:
    """Of the broker; one that is its user's name, as on a machine of one's own, is no secret to look for."""
    parts = urlsplit(url)
    password = unquote(parts.password or "")
    return {password} if password and password != unquote(parts.username or "") else set()
