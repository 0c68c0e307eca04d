"""A small run in which everything went well, for the tests that plant one fault in it."""

import json
from collections.abc import Sequence
from typing import Any

from tests.oracle.evidence import Arrived, Evidence, Forward, Pair, Request, Sent, State, digest

OFFCHAIN, CREATE = "channel_offchain_tx", "channel_create_tx"


def state(round_: int, amount: int | None, payer: str | None, initiator: int, responder: int) -> tuple[State, State]:
    """As both sides take it up, the acknowledger first."""
    kind = CREATE if amount is None else OFFCHAIN
    order = ("responder", "initiator") if payer == "initiator" else ("initiator", "responder")
    hash_ = f"hash {round_} {amount}"
    first, second = (State(role, round_, kind, hash_, amount, payer, initiator, responder) for role in order)
    return first, second


def result(command_id: str, outcome: str, channel: str = "a-i", **fields: Any) -> Arrived:
    body = {"command_id": command_id, "channel": channel, "outcome": outcome, "duplicate": False, "at": at(5.0)}
    return Arrived(f"alice.{channel}.{outcome}", json.dumps(body | fields).encode())


def at(seconds: float) -> str:
    return f"2026-01-01T00:00:{seconds:06.3f}Z"


EPOCH = 1_767_225_600.0
"""The instant that `at(0)` names."""


def events(channel: str, names: Sequence[str], first: int = 1, prev: str = "") -> list[Arrived]:
    """A chain of events, one a second."""
    made = []
    for seq, name in enumerate(names, first):
        family, _, word = name.partition(".")
        body = {"channel": channel, "seq": seq, "prev": prev, "family": family, "name": word, "at": at(seq)}
        made.append(Arrived(f"{channel}.{name}", json.dumps(body).encode(), {"ce-id": f"event:{channel}:{seq}"}))
        prev = digest(made[-1].body)
    return made


SENT = (
    Sent("1", "a-i", "transfer", "alice", 11),
    Sent("2", "a-r", "transfer", "alice", 12),
    Sent("3", "a-i", "transfer", "alice", 13),
    Sent("4", "a-i", "transfer", "alice", 14),
    Sent("5", "a-i", "query", "alice"),
)
STATES = (
    *state(1, None, None, 100, 100),
    *state(2, 11, "initiator", 89, 111),
    *state(3, 12, "responder", 101, 99),
    *state(4, 14, "initiator", 87, 113),
)
PAIR = Pair(
    "a",
    "a-i",
    "a-r",
    STATES,
    {"initiator": 4, "responder": 4},
    (Request("responder", "update_ack", 2, "hash 2 11", 1.0, 1.5, "signed"),),
)
RESULTS = (
    result("1", "succeeded"),
    result("2", "in_doubt", "a-r"),
    result("2", "succeeded", "a-r"),
    result("3", "failed", code="sign_refused"),
    result("4", "succeeded"),
    result("5", "succeeded"),
)
EVENTS = (
    *events("a-i", ["info.open", "sign.requested", "conflict.reported", "info.state"]),
    *events("a-r", ["info.open", "info.state"]),
)
FORWARDS = (
    Forward("a-i", 2, "hash 2 11", "update", "1", EPOCH + 1.5, signed_tx="tx_11"),
    Forward("a-i", 4, "hash 4 13", "update", "3", EPOCH + 2.0),
    Forward("a-i", 4, "hash 4 14", "update", "4", EPOCH + 3.5),
)
LETTER = Arrived("command", b'{"command_id": "9", "amount": "99"}', {"code": "invalid_amount"})
GOOD = Evidence(
    sent=SENT,
    pairs=(PAIR,),
    results=RESULTS,
    events=EVENTS,
    letters=(LETTER,),
    forwards=FORWARDS,
    written=(("a-i", "tx_11"),),
    texts={"log": "bridge_ready"},
    secrets=frozenset({"the secret"}),
)
