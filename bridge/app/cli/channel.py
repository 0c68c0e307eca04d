"""`rescue`: one channel, looked at in the journal."""

import json
from pathlib import Path
from typing import Annotated

import typer

from bridge.app import rescue
from bridge.app.cli.terminal import ConfigPath, exits, load, out
from bridge.channel.identifier import ChannelName

app = typer.Typer()


@app.command("rescue", epilog="Examples:\n\n    channel-bridge rescue acme-7 -c bridge.toml > kit.json")
def show_rescue_kit(
    channel: Annotated[str, typer.Argument(help="The channel's name in the configuration.")],
    config: ConfigPath = None,
) -> None:
    """Print what it takes to close a channel on chain without its node, from the journal; also while a bridge runs."""
    with exits():
        loaded = load(config)
        out.print_json(json.dumps(rescue.kit(Path(loaded.data_dir), ChannelName(channel))))
