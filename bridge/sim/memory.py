"""Channels and chain on disk, so that a node stopped in order and started as a new process goes on.

A channel's state is there only between a stop and the next start, as a real node deletes its copy when a channel is
taken up again: a process that is killed has lost every channel. One JSON file, written as a whole and moved into
place, mode 0600 because an FSM's id is a credential.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bridge.channel.identifier import Account, ChannelId
from bridge.channel.terms import Dialect, Role
from bridge.channel.transaction import Kind, Update
from bridge.sim.balance import Balances, Parties
from bridge.sim.chain import Chain
from bridge.sim.draft import Operation
from bridge.sim.fsm import Cosigned
from bridge.sim.ledger import AccountEntry
from bridge.sim.parameter import Opening
from bridge.sim.registry import Key, Registry, Saved

VERSION = 1
FILE_NAME = "simulated-node.json"


def store(directory: Path, chain: Chain, saved: Mapping[Key, Saved]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    state = {
        "version": VERSION,
        "network_id": chain.network_id,
        "height": chain.height,
        "accounts": {account: asdict(entry) for account, entry in chain.ledger.entries.items()},
        "channels": sorted(chain.ledger.channels),
        "mined": chain.mined,
        "saved": [_write(channel_id, saved) for (channel_id, _), saved in saved.items()],
    }
    path = directory / FILE_NAME
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(state, file)
    draft.replace(path)


def load(directory: Path, chain: Chain, registry: Registry) -> None:
    """Take the channels out of the file, if there is one. Raises ValueError for one of another version or network."""
    path = directory / FILE_NAME
    if not path.exists():
        return
    state = json.loads(path.read_text())
    if (state["version"], state["network_id"]) != (VERSION, chain.network_id):
        raise ValueError(f"{path} belongs to another version or network")
    chain.height = state["height"]
    chain.mined = dict(state["mined"])
    chain.ledger.entries = {Account(name): AccountEntry(**entry) for name, entry in state["accounts"].items()}
    chain.ledger.channels = set(map(ChannelId, state["channels"]))
    for entry in state["saved"]:
        saved = _read(entry)
        registry.saved[ChannelId(entry["channel_id"]), saved.opening.role] = saved
    store(directory, chain, {})


def _write(channel_id: ChannelId, saved: Saved) -> dict[str, Any]:
    operation = saved.cosigned.operation
    return {
        "channel_id": channel_id,
        "fsm_id": saved.fsm_id,
        "opening": asdict(saved.opening) | {"timeouts": dict(saved.opening.timeouts)},
        "parties": asdict(saved.parties),
        "balances": asdict(saved.cosigned.balances),
        "round": saved.cosigned.round,
        "kind": operation.kind,
        "inner": operation.inner.hex(),
        "signatures": [signature.hex() for signature in operation.signatures],
        "updates": [asdict(update) for update in operation.updates],
        "fee": operation.fee,
    }


def _read(entry: dict[str, Any]) -> Saved:
    balances = Balances(**entry["balances"])
    operation = Operation(
        kind=Kind(entry["kind"]),
        inner=bytes.fromhex(entry["inner"]),
        round=entry["round"],
        balances=balances,
        updates=tuple(Update(**update) for update in entry["updates"]),
        signatures=tuple(map(bytes.fromhex, entry["signatures"])),
        fee=entry["fee"],
    )
    wanted = entry["opening"]
    opening = Opening(**wanted | {"role": Role(wanted["role"]), "dialect": Dialect(wanted["dialect"])})
    return Saved(entry["fsm_id"], opening, Parties(**entry["parties"]), Cosigned(operation, balances, entry["round"]))
