"""`run`, `signer`, `simulate`, `demo`: the commands that stay until they are stopped."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.app import config as configuration
from bridge.app import service, telemetry
from bridge.app import signer as signing
from bridge.app.access import Access
from bridge.app.cli.terminal import ConfigPath, err, exits, load
from bridge.app.cli.terminal import run as run_work
from bridge.app.clock import SteadyClock
from bridge.signing.key import load_keys
from bridge.signing.signer import Signer

if TYPE_CHECKING:
    from bridge.sim.fault import Fault, Pause

app = typer.Typer()


@app.command()
def run(config: ConfigPath = None) -> None:
    """Run the bridge until SIGTERM or SIGINT."""
    with exits():
        loaded = load(config)
        telemetry.set_up(loaded.log.level, loaded.log.format)
        _warn_of_plain(loaded)
        run_work(service.serve(loaded))


def _warn_of_plain(loaded: configuration.Config | configuration.SignerConfig) -> None:
    for url in configuration.plain_connections(loaded):
        err.print(f"warning: {url} is spoken to without TLS", markup=False)


@app.command()
def signer(config: ConfigPath = None) -> None:
    """Run a signer: it holds keys, reads sign requests, answers them by its policy."""
    with exits():
        loaded = configuration.load_signer(config, os.environ)
        telemetry.set_up(loaded.log.level, loaded.log.format)
        made = Signer(load_keys(loaded.keys), loaded.policy, SteadyClock(), loaded.reply)
        _warn_of_plain(loaded)
        run_work(signing.serve(signing.SignerService(loaded.prefix, made, Access(loaded.broker))))


@app.command()
def simulate(
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where to listen; 0 takes a free port.")] = 3014,
    network_id: Annotated[str, typer.Option(help="The network whose signatures count.")] = "ae_dev",
    state_dir: Annotated[Path | None, typer.Option(help="Where channels survive a stop in order.")] = None,
    port_file: Annotated[Path | None, typer.Option(help="Written with the port once it listens.")] = None,
    control_port: Annotated[int | None, typer.Option(help="Take faults over HTTP here, on loopback; 0: any.")] = None,
    control_file: Annotated[Path | None, typer.Option(help="Written with the control port once it listens.")] = None,
    scenario: Annotated[Path | None, typer.Option(help="Faults as a list, TOML or JSON, to play.")] = None,
) -> None:
    """Run the simulated node: both parties, both dialects, no real coins."""
    from bridge.sim.program import Options, serve  # a tenth of the start of every other command

    telemetry.set_up("INFO", "console")
    options = Options(
        host=host,
        port=port,
        network_id=network_id,
        state_dir=state_dir,
        port_file=port_file,
        control_port=control_port,
        control_file=control_file,
        steps=() if scenario is None else _read_scenario(scenario),
    )
    run_work(serve(options))


def _read_scenario(path: Path) -> "tuple[Fault | Pause, ...]":
    from bridge.sim import scenario

    try:
        return tuple(scenario.read(path))
    except scenario.ScenarioInvalid as error:
        raise typer.BadParameter(str(error), param_hint="--scenario") from error


@app.command()
def demo(
    keep: Annotated[Path | None, typer.Option(help="Keep files and logs in this directory.")] = None,
) -> None:
    """Watch channels open, pay, deposit, withdraw, talk and close through a real RabbitMQ."""
    from bridge.app.demo import play  # heavy, and needed here only

    with exits():
        raise typer.Exit(play(keep))
