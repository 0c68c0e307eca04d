"""`python -m tests.faults.trace --payments 100`: no effect of the bridge outruns its record.

Payments in both directions over some channels, the node's sockets reset now and then; each effect is held in a proxy
while the journal is read (tests.faults.ahead), the disk is slow (tests.faults.slow), and the oracle judges the end. A
second, shorter run under strace counts that each commit in the write-ahead log had an fdatasync of its own
(tests.faults.fsync).
"""

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bridge.broker.permission import definitions
from bridge.broker.private import PrivateBroker
from bridge.journal.journal import FILE
from bridge.journal.seal import Seal
from tests.faults import fsync
from tests.faults.ahead import Ahead
from tests.faults.journal_home import Bridge
from tests.faults.proxy import Crossing
from tests.faults.record import gather
from tests.faults.wiring import Wired, wired
from tests.oracle.judgement import doubtful, judge
from tests.system.house import Pair

FIRST_AMOUNT = 3_000_017
CHANNELS = 4
RESETS_EVERY = 10
POINTS = ("F1", "F2", "F3", "F4", "F4 ack", "F5", "F5 event", "F6")


@dataclass(frozen=True, slots=True)
class Told:
    """What was seen. Each point must have been met as often as the payments have it, or too little was proven of it."""

    ahead: Ahead
    succeeded: int
    payments: int
    channels: int
    seconds: float
    violations: tuple[str, ...] = ()
    """What the oracle says of the run."""

    @property
    def least(self) -> dict[str, int]:
        """How often each point is met at least: a payment has two signatures, its proposer's and its peer's.

        Every payment ends, and each one that ends has an event for either side.
        """
        signed = 2 * self.succeeded
        each = {"F1": self.payments, "F2": self.succeeded, "F3": signed, "F4": signed, "F4 ack": signed}
        return each | {"F5": self.payments, "F5 event": signed, "F6": 2 * self.channels}

    @property
    def is_good(self) -> bool:
        is_seen = all(self.ahead.checked[point] >= least for point, least in self.least.items())
        is_true = not self.ahead.exceptions and not self.violations
        return is_seen and is_true and self.succeeded >= 0.95 * self.payments

    def __str__(self) -> str:
        points = ", ".join(f"{point} {self.ahead.checked[point]}" for point in POINTS)
        return (
            f"trace: {self.payments} payments ({self.succeeded} succeeded), {self.ahead.checked.total()} effects held "
            f"({points}), {len(self.ahead.exceptions)} exceptions{self._missed}, {len(self.violations)} violations, "
            f"{self.seconds:.0f} s"
        )

    @property
    def _missed(self) -> str:
        met = self.ahead.checked
        missed = [f"{point} below {least}" for point, least in self.least.items() if met[point] < least]
        return f", too few: {', '.join(missed)}" if missed else ""


async def slow_bridge(config: Path) -> Bridge:
    return await Bridge.spawn("tests.faults.slow", str(config))


async def trace(url: str, directory: Path, payments: int, channels: int = CHANNELS) -> Told:
    began = time.monotonic()
    pairs = [Pair(f"t{number}") for number in range(channels)]
    found: list[Ahead] = []

    async def see_node(crossing: Crossing) -> None:
        await found[0].see_node(crossing)

    async def see_broker(crossing: Crossing) -> None:
        await found[0].see_broker(crossing)

    async with wired(url, directory, *pairs, node_watch=see_node, broker_watch=see_broker) as wires:
        made = wires.made
        key = bytes.fromhex((directory / "journal.key").read_text())
        ahead = Ahead(made.data / FILE, Seal(key), made.house.prefix, wires.channel)
        found.append(ahead)
        bridge = await slow_bridge(made.config)
        made.bridges.append(bridge)
        await bridge.ready()
        await made.opened()
        succeeded = await asyncio.gather(
            *(_pay(wires, pair, range(place, payments, channels)) for place, pair in enumerate(pairs))
        )
        await made.quiet()
        await bridge.kill()
        await made.heard()
        ahead.close()
        wires.check()
        evidence = gather(made)
        violations = [str(violation) for violation in judge(evidence)]
        violations += [f"nothing stays in doubt: {command_id}" for command_id in doubtful(evidence)]
        return Told(ahead, sum(succeeded), payments, channels, time.monotonic() - began, tuple(violations))


async def _pay(wires: Wired, pair: Pair, numbers: range) -> int:
    """One after the other, in turn from either side; how many succeeded."""
    succeeded = 0
    for turn, number in enumerate(numbers):
        payer, payee = ("initiator", "responder") if turn % 2 == 0 else ("responder", "initiator")
        channel = pair.initiator if payer == "initiator" else pair.responder
        parties = {"from_": pair.account(payer), "to": pair.account(payee)}
        outcome = await wires.made.house.run(channel, "transfer", amount=str(FIRST_AMOUNT + number), **parties)
        succeeded += outcome["outcome"] == "succeeded"
        if turn % RESETS_EVERY == RESETS_EVERY - 1:
            for connection in tuple(wires.node.connections):
                if wires.channel(connection) == channel:
                    connection.reset()
    return succeeded


async def run(payments: int) -> int:
    async with PrivateBroker(definitions("unused", None, ())) as broker:
        with tempfile.TemporaryDirectory(prefix="trace-") as folder:
            told = await trace(broker.url(), Path(folder), payments)
        for exception in told.ahead.exceptions[:50]:
            print(f"EXCEPTION {exception}")
        for violation in told.violations[:50]:
            print(f"VIOLATION {violation}")
        print(f"  {told}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="fsync-") as folder:
            counted = await fsync.count(broker.url(), Path(folder))
    print(f"{told}; {counted}")
    return 0 if told.is_good and counted.is_good else 1


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.trace", description=__doc__)
    parser.add_argument("--payments", type=int, default=100)
    return asyncio.run(run(parser.parse_args(words).payments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
