"""`healthcheck`: for a container's HEALTHCHECK and for probes that run a program."""

import os
from typing import Annotated

import httpx
import typer

from bridge.app import config as configuration
from bridge.app.cli.terminal import FAILED, ConfigPath, err, exits
from bridge.app.health import probe_url

app = typer.Typer()
SECONDS = 3.0


@app.command()
def healthcheck(
    config: ConfigPath = None,
    url: Annotated[str | None, typer.Option(help="Ask here instead: the address of /livez, or of the port.")] = None,
) -> None:
    """Ask a running bridge or signer whether it is alive: exit code 0 when /livez answers 200, else 1.

    Without --url the port is the one in the configuration, or in CHANNEL_BRIDGE_HTTP__HOST and ..._PORT.

    Example: channel-bridge healthcheck --url http://127.0.0.1:8090
    """
    with exits():
        asked = probe_url(configuration.load_http(config, os.environ)) if url is None else url.rstrip("/")
    asked = asked if asked.endswith("z") else f"{asked}/livez"
    try:
        # Certificates are not verified: it asks its own port, sends nothing and believes one bit.
        with httpx.Client(timeout=SECONDS, trust_env=False, verify=False) as client:  # noqa: S501
            status = client.get(asked).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        err.print(f"{asked}: {type(error).__name__}: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(FAILED) from error
    if status != httpx.codes.OK:
        err.print(f"{asked}: status {status}", markup=False)
        raise typer.Exit(FAILED)
