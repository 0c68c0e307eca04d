"""`python -m tests.faults.bus`: every trouble of RabbitMQ and of the links to it, in its full length, on one broker.

The oracle judges each (tests.faults.broker); recovery within 15 s after the repair, node sockets alive meanwhile.
"""

import argparse
import asyncio
import sys
import time
import traceback

from bridge.broker.permission import definitions
from bridge.broker.private import PrivateBroker
from tests.faults.broker import BROKER_TROUBLES

SECONDS = {"stopped": 120.0, "frozen": 40.0, "out_of_memory": 30.0, "killed_in_mid_payment": 40.0, "half_open": 0.0}
SECONDS |= dict.fromkeys(("delayed", "unheard", "deaf", "signers_frozen"), 3.0)
"""Two minutes of absence are asked for; the others last longer than any bound of the bridge's. A half-open link lasts
until both its ends have found out.
"""
OTHERS_SECONDS = 10.0


async def run(most: float) -> int:
    began, told, failed = time.monotonic(), [], []
    async with PrivateBroker(definitions("unused", None, ())) as broker:
        for trouble in BROKER_TROUBLES:
            name = trouble.__name__
            try:
                figures = await trouble(broker, min(most, SECONDS.get(name, OTHERS_SECONDS)))
            except (Exception, ExceptionGroup):
                failed.append(name)
                traceback.print_exc()
                continue
            print(f"{name}: {figures}", flush=True)
            told.append(f"{name} {figures['recovery seconds']} s")
    verdict = f"{len(failed)} failed ({', '.join(failed)})" if failed else "none failed"
    print(f"broker: {', '.join(told)} to recover; {verdict}, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.bus", description=__doc__)
    parser.add_argument("--most", type=float, default=120.0, help="seconds a trouble lasts at most")
    return asyncio.run(run(parser.parse_args(words).most))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
