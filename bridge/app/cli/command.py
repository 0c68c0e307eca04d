"""`command`: write commands to the bus, as a client would."""

import json
import os
from typing import Annotated, Any

import typer

from bridge.app import busclient
from bridge.app import config as configuration
from bridge.app.access import Access
from bridge.app.cli.terminal import FAILED, OK, Url, dial, err, exits, out, run

app = typer.Typer(help="Write commands to the bus, as a client would.", no_args_is_help=True)


@app.command("send")
def command_send(
    channel: Annotated[str, typer.Argument(help="The channel's name.")],
    kind: Annotated[str, typer.Argument(help="transfer, deposit, withdraw, message, shutdown or query.")],
    fields: Annotated[list[str] | None, typer.Argument(help="Fields as name=value, e.g. amount=5.")] = None,
    url: Url = None,
    prefix: Annotated[str, typer.Option(help="The deployment's prefix.")] = "channels",
    seconds: Annotated[float, typer.Option(help="How long to wait for the outcome.")] = 60.0,
) -> None:
    """Send one command and wait for its outcome. Exit code 1 unless it succeeded."""
    with exits():
        access = Access(configuration.load_client(url, os.environ))
        outcome: list[dict[str, Any]] = []

        async def work() -> None:
            async with dial(access, "command") as connection:
                client = busclient.BusClient(connection, prefix, connection.user)
                outcome.append(await client.command(channel, kind, busclient.parse_fields(fields or []), seconds))

        try:
            run(work())
        except TimeoutError as error:
            err.print(f"no outcome within {seconds:g} s; the command may still run", markup=False)
            raise typer.Exit(FAILED) from error
        out.print_json(json.dumps(outcome[0]))
        raise typer.Exit(OK if outcome[0]["outcome"] == "succeeded" else FAILED)
