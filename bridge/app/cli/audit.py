"""`audit`: the record of who decided what, read from the journal."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bridge.app import auditreport
from bridge.app.cli.terminal import FAILED, OK, AsJson, ConfigPath, JournalPath, exits, load

app = typer.Typer(help="The record of who decided what, read from the journal.", no_args_is_help=True)


@app.command("verify", epilog="Examples:\n\n    channel-bridge audit verify -c bridge.toml --anchor 4711:9f2c…")
def audit_verify(
    journal: JournalPath = None,
    file: Annotated[Path | None, typer.Option(help="An export to check instead of a journal.")] = None,
    anchor: Annotated[str, typer.Option(metavar="SEQ:HASH", help="A head that was kept elsewhere.")] = "",
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Find gaps, edits and rows out of place; also while a bridge runs. Exit code 1 if there is one."""
    with exits():
        kept = auditreport.read_anchor(anchor) if anchor else None
        verdict = auditreport.check(_audit_of(journal, config) if file is None else None, file, kept)
        for line in auditreport.describe(verdict, as_json=as_json):
            sys.stdout.write(line + "\n")
        raise typer.Exit(OK if verdict.is_whole else FAILED)


@app.command("export", epilog="Examples:\n\n    channel-bridge audit export -c bridge.toml --after 4711 > audit.jsonl")
def audit_export(
    journal: JournalPath = None,
    after: Annotated[int, typer.Option(min=0, help="Only rows behind this number.")] = 0,
    config: ConfigPath = None,
) -> None:
    """Print the audit, one JSON object a row and line; also while a bridge runs."""
    with exits():
        for line in auditreport.export(_audit_of(journal, config), after):
            sys.stdout.write(line + "\n")


@app.command("head", epilog="Examples:\n\n    channel-bridge audit head -c bridge.toml")
def audit_head(journal: JournalPath = None, config: ConfigPath = None) -> None:
    """Print the newest row as SEQ:HASH: keep it elsewhere, it is an anchor for `audit verify`."""
    with exits():
        sys.stdout.write(auditreport.head(_audit_of(journal, config)) + "\n")


def _audit_of(journal: Path | None, config: Path | None) -> Path:
    """The journal's file."""
    return auditreport.journal_file(journal or Path(load(config).data_dir))
