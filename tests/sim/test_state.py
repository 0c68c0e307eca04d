"""State hashes, trees and proofs of the simulated node against those a real one gave, byte for byte."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.channel.identifier import Account
from bridge.sim import state, tree
from bridge.sim.balance import Balances, Parties
from bridge.wire import encoding, rlp, transaction
from bridge.wire.signature import blake2b
from tests.sim.client import INITIATOR, RESPONDER
from tests.sim.recording import FOLDER

PARTIES = Parties(Account(INITIATOR), Account(RESPONDER), 2)


def answers() -> Iterator[dict[str, Any]]:
    """Every answer of a real node that shows state or proof."""
    for path in sorted(FOLDER.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            data = json.loads(line)["data"]
            result = data.get("result") if isinstance(data, dict) else None
            if isinstance(result, dict) and result.keys() & {"trees", "poi"}:
                yield result


def balances_in(trees: str) -> Balances:
    """Read back from the recorded trees, without our own writer."""
    accounts = rlp.decode(as_bytes(as_list(rlp.decode(encoding.decode(trees, "ss")))[7]))
    rows = as_list(rlp.decode(as_bytes(as_list(accounts)[2])))[2]
    found = {}
    for row in as_list(rows):
        _, _, key, value = as_list(rlp.decode(as_bytes(row)))
        found[as_bytes(key)] = int.from_bytes(as_bytes(as_list(rlp.decode(as_bytes(value)))[3]), "big")
    return Balances(found[encoding.account_key(INITIATOR)], found[encoding.account_key(RESPONDER)])


def as_list(item: rlp.Item) -> list[rlp.Item]:
    assert not isinstance(item, bytes)
    return list(item)


def as_bytes(item: rlp.Item) -> bytes:
    assert isinstance(item, bytes)
    return item


def test_trees_and_state_hashes_are_the_recorded_ones() -> None:
    """A rescue kit made here has the form the chain would take; a signer may check the hash against the amounts."""
    seen = 0
    for answer in answers():
        if "trees" not in answer:
            continue
        held = balances_in(answer["trees"])
        assert state.trees(PARTIES, held) == answer["trees"]
        assert state.calls() == answer["calls"]
        assert state.state_hash(PARTIES, held).hex() == transaction.read(answer["signed_tx"]).state_hash
        seen += 1
    assert seen > 20


def test_proofs_are_the_recorded_ones() -> None:
    """The other half of the rescue kit."""
    recorded = [answer["poi"] for answer in answers() if "poi" in answer]
    assert recorded
    for text in recorded:
        nodes = as_list(as_list(as_list(as_list(rlp.decode(encoding.decode(text, "pi")))[2])[0])[1])
        found = {}
        for path, value in (as_list(as_list(node)[1]) for node in nodes if len(as_list(as_list(node)[1])) == 2):
            found[as_bytes(path)[1:]] = int.from_bytes(as_bytes(as_list(rlp.decode(as_bytes(value)))[3]), "big")
        held = Balances(found[encoding.account_key(INITIATOR)[1:]], found[encoding.account_key(RESPONDER)[1:]])
        assert state.proof(PARTIES, held, [PARTIES.initiator, PARTIES.responder]) == text


def test_a_proof_shows_only_whom_it_names() -> None:
    """One account's leaf and the way to it; nothing for a stranger."""
    held = Balances(1000, 2000)
    both = state.proof(PARTIES, held, [PARTIES.initiator, PARTIES.responder])
    one = state.proof(PARTIES, held, [PARTIES.responder])
    assert both is not None
    assert one is not None
    assert len(one) < len(both)
    assert state.proof(PARTIES, held, [encoding.account(bytes(range(32)))]) is None


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_every_entry_of_a_tree_is_found_along_its_path(count: int) -> None:
    """Extensions, branches, leaves, and nodes too short for a name of their own."""
    entries = {blake2b(bytes([n // 3]))[:2] + bytes([n]): bytes([n + 1]) for n in range(count)}
    built = tree.build(entries)
    for name, node in built.nodes.items():
        assert blake2b(rlp.encode(node)) == name
        assert name == built.root or len(rlp.encode(node)) >= tree.HASH_BYTES
    for key, value in entries.items():
        found = tree.prove(built, [key])
        assert built.root in found
        assert any(value == leaf for node in found.values() for leaf in leaves_of(node))
    assert tree.build(dict(reversed(entries.items()))).root == built.root


def leaves_of(node: rlp.Item) -> Iterator[rlp.Item]:
    """Values in a node and in those inside it."""
    if isinstance(node, bytes):
        return
    parts = list(node)
    yield parts[-1]
    for part in parts:
        yield from leaves_of(part)


def test_an_empty_tree_has_no_root() -> None:
    """Five of a channel's six trees."""
    assert tree.build({}).root == b""
    assert tree.prove(tree.build({}), [b"x"]) == {}
