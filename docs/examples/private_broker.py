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
from pathlib import Path

from bridge.broker.private import PrivateBroker
from bridge.signing.secret import write_secret


async def main(url_file: Path, definitions: Path | None) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    given = None if definitions is None else json.loads(definitions.read_text())
    async with PrivateBroker(given) as broker:
        write_secret(url_file, broker.url())
        print(f"RabbitMQ listens on 127.0.0.1:{broker.port}", flush=True)
        await stopped.wait()
    url_file.unlink()


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
