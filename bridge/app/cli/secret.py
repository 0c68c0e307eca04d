"""`keygen` and `secret`: files with keys and passwords, written once, readable by their owner alone."""

import os
from pathlib import Path
from typing import Annotated

import typer

from bridge.app import deployment
from bridge.app.cli.terminal import exits, out
from bridge.signing.key import encrypt, generate
from bridge.signing.secret import read_secret

app = typer.Typer()


@app.command()
def keygen(
    path: Annotated[Path, typer.Argument(help="The file to write, mode 0600. It must not exist.")],
    password_file: Annotated[
        Path | None, typer.Option(help="Encrypt the key with the password in this file of mode 0600.")
    ] = None,
    encrypt_key: Annotated[
        bool, typer.Option("--encrypt", help="Refuse to write the key in the clear; needs --password-file.")
    ] = False,
    source: Annotated[
        Path | None, typer.Option("--from", help="Encrypt the key in this file instead of making one.")
    ] = None,
) -> None:
    """Make a signing key and print its account."""
    if password_file is None and (encrypt_key or source is not None):
        raise typer.BadParameter("an encrypted key needs a password", param_hint="--password-file")
    with exits():
        password = None if password_file is None else read_secret(password_file)
        if source is not None and password is not None:
            account = encrypt(source, path, password)
        else:
            account = generate(path, password)
        out.print(account, markup=False, soft_wrap=True)


@app.command()
def secret(path: Annotated[Path, typer.Argument(help="The file to write, mode 0600. It must not exist.")]) -> None:
    """Make 32 random bytes in hex: a journal key or a password."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(deployment.new_secret() + "\n")
