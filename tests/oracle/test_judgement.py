"""The oracle itself: silent over a good run, and each rule speaks when exactly its fault is planted."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.oracle.evidence import Arrived, Evidence, Forward, Request, Sent, digest, history
from tests.oracle.given import (
    EPOCH,
    EVENTS,
    FORWARDS,
    GOOD,
    OFFCHAIN,
    PAIR,
    RESULTS,
    SENT,
    STATES,
    events,
    result,
    state,
)
from tests.oracle.judgement import RULES, doubtful, judge, tally

Planting = Callable[[Evidence], Evidence]


def states(*more: object) -> Planting:
    """Further states behind the good ones; the sides stand at the last."""
    added = [entry for both in more for entry in both]  # type: ignore[attr-defined]
    rounds = dict.fromkeys(("initiator", "responder"), max(entry.round for entry in (*STATES, *added)))
    pair = replace(PAIR, states=(*STATES, *added), final_rounds=rounds)
    return lambda good: replace(good, pairs=(pair,))


def results(*more: Arrived) -> Planting:
    return lambda good: replace(good, results=(*RESULTS, *more))


def sent(*more: Sent) -> Planting:
    return lambda good: replace(good, sent=(*SENT, *more))


def all_of(*plantings: Planting) -> Planting:
    def plant(good: Evidence) -> Evidence:
        for planting in plantings:
            good = planting(good)
        return good

    return plant


def pairs(**changes: object) -> Planting:
    return lambda good: replace(good, pairs=(replace(PAIR, **changes),))  # type: ignore[arg-type]


TWO = Forward("a-r", 3, "x", "update", "2", EPOCH + 1.0), Forward("a-r", 3, "y", "update", None, EPOCH + 1.9)
SIX = Sent("6", "a-i", "transfer", "alice", 16)
EDITED = replace(EVENTS[1], body=EVENTS[1].body.replace(b"requested", b"answered"))


def entry(number: int, initiator: int, responder: int, *amounts: int, **fields: object) -> dict[str, object]:
    """Of the books of a-r: amounts for the two channel accounts and suspense, a debit positive."""
    accounts = ("channel.initiator", "channel.responder", "suspense")
    balances = (initiator, responder, -initiator - responder)
    lines = [
        {"account": name, "debit": str(max(amount, 0)), "credit": str(max(-amount, 0)), "balance": str(held)}
        for name, amount, held in zip(accounts, amounts, balances, strict=False)
    ]
    body = {
        "entry": number,
        "entry_id": f"a-r/{number}",
        "fact_id": f"fact {number}",
        "kind": "payment",
        "lines": lines,
    }
    return body | {"initiator_balance": str(initiator), "responder_balance": str(responder), "tx_hash": ""} | fields


BEGINNING = entry(1, 100, 100, 100, 100, -200, tx_hash="hash 1 None")
SECOND = entry(2, 87, 113, -13, 13)


def books(*entries: dict[str, object], alarm: bool = True) -> Planting:
    """The books of a-r behind its other events."""
    first, prev = 3, digest(EVENTS[5].body)
    told = events("a-r", ["alarm.books_disagree"] if alarm else [], first, prev)
    for data in entries:
        last = told[-1].body if told else EVENTS[5].body
        (made,) = events("a-r", ["ledger.posted"], first + len(told), digest(last))
        told.append(replace(made, body=json.dumps(json.loads(made.body) | {"data": data}).encode()))
    return lambda good: replace(good, events=(*EVENTS, *told))


PLANTED: dict[str, tuple[Planting, str]] = {
    "two commands of one amount": (
        all_of(sent(replace(SIX, amount=13)), results(result("6", "failed"))),
        "amounts are unique",
    ),
    "a payment twice": (states(state(5, 14, "initiator", 73, 127)), "nothing is applied twice"),
    "a payment nobody asked for": (states(state(5, 77, "initiator", 10, 190)), "applied was asked for"),
    "a payment from the wrong side": (
        all_of(sent(SIX), results(result("6", "succeeded")), states(state(5, 16, "responder", 103, 97))),
        "applied was asked for",
    ),
    "succeeded and not applied": (all_of(sent(SIX), results(result("6", "succeeded"))), "succeeded was applied"),
    "failed and applied": (
        all_of(sent(SIX), results(result("6", "failed")), states(state(5, 16, "initiator", 71, 129))),
        "failed was not applied",
    ),
    "applied and unknown": (
        all_of(sent(SIX), results(result("6", "unknown")), states(state(5, 16, "initiator", 71, 129))),
        "applied has succeeded",
    ),
    "a balance that is off by one": (
        all_of(sent(SIX), results(result("6", "succeeded")), states(state(5, 16, "initiator", 70, 129))),
        "balances sum up",
    ),
    "sides at different rounds": (pairs(final_rounds={"initiator": 3, "responder": 4}), "both sides agree"),
    "a side that is gone": (pairs(final_rounds={"initiator": 4}), "both sides agree"),
    "an order that is turned round": (
        lambda good: replace(good, sent=(SENT[3], *SENT[:3], SENT[4])),
        "order is kept",
    ),
    "a dead letter that was executed": (
        lambda good: replace(good, letters=(Arrived("command", b'{"amount": "14"}'),)),
        "dead letters were not applied",
    ),
    "a gap": (lambda good: replace(good, events=(*EVENTS[:2], *EVENTS[3:])), "numbers have no gap"),
    "a repeat that differs": (lambda good: replace(good, events=(*EVENTS, EDITED)), "repeats are identical"),
    "a chain that breaks": (
        lambda good: replace(good, events=(*EVENTS[:4], *events("a-i", ["info.state"], 5, "f00"), *EVENTS[4:])),
        "the chain of digests holds",
    ),
    "a lost command": (sent(SIX), "each command has an outcome"),
    "a broken invariant": (
        lambda good: replace(good, events=(*EVENTS, *events("c-i", ["alarm.invariant_violation"]))),
        "no channel is halted",
    ),
    "a channel that was lost": (
        lambda good: replace(good, events=(*EVENTS, *events("c-i", ["alarm.recovery_required"]))),
        "no channel is halted",
    ),
    "two ends": (results(result("3", "succeeded")), "each command ends once"),
    "doubt behind the end": (results(result("1", "in_doubt")), "each command ends once"),
    "a repeated result that differs": (
        results(result("1", "succeeded", round=7)),
        "repeated results are identical",
    ),
    "an answer to a repeat that differs": (
        results(result("1", "succeeded", round=7, duplicate=True)),
        "repeated results are identical",
    ),
    "two transactions for a round": (
        lambda good: replace(good, forwards=(*FORWARDS, *TWO)),
        "one transaction a round",
    ),
    "a signed reply again": (
        lambda good: replace(good, forwards=(*FORWARDS, FORWARDS[0])),
        "one delivery an attempt",
    ),
    "a signed reply written again": (
        lambda good: replace(good, written=(("a-i", "tx_11"), ("a-i", "tx_11"))),
        "each signature is written once",
    ),
    "a signed reply without its record": (
        lambda good: replace(good, written=(("a-i", "tx_12"),)),
        "each signature is written once",
    ),
    "a late acknowledgement": (
        pairs(requests=(Request("responder", "update_ack", 2, "x", 1.0, 63.0, "signed"),)),
        "acknowledgements are in time",
    ),
    "a secret in a log": (
        lambda good: replace(good, texts={"log": "fsm_id=the secret"}),
        "nothing secret is readable",
    ),
    "a secret in an event": (
        lambda good: replace(good, events=(*EVENTS, *events("b", ["info.the secret"]))),
        "nothing secret is readable",
    ),
}  # fmt: skip


def test_a_good_run_breaks_no_rule() -> None:
    """An oracle that cries over what is right is soon not listened to."""
    assert judge(GOOD) == []
    assert tally(GOOD) == {"succeeded": 4, "failed": 1}
    assert doubtful(GOOD) == []


PLANTED |= {
    "an entry that does not balance": (books(entry(1, 100, 100, 100, 100, -199)), "entries balance"),
    "an entry left out": (books(BEGINNING, SECOND | {"entry": 3}), "entries follow each other"),
    "a balance that does not follow": (books(BEGINNING, entry(2, 87, 113, -12, 12)), "entries follow each other"),
    "a fact twice": (books(BEGINNING, SECOND | {"fact_id": "fact 1"}), "no fact is booked twice"),
    "an entry that is not the node's state": (
        books(BEGINNING, entry(2, 90, 110, -10, 10, tx_hash="hash 2 11"), entry(3, 87, 113, -3, 3)),
        "books are the nodes",
    ),
    "books that stop": (books(BEGINNING), "books are the nodes"),
    "suspense in silence": (books(BEGINNING, SECOND, alarm=False), "what is unexplained is told"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(name: str) -> None:
    """A rule that cannot speak proves nothing by its silence."""
    plant, rule = PLANTED[name]
    assert rule in {violation.rule for violation in judge(plant(GOOD))}


def test_every_rule_has_a_fault_that_it_finds() -> None:
    """A rule added without its test would be trusted all the same."""
    assert {rule.__name__.replace("_", " ") for rule in RULES} == {rule for _, rule in PLANTED.values()}


def test_good_books_break_no_rule() -> None:
    """A fact that was gone back behind may be booked again; a run whose books nobody read proves nothing of them."""
    back = entry(3, 100, 100, 13, -13, kind="reversal", reverses="fact 2")
    again = entry(4, 87, 113, -13, 13, fact_id="fact 2", tx_hash="hash 4 14")
    assert judge(books(BEGINNING, SECOND, back, again)(GOOD)) == []


def test_what_is_repeated_alike_is_no_fault() -> None:
    """At least once: events and results may come again, and a repeated id is answered as a duplicate."""
    again = result("1", "succeeded", duplicate=True)
    running = result("1", "accepted", status="running", duplicate=True)
    evidence = replace(GOOD, events=(*EVENTS, *EVENTS[:3]), results=(*RESULTS, RESULTS[0], running, again))
    assert judge(evidence) == []


def test_what_was_rolled_back_was_not_applied() -> None:
    """One side may take a state up that both go back behind (observed): only what stands in the end counts."""
    rolled = state(5, 14, "initiator", 73, 127)[0]
    pair = replace(PAIR, states=(*STATES[:6], replace(rolled, round=4), *STATES[6:]))
    assert [entry.tx_hash for entry in history(pair)] == ["hash 1 None", "hash 2 11", "hash 3 12", "hash 4 14"]
    assert [entry.round for entry in history(replace(PAIR, final_rounds={"initiator": 3, "responder": 3}))] == [1, 2, 3]


def test_an_applied_payment_may_stand_in_doubt_and_is_told_apart() -> None:
    """Honest: nothing was promised. Whether doubt may remain is for the run to say."""
    six = all_of(sent(SIX), results(result("6", "in_doubt")), states(state(5, 16, "initiator", 71, 129)))(GOOD)
    assert judge(six) == []
    assert doubtful(six) == ["6"]


def test_a_killed_node_owes_no_agreement() -> None:
    """The node itself lost the channel; what it had co-signed counts all the same."""
    pair = replace(PAIR, final_rounds={}, is_lost=True)
    assert judge(replace(GOOD, pairs=(pair,))) == []
    assert len(history(pair)) == 4


def test_a_command_may_wait_where_the_channel_is_lost_and_its_operators_were_called() -> None:
    """It is neither run nor forgotten; without the call, or without the journal's record of it, it is lost."""
    lost = replace(PAIR, final_rounds={}, is_lost=True)
    called = (*EVENTS, *events("a-i", ["alarm.recovery_required"], 5, digest(EVENTS[3].body)))
    waiting = replace(sent(SIX)(GOOD), pairs=(lost,), events=called, waiting=frozenset({"6"}))
    assert judge(waiting) == []
    for broken in (replace(waiting, events=EVENTS), replace(waiting, waiting=frozenset())):
        assert {violation.rule for violation in judge(broken)} == {"each command has an outcome"}


def test_an_unconfirmed_command_may_never_have_arrived() -> None:
    """The client knows that it does not know."""
    assert judge(sent(replace(SIX, is_confirmed=False))(GOOD)) == []


def test_deposits_and_withdrawals_move_one_side_only() -> None:
    """The sum changes by exactly the amount."""
    deposit = replace(state(5, 16, "initiator", 103, 113)[0], kind="channel_deposit_tx")
    assert deposit.kind != OFFCHAIN
    good = all_of(sent(SIX), results(result("6", "succeeded")), states((deposit,)))(GOOD)
    assert judge(good) == []
    withdrawal = replace(deposit, kind="channel_withdraw_tx")
    assert {v.rule for v in judge(states((withdrawal,))(good))} == {"balances sum up"}
