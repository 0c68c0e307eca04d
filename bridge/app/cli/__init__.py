"""`channel-bridge`: one command, and a word for each thing it does; one file here for each word or family of words.

Exit codes: 0 done; 1 failed while running; 2 wrong usage; 75 another process owns the data directory; 76 the
broker refused us; 74 the journal cannot be read or written; 78 the configuration is wrong (all findings are printed).
"""

import typer

from bridge import __version__
from bridge.app.cli import audit, channel, command, config, event, process, secret, topology, transaction
from bridge.app.cli.terminal import out

app = typer.Typer(
    help="Joins aeternity state channels to RabbitMQ: commands in, sign requests and events out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for top in (process, channel, secret):
    app.add_typer(top.app)
for name, family in {
    "config": config,
    "topology": topology,
    "command": command,
    "events": event,
    "audit": audit,
    "transaction": transaction,
}.items():
    app.add_typer(family.app, name=name)


@app.command()
def version() -> None:
    """Print the version."""
    out.print(__version__, markup=False)


def main() -> None:
    """The console script."""
    app()
