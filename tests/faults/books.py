"""kill -9 of the accounting consumer of the documents at random instants while payments pass: the books must be whole.

`python -m tests.faults.books --payments 1000 --kills 25 --seed 1`. The consumer is a process of its own and is killed
again and again; node, bridge, signers and client live in this process. At the end the lines in its table are added up
and compared with what the node holds, for every channel and both roles, exactly; and the oracle judges the whole run.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from bridge.broker.permission import definitions
from bridge.broker.private import PrivateBroker
from tests.faults.journal_home import Home, _write
from tests.faults.record import gather
from tests.oracle.judgement import doubtful, judge
from tests.simulation.log import keep_logs
from tests.system.accountant import Accountant
from tests.system.house import House, Pair, house

PAIRS = (Pair("b1"), Pair("b2"), Pair("b3", "legacy", "late"), Pair("b4", "legacy", "seed"))
ROLES = ("initiator", "responder")
SETTLE_SECONDS = 120.0
AT_ONCE, TURN = 40, 100
"""Payments on their way at a time, and how many go in one direction before they go in the other."""
MOST, STEP = 10**9, 10_000
"""Aettos of a payment; fewer payments than the step, so that each amount is another."""
LONGEST_LIFE = 1.5
"""Seconds the consumer lives at most; it takes about a third of one to start, so that many die before they read."""

BUSY_SHARE, BUSY_SECONDS = 0.7, 0.1
"""So many die while they book what had waited for them: that soon after their first message."""


@dataclass(frozen=True, slots=True)
class Toll:
    payments: int
    """That passed."""
    failed: int
    """That met another one too often, and came to nothing: the books must not have them."""
    kills: int
    cut_short: int
    """How many died with entries still to be booked."""
    entries: int
    wrong: tuple[str, ...]
    violations: tuple[str, ...]
    """What the oracle says of the run."""
    seconds: float

    @property
    def is_good(self) -> bool:
        return not self.wrong and not self.violations

    def __str__(self) -> str:
        return (
            f"books: {self.kills} kill -9 of the consumer ({self.cut_short} with work left), {self.payments} payments"
            f" and {self.failed} that failed,"
            f" {self.entries} entries in its table, {len(self.wrong)} differences to the node,"
            f" {len(self.violations)} violations, {self.seconds:.0f} s"
        )


async def strike(url: str, directory: Path, payments: int, kills: int, seed: int) -> Toll:
    began = time.monotonic()
    with keep_logs(is_wanted=True) as log:
        # Not held to the contract, as in other long runs: the oracle wants every event, and these are many.
        async with house(url, directory, *PAIRS, durable=True, is_judged=False) as made:
            return await _endure(made, log, began, payments, kills, seed)


async def _endure(made: House, log: Callable[[], str], began: float, payments: int, kills: int, seed: int) -> Toll:
    accountant = Accountant(made.url, made.prefix, made.directory)
    await accountant.start()
    await accountant.listens()
    await opened(made)
    await accountant.fill(made.directory / "data")
    await accountant.kill()
    await accountant.start()
    paying = asyncio.create_task(_pay(made, payments, seed))
    cut_short = await _kill(made, accountant, paying, payments, kills, seed)
    sent = await paying
    async with asyncio.timeout(SETTLE_SECONDS):
        await _until_booked(made, accountant)
    await accountant.kill()
    wrong = tuple(_compare(made, accountant))
    entries = sum(accountant.entries().values())
    violations = tuple(await _judge(made, log))
    return Toll(payments, sent - payments, kills, cut_short, entries, wrong, violations, time.monotonic() - began)


async def opened(made: House) -> None:
    for pair in made.pairs:
        for name in (pair.initiator, pair.responder):
            await made.event(name, "ledger.posted")


async def _pay(made: House, payments: int, seed: int) -> int:
    """Until so many have passed, in both directions and a few at a time; gives how many it took."""
    random = Random(seed)  # noqa: S311  # to repeat a run
    waiting: list[str] = []
    sent = passed = 0
    while passed < payments:
        while len(waiting) < min(AT_ONCE, payments - passed):
            pair = made.pairs[sent % len(made.pairs)]
            payer, payee = ROLES if (sent // TURN) % 2 else ROLES[::-1]
            channel = pair.initiator if payer == "initiator" else pair.responder
            parties = {"from_": pair.account(payer), "to": pair.account(payee)}
            amount = str(draw_amount(random, sent))
            waiting.append(await made.send(channel, "transfer", amount=amount, **parties))
            sent += 1
        outcome = await made.outcome(waiting.pop(0), SETTLE_SECONDS)
        passed += outcome["outcome"] == "succeeded"
    return sent


def draw_amount(random: Random, number: int) -> int:
    """Any size, and no other payment's."""
    return random.randint(1, MOST // STEP) * STEP + number


async def _kill(
    made: House, accountant: Accountant, paying: asyncio.Task[int], payments: int, kills: int, seed: int
) -> int:
    """Evenly over the payments, each at a random instant of a life; gives how many died with work left."""
    random = Random(seed + 1)  # noqa: S311
    cut_short = 0
    for number in range(kills):
        due = payments * number // (kills + 1)
        await made.until(lambda due=due: len(made.final) >= due or None, SETTLE_SECONDS)  # type: ignore[misc]
        print(f"  {number} kills, {len(made.final)} payments settled", file=sys.stderr, flush=True)
        if random.random() < BUSY_SHARE:
            await accountant.listens()
            await asyncio.sleep(random.uniform(0.0, BUSY_SECONDS))
        else:
            await asyncio.sleep(random.uniform(0.0, LONGEST_LIFE))
        assert not accountant.has_ended, "the consumer ended by itself"
        cut_short += int(not paying.done() or bool(_missing(made, accountant)))
        await accountant.kill()
        await accountant.start()
    return cut_short


def _missing(made: House, accountant: Accountant) -> list[str]:
    """Channels with entries that are not in the table."""
    booked = accountant.entries()
    names = [name for pair in made.pairs for name in (pair.initiator, pair.responder)]
    return [name for name in names if booked.get(name, 0) < made.state(name).books.entries]


async def _until_booked(made: House, accountant: Accountant) -> None:
    while _missing(made, accountant):
        assert not accountant.has_ended, "the consumer ended by itself"
        await asyncio.sleep(0.05)


async def _judge(made: House, log: Callable[[], str]) -> list[str]:
    """While the bridge runs: a channel of the first legacy dialect would end with it."""
    home = Home(made)
    home.config.write_text(_write(made))
    async with asyncio.timeout(SETTLE_SECONDS):
        while not home.is_quiet():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    home.pages["metrics"] = await made.read_metrics()
    evidence = gather(home)
    evidence = replace(evidence, texts=home.pages | {"log": log()})
    found = [str(violation) for violation in judge(evidence)]
    return found + [f"nothing stays in doubt: {command_id}" for command_id in doubtful(evidence)]


def _compare(made: House, accountant: Accountant) -> list[str]:
    """Every channel and role: the sums of the lines against the node's own book."""
    wrong: list[str] = []
    for pair in made.pairs:
        accounts = [pair.account(role) for role in ROLES]
        pages = (page for page in made.node.registry.book.pages.values() if page.states)
        (page,) = (page for page in pages if set(accounts) <= set(page.states[0]["balances"]))
        wanted = [int(page.states[-1]["balances"][account]) for account in accounts]
        for name in (pair.initiator, pair.responder):
            sums = accountant.sums(name)
            found = [sums["channel.initiator"], sums["channel.responder"]]
            if found != wanted or sum(sums.values()) != 0 or "suspense" in sums:
                wrong.append(f"{name}: the table says {sums}, the node {wanted}")
            if accountant.entries()[name] != made.state(name).books.entries:
                wrong.append(f"{name}: {accountant.entries()[name]} entries of {made.state(name).books.entries}")
    return wrong


async def run(payments: int, kills: int, seed: int) -> Toll:
    """On a RabbitMQ of its own."""
    with tempfile.TemporaryDirectory(prefix="books-") as folder:
        async with PrivateBroker(definitions("unused", None, ())) as broker:
            return await strike(broker.url(), Path(folder), payments, kills, seed)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.books", description=__doc__)
    parser.add_argument("--payments", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    toll = asyncio.run(run(options.payments, options.kills, options.seed))
    for difference in toll.wrong:
        print(f"DIFFERENCE {difference}")
    for violation in toll.violations[:50]:
        print(f"VIOLATION {violation}")
    print(toll)
    return 0 if toll.is_good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
