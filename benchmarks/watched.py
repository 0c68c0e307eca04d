"""What open consoles cost: processor time a payment, with none and with three pages open, in turns.

    python -m benchmarks.watched [CHANNELS] [TRANSFERS] [TURNS]

The pages are read by a process of their own, as a browser is one. Processor time is that of the process that holds
bridge, signers, client and node: wall time on a shared machine says little, so it is printed beside.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.many_channels import pay_all
from bridge.broker.private import PrivateBroker
from tests.system.house import House, Pair, house

PAGES = 3
READER = """
import asyncio, sys
from websockets.asyncio.client import connect
async def read(url):
    async with connect(url, proxy=None, max_size=None, compression=None) as feed:
        print("open", flush=True)
        async for _ in feed:
            pass
async def main():
    await asyncio.gather(*(read(sys.argv[1]) for _ in range(int(sys.argv[2]))))
asyncio.run(main())
"""


async def measure_turn(home: House, pairs: list[Pair], transfers: int) -> tuple[float, float, int]:
    """Milliseconds of processor and of wall time a transfer, and how many failed."""
    busy, began = time.process_time(), time.monotonic()
    failed = await pay_all(home, pairs, "initiator", transfers)
    count = len(pairs) * transfers
    return (time.process_time() - busy) / count * 1000, (time.monotonic() - began) / count * 1000, failed


async def measure(channels: int, transfers: int, turns: int) -> int:
    """Prints the figures; returns how many transfers failed."""
    pairs = [Pair(f"c{number}") for number in range(channels)]
    figures: dict[int, list[tuple[float, float]]] = {0: [], PAGES: []}
    failed = 0
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(PrivateBroker())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home = await stack.enter_async_context(house(broker.url(), directory, *pairs, events="*.info.state"))
        await home.opened()
        assert home.service is not None  # noqa: S101  # just started
        server = await stack.enter_async_context(home.service.monitor.server())
        await measure_turn(home, pairs, 1)  # warm
        for turn in range(turns):
            # To and fro: what grows with time, in bridge, client and node, must not be charged to the pages.
            for pages in list(figures) if turn % 2 == 0 else list(reversed(figures)):
                reader = await _read(server.port, pages)
                processor, wall, missed = await measure_turn(home, pairs, transfers)
                figures[pages].append((processor, wall))
                failed += missed
                if reader is not None:
                    reader.kill()
                    await reader.wait()
        dropped = home.service.monitor.console.dropped
    for pages, turns_of in figures.items():
        processor, wall = (statistics.median(column) for column in zip(*turns_of, strict=True))
        print(f"watched: {pages} pages: {processor:.2f} ms of processor and {wall:.2f} ms of wall time a transfer")
    ratio = statistics.median(a[0] for a in figures[PAGES]) / statistics.median(a[0] for a in figures[0])
    print(f"watched: {channels} channels: {ratio:.3f} times the processor; {failed} failed, {dropped} dropped")
    return failed


async def _read(port: int | None, pages: int) -> asyncio.subprocess.Process | None:
    if not pages:
        return None
    url = f"ws://127.0.0.1:{port}/live"
    reader = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READER, url, str(pages), stdout=asyncio.subprocess.PIPE
    )
    assert reader.stdout is not None  # noqa: S101  # a pipe was asked for
    for _ in range(pages):
        await reader.stdout.readline()
    return reader


def main() -> int:
    given = [int(word) for word in sys.argv[1:4]]
    channels, transfers, turns = [*given, *(100, 10, 4)[len(given) :]]
    return 1 if asyncio.run(measure(channels, transfers, turns)) else 0


if __name__ == "__main__":
    sys.exit(main())
