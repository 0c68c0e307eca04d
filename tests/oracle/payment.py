"""Rules about coins: what the node applied, against what was asked for and what was answered.

Each payment has an amount of its own, so an amount found in a co-signed state names its command.
"""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from tests.oracle.evidence import Evidence, Pair, Sent, State
from tests.oracle.violation import Violation

MOVING = ("transfer", "deposit", "withdraw")
SIGNS = {"channel_offchain_tx": (-1, 1), "channel_deposit_tx": (1, 0), "channel_withdraw_tx": (-1, 0)}
"""What a state's amount does to its payer and to the other one."""


def _moving(evidence: Evidence) -> dict[int, Sent]:
    """Amount to its command, the first time it was sent."""
    found: dict[int, Sent] = {}
    for sent in evidence.sent:
        if sent.amount is not None:
            found.setdefault(sent.amount, sent)
    return found


def _applied(evidence: Evidence) -> Iterator[tuple[Pair, State, int]]:
    for pair in evidence.pairs:
        for state in evidence.applied[pair.name]:
            if state.amount:
                yield pair, state, state.amount


def _applied_amounts(evidence: Evidence) -> set[int]:
    return {amount for _, _, amount in _applied(evidence)}


def _is_honest(evidence: Evidence, pair: Pair, state: State, sent: Sent) -> bool:
    """Whether it was told as failed and exposed, and its channel lost before anybody could see that it was used."""
    verdict = evidence.verdicts.get(sent.command_id, {})
    is_unseen = state.payer is not None and (pair.channel(state.payer), state.tx_hash) in evidence.unseen
    return is_unseen and bool(verdict.get("exposure"))


def amounts_are_unique(evidence: Evidence) -> Iterator[Violation]:
    """Otherwise the run proves nothing."""
    owner: dict[int, str] = {}
    for sent in evidence.sent:
        if sent.amount is not None and owner.setdefault(sent.amount, sent.command_id) != sent.command_id:
            yield Violation("amounts are unique", sent.command_id, f"{sent.amount} is also of {owner[sent.amount]}")


def nothing_is_applied_twice(evidence: Evidence) -> Iterator[Violation]:
    """G2: the one promise that may never break."""
    counts = Counter(amount for _, _, amount in _applied(evidence))
    for pair, state, amount in _applied(evidence):
        if counts[amount] > 1:
            yield Violation("nothing is applied twice", pair.name, f"{amount} at round {state.round} is one of several")


def applied_was_asked_for(evidence: Evidence) -> Iterator[Violation]:
    """No coin moves without a command, and each moves on its own channel, from its own side."""
    asked = _moving(evidence)
    for pair, state, amount in _applied(evidence):
        sent = asked.get(amount)
        if sent is None:
            yield Violation("applied was asked for", pair.name, f"{amount} at round {state.round}: nobody asked")
        elif state.payer is None or pair.channel(state.payer) != sent.channel:
            yield Violation("applied was asked for", sent.command_id, f"paid by the {state.payer} of {pair.name}")


def succeeded_was_applied(evidence: Evidence) -> Iterator[Violation]:
    """Who was told "succeeded" hands over the goods."""
    applied = _applied_amounts(evidence)
    for amount, sent in _moving(evidence).items():
        if evidence.outcome(sent.command_id) == "succeeded" and amount not in applied:
            yield Violation("succeeded was applied", sent.command_id, f"{amount} is in no co-signed state")


def applied_has_succeeded(evidence: Evidence) -> Iterator[Violation]:
    """Applied and `in_doubt` is honest; applied and anything else, or nothing, is not."""
    asked = _moving(evidence)
    for pair, state, amount in _applied(evidence):
        sent = asked.get(amount)
        outcome = None if sent is None else evidence.outcome(sent.command_id)
        if (
            sent is not None
            and outcome not in ("succeeded", "in_doubt")
            and not _is_honest(evidence, pair, state, sent)
        ):
            yield Violation("applied has succeeded", sent.command_id, f"{amount} is applied on {pair.name}: {outcome}")


def failed_was_not_applied(evidence: Evidence) -> Iterator[Violation]:
    """Who was told "failed" pays again."""
    asked = _moving(evidence)
    for pair, state, amount in _applied(evidence):
        sent = asked.get(amount)
        if sent is None or _is_honest(evidence, pair, state, sent):
            continue
        if evidence.outcome(sent.command_id) in ("failed", "rejected"):
            code = evidence.verdicts[sent.command_id].get("code")
            yield Violation("failed was not applied", sent.command_id, f"{amount} is applied, told as {code}")


def balances_sum_up(evidence: Evidence) -> Iterator[Violation]:
    """I6: each state follows from the one before it by exactly its amount."""
    for pair in evidence.pairs:
        states = evidence.applied[pair.name]
        for before, after in pairwise(states):
            expected = _expected(before, after)
            found = (after.initiator_balance, after.responder_balance)
            if found != expected:
                yield Violation("balances sum up", pair.name, f"round {after.round}: {found}, expected {expected}")


def _expected(before: State, after: State) -> tuple[int, int]:
    paid, got = SIGNS.get(after.kind, (0, 0))
    amount = after.amount or 0
    if after.payer == "responder":
        paid, got = got, paid
    return before.initiator_balance + paid * amount, before.responder_balance + got * amount


def both_sides_agree(evidence: Evidence) -> Iterator[Violation]:
    """Two sides at different rounds refuse each other for ever: the channel is dead (observed)."""
    for pair in evidence.pairs:
        if not pair.is_lost and len(set(pair.final_rounds.values())) > 1:
            yield Violation("both sides agree", pair.name, f"the rounds at the end are {dict(pair.final_rounds)}")
        if not pair.is_lost and len(set(pair.final_rounds.values())) == 1 < len(set(pair.final_hashes.values())):
            yield Violation("both sides agree", pair.name, f"one round, two states: {dict(pair.final_hashes)}")
        if not pair.is_lost and not pair.is_closed and len(pair.final_rounds) < len(("initiator", "responder")):
            yield Violation("both sides agree", pair.name, f"the node holds {dict(pair.final_rounds)} at the end")


def order_is_kept(evidence: Evidence) -> Iterator[Violation]:
    """G1: commands of one channel are executed in the order of its queue."""
    places: dict[str, int] = {}
    for place, sent in enumerate(evidence.sent):
        places.setdefault(sent.command_id, place)
    asked = _moving(evidence)
    latest: dict[str, Sent] = {}
    for _, state, amount in _applied(evidence):
        if amount not in asked:
            continue
        sent = asked[amount]
        before = latest.get(sent.channel, sent)
        if places[before.command_id] > places[sent.command_id]:
            text = f"applied at round {state.round}, behind {before.command_id} that was sent later"
            yield Violation("order is kept", sent.command_id, text)
        latest[sent.channel] = sent


def dead_letters_were_not_applied(evidence: Evidence) -> Iterator[Violation]:
    """G7: whatever lies there may be sent again after repair."""
    applied = _applied_amounts(evidence)
    for letter in evidence.letters:
        try:
            body = json.loads(letter.body)
            amount = int(body["amount"]) if isinstance(body, dict) and "amount" in body else None
        except ValueError:
            continue  # no command could be read from it, so none was run
        if amount in applied:
            yield Violation("dead letters were not applied", str(body.get("command_id")), f"{amount} is applied")
