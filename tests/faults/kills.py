"""kill -9 of the bridge at random instants while payments pass; then the oracle judges the books.

`python -m tests.faults.kills --payments 2000 --channels 20 --kills 200 --seed 1`. Node, signers and client live in
this process and are never hurt; the bridge is a process of its own, killed and started again at once.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from bridge.broker.permission import definitions
from bridge.broker.private import PrivateBroker
from tests.faults.journal_home import Bridge, Home, home
from tests.faults.record import gather
from tests.oracle.evidence import Evidence
from tests.oracle.judgement import judge, tally
from tests.oracle.proof import unproven
from tests.system.house import Pair

FIRST_AMOUNT = 1_000_003
SETTLE_SECONDS = 600.0
"""However slow the machine: a bridge that stands still is what this finds."""
LEAST_SHARE = 0.99
EARLY_SECONDS = 1.5
TOLD = 600
"""Characters of a verdict with its evidence that are printed of each payment that failed."""


@dataclass(frozen=True, slots=True)
class Load:
    payments: int
    channels: int
    kills: int
    seed: int
    longest_life: float = 2.0
    """Seconds a bridge lives at most after it is ready."""
    early_share: float = 0.2
    """So many die while they start: within the first second and a half."""


@dataclass(slots=True)
class Progress:
    """How many bridges were killed, which is how far the payments may be."""

    kills: int = 0
    ready: int = 0
    grew: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Toll:
    """How it went. `violations` is empty when the oracle holds."""

    evidence: Evidence
    counts: Counter[str]
    kills: int
    ready: int
    """How many of the killed bridges had become ready."""
    seconds: float
    violations: tuple[str, ...]
    unproven: int = 0
    """Commands that neither succeeded nor failed with evidence; violations tell of each."""

    @property
    def is_good(self) -> bool:
        share = self.counts["succeeded"] / max(1, sum(self.counts.values()))
        return not self.violations and share >= LEAST_SHARE

    def __str__(self) -> str:
        total = sum(self.counts.values())
        codes = Counter(verdict["code"] for verdict in self.evidence.verdicts.values() if verdict.get("code"))
        told, by_code = _count(self.counts), _count(codes)
        return (
            f"kills: {self.kills} kill -9 ({self.ready} of a ready bridge), {total} payments: {told} "
            f"({f'by code {by_code}' if by_code else 'no code'}; {self.unproven} without evidence), "
            f"{100 * self.counts['succeeded'] / max(1, total):.2f} % succeeded, "
            f"{len(self.violations)} violations, {self.seconds:.0f} s"
        )


async def strike(url: str, directory: Path, load: Load) -> Toll:
    began = time.monotonic()
    pairs = [Pair(f"c{number:02d}") for number in range(load.channels)]
    random = Random(load.seed)  # noqa: S311  # to repeat a run
    progress = Progress()
    async with home(url, directory, *pairs, is_forked=True) as made:
        bridge = await (await made.start()).ready()
        await made.opened()
        paying = asyncio.create_task(_pay(made, load, random, progress))
        await _kill(made, bridge, load, progress)
        command_ids = await paying
        async with asyncio.timeout(SETTLE_SECONDS):
            for command_id in command_ids:
                await made.house.outcome(command_id, SETTLE_SECONDS)
        await made.quiet()
        await made.bridges[-1].kill()
        await made.heard()
        evidence = gather(made)
        return take(evidence, load.kills, progress.ready, time.monotonic() - began)


def take(evidence: Evidence, kills: int, ready: int, seconds: float) -> Toll:
    """What succeeded is the oracle's matter; the rest must have failed, with evidence."""
    lacks = [f"the rest failed with evidence: {lack}" for lack in unproven(evidence)]
    violations = (*(str(violation) for violation in judge(evidence)), *lacks)
    return Toll(evidence, tally(evidence), kills, ready, seconds, violations, len(lacks))


def _count(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))


async def _pay(made: Home, load: Load, random: Random, progress: Progress) -> list[str]:
    """Evenly over the kills and within each life, in both directions; each amount is another."""
    ids: list[str] = []
    for number in range(load.payments):
        while number >= load.payments * (progress.kills + 1) / (load.kills + 1):
            progress.grew.clear()
            await progress.grew.wait()
        pair = random.choice(made.house.pairs)
        payer, payee = random.sample(("initiator", "responder"), 2)
        channel = pair.initiator if payer == "initiator" else pair.responder
        parties = {"from_": pair.account(payer), "to": pair.account(payee)}
        ids.append(await made.house.send(channel, "transfer", amount=str(FIRST_AMOUNT + number), **parties))
        if progress.kills < load.kills:
            await asyncio.sleep(0.5 * load.longest_life * load.kills / load.payments)
    return ids


async def _kill(made: Home, bridge: Bridge, load: Load, progress: Progress) -> None:
    """A source of chance of its own: how long a payment takes must not move the kills."""
    random = Random(load.seed + 1)  # noqa: S311
    for number in range(load.kills):
        if random.random() < load.early_share:
            await asyncio.sleep(random.uniform(0.0, EARLY_SECONDS))
        else:
            await bridge.ready()
            await asyncio.sleep(random.uniform(0.02, load.longest_life))
        progress.ready += bridge.tells("bridge_ready")
        await bridge.kill()
        bridge = await made.start()
        progress.kills = number + 1
        progress.grew.set()
        if (number + 1) % 20 == 0:
            done = len(made.house.final)
            print(f"  {number + 1} kills, {done} of {load.payments} settled", file=sys.stderr, flush=True)


async def run(load: Load) -> Toll:
    """On a RabbitMQ of its own."""
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        async with PrivateBroker(definitions("unused", None, ())) as broker:
            return await strike(broker.url(), Path(folder), load)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kills", description=__doc__)
    parser.add_argument("--payments", type=int, default=2000)
    parser.add_argument("--channels", type=int, default=20)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    toll = asyncio.run(run(Load(options.payments, options.channels, options.kills, options.seed)))
    for verdict in toll.evidence.verdicts.values():
        if verdict["code"]:
            print(f"  {json.dumps(verdict)[:TOLD]}")
    for violation in toll.violations[:50]:
        print(f"VIOLATION {violation}")
    print(toll)
    return 0 if toll.is_good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
