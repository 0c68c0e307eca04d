"""`events`: read events from the bus."""

import json
import os
import sys
from typing import Annotated

import typer

from bridge.app import busclient
from bridge.app import config as configuration
from bridge.app.access import Access
from bridge.app.cli.terminal import Url, dial, exits, run

app = typer.Typer(help="Read events from the bus.", no_args_is_help=True)


@app.command("tail")
def events_tail(
    key: Annotated[str, typer.Argument(help="Routing key to follow, e.g. 'acme-7.#'.")] = "#",
    url: Url = None,
    prefix: Annotated[str, typer.Option(help="The deployment's prefix.")] = "channels",
) -> None:
    """Print events as they come, one JSON object a line, until Ctrl-C."""

    with exits():
        access = Access(configuration.load_client(url, os.environ))

        async def work() -> None:
            async with dial(access, "events") as connection:
                async for body in busclient.BusClient(connection, prefix, connection.user).follow(key):
                    sys.stdout.write(json.dumps(body, ensure_ascii=False) + "\n")
                    sys.stdout.flush()

        run(work())
