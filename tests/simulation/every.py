"""`python -m tests.simulation.every`: each flow once without a fault, then once more for each point and each thing
that can go wrong there.

The points of both sides count: whoever proposes and whoever acknowledges have a bridge each. A second payment follows
each flow, so that a channel that was killed by the fault shows. Transfer and deposit are swept once more on a channel
that was reestablished, where every lost socket ends an FSM. A payment is swept once more without the second one, from
its outcome to the proof of its round and what comes of it; both sides have that proof in the end. Prints a line a
flow, and how to replay what broke.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product, zip_longest
from multiprocessing import get_context

from tests.simulation.brief import Brief, live
from tests.simulation.cast import USER
from tests.simulation.plan import DIALECTS, FIRST_AMOUNT, ROLES, Plan, Step
from tests.simulation.point import ACTIONS, Action, Kind, Point
from tests.simulation.world import run

FLOWS = ("transfer", "deposit", "withdraw", "message", "letter", "shutdown")
ENDS = {("legacy-seed", "message"): "unknown", ("legacy-seed", "letter"): "unknown"}
"""How a flow ends without a fault where that is not `succeeded`: the first legacy never says that it took a message.
A letter is a message that is said at least once.
No dialect lacks a flow (docs/coverage.md), so none is left out."""
SEED = 7
FOLLOWED_AT = 0.9
PROVEN_AT = 3.0
"""A proof is asked for after a second of quiet, and then the balances it proves."""
QUIET_SECONDS = 80.0
"""A proof whose answer was lost is asked for again a minute later."""
CHUNK = 8
TOLD = 500


@dataclass(frozen=True, slots=True)
class Course:
    """Which flow, by whom, on what channel."""

    dialect: str
    flow: str
    role: str
    is_reestablished: bool = False
    is_quiet: bool = False
    """Nothing follows: swept from the outcome to the proof."""

    def __str__(self) -> str:
        words = (
            self.dialect,
            self.flow,
            self.role,
            self.is_reestablished and "reestablished",
            self.is_quiet and "quiet",
        )
        return " ".join(word for word in words if word)

    @property
    def is_special(self) -> bool:
        return self.is_reestablished or self.is_quiet

    @property
    def is_due(self) -> bool:
        """Legacy knows no difference between the roles after a lost socket, so one of them is enough there.

        It reestablishes nothing either. A payment and what waits for the chain show all that a reestablished one does.
        """
        if self.is_quiet:  # the oldest nodes prove nothing
            is_known = self.dialect == "json-rpc" or (self.dialect == "legacy-late" and not self.is_reestablished)
            return self.flow == "transfer" and self.role == "initiator" and is_known
        if self.is_reestablished:
            return self.dialect == "json-rpc" and self.flow in ("transfer", "deposit")
        return self.dialect == "json-rpc" or self.role == "initiator"


@dataclass(frozen=True, slots=True)
class Case:
    """One run: what goes wrong at which point of which flow."""

    course: Course
    point: int
    action: Action

    @property
    def plan(self) -> Plan:
        return replace(plan_of(self.course), orders={self.point: self.action})

    @property
    def replay(self) -> str:
        course = self.course
        place = f"--dialect {course.dialect} --flow {course.flow} --role {course.role}"
        state = " --reestablished" * course.is_reestablished + " --quiet" * course.is_quiet
        return f"python -m tests.simulation.every {place}{state} --point {self.point} --action {self.action} --trace"


def plan_of(course: Course) -> Plan:
    """The flow, and a payment behind it, or a time in which both sides get their proof."""
    amount = None if course.flow in ("message", "letter", "shutdown") else FIRST_AMOUNT
    flow = Step(0.0, course.role, course.flow, amount)
    plan = Plan(SEED, course.dialect, is_reestablished=course.is_reestablished, steps=(flow,), has_logs=True)
    if course.is_quiet:
        return replace(plan, heals_at=QUIET_SECONDS, is_proven=True)
    payment = Step(FOLLOWED_AT, course.role, "transfer", FIRST_AMOUNT + 1)
    return replace(plan, steps=(flow, payment), heals_at=6.0)


def points_of(course: Course) -> list[Point]:
    """Those of the flow itself, or of what follows its outcome by itself.

    Raises ValueError when it breaks a rule without a fault, or does not end as it should: no case would be no failure.
    """
    ending = run(plan_of(course))
    if ending.violations:
        raise ValueError(f"{course} breaks rules without a fault: {ending.violations}")
    outcome, due = ending.evidence.outcome("command-0"), ENDS.get((course.dialect, course.flow), "succeeded")
    if outcome != due:
        raise ValueError(f"{course} ends {outcome} without a fault, not {due}")
    start = ending.points[0].at
    points = [point for point in ending.points if point.at < start + (PROVEN_AT if course.is_quiet else FOLLOWED_AT)]
    if not course.is_quiet:
        return points
    told = next(place for place, point in enumerate(points) if point.label.startswith(f"results {USER}."))
    return points[told:]


def cases_of(course: Course) -> Iterator[Case]:
    """All that can go wrong in that flow, each world once.

    A process killed after a point at which nothing leaves it, where the next point of the whole world is its own,
    is the same world as killed before that one: nobody has seen or said anything between.
    """
    points = points_of(course)
    for point, following in zip_longest(points, points[1:]):
        is_same = following is not None and following.process == point.process and not _leaves(point)
        for action in ACTIONS[point.kind]:
            if not (action is Action.KILL_AFTER and is_same):
                yield Case(course, point.number, action)


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
    parser.add_argument("--reestablished", action="store_true", help="only on channels that were reestablished")
    parser.add_argument("--quiet", action="store_true", help="only behind a payment that nothing follows")
    parser.add_argument("--point", type=int, help="replay one case")
    parser.add_argument("--action", type=Action, choices=tuple(Action))
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(words)
    dialects = [options.dialect] if options.dialect else DIALECTS
    flows = [options.flow] if options.flow else FLOWS
    roles = [options.role] if options.role else ROLES
    states = [True] if options.reestablished else [False, True]
    quiet = [True] if options.quiet else [False, True]
    courses = [Course(*words) for words in product(dialects, flows, roles, states, quiet)]
    if options.point is not None:
        return replay(Case(courses[0], options.point, options.action), is_traced=options.trace)
    due = [course for course in courses if course.is_due or (options.role and not course.is_special)]
    return sweep([case for course in due for case in cases_of(course)], options.jobs)


def replay(case: Case, *, is_traced: bool) -> int:
    ending = run(case.plan, is_traced=is_traced)
    print(*ending.lines, sep="\n")
    print(*(f"VIOLATION {violation}" for violation in ending.violations), sep="\n")
    print({command_id: bodies[-1]["outcome"] for command_id, bodies in ending.evidence.outcomes.items()})
    print(f"digest {ending.digest}")
    return bool(ending.violations)


def sweep(cases: list[Case], jobs: int) -> int:
    began = time.monotonic()
    runs: Counter[Course] = Counter()
    broken: Counter[Course] = Counter()
    counts: Counter[str] = Counter()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for number, (case, brief) in enumerate(pool.map(try_case, cases, chunksize=CHUNK), 1):
            if number % TOLD == 0:
                print(f"{number} of {len(cases)} runs, {broken.total()} broken", file=sys.stderr, flush=True)
            runs[case.course] += 1
            counts += brief.counts
            if brief.faults:
                broken[case.course] += 1
                print(f"{'; '.join(brief.faults[:3])}; digest {brief.digest}\n    {case.replay}", flush=True)
    seconds = time.monotonic() - began
    for course, count in runs.items():
        print(f"{course}: {count} runs, {broken[course]} broken")
    told = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    print(
        f"every point: {len(cases)} runs, {broken.total()} broken; commands: {told}; "
        f"{seconds:.0f} s ({len(cases) / seconds:.1f} runs/s)"
    )
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
