"""`python -m tests.faults.signers`: late, dead, doubled, answering another request: no channel is harmed.

After each mood the channel pays in both directions again within 15 s. No acknowledgement reaches the node after its
deadline: the node's own notes say when each was asked for and when it came. The oracle judges the whole.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bridge.broker.permission import definitions
from bridge.broker.private import PrivateBroker
from tests.faults.journal_home import Home
from tests.faults.misbehaviour import Mood, MoodySigner, moody
from tests.faults.record import gather
from tests.faults.wiring import wired
from tests.oracle.judgement import doubtful, judge, tally
from tests.system.house import Pair

FIRST_AMOUNT = 5_000_011
RECOVERY_SECONDS = 15.0
ACKNOWLEDGE_SECONDS = 4
LINES = (
    f"acknowledge_seconds = {ACKNOWLEDGE_SECONDS}",
    "sign_seconds = 5",
    "opening.timeout_accept = 10000",
    "opening.timeout_sign = 10000",
    "conflict_retries = 0",
)
WORKS = (("transfer", "initiator"), ("transfer", "responder"), ("deposit", "initiator"), ("withdraw", "responder"))
"""What is asked for in each mood, and by whom; the other side acknowledges it."""
EXPECTED = {
    Mood.GOOD: {"succeeded"},
    Mood.LATE: {"failed"},
    Mood.LATE_OWN: {"failed"},
    Mood.DEAD: {"failed"},
    Mood.DOUBLED: {"succeeded"},
    Mood.OTHER: {"succeeded"},
    Mood.STUBBORN: {"failed"},
}


class Case:
    """One house, its moody signer, and what was found wrong."""

    def __init__(self, made: Home, signer: MoodySigner) -> None:
        self.made, self.signer = made, signer
        self.amount = FIRST_AMOUNT
        self.violations: list[str] = []
        self.recoveries: dict[Mood, float] = {}

    async def work(self, kind: str, role: str) -> str:
        (pair,) = self.made.house.pairs
        self.amount += 1
        peer = "responder" if role == "initiator" else "initiator"
        channel = pair.initiator if role == "initiator" else pair.responder
        parties = {"from_": pair.account(role), "to": pair.account(peer)}
        fields = parties if kind == "transfer" else {"allow_exposed": True}
        outcome = await self.made.house.run(channel, kind, amount=str(self.amount), **fields)
        return str(outcome["outcome"])

    async def suffer(self, mood: Mood) -> None:
        """Each work once in that mood, then how long until both ways pay again."""
        self.signer.mood = mood
        for kind, role in WORKS:
            outcome = await self.work(kind, role)
            if outcome not in EXPECTED[mood]:
                self.violations.append(f"{mood}: a {kind} of the {role} {outcome}")
        self.signer.mood = Mood.GOOD
        began = time.monotonic()
        try:
            async with asyncio.timeout(RECOVERY_SECONDS):
                for role in ("initiator", "responder"):
                    while await self.work("transfer", role) != "succeeded":
                        pass
        except TimeoutError:
            self.violations.append(f"{mood}: the channel did not pay again within {RECOVERY_SECONDS:g} s")
        self.recoveries[mood] = time.monotonic() - began
        await self.signer.caught_up()

    def check_acknowledgements(self) -> float:
        """The slowest that was signed, as the node saw it."""
        pages = self.made.house.node.registry.book.pages.values()
        waited = [
            entry.answered_at - entry.asked_at
            for page in pages
            for entry in page.signatures
            if entry.tag.value.endswith("_ack") and entry.answer == "signed" and entry.answered_at is not None
        ]
        slowest = max(waited)
        if slowest > ACKNOWLEDGE_SECONDS:
            self.violations.append(f"an acknowledgement reached the node after {slowest:.1f} s")
        return slowest


async def endure(url: str, directory: Path) -> tuple[Case, Counter[str], float]:
    pair = Pair("moody")
    async with wired(url, directory, pair, channel_lines=LINES, signers=False) as wires:
        made = wires.made
        async with moody(url, made.house.prefix, directory, (pair,)) as signer:
            bridge = await (await made.start()).ready()
            await made.opened()
            case = Case(made, signer)
            for mood in Mood:
                await case.suffer(mood)
            await made.quiet()
            await bridge.kill()
            await made.heard()
        case.violations += [f"no request met {mood}" for mood, met in signer.moods.items() if not met]
        slowest = case.check_acknowledgements()
        evidence = gather(made)
        case.violations += [str(violation) for violation in judge(evidence)]
        case.violations += [f"nothing stays in doubt: {command_id}" for command_id in doubtful(evidence)]
        return case, tally(evidence), slowest


async def run() -> int:
    began = time.monotonic()
    async with PrivateBroker(definitions("unused", None, ())) as broker:
        with tempfile.TemporaryDirectory(prefix="signers-") as folder:
            case, counts, slowest = await endure(broker.url(), Path(folder))
    for violation in case.violations:
        print(f"VIOLATION {violation}")
    told = ", ".join(f"{mood} {seconds:.1f} s" for mood, seconds in case.recoveries.items())
    ended = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    print(
        f"signers: paying again after {told}; commands: {ended}; slowest acknowledgement {slowest:.1f} s of "
        f"{ACKNOWLEDGE_SECONDS} s; {len(case.violations)} violations, {time.monotonic() - began:.0f} s"
    )
    return 1 if case.violations else 0


def main(words: list[str]) -> int:
    argparse.ArgumentParser(prog="python -m tests.faults.signers", description=__doc__).parse_args(words)
    return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
