"""A small run in which everything went well, for the tests that plant one fault in it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.oracle.evidence import (
    Arrived,
    Evidence,
    Fact,
    Forward,
    Pair,
    Reply,
    Request,
    Said,
    Sent,
    State,
    digest,
)

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


EPOCH = 1_767_225_600.0
"""The instant that `at(0)` names."""


def entry(
    number: int, initiator: int, responder: int, *amounts: int, other: str = "onchain", **fields: object
) -> dict[str, object]:
    """Of the books of a channel: amounts for the two channel accounts and another one, a debit positive."""
    accounts = ("channel.initiator", "channel.responder", other)
    balances = (initiator, responder, -initiator - responder)
    lines = [
        {"account": name, "debit": str(max(amount, 0)), "credit": str(max(-amount, 0)), "balance": str(held)}
        for name, amount, held in zip(accounts, amounts, balances, strict=False)
    ]
    body = {
        "entry": number,
        "entry_id": f"a/{number}",
        "fact_id": f"fact {number}",
        "kind": "payment",
        "lines": lines,
    }
    return body | {"initiator_balance": str(initiator), "responder_balance": str(responder), "tx_hash": ""} | fields


def posted(channel: str, entries: Sequence[dict[str, object]], first: int, prev: str) -> list[Arrived]:
    """The events that tell of these entries."""
    told: list[Arrived] = []
    for data in entries:
        last = digest(told[-1].body) if told else prev
        (made,) = events(channel, ["ledger.posted"], first + len(told), last)
        told.append(replace(made, body=json.dumps(json.loads(made.body) | {"data": data}).encode()))
    return told


def at(seconds: float) -> str:
    return f"2026-01-01T00:00:{seconds:06.3f}Z"


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
    Sent("7", "a-i", "message", "alice", text="hello"),
)
STATES = (
    *state(1, None, None, 100, 100),
    *state(2, 11, "initiator", 89, 111),
    *state(3, 12, "responder", 101, 99),
    *state(4, 14, "initiator", 87, 113),
)
REPLIES = (
    Reply("initiator", "update", 2, "hash 2 11", "tx_11", EPOCH + 0.9),
    Reply("responder", "update_ack", 2, "hash 2 11", "tx_11_ack", EPOCH + 1.5),
    Reply("initiator", "update", 4, "hash 4 13", "tx_13", EPOCH + 2.1),
    Reply("initiator", "update", 4, "hash 4 14", "tx_14", EPOCH + 3.6),
)
FACTS = (Fact("initiator", "conflict", 3, EPOCH + 3.0, 2, 3),)
PAIR = Pair(
    "a",
    "a-i",
    "a-r",
    STATES,
    {"initiator": 4, "responder": 4},
    {"initiator": "hash 4 14", "responder": "hash 4 14"},
    (Request("responder", "update_ack", 2, "hash 2 11", EPOCH + 1.0, EPOCH + 1.5, "signed", "hash 2 11"),),
    REPLIES,
    FACTS,
    (Said("initiator", "hello", is_delivery=False), Said("initiator", "hello", is_delivery=True)),
)
RESULTS = (
    result("1", "succeeded"),
    result("2", "in_doubt", "a-r"),
    result("2", "succeeded", "a-r"),
    result("3", "failed", code="sign_refused"),
    result("4", "succeeded"),
    result("5", "succeeded"),
    result("7", "succeeded"),
)
BEGINNING = entry(1, 100, 100, 100, 100, -200, tx_hash="hash 1 None")
SECOND = entry(2, 87, 113, -13, 13)
EVENTS_I = events("a-i", ["info.open", "sign.requested", "conflict.reported", "info.state"])
EVENTS_I += posted("a-i", [BEGINNING, SECOND], 5, digest(EVENTS_I[-1].body))
HEARD_R = events("a-r", ["info.open", "info.state"])
EVENTS = (*EVENTS_I, *HEARD_R, *posted("a-r", [BEGINNING, SECOND], 3, digest(HEARD_R[-1].body)))
FORWARDS = (
    Forward("a-i", 2, "hash 2 11", "update", "1", EPOCH + 0.8, signed="tx_11"),
    Forward("a-r", 2, "hash 2 11", "update_ack", None, EPOCH + 1.4, signed="tx_11_ack"),
    Forward("a-i", 4, "hash 4 13", "update", "3", EPOCH + 2.0, "conflict 2", "tx_13"),
    Forward("a-i", 4, "hash 4 14", "update", "4", EPOCH + 3.5, signed="tx_14"),
)
LETTER = Arrived("command", b'{"command_id": "9", "amount": "99"}', {"code": "invalid_amount"})
GOOD = Evidence(
    sent=SENT,
    pairs=(PAIR,),
    results=RESULTS,
    events=EVENTS,
    letters=(LETTER,),
    forwards=FORWARDS,
    written=tuple((forward.channel, forward.signed) for forward in FORWARDS),
    last_seq={"a-i": 6, "a-r": 4},
    texts={"log": "bridge_ready"},
    secrets=frozenset({"the secret"}),
)
