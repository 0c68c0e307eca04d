"""`make soak`: whether a bridge at full speed keeps its memory flat, hour after hour, and over kill -9.

A real RabbitMQ, a simulated node, two signers and the bridge, each a process of its own. Payments run on every
channel as fast as they go; every two minutes the bridge is killed. Its resident memory is read once a second, and a
straight line laid through each stretch between two kills, the warm-up left out: it must rise by less than 1 MiB a
minute, in every one of them.
Every payment has one outcome, nearly all succeed, and the balances add up: each payment has an amount of its own, so
that one which failed and was applied is not made up for by one which succeeded and was not. The last line sums up;
exit code 1 if it was not so.
"""

import argparse
import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom

from bridge.app.busclient import FINAL, BusClient
from bridge.app.stage import ROLES, Act, Stage
from bridge.broker.connection import Connection
from bridge.errors import BrokerUnavailable

MOST_MEBIBYTES_PER_MINUTE = 1.0
STRETCH_SECONDS = 120.0
WARM_UP_SECONDS = 45.0
JUDGED_SECONDS = 15.0
"""A stretch begins only where so much is left of it behind the warm-up: each one is judged."""
LEAST_READINGS = 10
"""Behind the warm-up. A line through fewer says nothing."""
CHANNELS = 4
OUTSTANDING = 8
"""Payments a channel that have no outcome yet."""
LEAST_SHARE = 0.99
"""Of the payments, that have to succeed: a bridge that refuses them all keeps its memory flat as well."""
LEAST_A_SECOND = 5.0
"""Payments: a bridge that hardly pays keeps its memory flat too. Two busy processors still make twice that."""
MOST_AETTOS = 10**9
"""Of one payment. A channel lasts for 10^9 of them."""
DRAIN_SECONDS = 120.0
MEBIBYTE = 1 << 20


@dataclass
class Payer:
    """One channel's payments, all from the initiator, of amounts nobody can confuse."""

    client: BusClient
    act: Act
    parties: tuple[str, str]
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(OUTSTANDING))
    sent: dict[str, int] = field(default_factory=dict)
    """The amounts of those without an outcome."""
    spent: int = 0
    """Aettos of those that succeeded."""
    outcomes: dict[str, int] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def ended(self) -> None:
        while self.sent:
            self.changed.clear()
            await self.changed.wait()

    async def pay(self) -> None:
        while True:
            await self.room.acquire()
            command_id, amount = str(uuid.uuid4()), SystemRandom().randint(1, MOST_AETTOS)
            self.sent[command_id] = amount
            parties = {"from": self.parties[0], "to": self.parties[1]}
            await self._give({"command_id": command_id, **parties, "amount": str(amount)})

    async def _give(self, fields: dict[str, str]) -> None:
        while True:
            try:
                await self.client.send(self.act.initiator, "transfer", fields)
            except BrokerUnavailable:
                await asyncio.sleep(0.5)
            else:
                return

    def astray(self, balance: int) -> int:
        """How far it is from what the outcomes say."""
        return self.act.initiator_amount - self.spent - balance

    def take(self, command_id: str, outcome: str) -> None:
        """A result; one that comes again is not counted again."""
        if outcome in FINAL and command_id in self.sent:
            amount = self.sent.pop(command_id)
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
            self.spent += amount if outcome == "succeeded" else 0
            self.room.release()
            self.changed.set()


@dataclass
class Memory:
    """What the bridge's process held, second by second, in stretches between kills."""

    stretches: list[list[tuple[float, float]]] = field(default_factory=lambda: [[]])

    async def watch(self, stage: Stage) -> None:
        while True:
            stage.check()
            pid = stage.bridge_pid
            if pid is not None:
                self.stretches[-1].append((time.monotonic(), resident(pid)))
            await asyncio.sleep(1.0)

    def lines(self) -> list[tuple[float, float]]:
        """For each stretch that can be judged its slope in MiB a minute, and what was held at its end."""
        warm = [
            [point for point in stretch if point[0] - stretch[0][0] > WARM_UP_SECONDS] for stretch in self.stretches
        ]
        return [(slope(stretch) * 60, stretch[-1][1]) for stretch in warm if len(stretch) >= LEAST_READINGS]


def resident(pid: int) -> float:
    """MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / MEBIBYTE


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line with the least squares, a second."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


async def soak(minutes: float) -> bool:
    acts = [Act(f"soak-{number}", "json-rpc") for number in range(CHANNELS)]
    async with Stage(None, acts) as stage, Connection(stage.url("shop"), "shop") as connection:
        client = BusClient(connection, stage.prefix, stage.user("shop"))
        payers = {act.initiator: _payer(stage, client, act) for act in acts}
        memory = Memory()
        results = await client.results()

        async def read() -> None:
            async for delivery in results:
                body = json.loads(delivery.received.body)
                if body.get("command") == "transfer" and body["channel"] in payers:
                    payers[body["channel"]].take(body["command_id"], body["outcome"])
                await delivery.ack()

        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read())
            await client.command(acts[0].initiator, "query", {"what": "balances"}, 60)
            paying = [group.create_task(payer.pay()) for payer in payers.values()]
            watching = group.create_task(memory.watch(stage))
            await _kill_again_and_again(stage, memory, payers, minutes)
            for task in (*paying, watching):
                task.cancel()
            await _drain(payers)
            differences = [await _compare(stage, client, payer) for payer in payers.values()]
            reading.cancel()
        return sum_up(payers, memory, differences, minutes)


def _payer(stage: Stage, client: BusClient, act: Act) -> Payer:
    first, second = (stage.accounts[f"{act.name}-{role}"] for role in ROLES)
    return Payer(client, act, (first, second))


async def _kill_again_and_again(stage: Stage, memory: Memory, payers: dict[str, Payer], minutes: float) -> None:
    ends = time.monotonic() + minutes * 60
    while (left := ends - time.monotonic()) > 0:
        await asyncio.sleep(min(STRETCH_SECONDS, left))
        _tell(memory, payers)
        if ends - time.monotonic() > WARM_UP_SECONDS + JUDGED_SECONDS:
            pid = stage.bridge_pid
            await stage.kill_bridge()
            memory.stretches.append([])
            stage.start_bridge()
            print(f"killed {pid}, started {stage.bridge_pid}", flush=True)


def _tell(memory: Memory, payers: dict[str, Payer]) -> None:
    done = sum(sum(payer.outcomes.values()) for payer in payers.values())
    lines = memory.lines()
    shown = f"{lines[-1][1]:.1f} MiB, {lines[-1][0]:+.2f} MiB/min" if lines else "warming up"
    print(f"{done} payments done, resident {shown}", flush=True)


async def _drain(payers: dict[str, Payer]) -> None:
    """What is still without an outcome then is told at the end."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await asyncio.gather(*(payer.ended() for payer in payers.values()))


async def _compare(stage: Stage, client: BusClient, payer: Payer) -> int:
    """How far the balance the node tells is from what the outcomes say."""
    result = await client.command(payer.act.initiator, "query", {"what": "balances"}, 60)
    told = int(result["data"]["balances"][payer.parties[0]])
    return payer.astray(told)


def sum_up(payers: dict[str, Payer], memory: Memory, differences: list[int], minutes: float) -> bool:
    totals: dict[str, int] = {}
    for payer in payers.values():
        for outcome, count in payer.outcomes.items():
            totals[outcome] = totals.get(outcome, 0) + count
    open_ = sum(len(payer.sent) for payer in payers.values())
    lines = memory.lines()
    for number, (per_minute, held) in enumerate(lines, 1):
        print(f"stretch {number}: {per_minute:+.3f} MiB/min, {held:.1f} MiB at its end")
    steepest = max((per_minute for per_minute, _ in lines), default=float("inf"))
    is_flat = steepest < MOST_MEBIBYTES_PER_MINUTE and len(lines) == len(memory.stretches)
    rate = sum(totals.values()) / minutes / 60
    is_true = not open_ and not any(differences)
    share = totals.get("succeeded", 0) / max(1, sum(totals.values()))
    is_good = is_flat and is_true and share >= LEAST_SHARE and rate >= LEAST_A_SECOND
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(totals.items()))
    print(
        f"soak: {'ok' if is_good else 'FAILED'}  minutes {minutes:g}  kills {len(memory.stretches) - 1}"
        f"  payments {sum(totals.values())} ({told}; {100 * share:.2f} % succeeded)"
        f"  a second {rate:.1f} (at least {LEAST_A_SECOND:g})"
        f"  without outcome {open_}  aettos astray {sum(map(abs, differences))}"
        f"  steepest {steepest:+.2f} MiB/min (limit {MOST_MEBIBYTES_PER_MINUTE:g})"
        f"  stretches judged {len(lines)} of {len(memory.stretches)}"
    )
    return is_good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10.0)
    sys.exit(0 if asyncio.run(soak(parser.parse_args().minutes)) else 1)


if __name__ == "__main__":
    main()
