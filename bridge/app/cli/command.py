"""`command`: write commands to the bus, as a client would."""

import json
import os
import sys
from typing import Annotated, Any

import typer

from bridge.app import busclient
from bridge.app import config as configuration
from bridge.app.access import Access
from bridge.app.cli.terminal import FAILED, OK, Prefix, Url, dial, err, exits, out, run

app = typer.Typer(help="Write commands to the bus, as a client would.", no_args_is_help=True)


EXAMPLES = """
Examples:

    channel-bridge command send acme-7 transfer from=ak_… to=ak_… amount=5

    channel-bridge command send acme-7 transfer from=ak_… to=ak_… amount=5 expect_round:=12 meta:='["invoice 4711"]'

    channel-bridge command send acme-7 query what=balances --json | jq .data

    channel-bridge command send acme-7 checkpoint

    channel-bridge command send acme-7 resolve target=invoice-4711 outcome=failed reason="closed on chain"
"""


@app.command("send", epilog=EXAMPLES)
def command_send(
    channel: Annotated[str, typer.Argument(help="The channel's name.")],
    kind: Annotated[
        str,
        typer.Argument(
            help="transfer, deposit, withdraw, message, shutdown or query; as an operator checkpoint or resolve."
        ),
    ],
    fields: Annotated[
        list[str] | None,
        typer.Argument(help="Fields as name=text, e.g. amount=5, or name:=JSON, e.g. expect_round:=12."),
    ] = None,
    url: Url = None,
    prefix: Prefix = "channels",
    seconds: Annotated[float, typer.Option(help="How long to wait for the outcome.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="The result in one line, not indented.")] = False,
) -> None:
    """Send one command and wait for its outcome, which is printed as JSON.

    Sent again with the same fields, command_id=… and issued_at=… among them, it is the same command: it runs once, and
    the outcome is told again. Without a result in time, both are told on standard error, to be sent again with.
    Exit codes: 0 succeeded; 1 any other outcome, or none in time; 76 the broker; 78 the address.
    """
    with exits():
        given = busclient.stamp(busclient.parse_fields(fields or []))
        access = Access(configuration.load_client(url, os.environ))
        outcome: list[dict[str, Any]] = []

        async def work() -> None:
            async with dial(access, "command") as connection:
                client = busclient.BusClient(connection, prefix, connection.user)
                outcome.append(await client.command(channel, kind, given, seconds))

        try:
            run(work())
        except TimeoutError as error:
            again = " ".join(f"{name}={given[name]}" for name in busclient.STAMPS)
            late = f"no outcome within {seconds:g} s; the command may still run: to ask, send it again with {again}"
            err.print(late, markup=False, soft_wrap=True)
            raise typer.Exit(FAILED) from error
        if as_json:
            sys.stdout.write(json.dumps(outcome[0], ensure_ascii=False) + "\n")
        else:
            out.print_json(json.dumps(outcome[0]))
        raise typer.Exit(OK if outcome[0]["outcome"] == "succeeded" else FAILED)
