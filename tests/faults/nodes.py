"""`python -m tests.faults.nodes`: a node restarted in order, half-open, silent, slow, talking nonsense, and killed;
a peer that uses a payment which it had refused.

Payments go on all the time; after each repair every channel pays both ways again within 15 s. Then the oracle judges
and excuses nothing. The last trouble is `kill`: channels are lost, `recovery_required` is told, the rescue kit is
whole; the oracle judges again.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

from bridge.app.rescue import kit
from bridge.broker.permission import definitions
from bridge.broker.private import PrivateBroker
from bridge.channel.identifier import ChannelName
from bridge.channel.terms import Role
from bridge.sim.fault import Flood, Freeze, Garbage, Huge, Kill, Start, Stop, Thaw
from bridge.sim.nemesis import carry_out
from tests.faults.payers import PATIENCE_SECONDS, Payers, Strike
from tests.faults.record import gather
from tests.faults.split import Direction
from tests.faults.wiring import Wired, wired
from tests.oracle.judgement import doubtful, judge, tally
from tests.oracle.witness import find_channels
from tests.simulation.rogue import reuse
from tests.system.house import Pair

RECOVERY_SECONDS = 15.0
RECOVERY_CALL_SECONDS = 300.0
"""A minute of quiet time, 150 s of tries, and the pause before the one that ends them."""
PROOF_SECONDS = 75.0
"""Under load a proof is asked for once a minute."""
SILENCE_SECONDS = 20.0
PING_SECONDS = 25.0
"""Until a bridge knows of a silent socket."""
QUIET_SECONDS = 65.0
"""guarantees.md section 3: an initiator after a reestablish, when nobody confirmed that its socket is gone."""
DELAY_SECONDS = 0.15
TORN_BYTES = 100
"""Within a frame: of those of a payment none is so short."""


async def restarted(payers: Payers) -> None:
    await carry_out(payers.house.node, Stop())
    await asyncio.sleep(2)
    await carry_out(payers.house.node, Start())


async def half_open(payers: Payers) -> None:
    """The repair is the bridge's own: it finds out by its pings."""
    known = payers.told("link.reattached")
    payers.wires.node.half_open()
    await payers.until_told("link.reattached", known, PING_SECONDS + RECOVERY_SECONDS)


async def half_open_again(payers: Payers) -> None:
    """After a reestablish: what an initiator does too early then costs the channel. It keeps quiet first."""
    known = payers.told("link.reattached")
    payers.wires.node.half_open()
    await payers.until_told("link.reattached", known, PING_SECONDS + QUIET_SECONDS + RECOVERY_SECONDS)
    for pair in payers.house.pairs:
        event = payers.house.find(pair.initiator, "link.reattached")[known[pair.initiator]]
        assert event["data"]["blind_seconds"] >= QUIET_SECONDS, f"too early, or not reestablished: {event}"


async def silent(payers: Payers) -> None:
    await payers.strike(Freeze())
    await asyncio.sleep(SILENCE_SECONDS)
    await carry_out(payers.house.node, Thaw())


async def one_way(payers: Payers) -> None:
    """What the bridge says arrives, what the node says does not."""
    payers.wires.node.freeze(Direction.BACK)
    await asyncio.sleep(SILENCE_SECONDS)
    payers.wires.node.heal()


async def unheard(payers: Payers) -> None:
    """What the node says arrives, what the bridge says does not, or late."""
    payers.wires.node.freeze(Direction.OUT)
    await asyncio.sleep(SILENCE_SECONDS)
    payers.wires.node.heal()


async def slow(payers: Payers) -> None:
    """Every frame is late, and in its order: no reason to give up a socket, or a payment."""
    known = payers.told("link.detached")
    payers.wires.node.delay_seconds = DELAY_SECONDS
    await payers.pay_again()
    payers.wires.node.heal()
    assert payers.told("link.detached") == known, "a socket was given up for being slow"


async def torn_out(payers: Payers) -> None:
    await _tear(payers, Direction.OUT)


async def torn_back(payers: Payers) -> None:
    await _tear(payers, Direction.BACK)


async def _tear(payers: Payers, direction: Direction) -> None:
    """One connection is lost in the middle of a frame."""
    known, proxy = payers.told("link.detached").total(), payers.wires.node
    proxy.cut_after(TORN_BYTES, direction)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while proxy.room[direction] is not None:
            proxy.news.clear()
            await proxy.news.wait()
    await payers.house.until(lambda: payers.told("link.detached").total() > known or None)


async def garbage(payers: Payers) -> None:
    await payers.strike(Garbage(times=1000))


async def huge(payers: Payers) -> None:
    await payers.strike(Huge(size_bytes=8 * 1024 * 1024))


async def flooding(payers: Payers) -> None:
    await payers.strike(Flood(seconds=1.0, frames_per_ms=60))


async def reused(payers: Payers) -> None:
    """A payment is refused, and made after all while its payer is away: that is told and corrected, there alone."""
    pair, word, node = payers.house.pairs[0], "alarm.abandoned_state_used", payers.house.node
    known = payers.told(word)
    (channel,) = find_channels(node, [pair.account("initiator"), pair.account("responder")])
    for rule in reuse(Role.RESPONDER, channel):
        await carry_out(node, rule)
    await payers.house.event(pair.initiator, "command.outcome_corrected")
    assert payers.told(word) - known == {pair.initiator: 1}


TROUBLES: tuple[Strike, ...] = (
    *(reused, huge, half_open, garbage, silent, slow, one_way, flooding, unheard, torn_out, torn_back),
    *(restarted, half_open_again),
)
"""The restart comes late: after a reestablish a socket that was lost in silence costs the quiet time of 65 s."""


async def endure(url: str, directory: Path, troubles: tuple[Strike, ...]) -> tuple[list[str], str]:
    """Violations and figures."""
    violations: list[str] = []
    told: list[str] = []
    async with wired(url, directory, Pair("n0"), Pair("n1")) as wires:
        bridge = await (await wires.made.start()).ready()
        await wires.made.opened()
        payers = Payers(wires)
        payers.begin()
        await payers.pay_again()
        for trouble in troubles:
            violations += await _try(payers, trouble, told)
            if violations:
                break
        violations += await _settle(payers)
        if not violations:
            violations += [f"before the kill: {violation}" for violation in _judge(wires)]
        if not violations:
            violations += await _kill(wires)
        await bridge.kill()
        await wires.made.heard()
        wires.check()
        violations += _judge(wires, losers={"json-rpc"})
        counts = tally(gather(wires.made))
        ended = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    return violations, f"paying again after {', '.join(told)}; payments: {ended}"


async def _try(payers: Payers, trouble: Strike, told: list[str]) -> list[str]:
    """Adds its figure to what is told; returns what was broken."""
    name = trouble.__name__
    try:
        seconds = await payers.endure(trouble)
    except TimeoutError:
        print(payers.house.story(), file=sys.stderr)
        return [f"{name}: not every channel came back and paid again within its time"]
    told.append(f"{name} {seconds:.1f} s")
    print(f"  {told[-1]}", file=sys.stderr, flush=True)
    return [f"{name}: {seconds:.1f} s until every channel paid again"] if seconds > RECOVERY_SECONDS else []


async def _settle(payers: Payers) -> list[str]:
    """Nothing is under way any more."""
    try:
        await payers.end()
        await payers.wires.made.quiet()
    except TimeoutError:
        payers.drop()
        print(payers.house.story(), file=sys.stderr)
        return ["a payment has no outcome, or the two sides do not agree"]
    return []


def _judge(wires: Wired, losers: Collection[str] = ()) -> list[str]:
    evidence = gather(wires.made, losers=losers)
    doubts = [f"nothing stays in doubt: {command_id}" for command_id in doubtful(evidence)]
    return [str(violation) for violation in judge(evidence)] + doubts


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
