"""`asyncapi`: the bus contract as a document."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bridge.app.cli.terminal import AsJson

app = typer.Typer()


@app.command("asyncapi")
def asyncapi(
    prefix: Annotated[str, typer.Option(help="The deployment's prefix.")] = "channels",
    as_json: AsJson = False,
    schemas: Annotated[
        Path | None, typer.Option(help="Write the JSON Schemas, a file each, to this directory instead.")
    ] = None,
) -> None:
    """Print the bus contract: AsyncAPI 3.0 in YAML, with the schema and an example of every message."""
    from bridge.app.asyncapi import document, schema  # heavy, and needed here only

    if schemas is not None:
        schema.write(schemas)
        return
    made = document.document(prefix)
    sys.stdout.write(document.as_json(made) if as_json else document.as_yaml(made))
