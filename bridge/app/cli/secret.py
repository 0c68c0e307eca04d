"""`keygen` and `secret`: files with keys and passwords, written once, readable by their owner alone."""

import os
from pathlib import Path
from typing import Annotated

import typer

from bridge.app import deployment
from bridge.app.cli.terminal import exits, out
from bridge.signing.key import generate

app = typer.Typer()


@app.command()
def keygen(path: Annotated[Path, typer.Argument(help="The file to write, mode 0600. It must not exist.")]) -> None:
    """Make a signing key and print its account."""
    with exits():
        out.print(generate(path), markup=False, soft_wrap=True)


@app.command()
def secret(path: Annotated[Path, typer.Argument(help="The file to write, mode 0600. It must not exist.")]) -> None:
    """Make 32 random bytes in hex: a journal key or a password."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(deployment.new_secret() + "\n")
