"""`journal`: the durable record, checked and written out without owning it."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bridge.app.cli.terminal import FAILED, OK, AsJson, ConfigPath, JournalPath, err, exits, load, out
from bridge.journal import integrity
from bridge.journal.journal import FILE

app = typer.Typer(help="The durable record in the data directory; also while a bridge runs.", no_args_is_help=True)

VERIFY_EXAMPLES = """
Examples:

    channel-bridge journal verify -c bridge.toml

    channel-bridge journal verify --journal /backup/tuesday --thorough --json
"""
EXPORT_EXAMPLES = """
Examples:

    channel-bridge journal export -c bridge.toml > journal.jsonl

    channel-bridge journal export -c bridge.toml | jq 'select(.table == "inbox" and .status == "in_doubt")'
"""


@app.command("verify", epilog=VERIFY_EXAMPLES)
def journal_verify(
    journal: JournalPath = None,
    thorough: Annotated[bool, typer.Option("--thorough", help="Compare every index too; slower.")] = False,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Check that it holds together: pages, states, the chain of events, inbox, outbox, audit.

    A copy can be checked too: name the directory it lies in. Exit codes: 0 whole; 1 a fault was found; 74 the file
    cannot be read at all.
    """
    with exits(), _progress() as bar:
        task = bar.add_task("journal", total=None)
        report = integrity.examine(
            _file(journal, config),
            thorough=thorough,
            tell=lambda name: bar.update(task, description=f"looking at {name}"),
        )
        bar.stop()
        if as_json:
            found = [{"table": fault.table, "sentence": fault.sentence} for fault in report.faults]
            told = {"whole": report.is_whole, "rows": report.counts, "audit_head": report.audit_head, "found": found}
            out.print_json(json.dumps(told))
        else:
            _tell(report)
        raise typer.Exit(OK if report.is_whole else FAILED)


def _tell(report: integrity.Report) -> None:
    for fault in report.faults:
        out.print(f"{fault.table}: {fault.sentence}", markup=False, soft_wrap=True)
    rows = ", ".join(f"{count} {table}" for table, count in report.counts.items())
    if report.is_whole:
        out.print(f"ok: {rows}; audit head {report.audit_head or 'none'}", markup=False, soft_wrap=True)
    else:
        out.print(f"broken: {len(report.faults)} faults; see docs/operations.md", markup=False, soft_wrap=True)


@app.command("export", epilog=EXPORT_EXAMPLES)
def journal_export(journal: JournalPath = None, config: ConfigPath = None) -> None:
    """Print all of it, one JSON object a row and line, `table` first; the nodes' credentials stay sealed.

    One view: what is written meanwhile is not in it, and as long as it is being read a running bridge's -wal grows. So
    write it to a file, not to a pager. Exit codes: 0; 74 the journal cannot be read.
    """
    with exits():
        for line in integrity.export(_file(journal, config)):
            sys.stdout.write(line + "\n")


def _file(journal: Path | None, config: Path | None) -> Path:
    return (journal or Path(load(config).data_dir)) / FILE


def _progress() -> Progress:
    """On a terminal only, and gone when done."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
