"""The simulated node shown from outside as JSON: what a test at another process compares with a bridge's own story.

Reads only. Amounts are aettos, times seconds of the node's event loop, which runs on over a stop.
"""

import asyncio
from collections import Counter
from typing import Any

from bridge.channel.terms import Role
from bridge.sim.book import Page, balances
from bridge.sim.event import Ended
from bridge.sim.fsm import Fsm
from bridge.sim.server import SimulatedNode


def node(node: SimulatedNode) -> dict[str, Any]:
    """Whether it listens, its chain, its clock, and the rules that stand."""
    return {
        "is_listening": node.is_listening,
        "port": node.port,
        "now": asyncio.get_running_loop().time(),
        "height": node.chain.height,
        "is_mining": node.chain.auto_mine,
        "mempool": sorted(node.chain.mempool),
        "sockets": sum(1 for _ in node.endpoints()),
        "rules": node.gate.describe(),
    }


def channels(node: SimulatedNode) -> dict[str, Any]:
    """Every channel ever seen: both sides, and each state both signed."""
    names = sorted({fsm.channel_id for fsm in node.registry.alive if fsm.channel_id} | node.registry.book.pages.keys())
    return {"channels": [_channel(node, name) for name in names]}


def _channel(node: SimulatedNode, name: str) -> dict[str, Any]:
    page = node.registry.book.pages.get(name, Page())
    return {
        "channel_id": name,
        "is_on_chain": name in node.chain.ledger.channels,
        "sides": {role.value: _side(node, name, role) for role in Role},
        "transfers": _transfers(page),
        "states": list(page.states),
        "states_total": page.total["states"],
        "strays": page.strays,
        "probes": page.probes,
        "facts": [fact.write() for fact in page.facts],
        "messages": [said.write() for said in page.messages],
    }


def _side(node: SimulatedNode, name: str, role: Role) -> dict[str, Any]:
    """The FSM whose state is the newest; else the state saved for a reestablish; else what was last noted."""
    alive = [fsm for fsm in node.registry.alive if (fsm.channel_id, fsm.role) == (name, role)]
    running = [fsm for fsm in alive if not isinstance(fsm.state, Ended)]
    saved = next((kept for key, kept in node.registry.saved.items() if key == (name, role)), None)
    newest = max(running, key=lambda fsm: fsm.round, default=None)
    if newest is not None:
        return _running(newest, len(running)) | {"can_return": saved is not None}
    if saved is not None:
        held = {saved.parties.account(side): saved.cosigned.balances.of(side) for side in Role}
        return {"state": None, "fsms": 0, "round": saved.cosigned.round, "balances": held, "can_return": True}
    return {"state": None, "fsms": 0, "round": None, "balances": {}, "can_return": False}


def _running(fsm: Fsm, count: int) -> dict[str, Any]:
    return {
        "state": type(fsm.state).__name__,
        "fsms": count,
        "round": fsm.round,
        "balances": balances(fsm),
        "has_client": fsm.client is not None,
        "is_returned": fsm.is_returned,
    }


def _transfers(page: Page) -> list[dict[str, Any]]:
    """Each payment once, however many sides know of it; `sides` tells which. In the order they were applied."""
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for state in page.states:
        for update in state["updates"]:
            if update["op"] == "OffChainTransfer":
                entry = found.setdefault((state["round"], state["tx_hash"]), _transfer(state, update))
                entry["sides"].append(state["role"])
    return list(found.values())


def _transfer(state: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    return {
        "round": state["round"],
        "tx_hash": state["tx_hash"],
        "from": update["from"],
        "to": update["to"],
        "amount": update["amount"],
        "meta": [other["data"] for other in state["updates"] if other["op"] == "OffChainMeta"],
        "at": state["at"],
        "sides": [],
    }


def signatures(node: SimulatedNode) -> dict[str, Any]:
    """Every sign request of every channel and when it was answered; the slowest acknowledgement of all."""
    pages = node.registry.book.pages
    entries = [{"channel_id": name} | entry.write() for name, page in pages.items() for entry in page.signatures]
    waits = [entry["seconds"] for entry in entries if entry["tag"].endswith("_ack") and entry["seconds"] is not None]
    return {
        "now": asyncio.get_running_loop().time(),
        "signatures": entries,
        "replies": [{"channel_id": name} | reply.write() for name, page in pages.items() for reply in page.replies],
        "answers": dict(Counter(str(entry["answer"]) for entry in entries)),
        "slowest_acknowledgement_seconds": max(waits, default=None),
        "strays": sum(page.strays for page in pages.values()),
        "probes": sum(page.probes for page in pages.values()),
    }
