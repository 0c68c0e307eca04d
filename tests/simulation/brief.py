"""What is told of one world after it ended: small, so that it may cross from a worker process."""

import signal
import traceback
from collections import Counter
from dataclasses import dataclass, field
from types import FrameType

from tests.oracle.judgement import tally
from tests.simulation.plan import Plan, draw_plan
from tests.simulation.world import run

REAL_SECONDS = 120
"""A world that takes longer in real time spins."""


@dataclass(frozen=True, slots=True)
class Brief:
    """`faults` is empty when all is well."""

    seed: int
    faults: tuple[str, ...]
    digest: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    virtual_seconds: float = 0.0
    points: int = 0
    struck: int = 0
    """How many orders of its plan were carried out."""


class Spins(Exception):
    """The world did not end in time."""


def live(plan: Plan) -> Brief:
    """One world. An exception of the world itself is a fault like any other."""
    before = signal.signal(signal.SIGALRM, _stop)
    signal.alarm(REAL_SECONDS)
    try:
        ending = run(plan)
    except Exception as error:  # the outermost frame of a run: told with its number, and the next one goes on
        trail = traceback.extract_tb(error.__traceback__)[-1]
        return Brief(
            plan.seed, (f"the world broke: {type(error).__name__}: {error} at {trail.filename}:{trail.lineno}",)
        )
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    faults = tuple(str(violation) for violation in ending.violations)
    return Brief(
        plan.seed, faults, ending.digest, tally(ending.evidence), ending.seconds, len(ending.points), ending.struck
    )


def live_seed(seed: int) -> Brief:
    """The world drawn from that number."""
    return live(draw_plan(seed))


def _stop(_: int, __: FrameType | None) -> None:
    raise Spins("it takes too long in real time")
