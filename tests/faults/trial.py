"""One house behind proxies, and one drawn crossing after the other in it: send a command, spring the trap, wait.

The node's own timers are short here, so that a frame lost on a live socket is noticed in seconds; where that ends in
doubt an operator sends `checkpoint`, as one would. In the legacy dialect a doubt that was told is an answer.
"""

import asyncio
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.faults.journal_home import Bridge
from tests.faults.record import gather
from tests.faults.trap import KILLS, Action, Trap
from tests.faults.wiring import Wired, wired
from tests.oracle.judgement import doubtful, judge, tally
from tests.system.house import Pair

FLOWS = ("transfer", "transfer", "transfer", "deposit", "withdraw", "message", "shutdown")
"""As often as they are drawn."""
DIALECTS = ("json-rpc", "json-rpc", "json-rpc", "legacy")
FIRST_AMOUNT = 4_000_037
SLOW = frozenset({Action.SWALLOW})
"""On a socket that lives on: noticed by a timer only."""
OUTCOME_SECONDS = 150.0
LOST_SECONDS = 240.0
"""What a legacy channel lost with its socket is told as a doubt after 150 s, and five tries to come back."""
ATTACH_SECONDS = 60.0
"""Both sides of a legacy channel have to try at the same time."""
IDLE_SECONDS, STILL_SECONDS = 0.3, 3.0
MOST_TRIES, CLOSE_TRIES = 12, 3
"""Each close uses up a channel."""
TIMERS = (
    "opening.timeout_accept = 8000",
    "opening.timeout_sign = 8000",
    "acknowledge_seconds = 4",
    "sign_seconds = 5",
)


@dataclass
class Lane:
    """The trials of one house."""

    wires: Wired
    trap: Trap
    random: Random
    pairs: dict[str, list[Pair]]
    bridge: Bridge
    amount: int
    dialects: tuple[str, ...] = DIALECTS
    flows: tuple[str, ...] = FLOWS
    actions: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    lengths: dict[tuple[str, str], int] = field(default_factory=dict)
    """How many crossings the undisturbed flow has."""

    async def draw(self) -> None:
        """One trial; drawn again, at last with another flow, while the flow ends before it comes to the crossing.

        Also where what was drawn could not be done there.
        """
        while not await self._drawn():
            pass

    async def _drawn(self) -> bool:
        dialect, flow = self.random.choice(self.dialects), self.random.choice(self.flows)
        if flow == "shutdown" and len(self.pairs[dialect]) <= CLOSE_TRIES + 1:
            flow = "transfer"  # the channels to be closed are used up
        if (dialect, flow) not in self.lengths:
            self.lengths[dialect, flow] = await self.trial(dialect, flow, 0)
        for _ in range(CLOSE_TRIES if flow == "shutdown" else MOST_TRIES):
            count = await self.trial(dialect, flow, self.random.randint(1, self.lengths[dialect, flow]))
            if self.trap.action is not None:
                self.actions[self.trap.action] += 1
                return True
            self.actions["missed"] += 1
            if not self.trap.sprung:
                self.lengths[dialect, flow] = max(1, count)  # other channels had a part in the longer one
        return False

    async def trial(self, dialect: str, flow: str, number: int) -> int:
        """How many crossings there were. A close takes a channel of its own."""
        pair = await self._pair(dialect, flow)
        self.trap.arm(self.bridge, number)
        command_id = await self._send(flow, pair)
        try:
            if await self._ended(command_id, pair, dialect) == "in_doubt":
                self._set_aside(pair, dialect)
        except TimeoutError:
            self.violations.append(f"{dialect} {flow}, {self.trap.sprung}: no outcome")
            self._set_aside(pair, dialect)
            print(self.wires.made.house.story(pair.initiator, pair.responder), file=sys.stderr, flush=True)
        self.trap.disarm()
        await self.trap.is_done.wait()
        await self._start_again()
        return self.trap.count

    async def _pair(self, dialect: str, flow: str) -> Pair:
        """One that is open. A legacy one may be lost although its command has succeeded: the other side's FSM died too
        early to see it, and the node takes no state but its own.
        """
        while True:
            pair = self.pairs[dialect].pop() if flow == "shutdown" else self.pairs[dialect][0]
            try:
                await self._attached(pair, OUTCOME_SECONDS if dialect == "json-rpc" else ATTACH_SECONDS)
            except TimeoutError:
                if dialect == "json-rpc":
                    raise
                self._set_aside(pair, dialect)
            else:
                return pair

    def _set_aside(self, pair: Pair, dialect: str) -> None:
        """What may never be settled serves no further trial. Legacy: the node may know a state only it has seen."""
        self.pairs[dialect] = [one for one in self.pairs[dialect] if one is not pair]

    async def _ended(self, command_id: str, pair: Pair, dialect: str) -> str:
        """The last word on the command."""
        house = self.wires.made.house
        seconds = OUTCOME_SECONDS if dialect == "json-rpc" else LOST_SECONDS
        said = asyncio.create_task(house.until(lambda: self._said(command_id), seconds))
        happened = asyncio.create_task(self.trap.happened.wait())
        await asyncio.wait([said, happened], return_when=asyncio.FIRST_COMPLETED)
        happened.cancel()
        await self._start_again()
        word = await said
        if word == "in_doubt" and dialect == "json-rpc":
            await house.run(pair.initiator, "checkpoint")
            word = (await house.outcome(command_id))["outcome"]
        elif self.trap.action is None:
            await self._last_words()
        return word

    async def _last_words(self) -> None:
        """The flow writes and sends for some moments after its outcome: until all is told, or the trap is sprung."""
        is_quiet = False
        while not (is_quiet or self.trap.happened.is_set()):
            is_quiet = self.wires.made.has_told_all
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_SECONDS):
                    await self.trap.happened.wait()

    def _said(self, command_id: str) -> str | None:
        bodies = [body for body in self.wires.made.house.results if body.get("command_id") == command_id]
        words = [str(body["outcome"]) for body in bodies if body["outcome"] != "accepted"]
        return words[-1] if words else None

    async def _start_again(self) -> None:
        """After a kill, at once."""
        if self.trap.action in KILLS and self.trap.bridge is self.bridge:
            await self.bridge.kill()
            self.bridge = await (await self.wires.made.start()).ready()

    async def _attached(self, pair: Pair, seconds: float) -> None:
        """Both sides are open, by the journal: the bridge is another process. And the links have become still.

        What is still told of the flow before, or of other channels, would count as crossings of this one. Legacy
        channels that are lost try to come back for ever, so stillness is not waited for long.
        """
        async with asyncio.timeout(seconds):
            while True:
                while not self.wires.made.is_open(pair):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                with suppress(TimeoutError):
                    async with asyncio.timeout(STILL_SECONDS):
                        await self._still()
                if self.wires.made.is_open(pair):
                    return

    async def _still(self) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < self.trap.seen_at + IDLE_SECONDS:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def _send(self, flow: str, pair: Pair) -> str:
        self.amount += 1
        house, amount = self.wires.made.house, str(self.amount)
        parties = {"from_": pair.account("initiator"), "to": pair.account("responder")}
        fields: dict[str, dict[str, Any]] = {
            "transfer": {"amount": amount, **parties},
            "message": {"to": parties["to"], "info": amount},
            "deposit": {"amount": amount, "allow_exposed": True},
            "withdraw": {"amount": amount, "allow_exposed": True},
            "shutdown": {"allow_exposed": True},
        }
        return await house.send(pair.initiator, flow, **fields[flow])

    def judge(self) -> None:
        evidence = gather(self.wires.made, losers={"legacy"})
        self.violations += [str(violation) for violation in judge(evidence)]
        today = {name for pair in self.wires.made.house.pairs if pair.profile is None for name in _names(pair)}
        channels = {sent.command_id: sent.channel for sent in evidence.sent}
        doubts = [one for one in doubtful(evidence) if channels[one] in today]
        self.violations += [f"nothing stays in doubt: {command_id}" for command_id in doubts]
        self.outcomes = tally(evidence)


def _names(pair: Pair) -> tuple[str, str]:
    return pair.initiator, pair.responder


def _pairs(draws: int) -> dict[str, list[Pair]]:
    """One to work on, and some to close: more would make each start of the bridge slower."""
    closes = 4 + draws // 8
    today = [Pair(f"d{number:02d}") for number in range(closes + 1)]
    late = [Pair(f"l{number:02d}", "legacy", "late") for number in range(closes + 1)]
    return {"json-rpc": today, "legacy": late}


async def lane(
    url: str, directory: Path, draws: int, seed: int, opening: asyncio.Lock, *, is_short: bool = False
) -> Lane:
    """So many draws one after the other, and the judgement. `is_short`: payments only, and nothing that waits long.

    `opening` is held while the channels open: one whose other side is not there in the node's short time is lost.
    """
    random = Random(seed)  # noqa: S311  # to repeat a draw
    trap, pairs = Trap(random, SLOW if is_short else frozenset()), _pairs(draws)
    if is_short:
        pairs = {"json-rpc": pairs["json-rpc"][:1]}
    everyone = [pair for group in pairs.values() for pair in group]
    async with wired(
        url,
        directory,
        *everyone,
        node_watch=trap.see_node,
        broker_watch=trap.see_broker,
        channel_lines=TIMERS,
        is_forked=True,
    ) as wires:
        async with opening:
            bridge = await (await wires.made.start()).ready()
            await wires.made.opened()
        trap.whose = wires.channel
        made = Lane(wires, trap, random, pairs, bridge, FIRST_AMOUNT + 10_000 * seed)
        if is_short:
            made.dialects, made.flows = ("json-rpc",), ("transfer",)
        for number in range(draws):
            await made.draw()
            print(f"  seed {seed}: {number + 1} of {draws}, {trap.sprung}", file=sys.stderr, flush=True)
        async with asyncio.timeout(OUTCOME_SECONDS):
            while not wires.made.has_told_all:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await wires.made.read_metrics()
        await made.bridge.kill()
        await wires.made.heard()
        wires.check()
        made.judge()
        return made
