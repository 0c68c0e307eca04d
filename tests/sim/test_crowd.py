"""Many channels and all dialects at once on one simulated node."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from hashlib import sha256

from nacl.signing import SigningKey

from bridge.channel.terms import Dialect
from bridge.sim.server import SimulatedNode
from bridge.wire import encoding
from tests.sim.client import JSON_RPC, LATE, SEED, Pair, Party, opening, running

CHANNELS, PAYMENTS = 50, 3


def key(index: int, role: str) -> SigningKey:
    return SigningKey(sha256(f"{index}/{role}".encode()).digest())


async def live(node: SimulatedNode, index: int, dialect: Dialect, stack: AsyncExitStack) -> Pair:
    """One channel with keys of its own: opened, and payments both ways."""
    keys = {role: key(index, role) for role in ("responder", "initiator")}
    accounts = {role: encoding.account(bytes(own.verify_key)) for role, own in keys.items()}
    found = [
        await Party.open(node, opening(role, dialect, **accounts), own, dialect=dialect) for role, own in keys.items()
    ]
    for party in found:
        stack.push_async_callback(party.close)
    pair = Pair(node, found[1], found[0])
    await pair.both("update")
    rounds = 1
    for party, other in ((pair.initiator, pair.responder), (pair.responder, pair.initiator)):
        for _ in range(PAYMENTS):
            await _pay(party, accounts)
            rounds += 1
            await asyncio.gather(_holds(party, rounds), _holds(other, rounds))
    return pair


async def _pay(party: Party, accounts: Mapping[str, str]) -> None:
    own = encoding.account(bytes(party.key.verify_key))
    other = next(account for account in accounts.values() if account != own)
    if party.dialect is JSON_RPC:
        await party.send("update.new", {"from": own, "to": other, "amount": 1})
    else:
        spell = encoding.to_legacy if party.dialect is SEED else str
        await party.act("update", {"from": spell(own), "to": spell(other), "amount": 1}, "new")


async def _holds(party: Party, rounds: int) -> None:
    """An acknowledger's announcement of an update has the same word as the new state: count states only."""
    async with asyncio.timeout(30):
        while sum(_is_state(frame) for frame in party.seen) < rounds:
            party._changed.clear()
            await party._changed.wait()


def _is_state(frame: dict[str, object]) -> bool:
    return frame.get("method") == "channels.update" or frame.get("action") == "update"


async def test_fifty_channels_of_all_dialects_at_once() -> None:
    """The bridge attaches to many channels on one node: none may disturb another."""
    async with running() as node, AsyncExitStack() as stack:
        dialects = (JSON_RPC, LATE, SEED)
        await asyncio.gather(*(live(node, index, dialects[index % 3], stack) for index in range(CHANNELS)))
        assert len(node.chain.ledger.channels) == CHANNELS
        held = [fsm.cosigned.balances for fsm in node.registry.alive if fsm.cosigned is not None]
        assert [(state.initiator, state.responder) for state in held] == [(70_000_000_000_000, 40_000_000_000_000)] * (
            2 * CHANNELS
        )
        assert {fsm.round for fsm in node.registry.alive} == {1 + 2 * PAYMENTS}
