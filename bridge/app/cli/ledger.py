"""`ledger`: the books of each channel, read from the journal."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bridge.app import booksreport
from bridge.app.auditreport import journal_file
from bridge.app.cli.terminal import FAILED, OK, AsJson, ConfigPath, JournalPath, exits, load

app = typer.Typer(help="The books of each channel, read from the journal.", no_args_is_help=True)


class Format(StrEnum):
    CSV = "csv"
    JSON = "json"


@app.command("export")
def ledger_export(
    form: Annotated[Format, typer.Option("--format", help="csv: a row a line; json: an object an entry.")] = Format.CSV,
    channel: Annotated[str | None, typer.Option(help="Only this channel, by its name in the configuration.")] = None,
    journal: JournalPath = None,
    config: ConfigPath = None,
) -> None:
    """Print the books from the first entry on, CSV or JSON lines; also while a bridge runs.

    Example: channel-bridge ledger export --format csv --channel acme-7 -c bridge.toml > acme-7.csv
    """
    with exits():
        write = booksreport.export_csv if form is Format.CSV else booksreport.export_json
        for line in write(_file(journal, config), channel):
            sys.stdout.write(line + "\n")


@app.command("verify")
def ledger_verify(journal: JournalPath = None, config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Compare the books with themselves, the channels' balances and the node's proofs; also while a bridge runs.

    Exit code 1 if something is wrong, with a sentence for each finding.
    """
    with exits():
        verdict = booksreport.verify(_file(journal, config))
        for line in booksreport.describe(verdict, as_json=as_json):
            sys.stdout.write(line + "\n")
        raise typer.Exit(FAILED if verdict.findings else OK)


def _file(journal: Path | None, config: Path | None) -> Path:
    return journal_file(journal or Path(load(config).data_dir))
