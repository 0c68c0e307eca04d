"""The oracle itself: silent over a good run, and each rule speaks when exactly its fault is planted."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bridge.channel.request import Tag
from tests.oracle.evidence import Arrived, Evidence, Fact, Forward, Reply, Request, Said, Sent, digest, history
from tests.oracle.given import (
    BEGINNING,
    EPOCH,
    EVENTS,
    EVENTS_I,
    FACTS,
    FORWARDS,
    GOOD,
    OFFCHAIN,
    PAIR,
    REPLIES,
    RESULTS,
    SECOND,
    SENT,
    STATES,
    entry,
    events,
    posted,
    result,
    state,
)
from tests.oracle.judgement import RULES, doubtful, judge, tally

Planting = Callable[[Evidence], Evidence]


def states(*more: object) -> Planting:
    """Further states behind the good ones; the sides stand at the last, and the books know it."""
    added = [entry for both in more for entry in both]  # type: ignore[attr-defined]
    rounds = dict.fromkeys(("initiator", "responder"), max(entry.round for entry in (*STATES, *added)))
    hashes = dict.fromkeys(rounds, added[-1].tx_hash)
    pair = replace(PAIR, states=(*STATES, *added), final_rounds=rounds, final_hashes=hashes)
    booked = dict.fromkeys(("a-i", "a-r"), (added[-1].initiator_balance, added[-1].responder_balance))
    return lambda good: replace(good, pairs=(pair,), booked=booked)


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


def signed(forwards: tuple[Forward, ...], replies: tuple[Reply, ...], *facts: Fact) -> Planting:
    """Further signatures, in the ledger and at the node, and what the node says of them."""
    pair = replace(PAIR, replies=(*REPLIES, *replies), facts=(*FACTS, *facts))
    return lambda good: replace(good, pairs=(pair,), forwards=(*FORWARDS, *forwards))


def shutdown(outcome: str, **changes: Any) -> Planting:
    """One that ended so, on a channel of which the chain says something else or the same."""
    closing = Forward("a-i", None, "c", Tag.SHUTDOWN.value, "8", EPOCH + 4.0, signed="tx_c")
    return all_of(
        sent(Sent("8", "a-i", "shutdown", "alice")),
        results(result("8", outcome)),
        lambda good: replace(good, pairs=(replace(PAIR, **changes),), forwards=(*FORWARDS, closing)),
    )


def message(outcome: str, *said: Said, may_repeat: bool = False) -> Planting:
    return all_of(
        sent(Sent("8", "a-i", "message", "alice", text="hi", may_repeat=may_repeat)),
        results(result("8", outcome)),
        pairs(messages=(*PAIR.messages, *said)),
    )


TAKEN, DELIVERED = Said("initiator", "hi", is_delivery=False), Said("initiator", "hi", is_delivery=True)


def letters(*numbers: str) -> Planting:
    """As a-r was told of them."""
    told = events("a-r", ["info.open", "info.state"])
    for number in numbers:
        (made,) = events("a-r", ["message.received"], len(told) + 1, digest(told[-1].body))
        body = json.loads(made.body) | {"data": {"message_id": number}}
        told.append(replace(made, body=json.dumps(body).encode()))
    return lambda good: replace(good, events=(*EVENTS_I, *told), last_seq={"a-i": 6, "a-r": len(told)})


def pairs(**changes: Any) -> Planting:
    return lambda good: replace(good, pairs=(replace(PAIR, **changes),))


SOME = "the evidence, as the ledger tells it"
TWO = (
    Forward("a-r", 3, "x", "update", "2", EPOCH + 1.0, SOME, "tx_x"),
    Forward("a-r", 3, "y", "update_ack", None, EPOCH + 1.9, signed="tx_y"),
)
GOT = (
    Reply("responder", "update", 3, "x", "tx_x", EPOCH + 1.1),
    Reply("responder", "update_ack", 3, "y", "tx_y", EPOCH + 2.0),
)
DEPOSIT_FIRST = (
    Forward("a-r", 3, "x", Tag.DEPOSIT.value, "2", EPOCH + 1.0, SOME, "tx_x"),
    Forward("a-r", 3, "y", "update", "9", EPOCH + 1.9, signed="tx_y"),
)
DEPOSIT_GOT = (
    Reply("responder", Tag.DEPOSIT.value, 3, "x", "tx_x", EPOCH + 1.1),
    Reply("responder", "update", 3, "y", "tx_y", EPOCH + 2.0),
)
TIMED_OUT = Fact("responder", "conflict", 2, EPOCH + 1.5, 3, 2)
CLOSES = (
    Forward("a-i", None, "c1", Tag.SHUTDOWN.value, "8", EPOCH + 4.0, SOME, "tx_c1"),
    Forward("a-i", None, "c2", Tag.SHUTDOWN.value, "9", EPOCH + 5.0, signed="tx_c2"),
)
CLOSED = (
    Reply("initiator", Tag.SHUTDOWN.value, 0, "c1", "tx_c1", EPOCH + 4.1),
    Reply("initiator", Tag.SHUTDOWN.value, 0, "c2", "tx_c2", EPOCH + 5.1),
)
SIX = Sent("6", "a-i", "transfer", "alice", 16)
EDITED = replace(EVENTS[1], body=EVENTS[1].body.replace(b"requested", b"answered"))


def books(*entries: dict[str, object], alarm: bool = True) -> Planting:
    """Other books of a-r."""
    told = events("a-r", ["info.open", "info.state", *(["alarm.books_disagree"] if alarm else [])])
    told += posted("a-r", entries, len(told) + 1, digest(told[-1].body))
    return lambda good: replace(good, events=(*EVENTS_I, *told), last_seq={"a-i": 6, "a-r": len(told)})


def reused() -> Planting:
    """The node shows that the initiator's earlier signature of the fifth round counted while its client was away."""
    fact = Fact("initiator", "reused", 4, EPOCH + 4.0, reused_hash="hash 5 16")
    return lambda good: replace(good, pairs=(replace(good.pairs[0], facts=(*FACTS, fact)),))


def used(word: str, **fields: object) -> list[Arrived]:
    """That event of the initiator's, about the sixth command."""
    (made,) = events("a-i", [word], len(EVENTS_I) + 1, digest(EVENTS_I[-1].body))
    data = {"command_id": "6", "round": 5, "tx_hash": "hash 5 16"} | fields
    return [replace(made, body=json.dumps(json.loads(made.body) | {"data": data}).encode())]


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
        lambda good: replace(good, sent=(SENT[3], *SENT[:3], *SENT[4:])),
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
    "an alarm for nothing": (
        lambda good: replace(good, events=(*EVENTS, *used("alarm.abandoned_state_used"))),
        "what was used after all is told",
    ),
    "a correction for nothing": (
        lambda good: replace(good, events=(*EVENTS, *used("command.outcome_corrected", outcome="succeeded"))),
        "what was used after all is told",
    ),
    "a signature used in silence": (
        all_of(results(result("6", "failed")), sent(SIX), states(state(5, 16, "initiator", 71, 129)), reused()),
        "what was used after all is told",
    ),
    "an alarm without its correction": (
        all_of(
            *(results(result("6", "failed")), sent(SIX), states(state(5, 16, "initiator", 71, 129)), reused()),
            lambda good: replace(good, events=(*EVENTS, *used("alarm.abandoned_state_used"))),
        ),
        "failed was not applied",
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
    "two transactions for a round, whatever the ledger says": (signed(TWO, GOT), "one transaction a round"),
    "a payment past a deposit that timed out": (
        all_of(
            signed(DEPOSIT_FIRST, DEPOSIT_GOT, TIMED_OUT),
            sent(Sent("9", "a-r", "transfer", "alice", 19)),
            results(result("9", "failed", "a-r")),
        ),
        "one transaction a round",
    ),
    "a timeout taken for evidence": (
        signed(TWO, GOT, Fact("responder", "conflict", 2, EPOCH + 1.5, 3, 2)),
        "one transaction a round",
    ),
    "a conflict of a peer that stands higher taken for evidence": (
        signed(TWO, GOT, Fact("responder", "conflict", 2, EPOCH + 1.5, 2, 3)),
        "one transaction a round",
    ),
    "a state that shows it half-signed taken for evidence": (
        signed(TWO, GOT, Fact("responder", "state", 2, EPOCH + 1.5, half_hash="x")),
        "one transaction a round",
    ),
    "evidence of the other side": (
        signed(TWO, GOT, Fact("initiator", "conflict", 2, EPOCH + 1.5, 2, 2)),
        "one transaction a round",
    ),
    "evidence from before it": (
        signed(TWO, GOT, Fact("responder", "conflict", 2, EPOCH + 1.05, 2, 2)),
        "one transaction a round",
    ),
    "two closes": (signed(CLOSES, CLOSED), "one transaction a round"),
    "two transactions for a round that the ledger does not show": (
        signed((), GOT),
        "the node got one transaction a round",
    ),
    "two closes that the ledger does not show": (signed((), CLOSED), "the node got one transaction a round"),
    "a signed reply again": (
        signed((TWO[0], replace(TWO[0], at=EPOCH + 1.9)), GOT[:1]),
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
    "signed replies that nobody saw": (lambda good: replace(good, written=()), "what was signed was seen"),
    "a late acknowledgement": (
        pairs(requests=(Request("responder", "update_ack", 2, "x", 1.0, 63.0, "signed"),)),
        "acknowledgements are in time",
    ),
    "an acknowledgement behind the deadline of this run": (
        pairs(requests=(Request("responder", "update_ack", 2, "x", 1.0, 7.0, "signed"),), acknowledge_seconds=4.0),
        "acknowledgements are in time",
    ),
    "an acknowledgement for a peer that has given up": (
        pairs(accept_seconds=0.5),
        "acknowledgements come before the peer gives up",
    ),
    "a deposit acknowledged to a peer that has given up": (
        pairs(
            replies=(
                *REPLIES,
                Reply("initiator", Tag.DEPOSIT.value, 5, "d", "tx_d", EPOCH + 4.0),
                Reply("responder", Tag.DEPOSIT_ACK.value, 5, "d", "tx_d_ack", EPOCH + 125.0),
            )
        ),
        "acknowledgements come before the peer gives up",
    ),
    "two states of one round": (
        pairs(final_hashes={"initiator": "hash 4 14", "responder": "hash 4 13"}),
        "both sides agree",
    ),
    "the last events": (
        lambda good: replace(good, events=EVENTS[:-1]),
        "the last event arrived",
    ),
    "a channel nobody listened to": (
        lambda good: replace(good, events=EVENTS[len(EVENTS_I) :]),
        "each channel was heard",
    ),
    "a pair nobody listened to": (
        lambda good: replace(good, events=(), sent=(), forwards=(), last_seq={}),
        "each channel was heard",
    ),
    "books nobody keeps": (books(), "books are kept"),
    "a message that was not taken": (message("succeeded"), "messages are as told"),
    "a message that failed and was taken": (message("failed", TAKEN), "messages are as told"),
    "a letter told twice": (letters("9", "9"), "letters are told once"),
    "a message taken twice": (message("unknown", TAKEN, TAKEN), "messages are as told"),
    "a message delivered twice": (message("succeeded", TAKEN, DELIVERED, DELIVERED), "messages are as told"),
    "a shutdown without a close": (shutdown("succeeded"), "a close is as told"),
    "a shutdown that failed and closed": (shutdown("failed", is_closed=True, closed_by="c"), "a close is as told"),
    "a secret in a log": (
        lambda good: replace(good, texts={"log": "fsm_id=the secret"}),
        "nothing secret is readable",
    ),
    "a log that is promised, and empty": (
        lambda good: replace(good, texts={"log": " ", "metrics": "bridge_up 1"}),
        "there is something to look through",
    ),
    "neither logs nor metrics": (
        lambda good: replace(good, texts={}),
        "there is something to look through",
    ),
    "a secret in an event": (
        lambda good: replace(good, events=(*EVENTS, *events("b", ["info.the secret"]))),
        "nothing secret is readable",
    ),
}  # fmt: skip


def test_a_good_run_breaks_no_rule() -> None:
    """An oracle that cries over what is right is soon not listened to."""
    assert judge(GOOD) == []
    assert tally(GOOD) == {"succeeded": 5, "failed": 1}
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
    "suspense in silence": (
        books(entry(1, 100, 100, 100, 100, -200, other="suspense"), SECOND, alarm=False),
        "what is unexplained is told",
    ),
}


def test_a_signature_that_was_used_is_told_and_corrected() -> None:
    """The alarm belongs to such a run, and the corrected outcome is the one that counts."""
    told = [used("alarm.abandoned_state_used")[0]]
    (second,) = used("command.outcome_corrected", outcome="succeeded")
    body = json.loads(second.body) | {"seq": len(EVENTS_I) + 2, "prev": digest(told[0].body)}
    told.append(replace(second, body=json.dumps(body).encode(), headers={"ce-id": f"event:a-i:{body['seq']}"}))
    run = all_of(results(result("6", "failed")), sent(SIX), states(state(5, 16, "initiator", 71, 129)), reused())(GOOD)
    run = replace(run, events=(*EVENTS_I, *told, *EVENTS[len(EVENTS_I) :]), last_seq={"a-i": 8, "a-r": 4})
    run = replace(run, booked={"a-i": (71, 129), "a-r": (71, 129)})
    assert [str(violation) for violation in judge(run)] == []
    assert tally(run)["succeeded"] == tally(GOOD)["succeeded"] + 1


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
    pair = replace(PAIR, final_rounds={}, final_hashes={}, is_lost=True)
    assert judge(replace(GOOD, pairs=(pair,))) == []
    assert len(history(pair)) == 4


def test_a_command_may_wait_where_the_channel_is_lost_and_its_operators_were_called() -> None:
    """It is neither run nor forgotten; without the call, or without the journal's record of it, it is lost."""
    lost = replace(PAIR, final_rounds={}, final_hashes={}, is_lost=True)
    called = (*EVENTS, *events("a-i", ["alarm.recovery_required"], 7, digest(EVENTS_I[-1].body)))
    seqs = {"a-i": 7, "a-r": 4}
    waiting = replace(sent(SIX)(GOOD), pairs=(lost,), events=called, last_seq=seqs, waiting=frozenset({"6"}))
    assert judge(waiting) == []
    for broken in (replace(waiting, events=EVENTS, last_seq=GOOD.last_seq), replace(waiting, waiting=frozenset())):
        assert {violation.rule for violation in judge(broken)} == {"each command has an outcome"}


def test_operators_are_called_for_what_the_run_itself_has_ended() -> None:
    """The first legacy dialect outlives no socket, and the bridges stop last; before that a call is a fault."""
    called = (*EVENTS, *events("a-r", ["alarm.recovery_required"], 5, digest(EVENTS[-1].body)))
    for taken_at, rules in ((EPOCH + 5.0, set()), (EPOCH + 5.5, {"no channel is halted"})):
        pair = replace(PAIR, taken_at=taken_at)
        evidence = replace(GOOD, pairs=(pair,), events=called, last_seq={"a-i": 6, "a-r": 5})
        assert {violation.rule for violation in judge(evidence)} == rules


def test_operators_are_called_for_a_legacy_channel_whose_node_lets_nobody_in() -> None:
    """Told after 150 s, although the FSM may end and the channel come back: only if it was refused all along."""
    (alarm,) = events("a-r", ["alarm.recovery_required"], 5, digest(EVENTS[-1].body))
    alarm = replace(alarm, body=alarm.body.replace(b"00:00:05.000", b"00:03:20.000"))
    refused = tuple(Fact("responder", "refused", 0, EPOCH + 60.0 + 25.0 * number) for number in range(6))
    cases: tuple[tuple[tuple[Fact, ...], bool, set[str]], ...] = (
        (refused, True, set()),
        (refused, False, {"no channel is halted"}),
        (refused[:4], True, {"no channel is halted"}),
        ((*refused, Fact("responder", "admitted", 0, EPOCH + 100.0)), True, {"no channel is halted"}),
    )
    for facts, is_legacy, rules in cases:
        pair = replace(PAIR, facts=(*FACTS, *facts), is_legacy=is_legacy)
        evidence = replace(GOOD, pairs=(pair,), events=(*EVENTS, alarm), last_seq={"a-i": 6, "a-r": 5})
        assert {violation.rule for violation in judge(evidence)} == rules


def test_an_answer_proves_nothing_behind_a_message_that_was_taken_out_of_the_stream() -> None:
    """No TCP does that, so the bridge may conclude from it; the network of the faults can."""
    assert judge(replace(message("succeeded")(GOOD), swallowed=frozenset({"hi"}))) == []


def test_what_stands_in_the_outbox_may_have_been_told_already() -> None:
    """A bridge that is killed between the broker's confirm and its own record of it tells the same again."""
    assert judge(replace(GOOD, last_seq={"a-i": 5, "a-r": 4})) == []


def test_books_of_a_channel_that_was_lost_as_it_opened_may_be_empty() -> None:
    """Its bridge never heard of the first state. Of a second one it had, and of one that is not lost it will."""
    opening = replace(PAIR, states=STATES[:2], final_rounds={}, final_hashes={}, is_lost=True)
    for pair, is_owed in ((opening, False), (replace(opening, is_lost=False), True), (PAIR, True)):
        found = {violation.rule for violation in judge(replace(books()(GOOD), pairs=(pair,)))}
        assert ("books are kept" in found) is is_owed


def test_an_unconfirmed_command_may_never_have_arrived() -> None:
    """The client knows that it does not know."""
    assert judge(sent(replace(SIX, is_confirmed=False))(GOOD)) == []


ABANDONED: dict[str, Planting] = {
    "a conflict": signed(TWO, GOT, Fact("responder", "conflict", 2, EPOCH + 1.5, 2, 2)),
    "a refusal of our own": signed(TWO, GOT, Fact("responder", "aborted_update", 2, EPOCH + 1.5)),
    "a peer that is gone": signed(TWO, GOT, Fact("responder", "peer_disconnected", 2, EPOCH + 1.5)),
    "a reestablish": signed(TWO, GOT, Fact("responder", "channel_reestablished", 2, EPOCH + 1.5)),
    "a state that holds nothing of it": signed(TWO, GOT, Fact("responder", "state", 2, EPOCH + 1.5)),
    "it never came": signed(TWO, GOT[1:]),
    "a timeout that an operator's checkpoint settles": all_of(
        signed(DEPOSIT_FIRST, DEPOSIT_GOT, TIMED_OUT),
        sent(Sent("9", "a-r", "checkpoint", "alice")),
        results(result("9", "succeeded", "a-r")),
    ),
    "the same of a close": signed(CLOSES, CLOSED, Fact("initiator", "conflict", 4, EPOCH + 4.5, 2, 4)),
    "another one of its round was co-signed": all_of(
        signed(TWO, GOT),
        lambda good: replace(
            good,
            pairs=(
                replace(
                    good.pairs[0],
                    states=tuple(replace(one, at=EPOCH + 1.5) if one.round == 3 else one for one in STATES),
                ),
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", ABANDONED)
def test_what_the_node_shows_as_abandoned_may_be_signed_anew(name: str) -> None:
    """The ledger is not asked: the same two rows are a breach without that fact."""
    assert judge(ABANDONED[name](GOOD)) == []


def test_a_message_may_end_unknown_and_one_that_may_repeat_may_come_twice() -> None:
    """Nothing is promised of the first, and the second carries an id for its reader."""
    for plant in (
        message("unknown"),
        message("unknown", TAKEN),
        message("succeeded", TAKEN),
        message("succeeded", TAKEN, TAKEN, DELIVERED, DELIVERED, may_repeat=True),
    ):
        assert judge(plant(GOOD)) == []


def test_a_shutdown_may_fail_on_a_channel_that_the_other_one_closed() -> None:
    """Two closes of one channel are alternatives."""
    assert judge(shutdown("failed", is_closed=True, closed_by="the peer's")(GOOD)) == []
    assert judge(shutdown("succeeded", is_closed=True, closed_by="c")(GOOD)) == []


def test_deposits_and_withdrawals_move_one_side_only() -> None:
    """The sum changes by exactly the amount."""
    deposit = replace(state(5, 16, "initiator", 103, 113)[0], kind="channel_deposit_tx")
    assert deposit.kind != OFFCHAIN
    good = all_of(sent(SIX), results(result("6", "succeeded")), states((deposit,)))(GOOD)
    assert judge(good) == []
    withdrawal = replace(deposit, kind="channel_withdraw_tx")
    assert {v.rule for v in judge(states((withdrawal,))(good))} == {"balances sum up"}
