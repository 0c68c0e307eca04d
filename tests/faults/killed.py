"""`python -m tests.faults.killed CONFIG ARMED SIDE NUMBER`: the real bridge, killed -9 at one durable write.

Counts the journal's transactions from the moment the file ARMED exists; at the NUMBER-th it kills itself, `before`
anything of it is on disk or right `after` it is, before anybody else learns of it. Writes to ARMED how far it counted.
The bridge's own code runs unchanged: the trap stands around the writer's transaction, from outside.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from bridge.app import config as configuration
from bridge.app import service, telemetry
from bridge.journal.writer import Writer


def trap(armed: Path, side: str, number: int) -> None:
    """From here on this process may end at any transaction."""
    transact = Writer._transact
    count = 0

    def trapped(self: Writer, group: list[Any]) -> None:
        nonlocal count
        if not armed.exists():
            transact(self, group)
            return
        count += 1
        armed.write_text(str(count))
        if (side, count) == ("before", number):
            os.kill(os.getpid(), signal.SIGKILL)
        transact(self, group)
        if (side, count) == ("after", number):
            os.kill(os.getpid(), signal.SIGKILL)

    Writer._transact = trapped  # type: ignore[method-assign]


def main(words: list[str]) -> None:
    path, armed, side, number = words
    loaded = configuration.load(Path(path), os.environ)
    telemetry.set_up(loaded.log.level, loaded.log.format)
    trap(Path(armed), side, int(number))
    asyncio.run(service.serve(loaded))


if __name__ == "__main__":
    main(sys.argv[1:])
