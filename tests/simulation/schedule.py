"""`python -m tests.simulation.schedule`: crash schedules drawn by Hypothesis, and the shortest that breaks a rule.

Each is a world of its own: any dialect, a few commands in quick succession, and several things that go wrong at chosen
points. Seeds draw at random and never make what failed smaller; this does. Equal numbers draw equal schedules, and
`world.run(Plan(...), is_traced=True)` shows what happened in the one that is told.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st

from tests.simulation.brief import Brief, live
from tests.simulation.plan import CHOICES, DIALECTS, FIRST_AMOUNT, ROLES, Plan, Step

SEEDS = 8
APART_SECONDS = 0.01
"""Commands come so close together that they meet each other's faults."""
DRAWN = ("json-rpc", "json-rpc", *DIALECTS)
"""Legacy loses its channel with its socket: after the first fault there is little left to break."""
MET = 60
"""Every world reaches so many points."""
FAR = 300


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """At least the first order is at a point that is surely reached."""
    dialect = draw(st.sampled_from(DRAWN))
    orders = draw(st.dictionaries(st.integers(0, FAR), st.integers(0, CHOICES - 1), max_size=3))
    orders[draw(st.integers(0, MET))] = draw(st.integers(0, CHOICES - 1))
    return Plan(
        draw(st.integers(0, SEEDS - 1)),
        dialect,
        is_split=draw(st.booleans()),
        is_reestablished=dialect == "json-rpc" and draw(st.booleans()),
        steps=draw(steps()),
        orders=orders,
        restart_seconds=draw(st.sampled_from((0.05, 0.3, 3.0))),
        has_logs=True,
    )


@st.composite
def steps(draw: st.DrawFn) -> tuple[Step, ...]:
    """Any flow by any role; a shutdown only in the end."""
    kinds = draw(
        st.lists(st.sampled_from(("transfer", "deposit", "withdraw", "message", "letter")), min_size=1, max_size=3)
    )
    if draw(st.integers(0, 7)) == 7:
        kinds.append("shutdown")
    return tuple(
        Step(
            number * APART_SECONDS,
            draw(st.sampled_from(ROLES)),
            kind,
            None if kind in ("message", "letter", "shutdown") else FIRST_AMOUNT + number,
        )
        for number, kind in enumerate(kinds)
    )


def check(plan: Plan) -> Brief:
    """A schedule that struck nothing has shown nothing."""
    brief = live(plan)
    assume(brief.struck)
    assert not brief.faults, f"{'; '.join(brief.faults[:3])}; digest {brief.digest}"
    return brief


@dataclass
class Share:
    """What one worker process tried."""

    runs: int = 0
    struck: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    dialects: Counter[str] = field(default_factory=Counter)
    found: str = ""
    """The shortest schedule that broke a rule, and which."""

    def note(self, plan: Plan, brief: Brief) -> None:
        self.runs += 1
        self.struck += brief.struck
        self.counts += brief.counts
        self.dialects[plan.dialect] += 1


def try_share(number: int, examples: int) -> Share:
    """So many schedules drawn from that number."""
    share = Share()

    def one(plan: Plan) -> None:
        share.note(plan, check(plan))

    try:
        _search(one, number, examples)
    except AssertionError as error:
        share.found = "\n".join((str(error), *getattr(error, "__notes__", ())))
    return share


def _search(one: Callable[[Plan], None], number: int, examples: int) -> None:
    asked = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    seed(number)(asked(given(plans())(one)))()


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.schedule", description=__doc__)
    parser.add_argument("--examples", type=int, default=600, help="how many schedules in all")
    parser.add_argument("--seed", type=int, default=0, help="of the first worker; each further one has the next")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes")
    options = parser.parse_args(words)
    began = time.monotonic()
    numbers = range(options.seed, options.seed + options.jobs)
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        shares = list(pool.map(try_share, numbers, [options.examples // options.jobs] * options.jobs))
    found = [share.found for share in shares if share.found]
    print(*found, sep="\n")
    print(_figures(shares, len(found), time.monotonic() - began))
    return bool(found)


def _figures(shares: list[Share], broken: int, seconds: float) -> str:
    runs, struck = sum(share.runs for share in shares), sum(share.struck for share in shares)
    counts = sum((share.counts for share in shares), Counter[str]())
    dialects = sum((share.dialects for share in shares), Counter[str]())
    told = ", ".join(f"{count} {word}" for word, count in sorted(dialects.items()))
    ends = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    return (
        f"schedules: {runs} runs ({told}), {struck} struck, {broken} broken; commands: {ends}; "
        f"{seconds:.0f} s ({runs / seconds:.1f} runs/s)"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
