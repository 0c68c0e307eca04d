"""`python -m tests.faults.points --draw 120 --seed 1`: something happens at one crossing of one flow.

A crossing is a frame between bridge and node or a method between bridge and broker. Each flow runs once undisturbed to
count them; then each trial draws a flow, a crossing of it and what happens there. At the end the oracle judges all.
"""

import argparse
import asyncio
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from bridge.broker.permission import definitions
from bridge.broker.private import PrivateBroker
from tests.faults.trial import Lane, lane

LANES = 3
SEED = 1


async def run(draws: int, seed: int, lanes: int = LANES) -> int:
    """Some houses side by side: most of the time of a trial is waiting."""
    began = time.monotonic()
    broken: list[str] = []
    actions: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    opening = asyncio.Lock()
    async with PrivateBroker(definitions("unused", None, ())) as broker:
        shares = [draws // lanes + (place < draws % lanes) for place in range(lanes)]
        done = await asyncio.gather(
            *(_live(broker.url(), share, seed + 1000 * place, opening) for place, share in enumerate(shares)),
            return_exceptions=True,
        )
    for one in done:
        if isinstance(one, BaseException):
            traceback.print_exception(one)
            broken.append(f"{type(one).__name__}: {one}")
            continue
        broken += one.violations
        actions += one.actions
        outcomes += one.outcomes
    for violation in broken[:50]:
        print(f"VIOLATION {violation}")
    missed = actions.pop("missed", 0)
    told = ", ".join(f"{count} {word}" for word, count in sorted(actions.items()))
    ended = ", ".join(f"{count} {word}" for word, count in sorted(outcomes.items()))
    print(
        f"points: {actions.total()} drawn ({told}; {missed} drawn again), commands: {ended}; {len(broken)} violations, "
        f"{time.monotonic() - began:.0f} s"
    )
    return 1 if broken or actions.total() < draws else 0


async def _live(url: str, draws: int, seed: int, opening: asyncio.Lock) -> Lane:
    with tempfile.TemporaryDirectory(prefix="points-") as folder:
        return await lane(url, Path(folder), draws, seed, opening)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.points", description=__doc__)
    parser.add_argument("--draw", type=int, default=120)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--lanes", type=int, default=LANES)
    options = parser.parse_args(words)
    return asyncio.run(run(options.draw, options.seed, options.lanes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
