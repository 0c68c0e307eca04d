"""`python -m tests.simulation.every`: each flow once without a fault, then once more for each point and each thing
that can go wrong there.

The points of both sides count: whoever proposes and whoever acknowledges have a bridge each. A second payment follows
each flow, so that a channel that was killed by the fault shows. Prints a line a flow, and how to replay what broke.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import zip_longest
from multiprocessing import get_context

from tests.simulation.brief import Brief, live
from tests.simulation.plan import DIALECTS, FIRST_AMOUNT, ROLES, Plan, Step
from tests.simulation.point import ACTIONS, Action, Kind, Point
from tests.simulation.world import run

FLOWS = ("transfer", "deposit", "withdraw", "message", "shutdown")
ENDS = {("legacy-seed", "message"): "unknown"}
"""How a flow ends without a fault where that is not `succeeded`: the first legacy never says that it took a message.
No dialect lacks a flow (docs/coverage.md), so none is left out."""
SEED = 7
FOLLOWED_AT = 0.9
CHUNK = 8
TOLD = 500


@dataclass(frozen=True, slots=True)
class Case:
    """One run: what goes wrong at which point of which flow."""

    dialect: str
    flow: str
    role: str
    point: int
    action: Action

    @property
    def plan(self) -> Plan:
        return replace(plan_of(self.dialect, self.flow, self.role), orders={self.point: self.action})

    @property
    def replay(self) -> str:
        place = f"--dialect {self.dialect} --flow {self.flow} --role {self.role}"
        return f"python -m tests.simulation.every {place} --point {self.point} --action {self.action} --trace"


def plan_of(dialect: str, flow: str, role: str) -> Plan:
    """The flow, and a payment behind it."""
    amount = None if flow in ("message", "shutdown") else FIRST_AMOUNT
    follows = (Step(FOLLOWED_AT, role, "transfer", FIRST_AMOUNT + 1),)
    return Plan(SEED, dialect, steps=(Step(0.0, role, flow, amount), *follows), heals_at=6.0)


def points_of(dialect: str, flow: str, role: str) -> list[Point]:
    """Those of the flow itself. Raises ValueError when it breaks a rule without a fault, or does not end as it should:
    no case would be no failure."""
    ending = run(plan_of(dialect, flow, role))
    if ending.violations:
        raise ValueError(f"{dialect} {flow} by the {role} breaks rules without a fault: {ending.violations}")
    outcome, due = ending.evidence.outcome("command-0"), ENDS.get((dialect, flow), "succeeded")
    if outcome != due:
        raise ValueError(f"{dialect} {flow} by the {role} ends {outcome} without a fault, not {due}")
    start = ending.points[0].at
    return [point for point in ending.points if point.at < start + FOLLOWED_AT]


def cases_of(dialect: str, flow: str, role: str) -> Iterator[Case]:
    """All that can go wrong in that flow, each world once.

    A process killed after a point at which nothing leaves it, where the next point of the whole world is its own,
    is the same world as killed before that one: nobody has seen or said anything between.
    """
    points = points_of(dialect, flow, role)
    for point, following in zip_longest(points, points[1:]):
        is_same = following is not None and following.process == point.process and not _leaves(point)
        for action in ACTIONS[point.kind]:
            if not (action is Action.KILL_AFTER and is_same):
                yield Case(dialect, flow, role, point.number, action)


def _leaves(point: Point) -> bool:
    """Whether something leaves the process there."""
    if point.kind is Kind.FRAME:
        return " > " in point.label
    return point.kind in (Kind.PUBLISH, Kind.ACK)


def try_case(case: Case) -> tuple[Case, Brief]:
    return case, live(case.plan)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.every", description=__doc__)
    parser.add_argument("--dialect", choices=DIALECTS)
    parser.add_argument("--flow", choices=FLOWS)
    parser.add_argument("--role", choices=ROLES)
    parser.add_argument("--point", type=int, help="replay one case")
    parser.add_argument("--action", type=Action, choices=tuple(Action))
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(words)
    dialects = [options.dialect] if options.dialect else DIALECTS
    flows = [options.flow] if options.flow else FLOWS
    roles = [options.role] if options.role else ROLES
    if options.point is not None:
        case = Case(dialects[0], flows[0], roles[0], options.point, options.action)
        return replay(case, is_traced=options.trace)
    chosen = [(d, f, r) for d in dialects for f in flows for r in roles if options.role or _is_due(d, r)]
    cases = [case for d, f, r in chosen for case in cases_of(d, f, r)]
    return sweep(cases, options.jobs)


def _is_due(dialect: str, role: str) -> bool:
    """Legacy knows no difference between the roles after a lost socket, so one of them is enough there."""
    return dialect == "json-rpc" or role == "initiator"


def replay(case: Case, *, is_traced: bool) -> int:
    ending = run(case.plan, is_traced=is_traced)
    print(*ending.lines, sep="\n")
    print(*(f"VIOLATION {violation}" for violation in ending.violations), sep="\n")
    print({command_id: bodies[-1]["outcome"] for command_id, bodies in ending.evidence.outcomes.items()})
    return bool(ending.violations)


def sweep(cases: list[Case], jobs: int) -> int:
    began = time.monotonic()
    runs: Counter[tuple[str, str, str]] = Counter()
    broken: Counter[tuple[str, str, str]] = Counter()
    counts: Counter[str] = Counter()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for number, (case, brief) in enumerate(pool.map(try_case, cases, chunksize=CHUNK), 1):
            if number % TOLD == 0:
                print(f"{number} of {len(cases)} runs, {broken.total()} broken", file=sys.stderr, flush=True)
            key = case.dialect, case.flow, case.role
            runs[key] += 1
            counts += brief.counts
            if brief.faults:
                broken[key] += 1
                print(f"{'; '.join(brief.faults[:3])}\n    {case.replay}", flush=True)
    seconds = time.monotonic() - began
    for key, count in runs.items():
        print(f"{' '.join(key)}: {count} runs, {broken[key]} broken")
    told = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    print(
        f"every point: {len(cases)} runs, {broken.total()} broken; commands: {told}; "
        f"{seconds:.0f} s ({len(cases) / seconds:.1f} runs/s)"
    )
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
