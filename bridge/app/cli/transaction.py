"""`transaction`: look at a transaction, without a node, a broker or a key."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from bridge.app import transactionreport
from bridge.app.cli.terminal import FAILED, AsJson, err, out
from bridge.channel.identifier import Account
from bridge.errors import EncodingError
from bridge.wire import encoding

app = typer.Typer(help="Look at transactions.", no_args_is_help=True)


@app.command("show")
def show(
    text: Annotated[str, typer.Argument(metavar="TX", help="The transaction, tx_…; `-` reads it from standard input.")],
    network_id: Annotated[str, typer.Option(help="The network whose signatures count, e.g. ae_mainnet.")] = "",
    account: Annotated[
        list[str] | None, typer.Option(help="Try the signatures against this account too; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print what a transaction says, what is to be signed for it, and whose signatures it bears.

    Example: channel-bridge transaction show --network-id ae_uat --account ak_2d8t… tx_+E0LAc…
    """
    try:
        accounts = [_account(given) for given in account or ()]
        report = transactionreport.describe(sys.stdin.read() if text == "-" else text, network_id, accounts)
    except EncodingError as error:
        err.print(f"{error.code.value}: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(FAILED) from error
    if as_json:
        out.print_json(json.dumps(report))
        return
    _print(report)


def _account(text: str) -> Account:
    encoding.account_key(Account(text))
    return Account(text)


def _print(report: dict[str, Any], title: str = "") -> None:
    table = Table(title=title or report["kind"], title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    head = {name: report[name] for name in ("hash", "signed_tx_hash", "channel_id")}
    for name, value in head.items():
        if value is not None and name not in report["fields"]:
            table.add_row(name, value)
    for name, value in report["fields"].items():
        table.add_row(name, escape(json.dumps(value) if isinstance(value, list) else str(value)))
    for number, one in enumerate(report["signatures"], start=1):
        by = f"{one['sentence']}: {one['account']} ({one['form']})" if one["account"] else one["sentence"]
        table.add_row(f"signature {number}", f"{one['signature']}\n{by}")
    for form, payload in report["payloads"].items():
        if transactionreport.INSIDE not in form:
            table.add_row(f"to sign, {form}", payload)
    out.print(table)
    if report.get("inside"):
        _print(report["inside"], f"inside: {report['inside']['kind']}")
