"""What counts as evidence of a failure, by made outcomes: guarantees.md section 7 says it of each class of codes."""

from dataclasses import replace
from typing import Any

import pytest

from tests.oracle.given import GOOD, result
from tests.oracle.proof import unproven

HASH = "5f" * 32
EXPOSED = {"exposure": {"round": 4, "tx_hash": HASH}, "tx_hash": HASH}


def found(outcome: str, **fields: Any) -> list[str]:
    """Of one command that ended so."""
    return unproven(replace(GOOD, results=[result("3", outcome, **({"executed": False} | fields))]))


@pytest.mark.parametrize(
    "fields",
    [
        {"code": "sign_timeout"},
        {"code": "trigger_lost", **EXPOSED},
        {"code": "node_rejected", "data": {"node_codes": [3], "node_reasons": ["not_ready"]}},
        {"code": "conflict", "data": {"node_code": 2, "attempts": 6}},
        {"code": "not_applied", **EXPOSED},
        {"code": "onchain_rejected", "exposure": {"nonce": 7, "ttl": 90, "tx_hash": HASH}, "tx_hash": HASH},
    ],
)
def test_a_failure_with_its_evidence_is_proven(fields: dict[str, Any]) -> None:
    """A code from before the signature is enough; one from after it shows the node's word, or what is exposed."""
    assert found("failed", **fields) == []


@pytest.mark.parametrize(
    ("fields", "lack"),
    [
        ({"code": None}, "it failed with code None, which is none"),
        ({"code": "broken"}, "it failed with code broken, which is none"),
        ({"code": "peer_timeout"}, "it failed with peer_timeout, which is no code of a failure"),
        ({"code": "sign_timeout", "executed": "unknown"}, "it failed, and executed is unknown"),
        ({"code": "node_rejected"}, "it failed with node_rejected, and shows nothing for it"),
        ({"code": "conflict"}, "it failed with conflict, and shows nothing for it"),
        ({"code": "superseded", **EXPOSED, "tx_hash": None}, "it failed with superseded, and shows nothing for it"),
        ({"code": "not_applied", "exposure": {"tx_hash": HASH}, "tx_hash": HASH}, "it failed with not_applied, and"),
    ],
)
def test_a_failure_without_its_evidence_is_told(fields: dict[str, Any], lack: str) -> None:
    """Whoever reads it may pay again on its word."""
    (told,) = found("failed", **fields)
    assert told.startswith(f"3: {lack}")


@pytest.mark.parametrize("outcome", ["rejected", "unknown", "in_doubt"])
def test_what_neither_succeeded_nor_failed_is_told(outcome: str) -> None:
    """Of payments the run itself sent well-formed, none may end so."""
    assert found(outcome, code="connection_lost") == [f"3: it ended {outcome}, code connection_lost"]


def test_what_succeeded_needs_no_evidence_here() -> None:
    """The node's book is that: the oracle compares."""
    assert found("succeeded", executed=True) == []
