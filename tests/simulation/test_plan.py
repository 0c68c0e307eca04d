"""What seeds draw, and that each fault of a plan does what it is said to."""

from dataclasses import replace
from typing import get_args
from unittest.mock import patch

import pytest

from tests.simulation.plan import (
    FIRST_AMOUNT,
    Fault,
    Freeze,
    HalfOpen,
    Kill,
    NodeRestart,
    NoticeLate,
    PeerGone,
    Plan,
    Reuse,
    Step,
    Stop,
    draw_plan,
)
from tests.simulation.point import Action
from tests.simulation.rogue import reuse
from tests.simulation.world import Ending, run

STEPS = tuple(Step(float(number), "initiator", "transfer", FIRST_AMOUNT + number) for number in range(3))
KINDS = [kind for part in get_args(Fault) for kind in get_args(part) or (part,)]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_fault_is_drawn(kind: type) -> None:
    """A kind nobody draws is a fault nobody has seen."""
    assert any(isinstance(fault, kind) for seed in range(200) for fault in draw_plan(seed).faults)


def meet(*faults: Fault) -> Ending:
    ending = run(Plan(4, steps=STEPS, faults=faults), is_traced=True)
    assert [str(violation) for violation in ending.violations] == []
    return ending


def said(ending: Ending, word: str) -> int:
    """How many frames of that word came from the node, once the channel was open."""
    return sum(f" < {word}" in str(point) for point in ending.points)


def test_a_bridge_that_rests_is_back_on_the_same_journal() -> None:
    """What it was told in the meantime waits in its queue."""
    ending = meet(Stop(0.5, "bridge-initiator", 30.0))
    names = [line.split(" ", 1)[1] for line in ending.lines if "STOPPED" in line or "STARTED" in line]
    assert names == ["STOPPED bridge-initiator", "STARTED bridge-initiator"]
    assert all(ending.evidence.outcome(f"command-{number}") == "succeeded" for number in range(3))


@pytest.mark.parametrize("way", ["to_node", "from_node", "both"])
def test_a_frozen_link_is_given_up_after_its_deadline(way: str) -> None:
    """Ten seconds without a pong: the bridge comes back on a socket of its own."""
    assert said(meet(Freeze(0.5, "initiator", 60.0, way)), "info.fsm_up") == 1
    assert said(meet(Freeze(0.5, "initiator", 2.0, way)), "info.fsm_up") == 0


def test_a_half_open_socket_is_replaced() -> None:
    assert said(meet(HalfOpen(0.5, "initiator")), "info.fsm_up") == 1


def test_a_half_open_socket_after_a_reestablish_costs_no_channel() -> None:
    """The node would start a second FSM beside the one it holds the old socket for: the bridge waits (quiet time)."""
    ending = meet(NodeRestart(0.1), HalfOpen(5.0, "initiator"))
    assert not ending.evidence.pairs[0].is_lost


@pytest.mark.parametrize("role", ["initiator", "responder"])
def test_an_fsm_that_ends_is_reestablished(role: str) -> None:
    assert said(meet(PeerGone(0.5, role)), "info.channel_reestablished")


@pytest.mark.parametrize("action", [Action.SWALLOW, Action.DOUBLE])
def test_a_handshake_that_is_spoilt_at_a_reestablish_is_the_stated_exception(action: Action) -> None:
    """G5: the node rotates its credential, and the connection dies before anybody has read the new one."""
    plan = Plan(4, steps=STEPS, faults=(PeerGone(0.5, "initiator"),))
    points = run(plan).points
    number = next(point.number for point in points if str(point).endswith("initiator < response"))
    ending = run(replace(plan, orders={number: action}))
    assert [str(violation) for violation in ending.violations] == []
    assert ending.evidence.pairs[0].is_lost


def test_an_end_that_is_noticed_late_is_survived() -> None:
    meet(NodeRestart(0.1), NoticeLate(3.0, 0.6), Stop(4.0, "bridge-initiator", 0.1))


@pytest.mark.parametrize("role", ["initiator", "responder"])
def test_a_refused_payment_that_is_used_after_all_is_told_and_corrected(role: str) -> None:
    """What was told failed has happened: the operators are called, and the books show it. Without the use nobody is."""
    payer = "responder" if role == "initiator" else "initiator"
    steps = tuple(Step(1.0 + number, payer, "transfer", FIRST_AMOUNT + number) for number in range(3))
    ending = run(Plan(4, steps=steps, faults=(Reuse(0.5, role),)))
    assert [str(violation) for violation in ending.violations] == []
    assert ending.evidence.verdicts["command-0"]["code"] == "peer_refused"
    assert ending.evidence.outcome("command-0") == "succeeded"
    assert "alarm.abandoned_state_used" in ending.evidence.told[f"c-{payer}"]
    assert "alarm.abandoned_state_used" not in ending.evidence.told[f"c-{role}"]


def test_a_refused_signature_that_nobody_could_use_is_nobodys_alarm() -> None:
    """The payer's client stays: the next payment takes the refused one its round."""
    with patch("tests.simulation.world.reuse", lambda role: reuse(role)[:1]):
        ending = run(Plan(4, steps=STEPS, faults=(Reuse(0.5, "responder"),)))
    assert [str(violation) for violation in ending.violations] == []
    assert (ending.evidence.outcome("command-1"), ending.evidence.outcome("command-2")) == ("failed", "succeeded")
    assert ending.evidence.reused == set()


def test_an_alarm_that_is_not_raised_is_found() -> None:
    """The rule that demands it, and those of the coins: without a correction what failed was applied."""
    with patch("bridge.channel.agreement.tell_used", lambda turn, *_: turn):
        ending = run(Plan(4, steps=STEPS, faults=(Reuse(0.5, "responder"),)))
    rules = {violation.rule for violation in ending.violations}
    assert {"what was used after all is told", "failed was not applied", "applied has succeeded"} <= rules


def test_books_follow_a_payment_that_was_used_after_all_while_the_next_one_waits() -> None:
    """The node's answer about the balances comes while the next payment is under way, and counts for nothing then."""
    steps = tuple(Step(1.0 + number / 100, "initiator", "transfer", FIRST_AMOUNT + number) for number in range(6))
    ending = run(Plan(4, steps=steps, faults=(Reuse(0.5, "responder"),)))
    assert [str(violation) for violation in ending.violations] == []
    assert "alarm.books_disagree" not in ending.evidence.told["c-initiator"]


def test_a_use_that_a_killed_node_took_with_it_is_exposed_and_no_lie() -> None:
    """Failed, with our signature at the peer: more nobody can know once the channel is lost."""
    ending = run(Plan(4, steps=STEPS, faults=(Reuse(0.5, "responder"), NodeRestart(1.2, is_killed=True))))
    assert [str(violation) for violation in ending.violations] == []
    assert ending.evidence.reused == ending.evidence.unseen != set()
    assert ending.evidence.verdicts["command-1"]["exposure"]


def test_a_payment_that_timed_out_lets_the_peer_come_back() -> None:
    """The responder does not know that the initiator is away, and its update keeps him out; once is enough."""
    steps = tuple(Step(2.2 + 0.01 * number, "responder", "transfer", FIRST_AMOUNT + number) for number in range(2))
    faults = (PeerGone(0.5, "responder"), Kill(2.0, "bridge", 0.05))
    ending = run(Plan(1, is_split=False, steps=steps, faults=faults), is_traced=True)
    assert [str(violation) for violation in ending.violations] == []
    assert ending.evidence.outcome("command-1") == "succeeded"
