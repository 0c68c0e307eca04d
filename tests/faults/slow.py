"""`python -m tests.faults.slow CONFIG`: the real bridge on a slow disk: each transaction takes 30 ms longer.

So whatever leaves the bridge before its transaction is seen outside while the journal does not have it yet. The
bridge's own code runs unchanged: the trap stands around the writer's transaction, from outside.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

from bridge.app import config as configuration
from bridge.app import service, telemetry
from bridge.journal.writer import Writer

COMMIT_SECONDS = 0.03


def slow_down() -> None:
    transact = Writer._transact

    def slow(self: Writer, group: list[Any]) -> None:
        time.sleep(COMMIT_SECONDS)
        transact(self, group)

    Writer._transact = slow  # type: ignore[method-assign]


if __name__ == "__main__":
    loaded = configuration.load(Path(sys.argv[1]), os.environ)
    telemetry.set_up(loaded.log.level, loaded.log.format)
    slow_down()
    asyncio.run(service.serve(loaded))
