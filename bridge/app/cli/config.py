"""`config`: look at the configuration."""

import json

import typer

from bridge.app import config as configuration
from bridge.app.cli.terminal import ConfigPath, exits, load, out

app = typer.Typer(help="Look at the configuration.", no_args_is_help=True)


@app.command("check", epilog="Examples:\n\n    channel-bridge config check -c bridge.toml")
def config_check(config: ConfigPath = None) -> None:
    """Find every mistake without connecting to anything. Exit code 78 if there is one."""
    with exits():
        loaded = load(config)
        out.print(f"ok: {len(loaded.channels)} channels on {len(loaded.nodes)} nodes", markup=False)


@app.command("show", epilog="Examples:\n\n    channel-bridge config show -c bridge.toml | jq .channels")
def config_show(config: ConfigPath = None) -> None:
    """Print what is in force, secrets masked."""
    with exits():
        out.print_json(json.dumps(configuration.masked(load(config))))
