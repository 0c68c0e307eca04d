"""kill -9 of the accounting consumer of the documents at random instants while payments pass: the books must be whole.

`python -m tests.faults.books --payments 1000 --kills 25 --seed 1`. The consumer is a process of its own and is killed
again and again; node, bridge, signers and client live in this process. At the end the lines in its table are added up
and compared with what the node holds, for every channel and both roles, exactly.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bridge.broker.permission import definitions
from bridge.broker.private import PrivateBroker
from tests.system.accountant import Accountant
from tests.system.house import House, Pair, house

PAIRS = (Pair("b1"), Pair("b2"), Pair("b3", "legacy", "late"), Pair("b4", "legacy", "seed"))
ROLES = ("initiator", "responder")
SETTLE_SECONDS = 120.0
AT_ONCE, TURN = 40, 100
"""Payments on their way at a time, and how many go in one direction before they go in the other."""
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
    seconds: float

    def __str__(self) -> str:
        return (
            f"books: {self.kills} kill -9 of the consumer ({self.cut_short} with work left), {self.payments} payments"
            f" and {self.failed} that failed,"
            f" {self.entries} entries in its table, {len(self.wrong)} differences to the node, {self.seconds:.0f} s"
        )


async def strike(url: str, directory: Path, payments: int, kills: int, seed: int) -> Toll:
    began = time.monotonic()
    async with house(url, directory, *PAIRS, durable=True, events="*.ledger.posted") as made:
        accountant = Accountant(url, made.prefix, directory)
        await accountant.start()
        await accountant.listens()
        await opened(made)
        await accountant.fill(directory / "data")
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
        return Toll(payments, sent - payments, kills, cut_short, entries, wrong, time.monotonic() - began)


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
            amount = str(random.randint(1, 10**9))
            waiting.append(await made.send(channel, "transfer", amount=amount, **parties))
            sent += 1
        outcome = await made.outcome(waiting.pop(0), SETTLE_SECONDS)
        passed += outcome["outcome"] == "succeeded"
    return sent


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
    print(toll)
    return 0 if not toll.wrong else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
