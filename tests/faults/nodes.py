"""`python -m tests.faults.nodes`: a node restarted in order, half-open, silent, talking nonsense, flooding, and killed.

Payments go on all the time; after each repair every channel pays both ways again within 15 s.
The last trouble is `kill`: channels are lost, `recovery_required` is told, the rescue kit is whole; the oracle judges.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from bridge.app.rescue import kit
from bridge.broker.permission import definitions
from bridge.broker.private import PrivateBroker
from bridge.channel.identifier import ChannelName
from bridge.sim.fault import Flood, Freeze, Garbage, Huge, Kill, Start, Stop, Thaw
from bridge.sim.nemesis import carry_out
from tests.faults.proxy import Proxy
from tests.faults.record import gather
from tests.faults.split import Direction
from tests.faults.wiring import Wired, wired
from tests.oracle.judgement import doubtful, judge, tally
from tests.system.house import Pair

FIRST_AMOUNT = 6_000_011
RECOVERY_SECONDS = 15.0
PATIENCE_SECONDS = 90.0
RECOVERY_CALL_SECONDS = 240.0
PROOF_SECONDS = 75.0
"""Under load a proof is asked for once a minute."""
SILENCE_SECONDS = 20.0

Strike = Callable[[Wired], Awaitable[None]]


async def restarted(wires: Wired) -> None:
    await carry_out(wires.made.house.node, Stop())
    await asyncio.sleep(2)
    await carry_out(wires.made.house.node, Start())


async def half_open(wires: Wired) -> None:
    """The repair is the bridge's own: it finds out by its pings, 25 s at the latest."""
    wires.node.half_open()
    met = wires.node.accepted
    await _connected(wires.node, met + len(wires.made.house.pairs) * 2)


async def silent(wires: Wired) -> None:
    await carry_out(wires.made.house.node, Freeze())
    await asyncio.sleep(SILENCE_SECONDS)
    await carry_out(wires.made.house.node, Thaw())


async def one_way(wires: Wired) -> None:
    """What the bridge says arrives, what the node says does not."""
    wires.node.freeze(Direction.BACK)
    await asyncio.sleep(SILENCE_SECONDS)
    wires.node.heal()


async def garbage(wires: Wired) -> None:
    await carry_out(wires.made.house.node, Garbage(times=1000))


async def huge(wires: Wired) -> None:
    await carry_out(wires.made.house.node, Huge(size_bytes=8 * 1024 * 1024))


async def flooding(wires: Wired) -> None:
    await carry_out(wires.made.house.node, Flood(seconds=1.0, frames_per_ms=60))


TROUBLES: tuple[Strike, ...] = (huge, half_open, garbage, silent, flooding, one_way, restarted)
"""The restart comes last: after a reestablish a socket that was lost in silence costs the quiet time of 65 s."""


TEARING = (huge, half_open, garbage, silent, one_way)
APART_SECONDS = 31.0
"""Three sockets torn away within 60 s look like another client: then the bridge yields for a minute, as it must."""


async def _connected(proxy: Proxy, count: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while proxy.accepted < count:
            proxy.news.clear()
            await proxy.news.wait()


class Payers:
    """On every channel the two sides in turn, always one payment under way."""

    def __init__(self, wires: Wired) -> None:
        self.wires = wires
        self.amount = FIRST_AMOUNT
        self.succeeded: Counter[str] = Counter()
        self.news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False

    def begin(self) -> None:
        self._tasks = [asyncio.create_task(self._pay(pair)) for pair in self.wires.made.house.pairs]

    async def end(self) -> None:
        """Every payment has its outcome."""
        self._is_over = True
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*self._tasks)

    def drop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _pay(self, pair: Pair) -> None:
        turn = 0
        while not self._is_over:
            payer, payee = ("initiator", "responder") if turn % 2 == 0 else ("responder", "initiator")
            channel = pair.initiator if payer == "initiator" else pair.responder
            self.amount, turn = self.amount + 1, turn + 1
            parties = {"from_": pair.account(payer), "to": pair.account(payee)}
            house = self.wires.made.house
            command_id = await house.send(channel, "transfer", amount=str(self.amount), **parties)
            outcome = await house.outcome(command_id, 4 * PATIENCE_SECONDS)
            if outcome["outcome"] == "succeeded":
                self.succeeded[channel] += 1
                self.news.set()

    async def pay_again(self) -> float:
        """Seconds from here until every channel has paid from both sides, two payments each: one may be an old one."""
        began = time.monotonic()
        names = [name for pair in self.wires.made.house.pairs for name in (pair.initiator, pair.responder)]
        wanted = {name: self.succeeded[name] + 2 for name in names}
        async with asyncio.timeout(PATIENCE_SECONDS):
            while any(self.succeeded[name] < count for name, count in wanted.items()):
                self.news.clear()
                await self.news.wait()
        return time.monotonic() - began


async def endure(url: str, directory: Path, troubles: tuple[Strike, ...]) -> tuple[list[str], str]:
    """Violations and figures."""
    violations, told = [], []
    pairs = [Pair("n0"), Pair("n1")]
    async with wired(url, directory, *pairs) as wires:
        bridge = await (await wires.made.start()).ready()
        await wires.made.opened()
        payers = Payers(wires)
        payers.begin()
        await payers.pay_again()
        torn_at = 0.0
        for trouble in troubles:
            if trouble in TEARING:
                await asyncio.sleep(max(0.0, torn_at + APART_SECONDS - time.monotonic()))
            await trouble(wires)
            torn_at = time.monotonic() if trouble in TEARING else torn_at
            name = trouble.__name__
            try:
                seconds = await payers.pay_again()
            except TimeoutError:
                violations.append(f"{name}: not every channel paid again within {PATIENCE_SECONDS:g} s")
                break
            told.append(f"{name} {seconds:.1f} s")
            if seconds > RECOVERY_SECONDS:
                violations.append(f"{name}: {seconds:.1f} s until every channel paid again")
        try:
            await payers.end()
        except TimeoutError:
            payers.drop()
            violations.append("a payment has no outcome")
            for pair in pairs:
                print(wires.made.house.story(pair.initiator, pair.responder), file=sys.stderr)
        if not violations:
            await wires.made.quiet()
            violations += await _kill(wires)
        await bridge.kill()
        wires.check()
        evidence = gather(wires.made, losers={"json-rpc"})
        violations += [str(violation) for violation in judge(evidence)]
        violations += [f"nothing stays in doubt: {command_id}" for command_id in doubtful(evidence)]
        ended = ", ".join(f"{count} {word}" for word, count in sorted(tally(evidence).items()))
    return violations, f"paying again after {', '.join(told)}; payments: {ended}"


async def _kill(wires: Wired) -> list[str]:
    """Every channel is lost; its operators are called, and have what they need."""
    house, violations = wires.made.house, []
    names = [ChannelName(name) for pair in house.pairs for name in (pair.initiator, pair.responder)]
    async with asyncio.timeout(PROOF_SECONDS):
        while not all(_is_proven(wires, name) for name in names):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await carry_out(house.node, Kill())
    await carry_out(house.node, Start())
    for name in names:
        await house.until(
            lambda name=name: next(iter(house.find(name, "alarm.recovery_required")), None),  # type: ignore[misc]
            RECOVERY_CALL_SECONDS,
        )
        rescue = kit(wires.made.data, name)
        missing = [word for word, value in rescue.items() if value is None]
        if missing or rescue["proven_round"] != rescue["round"]:
            violations.append(f"the rescue kit of {name} lacks {missing or 'the proof of its last round'}")
    return violations


def _is_proven(wires: Wired, name: ChannelName) -> bool:
    """The proof of a round is asked for once the channel has been idle for a moment."""
    rescue = kit(wires.made.data, name)
    return rescue["proven_round"] is not None and rescue["proven_round"] == rescue["round"]


async def run(names: list[str]) -> int:
    began = time.monotonic()
    troubles = tuple(trouble for trouble in TROUBLES if not names or trouble.__name__ in names)
    async with PrivateBroker(definitions("unused", None, ())) as broker:
        with tempfile.TemporaryDirectory(prefix="nodes-") as folder:
            violations, told = await endure(broker.url(), Path(folder), troubles)
    for violation in violations[:50]:
        print(f"VIOLATION {violation}")
    print(f"nodes: {told}; killed last; {len(violations)} violations, {time.monotonic() - began:.0f} s")
    return 1 if violations else 0


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.nodes", description=__doc__)
    parser.add_argument("--trouble", action="append", choices=[trouble.__name__ for trouble in TROUBLES])
    return asyncio.run(run(parser.parse_args(words).trouble or []))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
