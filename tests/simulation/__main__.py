"""`python -m tests.simulation`: many worlds, one a seed, and the number of each that broke a rule.

A failing seed is replayed identically by `--seed N`, with every point and frame by `--seed N --trace`.
"""

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.brief import live_seed
from tests.simulation.plan import draw_plan
from tests.simulation.world import run

CHUNK = 5


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many worlds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes")
    parser.add_argument("--seed", type=int, help="replay one world")
    parser.add_argument("--trace", action="store_true", help="with --seed: show all that happened")
    options = parser.parse_args(words)
    if options.seed is not None:
        return replay(options.seed, is_traced=options.trace)
    return sweep(range(options.first, options.first + options.seeds), options.jobs)


def replay(seed: int, *, is_traced: bool) -> int:
    plan = draw_plan(seed)
    print(plan)
    ending = run(plan, is_traced=is_traced)
    print(*ending.lines, sep="\n")
    print(*(f"VIOLATION {violation}" for violation in ending.violations), sep="\n")
    print(f"seed {seed}: digest {ending.digest}, {len(ending.points)} points, {ending.seconds:.1f} virtual seconds")
    return bool(ending.violations)


def sweep(seeds: range, jobs: int) -> int:
    began = time.monotonic()
    counts: Counter[str] = Counter()
    failing, virtual, points, struck = [], 0.0, 0, 0
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for number, brief in enumerate(pool.map(live_seed, seeds, chunksize=CHUNK), 1):
            counts += brief.counts
            virtual += brief.virtual_seconds
            points += brief.points
            struck += brief.struck
            if brief.faults:
                failing.append(brief.seed)
                print(f"seed {brief.seed}: {'; '.join(brief.faults[:3])}; digest {brief.digest}", flush=True)
            if number % 100 == 0:
                print(f"{number} of {len(seeds)} seeds, {len(failing)} failing", file=sys.stderr, flush=True)
    seconds = time.monotonic() - began
    told = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    print(
        f"simulation: {len(seeds)} seeds, {len(failing)} failing; commands: {told}; {points} points, {struck} struck, "
        f"{virtual / 3600:.1f} virtual hours in {seconds:.0f} s ({len(seeds) / seconds:.1f} runs/s)"
    )
    return bool(failing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
