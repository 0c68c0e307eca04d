"""A RabbitMQ to try things out on: on loopback, with a free port, gone when this program is.

    python docs/examples/private_broker.py URL_FILE [DEFINITIONS]

Writes the URL of a user with all rights to URL_FILE (mode 0600), runs until Ctrl-C or SIGTERM, and removes
the file. It is the broker of the tests and the demo: the installed `rabbitmq-server`, else one fetched from
the distribution's packages. DEFINITIONS is what `channel-bridge topology permissions` prints.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bridge.broker.private import PrivateBroker
from bridge.signing.secret import write_secret


async def run(url_file: Path, definitions: Mapping[str, Any]) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with PrivateBroker(definitions) as broker:
        write_secret(url_file, broker.url())
        print(f"RabbitMQ listens on 127.0.0.1:{broker.port}", flush=True)
        await stopped.wait()


if __name__ == "__main__":
    url_path = Path(sys.argv[1])
    given = json.loads(Path(sys.argv[2]).read_text()) if len(sys.argv) > 2 else {}
    try:
        asyncio.run(run(url_path, given))
    finally:
        url_path.unlink(missing_ok=True)
