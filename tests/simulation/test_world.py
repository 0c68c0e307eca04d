"""Whole worlds: a share of the seeds, and the proof that the simulation can find something."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any
from unittest.mock import patch

import pytest

from bridge.app.auditreport import read_anchor
from bridge.app.intake import CommandIntake
from bridge.app.meter import Sample
from bridge.app.monitor import Monitor
from bridge.app.relay import Relay
from bridge.journal.journal import Journal
from bridge.node.link import Link
from bridge.sim.book import Book
from tests.oracle.judgement import tally
from tests.oracle.witness import written
from tests.simulation.brief import live_seed
from tests.simulation.every import Course, plan_of
from tests.simulation.plan import DIALECTS, FIRST_AMOUNT, ROLES, Cut, Kill, NodeRestart, Plan, Step, draw_plan
from tests.simulation.point import ACTIONS, Action, Kind
from tests.simulation.world import PAY_SECONDS, Ending, run

SEEDS = range(30)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_breaks_no_rule(seed: int) -> None:
    """A quick share of the thousand: `python -m tests.simulation` runs them all."""
    ending = run(draw_plan(seed))
    assert [str(violation) for violation in ending.violations] == []


def test_a_world_without_faults_succeeds_wholly() -> None:
    """Otherwise the faults would be blamed for what is always so."""
    steps = tuple(Step(0.1, role, "transfer", FIRST_AMOUNT + number) for number, role in enumerate(ROLES * 2))
    ending = run(Plan(1, steps=steps, heals_at=1.0, has_logs=True))
    assert not ending.violations
    assert tally(ending.evidence) == {"succeeded": 6}, "four, and one of each side after the healing"
    assert "bridge_ready" in ending.evidence.texts["log"]


def test_a_doubt_is_settled_by_the_next_payment_and_needs_no_operator() -> None:
    """Killed before our signature reached the node, and again before what the probe found is on record (ADR 0026)."""
    plan = plan_of(Course("json-rpc", "transfer", "initiator"))
    first = next(point for point in run(plan).points if str(point).endswith("initiator > update"))
    killed = replace(plan, orders={first.number: Action.KILL_BEFORE})
    probe = next(p for p in run(killed).points if p.number > first.number and str(p).endswith("initiator > update"))
    doubts = 0
    for number in range(probe.number + 1, probe.number + 20):
        ending = run(replace(killed, orders={**killed.orders, number: Action.KILL_BEFORE}))
        assert not ending.violations
        outcomes = {name: [body["outcome"] for body in told] for name, told in ending.evidence.outcomes.items()}
        assert outcomes["command-1"][-1] == "succeeded"
        if "in_doubt" in outcomes["command-0"]:
            doubts += 1
            assert outcomes["command-0"][-1] == "failed"
            assert not any(name.startswith("checkpoint") for name in outcomes), "nobody had to send one"
    assert doubts


def test_a_world_waits_for_a_side_that_is_still_quiet() -> None:
    """All commands may have ended while one side sits out its quiet time after a reestablish, its books behind."""
    steps = (Step(0.0, "responder", "deposit", FIRST_AMOUNT),)
    plan = Plan(7, is_split=False, is_reestablished=True, steps=steps)
    locked = next(_kinds(run(plan), Kind.PUBLISH, "deposit.succeeded"))
    numbers = range(locked - 40, locked)
    assert [number for number in numbers if _rules(replace(plan, orders={number: Action.KILL_AFTER}))] == []


def test_heads_of_the_audit_are_told_while_it_grows() -> None:
    """Whoever reads one channel's events holds anchors for `audit verify`, each once."""
    steps = tuple(Step(at, ROLES[0], "transfer", FIRST_AMOUNT + round(at)) for at in (1.0, 4000.0, 8000.0))
    ending = run(Plan(1, steps=steps, heals_at=8100.0))
    assert not ending.violations
    heads: dict[str, list[str]] = {}
    for event in (json.loads(arrived.body) for arrived in ending.evidence.events):
        if (event["family"], event["name"]) == ("audit", "head"):
            heads.setdefault(event["channel"], []).append(event["data"]["anchor"])
    assert len(heads) == len(ROLES)
    for anchors in heads.values():
        numbers = [read_anchor(anchor).seq for anchor in anchors]
        assert len(numbers) == 2  # after 600 and 4,200 s; at 7,800 s there is nothing new
        assert numbers[0] < numbers[1]


def test_no_head_is_told_of_an_audit_that_stands_still() -> None:
    steps = (Step(1.0, ROLES[0], "transfer", FIRST_AMOUNT), Step(13_000.0, ROLES[0], "message", FIRST_AMOUNT + 1))
    ending = run(Plan(1, steps=steps, heals_at=13_001.0))
    told = [arrived.routing_key for arrived in ending.evidence.events if arrived.routing_key.endswith(".audit.head")]
    assert len(told) == len(ROLES)


def _replay(seed: int, hash_seed: str) -> str:
    command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed)]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # ours
    return told.stdout.splitlines()[-1]


def test_a_seed_is_replayed_identically_in_another_process() -> None:
    """A failing number is worth nothing if it fails only here: every time, point and frame must be the same.

    What unwinds when a process dies or a socket is cut is where the order of a set could come in, so the seed has that.
    """
    wanted = {Kill, Cut, NodeRestart}
    seed = next(seed for seed in count() if wanted <= {type(fault) for fault in draw_plan(seed).faults})
    first, second = _replay(seed, "1"), _replay(seed, "2")
    assert "digest" in first
    assert first == second
    assert live_seed(seed).digest in first


def test_another_seed_is_another_world() -> None:
    """A digest that does not tell worlds apart would prove nothing."""
    plan = plan_of(Course("json-rpc", "message", "initiator"))
    assert run(plan).digest == run(plan).digest
    assert run(plan).digest != run(Plan(8, plan.dialect, steps=plan.steps, heals_at=plan.heals_at)).digest


# --- it can find something ---------------------------------------------------------------------------------


def _kinds(ending: Ending, kind: Kind, label: str) -> Iterator[int]:
    return (point.number for point in ending.points if point.kind is kind and label in point.label)


def _rules(plan: Plan) -> set[str]:
    return {violation.rule for violation in run(plan).violations}


def _with(plan: Plan, number: int, action: Action) -> Plan:
    return Plan(plan.seed, steps=plan.steps, heals_at=plan.heals_at, orders={number: action})


PLAN = plan_of(Course("json-rpc", "transfer", "initiator"))


def test_an_ack_before_the_journal_is_found() -> None:
    """The kill behind the ack loses the command: nobody will deliver it again."""
    original = CommandIntake.handle

    async def handle(self: CommandIntake, delivery: Any) -> None:
        await delivery.ack()
        await original(self, delivery)

    number = next(_kinds(run(PLAN), Kind.ACK, "commands"))
    plan = _with(PLAN, number - 1, Action.KILL_AFTER)
    assert _rules(plan) == set()
    with patch.object(CommandIntake, "handle", handle):
        numbers = list(_kinds(run(PLAN), Kind.ACK, "commands"))
        assert "each command has an outcome" in _rules(_with(PLAN, numbers[0], Action.KILL_AFTER))


def test_a_forgotten_confirm_is_found() -> None:
    """An event that is forgotten before the broker has it leaves a gap for ever."""
    original = Relay._try

    async def forget(self: Relay, row: Any) -> None:
        if row.envelope.exchange.endswith("events") and row.envelope.routing_key.endswith("transfer.succeeded"):
            return
        await original(self, row)

    with patch.object(Relay, "_try", forget):
        assert "numbers have no gap" in _rules(PLAN)


def test_a_credential_that_is_not_stored_is_found() -> None:
    """F6: after a crash the bridge stands before a channel it cannot enter."""
    original = Journal.commit

    async def commit(self: Journal, batch: Any) -> Any:
        object.__setattr__(batch, "fsm_id", None)
        return await original(self, batch)

    plan = _with(PLAN, next(_kinds(run(PLAN), Kind.COMMIT, "group")), Action.KILL_AFTER)
    assert _rules(plan) == set()
    with patch.object(Journal, "commit", commit):
        assert _rules(plan)


def test_an_error_that_nobody_looks_at_is_found() -> None:
    """A task that failed in silence has left its work undone."""
    original = CommandIntake.handle
    kept = []

    async def fail() -> None:
        raise RuntimeError("nobody looks")

    async def handle(self: CommandIntake, delivery: Any) -> None:
        kept.append(asyncio.get_running_loop().create_task(fail()))
        await original(self, delivery)
        kept.clear()

    with patch.object(CommandIntake, "handle", handle):
        assert _rules(PLAN) == {"no error is uncaught"}


def test_logs_that_nobody_writes_are_found() -> None:
    """Otherwise "no secret in any log" could hold of a thousand empty logs."""
    plan = Plan(PLAN.seed, steps=PLAN.steps, heals_at=PLAN.heals_at, has_logs=True)
    assert _rules(plan) == set()
    logging.disable()
    try:
        assert _rules(plan) == {"there is something to look through"}
    finally:
        logging.disable(logging.NOTSET)


def test_a_credential_in_the_metrics_is_found() -> None:
    """They are read of every bridge before the end, with or without logs."""
    original = Monitor._samples

    async def samples(self: Monitor) -> list[Sample]:
        assert self.journal is not None
        records = [await self.journal.load(name) for name in self.workers]
        return [*await original(self), *(("links_up", (str(record and record.fsm_id),), 1.0) for record in records)]

    with patch.object(Monitor, "_samples", samples):
        assert _rules(PLAN) == {"nothing secret is readable"}


def test_a_credential_in_a_log_is_found() -> None:
    """The sweep's logs are those of a deployment, but for what masks them."""
    plan = Plan(PLAN.seed, steps=PLAN.steps, heals_at=PLAN.heals_at, has_logs=True)
    original = Journal.commit

    async def commit(self: Journal, batch: Any) -> Any:
        if batch.fsm_id is not None:
            logging.getLogger("bridge.journal").info("stored %s", batch.fsm_id)
        return await original(self, batch)

    with patch.object(Journal, "commit", commit), patch("bridge.app.telemetry.redact", str):
        assert _rules(plan) == {"nothing secret is readable"}


def test_a_link_that_is_never_taken_up_again_is_found() -> None:
    """Nothing is lost and nothing is wrong, and yet nobody will ever pay again."""
    original = Link._live_once

    async def live_once(self: Link) -> None:
        if self.__dict__.setdefault("has_lived", False):
            await asyncio.get_running_loop().create_future()
        try:
            await original(self)
        finally:
            self.__dict__["has_lived"] = True

    cuts = tuple(Cut(2.0, role) for role in ROLES)
    plan = replace(PLAN, faults=cuts, heals_at=6.0)
    assert _rules(plan) == set()
    with patch.object(Link, "_live_once", live_once):
        assert "a channel works again" in _rules(plan)


def test_a_payment_that_takes_too_long_after_the_healing_is_found() -> None:
    """The channel says that it is open, and is not."""
    original = CommandIntake.handle

    async def handle(self: CommandIntake, delivery: Any) -> None:
        if b"probe-responder" in delivery.received.body:
            await asyncio.sleep(PAY_SECONDS)
        await original(self, delivery)

    with patch.object(CommandIntake, "handle", handle):
        assert _rules(PLAN) == {"a channel works again"}


def test_a_second_signature_for_a_round_needs_the_word_of_the_node() -> None:
    """The ledger's index is content with any text, so it is not asked: without the node's notes it is a breach."""
    (number, *_) = _kinds(run(PLAN), Kind.FRAME, "responder < sign.update_ack")
    plan = replace(PLAN, orders={number: Action.KILL_AFTER}, restart_seconds=200.0, heals_at=300.0)
    assert _rules(plan) == set()
    with patch.object(Book, "_note_fact", lambda *_: None):
        assert {"one transaction a round", "the node got one transaction a round"} <= _rules(plan)


@pytest.mark.parametrize("dialect", ["legacy-late", "legacy-seed"])
def test_what_the_node_still_holds_is_judged_in_a_dialect_that_may_lose_channels(dialect: str) -> None:
    """A permission to lose something is no loss."""
    plan = plan_of(Course(dialect, "transfer", "initiator"))
    ending = run(plan)
    assert not ending.violations
    assert not ending.evidence.pairs[0].is_lost
    killed = run(replace(plan, faults=(Kill(2.0, "bridge-initiator"),)))
    assert not killed.violations
    assert killed.evidence.pairs[0].is_lost is (dialect == "legacy-seed")
    (closed,) = run(plan_of(Course(dialect, "shutdown", "initiator"))).evidence.pairs
    assert closed.is_closed
    assert not closed.is_lost, "both bridges were told"


def test_signed_replies_are_seen_in_every_dialect() -> None:
    """The rule that each is written once was asleep where the frames are spelled otherwise."""
    for dialect in DIALECTS:
        evidence = run(plan_of(Course(dialect, "transfer", "initiator"))).evidence
        assert {channel for channel, _ in evidence.written} == {"c-initiator", "c-responder"}
        assert sorted(evidence.written) == sorted((row.channel, row.signed) for row in evidence.forwards)
        assert sorted(evidence.written) == sorted(written(evidence.pairs)), "the node got what was written"


def test_a_message_that_the_network_doubles_was_said_once() -> None:
    """The bridge is not blamed for it; what it says twice itself would be found."""
    plan = plan_of(Course("json-rpc", "message", "initiator"))
    (number,) = _kinds(run(plan), Kind.FRAME, "initiator > message")
    ending = run(_with(plan, number, Action.DOUBLE))
    assert not ending.violations
    assert len(ending.evidence.pairs[0].messages) == 2, "taken and delivered"


def test_every_kind_of_point_is_met_and_has_actions() -> None:
    """A wall without points would be a wall where nobody dares to crash."""
    ending = run(PLAN)
    assert {point.kind for point in ending.points} == set(Kind) == set(ACTIONS)
    assert {point.process for point in ending.points} == {
        "bridge-initiator",
        "bridge-responder",
        "signer-initiator",
        "signer-responder",
    }
