"""A hundred channels in one process, twenty transfers each way: every one must succeed, and how long it takes.

    python -m benchmarks.many_channels [CHANNELS] [TRANSFERS]

Bridge, signers, client and simulated node share one event loop and one core; RabbitMQ has the other. So the
figure says what the whole of it costs, not what a bridge alone can do. One direction after the other:
crossing proposals void each other by the protocol.
"""

import asyncio
import resource
import sys
import tempfile
import time
from pathlib import Path

from bridge.broker.private import PrivateBroker
from tests.system.house import House, Pair, house


async def pay_all(home: House, pairs: list[Pair], role: str, transfers: int) -> int:
    """Every channel's transfers in one direction, all given at once; how many failed."""
    peer = "responder" if role == "initiator" else "initiator"
    sent = [
        await home.send(
            pair.initiator if role == "initiator" else pair.responder,
            "transfer",
            from_=pair.account(role),
            to=pair.account(peer),
            amount=str(1000 + number),
        )
        for number in range(transfers)
        for pair in pairs
    ]
    outcomes = [await home.outcome(command_id, seconds=600) for command_id in sent]
    return sum(outcome["outcome"] != "succeeded" for outcome in outcomes)


async def measure(channels: int, transfers: int) -> int:
    """Prints the figures; returns how many transfers failed."""
    pairs = [Pair(f"c{number}") for number in range(channels)]
    async with PrivateBroker() as broker:
        with tempfile.TemporaryDirectory() as directory:
            async with house(broker.url(), Path(directory), *pairs, events="*.info.state", is_judged=False) as home:
                started = time.monotonic()
                await home.opened()
                print(f"opened {channels} channels, both roles, in {time.monotonic() - started:.1f} s", flush=True)
                failed = 0
                for role in ("initiator", "responder"):
                    started = time.monotonic()
                    failed += await pay_all(home, pairs, role, transfers)
                    seconds = time.monotonic() - started
                    count = channels * transfers
                    print(f"{role}: {count} transfers in {seconds:.1f} s, {count / seconds:.0f}/s", flush=True)
                rounds = {home.state(pair.responder).round for pair in pairs}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"many_channels: {2 * channels * transfers} transfers, {failed} failed, rounds {rounds}, {memory} MiB")
    return failed


def main() -> int:
    channels, transfers = map(int, [*sys.argv[1:3], "100", "20"][:2]) if len(sys.argv) > 2 else (100, 20)
    return 1 if asyncio.run(measure(channels, transfers)) else 0


if __name__ == "__main__":
    sys.exit(main())
