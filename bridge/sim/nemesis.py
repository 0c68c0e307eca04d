"""Carries out faults on a simulated node: the hand behind scenario, control and tests.

`carry_out` returns once the fault stands (a flood: once it is over) and says how many sockets it met, which a test
checks so that no fault falls into the void unseen. Facts: observed.md for what a node does of itself; here is only
what is done to it.
"""

import asyncio
import json
from collections.abc import Callable
from typing import assert_never

from websockets.frames import Frame, Opcode

from bridge.channel.terms import Role
from bridge.sim.endpoint import Endpoint
from bridge.sim.fault import (
    Cut,
    CutAt,
    Delay,
    Double,
    Fault,
    Flood,
    Freeze,
    Garbage,
    Heal,
    HoldMining,
    Huge,
    Kill,
    Mine,
    NoticeLate,
    PeerDisconnected,
    Refuse,
    ReleaseMining,
    Reuse,
    Start,
    Stop,
    Swallow,
    Target,
    Thaw,
)
from bridge.sim.server import SimulatedNode

MILLISECOND = 0.001


async def carry_out(node: SimulatedNode, fault: Fault) -> int:
    """How many sockets it met; 0 for what meets none, and for rules, which meet frames later."""
    match fault:
        case Swallow() | Double() | Delay() | CutAt() | Refuse() | Reuse():
            node.gate.add(fault)
        case Cut():
            return _each(_met(node, fault), Endpoint.evict)
        case Freeze():
            node.gate.freeze(fault)
            return _each(_met(node, fault), Endpoint.freeze)
        case Thaw():
            return _thaw(node)
        case NoticeLate(seconds=seconds):
            node.gate.notice_seconds = seconds
        case Garbage(text=text, times=times):
            return _inject(_met(node, fault), text, times)
        case Huge(size_bytes=size):
            return _inject(_met(node, fault), _unknown(size), 1)
        case Flood():
            return await _flood(_met(node, fault), fault)
        case PeerDisconnected():
            return _end_peers(node, fault)
        case _:
            await _treat(node, fault)
    return 0


async def _treat(node: SimulatedNode, fault: Stop | Kill | Start | HoldMining | Mine | ReleaseMining | Heal) -> None:
    """The node as a whole."""
    match fault:
        case Stop():
            await node.stop()
        case Kill():
            await node.kill()
        case Start():
            await _start(node)
        case HoldMining():
            node.chain.auto_mine = False
        case Mine(blocks=blocks):
            node.mine(blocks)
        case ReleaseMining():
            node.chain.release()
        case Heal():
            node.gate.clear()
            _thaw(node)
            node.chain.release()
            await _start(node)
        case _:
            assert_never(fault)


async def _start(node: SimulatedNode) -> None:
    if not node.is_listening:
        await node.start()


def _met(node: SimulatedNode, target: Target) -> list[Endpoint]:
    return [endpoint for endpoint, fsm in node.endpoints() if target.meets(fsm.channel_id, fsm.role)]


def _thaw(node: SimulatedNode) -> int:
    node.gate.thaw()
    return _each([endpoint for endpoint, _ in node.endpoints()], Endpoint.thaw)


def _each(endpoints: list[Endpoint], do: Callable[[Endpoint], None]) -> int:
    for endpoint in endpoints:
        do(endpoint)
    return len(endpoints)


def _inject(endpoints: list[Endpoint], text: str, times: int) -> int:
    for endpoint in endpoints:
        for _ in range(times):
            endpoint.inject(text)
    return len(endpoints)


def _unknown(size: int) -> str:
    """A notification of a kind nobody knows, this long."""
    head = {"jsonrpc": "2.0", "version": 1, "method": "channels.unheard_of", "params": {"data": {"filler": ""}}}
    empty = json.dumps(head)
    return json.dumps(head | {"params": {"data": {"filler": "x" * max(0, size - len(empty))}}})


async def _flood(endpoints: list[Endpoint], fault: Flood) -> int:
    """A bunch each millisecond, as far as the client takes them: one that reads more slowly is sent fewer."""
    loop = asyncio.get_running_loop()
    bunch = Frame(Opcode.TEXT, _unknown(0).encode()).serialize(mask=False) * fault.frames_per_ms
    ends_at = loop.time() + fault.seconds
    while (now := loop.time()) < ends_at:
        for endpoint in endpoints:
            if not endpoint.is_busy:
                endpoint.write(bunch)
        await asyncio.sleep(max(0.0, now + MILLISECOND - loop.time()))
    return len(endpoints)


def _end_peers(node: SimulatedNode, fault: PeerDisconnected) -> int:
    """The FSMs opposite those it names, as if each had died of itself."""
    met = 0
    for fsm in list(node.registry.alive):
        opposite = Role.RESPONDER if fsm.role is Role.INITIATOR else Role.INITIATOR
        if fault.meets(fsm.channel_id, opposite) and fsm.cosigned is not None:
            met += 1
            fsm.end()
    return met
