"""`doctor`: what is wrong with a deployment, and what to type."""

import json
import os
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from bridge.app import config as configuration
from bridge.app.cli.terminal import FAILED, OK, AsJson, ConfigPath, err, exits, out, run
from bridge.app.doctor.advice import Advice
from bridge.app.doctor.visit import visit
from bridge.app.settings import Broker

app = typer.Typer()

LENT = {"AMQP_URL": "TOPOLOGY_AMQP_URL", "AMQP_URL_FILE": "TOPOLOGY_AMQP_URL_FILE"}
EXAMPLES = """
Examples:

    channel-bridge doctor -c bridge.toml

    TOPOLOGY_AMQP_URL_FILE=secrets/builder_url channel-bridge doctor -c bridge.toml --json
"""


@app.command("doctor", epilog=EXAMPLES)
def doctor(
    config: ConfigPath = None,
    topology_url: Annotated[
        str | None,
        typer.Option(help="The broker as the topology user, without a password; else TOPOLOGY_AMQP_URL or …_URL_FILE."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at everything the bridge needs, and say for each thing that is wrong what to type. Changes nothing.

    Configuration, data directory, disk, clock, broker, its exchanges and queues, our rights, signers, dead letters,
    nodes. Arguments of queues are only seen with the topology user's rights. Run it as the user, and where, the
    bridge runs. Exit codes: 0 nothing to mend; 1 an error or a warning was found.
    """
    with exits():
        lent = _topology(topology_url)
        found: list[Advice] = []
        columns = SpinnerColumn(), TextColumn("looking at {task.description}")
        with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
            task = bar.add_task("", total=None)

            async def work() -> None:
                looked = visit(config, os.environ, lent, lambda what: bar.update(task, description=what))
                found.extend([advice async for advice in looked])

            run(work())
        _tell(found, as_json=as_json)
        raise typer.Exit(FAILED if any(advice.is_finding for advice in found) else OK)


def _topology(url: str | None) -> Broker | None:
    """The environment as `load_client` reads it, under the names of the one who lends his rights."""
    environ = {name: os.environ[lent] for name, lent in LENT.items() if os.environ.get(lent)}
    return configuration.load_client(url, environ) if url or environ else None


def _tell(found: list[Advice], *, as_json: bool) -> None:
    if as_json:
        rows = [
            {"level": one.level.value, "code": one.check.value, "sentence": one.sentence, "fix": one.fix}
            for one in found
        ]
        out.print_json(json.dumps({"ok": not any(one.is_finding for one in found), "found": rows}))
        return
    for one in found:
        out.print(f"{one.level.value}: {one.check.value}: {one.sentence}", markup=False, soft_wrap=True)
        if one.fix:
            out.print(f"    fix: {one.fix}", markup=False, soft_wrap=True)
    count = sum(one.is_finding for one in found)
    out.print("ok: nothing to mend" if not count else f"{count} to mend", markup=False)
