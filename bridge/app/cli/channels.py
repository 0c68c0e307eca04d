"""`channels`: how they stand, from the journal."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from bridge.app import overview
from bridge.app.cli.terminal import AsJson, ConfigPath, JournalPath, exits, load, make_table, out

app = typer.Typer()

SHORT = 40
EXAMPLES = """
Examples:

    channel-bridge channels -c bridge.toml

    channel-bridge channels acme-7 -c bridge.toml --events 50

    channel-bridge channels --journal /var/lib/channel-bridge --json
"""


@app.command("channels", epilog=EXAMPLES)
def show_channels(
    channel: Annotated[str | None, typer.Argument(help="One channel, with its last events. Without: all.")] = None,
    config: ConfigPath = None,
    journal: JournalPath = None,
    events: Annotated[int, typer.Option(min=0, help="How many of its last events to show.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show state, round, balances, open sign requests, doubts and what waits; also while a bridge runs.

    It is read from the journal and so shows what was last committed. Role and node come from the configuration;
    with --journal alone the balances are the initiator's and the responder's. Exit codes: 0; 74 the journal
    cannot be read, or knows no such channel; 78 the configuration is wrong.
    """
    with exits():
        loaded = None if journal is not None and config is None else load(config)
        known = overview.places(loaded)
        directory = journal or Path(loaded.data_dir if loaded is not None else ".")
        if channel is not None:
            _show_one(overview.detail(directory, channel, known, events), as_json=as_json)
            return
        lines = overview.overview(directory, known)
        if as_json:
            out.print_json(json.dumps([line.as_json() for line in lines]))
            return
        out.print(_table(lines, has_roles=loaded is not None))


def _table(lines: tuple[overview.Line, ...], *, has_roles: bool) -> Table:
    whose = ("own", "peer") if has_roles else ("initiator", "responder")
    table = make_table(
        "channel", "role", "node", "phase", "link", "round", *whose, "sign request until", "waits", "trouble"
    )
    for line in lines:
        trouble = [f"in doubt {len(line.in_doubt)}"] if line.in_doubt else []
        trouble += [f"exposed {line.exposed}"] if line.exposed else []
        waits = [f"{line.backlog} commands"] if line.backlog else []
        waits += [f"{line.outbox} to publish"] if line.outbox else []
        table.add_row(
            line.name,
            line.role,
            line.node,
            line.phase,
            line.link,
            str(line.round),
            line.own,
            line.peer,
            f"{line.sign.partition(' ')[0]} {line.sign_deadline}".strip(),
            ", ".join(waits),
            ", ".join(trouble),
        )
    return table


def _show_one(found: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        out.print_json(json.dumps(found))
        return
    facts = make_table("", "", show_header=False)
    for name, value in found.items():
        if name not in ("events", "exposures") and value not in (None, "", ()):
            facts.add_row(name, ", ".join(value) if isinstance(value, tuple) else str(value))
    for one in found["exposures"]:
        facts.add_row("exposed", f"{one['command_id']} round {one['round']} {one['tx_hash']}")
    out.print(facts)
    history = make_table("seq", "at", "event", "round", "")
    for event in found["events"]:
        words = " ".join(overview.summarize(event["data"]))
        short = words if len(words) <= 2 * SHORT else words[: 2 * SHORT - 1] + "…"
        history.add_row(str(event["seq"]), event["at"], event["event"], str(event["round"]), short)
    out.print(history)
