"""kill -9 before and after every durable write of each flow, both sides of the channel in the killed process.

`python -m tests.faults.writes --dialect json-rpc`. Each sweep counts the writes of its flow undisturbed; then each
trial sends one command, lets the bridge be killed at its N-th transaction, starts it again, and waits for the outcome.
At the end the oracle judges all trials together, and each write that was counted must have had its kill: one that was
missed is tried again in fresh houses. Commits that come together are one write, so the last of them may be gone: how
many never came again, and why they are excused, is told.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bridge.broker.permission import definitions
from bridge.broker.private import PrivateBroker
from tests.faults import forked, killed
from tests.faults.journal_home import Bridge, Home, home
from tests.faults.record import gather
from tests.oracle.judgement import doubtful, judge, tally
from tests.system.house import Pair

FLOWS = ("transfer", "deposit", "withdraw", "message", "shutdown")
FIRST_AMOUNT = 2_000_003
OUTCOME_SECONDS = 60.0
IDLE_SECONDS = 0.6
"""A flow whose outcome is known writes for some moments more: confirms, the other side's events."""
STILL_SECONDS = 2.0
LATE_SECONDS = 6.0
"""A legacy channel that says nothing for so long may be lost; that is told after 150 s, which all of them await."""
TOLD_SECONDS = 240.0
CHANNELS = 8
"""Of a house whose trials use channels up: each start of the bridge takes all of them over. A close uses one up; so
does a loss in legacy, whose FSM dies with the socket, and with it what is on its way to the chain.
"""
SIDES = ("before", "after")
AT_ONCE = 3
COUNTS, TRIES = 2, 2
AGAIN = 3
"""Fresh houses for writes that were missed, with as many tries in each."""
MERGED = 8
"""Writes that come together go into one transaction: of so many one may be missing each time it is tried, and the last
numbers with it."""
PROFILES = {"json-rpc": ("json-rpc", None), "legacy-late": ("legacy", "late")}


@dataclass
class Judged:
    """Some trials, with the oracle's word on them."""

    kills: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    writes: int = 0
    """Of the undisturbed flow."""
    missed: int = 0
    """Of those, at which nobody was ever killed, although they were tried again."""
    merged: int = 0
    """How many of these are excused."""

    def __add__(self, other: "Judged") -> "Judged":
        return Judged(
            self.kills + other.kills,
            self.outcomes + other.outcomes,
            self.violations + other.violations,
            max(self.writes, other.writes),
            self.missed + other.missed,
            self.merged + other.merged,
        )


@dataclass
class Sweep:
    """The trials of one dialect in one house."""

    made: Home
    dialect: str
    amount: int = FIRST_AMOUNT
    kills: Counter[str] = field(default_factory=Counter)
    writes: int = 0
    """Of the latest trial."""
    late: list[str] = field(default_factory=list)
    """Commands of channels that were set aside, to be heard of at the end."""
    missed: list[int] = field(default_factory=list)
    """Writes at which nobody was killed, though the undisturbed flow has them."""
    tries: int = 0
    """How often the bridge outlived the command at the number of this moment."""

    @property
    def armed(self) -> Path:
        return self.made.house.directory / "armed"

    async def start(self, side: str = "never", number: int = 0) -> Bridge:
        self.armed.unlink(missing_ok=True)
        words = (str(self.made.config), str(self.armed), side, str(number))
        bridge = Bridge.read(await forked.fork(killed.main, *words))
        self.made.bridges.append(bridge)
        return await bridge.ready()

    async def open(self) -> Bridge:
        """All channels, by a bridge nobody kills yet."""
        bridge = await self.start()
        await self.made.opened()
        return bridge

    async def count(self, flow: str, pairs: list[Pair], bridge: Bridge) -> int:
        """The least writes of the flow when nobody disturbs it, and nothing of other channels among them."""
        counts = []
        for _ in range(COUNTS):
            pair = await self._open_one(flow, pairs)
            assert pair is not None, "no channel to count on"
            others = await self._still()
            await self.trial(flow, pair, pairs, "never", 0, bridge)
            counts.append(self.writes - others)
        return min(counts)

    async def _still(self) -> int:
        """Writes until none came for a while: a channel that has just opened is proven once it has been idle."""
        self.armed.touch()
        seen, writes = -1, 0
        async with asyncio.timeout(OUTCOME_SECONDS):
            while seen < writes:
                seen = writes
                await asyncio.sleep(STILL_SECONDS)
                writes = int(self.armed.read_text() or 0)
        return writes

    async def flow(self, flow: str, side: str, pairs: list[Pair], number: int, writes: int) -> int | None:
        """The writes of this flow from that number on: one more each time, until the bridge outlives the command.

        The bridge that follows a killed one is the one that dies next. Returns the number to go on with in another
        house when this one's channels are used up, None at the end.
        """
        bridge = await self.start(side, number)
        while (pair := await self._open_one(flow, pairs)) is not None:
            follower = await self.trial(flow, pair, pairs, side, number, bridge)
            if follower is not None:
                bridge, number, self.tries = follower, number + 1, 0
                continue
            await bridge.kill()
            self.tries += 1
            if number > writes:
                return None
            if self.tries == TRIES:
                self.missed.append(number)
                number, self.tries = number + 1, 0
            bridge = await self.start(side, number)
        await bridge.kill()
        return number

    async def again(self, flow: str, side: str, pairs: list[Pair], numbers: list[int]) -> list[int]:
        """Tries those that were missed elsewhere; returns the ones that were missed here too, or not come to."""
        missed: list[int] = []
        for place, number in enumerate(numbers):
            for _ in range(TRIES):
                bridge = await self.start(side, number)
                pair = await self._open_one(flow, pairs)
                if pair is None:
                    await bridge.kill()
                    return [*missed, *numbers[place:]]
                follower = await self.trial(flow, pair, pairs, side, number, bridge)
                await (follower or bridge).kill()
                if follower is not None:
                    break
            else:
                missed.append(number)
        return missed

    async def judged(self, flow: str) -> Judged:
        """What the oracle says, once every command was heard of."""
        last = await self.start()
        for command_id in self.late:
            await self.hear(command_id, TOLD_SECONDS)
        await asyncio.sleep(IDLE_SECONDS)
        await self.made.read_metrics()
        await last.kill()
        await self.made.heard()
        evidence = gather(self.made, losers={"legacy"})
        violations = [str(violation) for violation in judge(evidence)]
        if self.dialect == "json-rpc":
            violations += [f"nothing stays in doubt: {command_id}" for command_id in doubtful(evidence)]
        return Judged(self.kills[flow], tally(evidence), violations)

    async def _open_one(self, flow: str, pairs: list[Pair]) -> Pair | None:
        """A channel to try on, None if they are used up. A close takes one of its own.

        A legacy one may be lost although its command has succeeded: the other side's FSM died too early to see it, and
        the node takes no state but its own. It is left out.
        """
        while pairs:
            pair = pairs.pop() if flow == "shutdown" else pairs[-1]
            try:
                await self._attached(pair)
            except TimeoutError:
                if self.dialect == "json-rpc":
                    raise
                if pair in pairs:
                    pairs.remove(pair)
            else:
                return pair
        return None

    async def trial(
        self, flow: str, pair: Pair, pairs: list[Pair], side: str, number: int, bridge: Bridge
    ) -> Bridge | None:
        """The bridge that followed, if it was killed in this one."""
        self.armed.touch()
        command_id = await self._send(flow, pair)
        ended = asyncio.create_task(bridge.end(OUTCOME_SECONDS))
        outcome = asyncio.create_task(self.made.house.outcome(command_id, OUTCOME_SECONDS))
        await asyncio.wait({ended, outcome}, return_when=asyncio.FIRST_COMPLETED)
        with suppress(TimeoutError):
            async with asyncio.timeout(IDLE_SECONDS):
                await asyncio.shield(ended)
        was_killed = ended.done()
        assert not was_killed or ended.result() == -signal.SIGKILL, f"it ended of itself:\n{bridge.log}"
        self.writes = int(self.armed.read_text() or 0)
        follower = None
        if was_killed:
            self.kills[flow] += 1
            follower = await self.start(side, number + 1)
        try:
            if not await self._said(command_id, outcome):
                self.late.append(command_id)
            if self.dialect != "json-rpc" and pair in pairs and not self._is_settled(command_id):
                pairs.remove(pair)
        except TimeoutError:
            print(f"{flow}: killed {side} write {number}: no outcome", file=sys.stderr)
            print(self.made.house.story(pair.initiator, pair.responder), file=sys.stderr, flush=True)
            raise
        ended.cancel()
        await asyncio.gather(ended, return_exceptions=True)
        return follower

    async def _said(self, command_id: str, outcome: "asyncio.Task[dict[str, object]]") -> bool:
        """Whether there is a verdict; in the legacy dialect a doubt that was told is an answer, and may come late."""
        if self.dialect == "json-rpc":
            await outcome
            return True
        outcome.cancel()
        await asyncio.gather(outcome, return_exceptions=True)
        try:
            await self.hear(command_id, LATE_SECONDS)
        except TimeoutError:
            return False
        return True

    async def hear(self, command_id: str, seconds: float) -> None:
        """Until something was said of that command, be it a doubt. Raises TimeoutError."""
        await self.made.house.until(lambda: self._words(command_id) or None, seconds)

    def _words(self, command_id: str) -> list[str]:
        words = [str(r["outcome"]) for r in self.made.house.results if r.get("command_id") == command_id]
        return [word for word in words if word != "accepted"]

    def _is_settled(self, command_id: str) -> bool:
        return self._words(command_id)[-1:] not in ([], ["in_doubt"])

    async def _attached(self, pair: Pair) -> None:
        """The channel is open on both sides and all is told, by the journal: the bridge is another process."""
        async with asyncio.timeout(OUTCOME_SECONDS):
            while not (self.made.is_open(pair) and self.made.has_told_all):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def _send(self, flow: str, pair: Pair) -> str:
        self.amount += 1
        house, amount = self.made.house, str(self.amount)
        parties = {"from_": pair.account("initiator"), "to": pair.account("responder")}
        match flow:
            case "transfer":
                return await house.send(pair.initiator, "transfer", amount=amount, **parties)
            case "message":
                return await house.send(pair.initiator, "message", to=pair.account("responder"), info=amount)
            case "deposit" | "withdraw":
                return await house.send(pair.initiator, flow, amount=amount, allow_exposed=True)
            case _:
                return await house.send(pair.initiator, flow, allow_exposed=True)


async def sweep(url: str, dialect: str, flow: str, side: str, room: asyncio.Semaphore) -> Judged:
    """One flow, in as many houses as it takes. While one waits for late words the next is at work."""
    number: int | None = 1
    writes, ends = 0, []
    missed: list[int] = []
    async with AsyncExitStack() as houses, asyncio.TaskGroup() as group:

        async def begin(pairs: list[Pair]) -> tuple[Sweep, Bridge]:
            folder = houses.enter_context(tempfile.TemporaryDirectory(prefix="writes-"))
            made = await houses.enter_async_context(home(url, Path(folder), *pairs, is_forked=True))
            trials = Sweep(made, dialect)
            return trials, await trials.open()

        while number is not None:
            async with room:
                pairs = _pairs(dialect, flow)
                trials, bridge = await begin(pairs)
                writes = writes or await trials.count(flow, pairs, bridge)
                await bridge.kill()
                number = await trials.flow(flow, side, pairs, number, writes)
                missed += trials.missed
            ends.append(group.create_task(trials.judged(flow)))
        for _ in range(AGAIN if missed else 0):
            async with room:
                pairs = _pairs(dialect, flow)
                trials, bridge = await begin(pairs)
                await bridge.kill()
                missed = await trials.again(flow, side, pairs, missed)
            ends.append(group.create_task(trials.judged(flow)))
            if not missed:
                break
    judged = sum((end.result() for end in ends), weigh(flow, side, missed, writes))
    if not judged.kills:
        judged.violations.append(f"{flow}: no kill {side} a write, of {writes} writes")
    told = f"{judged.kills} kills, {writes} writes, {judged.missed} missed"
    print(f"  {dialect} {flow} {side}: {told}", file=sys.stderr, flush=True)
    return judged


def weigh(flow: str, side: str, missed: list[int], writes: int) -> Judged:
    """What the writes mean that were missed every time: each time the flow came to its end with fewer.

    A number beyond those that are there each time is gone when earlier commits come together, and the states between
    them with it: those are excused, and told. Any other was not tried, whatever the reason.
    """
    merged = [number for number in missed if number > sure(writes)]
    owed = [number for number in missed if number not in merged]
    violations = [f"{flow}: nobody was killed {side} write {number} of {writes}" for number in owed]
    return Judged(violations=violations, writes=writes, missed=len(missed), merged=len(merged))


def sure(writes: int) -> int:
    """So many of the writes that were counted are there each time."""
    return writes - max(1, writes // MERGED)


def _pairs(dialect: str, flow: str) -> list[Pair]:
    count = 1 if dialect == "json-rpc" and flow != "shutdown" else CHANNELS
    return [Pair(f"{dialect[0]}{number:02d}", *PROFILES[dialect]) for number in range(count)]


async def run(dialect: str, flows: tuple[str, ...]) -> int:
    began = time.monotonic()
    kills: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    writes: Counter[str] = Counter()
    missed = merged = 0
    broken: list[str] = []
    room = asyncio.Semaphore(AT_ONCE)
    async with PrivateBroker(definitions("unused", None, ())) as broker:

        async def one(flow: str, side: str) -> None:
            nonlocal missed, merged
            judged = await sweep(broker.url(), dialect, flow, side, room)
            kills[flow] += judged.kills
            counts.update(judged.outcomes)
            writes[flow] = max(writes[flow], judged.writes)
            missed, merged = missed + judged.missed, merged + judged.merged
            broken.extend(judged.violations)

        async with asyncio.TaskGroup() as group:
            for flow in flows:
                for side in SIDES:
                    group.create_task(one(flow, side))
    for violation in broken[:50]:
        print(f"VIOLATION {violation}")
    flows_told = ", ".join(f"{flow} {writes[flow]} writes {kills[flow]} kills" for flow in flows)
    told_counts = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    print(
        f"writes: {dialect}: {flows_told}; outcomes: {told_counts}; "
        f"{missed} writes missed ({merged} excused: merged with others), {len(broken)} violations, "
        f"{time.monotonic() - began:.0f} s"
    )
    return 1 if broken else 0


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.writes", description=__doc__)
    parser.add_argument("--dialect", choices=tuple(PROFILES), default="json-rpc")
    parser.add_argument("--flow", choices=FLOWS, action="append")
    options = parser.parse_args(words)
    return asyncio.run(run(options.dialect, tuple(options.flow or FLOWS)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
