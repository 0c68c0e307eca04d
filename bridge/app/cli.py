"""`channel-bridge`: one command, and a word for each thing it does.

Exit codes: 0 done; 1 failed while running; 2 wrong usage; 75 another process owns the data directory; 76 the
broker refused us; 74 the journal cannot be read or written; 78 the configuration is wrong (all findings are printed).
"""

import asyncio
import json
import os
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bridge import __version__
from bridge.app import auditreport, busclient, deployment, rescue, service, telemetry
from bridge.app import config as configuration
from bridge.app import signer as signing
from bridge.app.access import Access
from bridge.app.clock import SteadyClock
from bridge.broker import topology as bus
from bridge.broker.connection import Connection
from bridge.channel.identifier import ChannelName
from bridge.errors import BrokerRefused, BrokerUnavailable, ConfigInvalid, JournalUnavailable, OwnerConflict
from bridge.signing.key import generate, load_keys
from bridge.signing.signer import Signer
from bridge.sim import scenario as scenarios
from bridge.sim.fault import Fault, Pause
from bridge.sim.program import Options
from bridge.sim.program import serve as serve_node

app = typer.Typer(
    help="Joins aeternity state channels to RabbitMQ: commands in, sign requests and events out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="Look at the configuration.", no_args_is_help=True)
topology_app = typer.Typer(help="Exchanges, queues, bindings and users on the broker.", no_args_is_help=True)
command_app = typer.Typer(help="Write commands to the bus, as a client would.", no_args_is_help=True)
events_app = typer.Typer(help="Read events from the bus.", no_args_is_help=True)
audit_app = typer.Typer(help="The record of who decided what, read from the journal.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(topology_app, name="topology")
app.add_typer(command_app, name="command")
app.add_typer(events_app, name="events")
app.add_typer(audit_app, name="audit")

ConfigPath = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="CHANNEL_BRIDGE_CONFIG", help="The TOML file; the environment is read too."),
]
JournalPath = Annotated[
    Path | None, typer.Option("--journal", help="The data directory, where no configuration is at hand.")
]
Url = Annotated[
    str | None,
    typer.Option(help="The broker, as your own user; without a password. Else AMQP_URL or AMQP_URL_FILE."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")]

OK, FAILED, JOURNAL_FAILED, OWNED, BROKER_FAILED, WRONG_CONFIG = 0, 1, 74, 75, 76, 78
out = Console()
err = Console(stderr=True)


@contextmanager
def _exits() -> Iterator[None]:
    """Errors we know, as one sentence and an exit code; any other is a bug and shows where."""
    try:
        yield
    except ConfigInvalid as error:
        for finding in error.findings:
            err.print(
                f"{finding.path}: found {finding.found}; expected {finding.expected}", markup=False, soft_wrap=True
            )
        err.print(f"{error.code.value}: {error}", markup=False)
        raise typer.Exit(WRONG_CONFIG) from error
    except (OwnerConflict, BrokerRefused, BrokerUnavailable, JournalUnavailable) as error:
        err.print(f"{error.code.value}: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(_exit_code(error)) from error


def _exit_code(error: Exception) -> int:
    if isinstance(error, OwnerConflict):
        return OWNED
    return JOURNAL_FAILED if isinstance(error, JournalUnavailable) else BROKER_FAILED


def _load(path: Path | None) -> configuration.Config:
    return configuration.load(path, os.environ)


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Runs it, and unpacks the group a task group wraps our errors in."""
    try:
        asyncio.run(work)
    except BaseExceptionGroup as group:
        known = group.subgroup((OwnerConflict, BrokerUnavailable, JournalUnavailable, ConfigInvalid))
        if known is None:
            raise
        raise _first(known) from group


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@app.command()
def run(config: ConfigPath = None) -> None:
    """Run the bridge until SIGTERM or SIGINT."""
    with _exits():
        loaded = _load(config)
        telemetry.set_up(loaded.log.level, loaded.log.format)
        _warn_of_plain(loaded)
        _run(service.serve(loaded))


def _warn_of_plain(loaded: configuration.Config | configuration.SignerConfig) -> None:
    for url in configuration.plain_connections(loaded):
        err.print(f"warning: {url} is spoken to without TLS", markup=False)


@app.command()
def signer(config: ConfigPath = None) -> None:
    """Run a signer: it holds keys, reads sign requests, answers them by its policy."""
    with _exits():
        loaded = configuration.load_signer(config, os.environ)
        telemetry.set_up(loaded.log.level, loaded.log.format)
        made = Signer(load_keys(loaded.keys), loaded.policy, SteadyClock(), loaded.reply)
        _warn_of_plain(loaded)
        _run(signing.serve(signing.SignerService(loaded.prefix, made, Access(loaded.broker))))


@app.command("rescue")
def show_rescue_kit(
    channel: Annotated[str, typer.Argument(help="The channel's name in the configuration.")],
    config: ConfigPath = None,
) -> None:
    """Print what it takes to close a channel on chain without its node, from the journal; also while a bridge runs."""
    with _exits():
        loaded = _load(config)
        out.print_json(json.dumps(rescue.kit(Path(loaded.data_dir), ChannelName(channel))))


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
    _run(serve_node(options))


def _read_scenario(path: Path) -> tuple[Fault | Pause, ...]:
    try:
        return tuple(scenarios.read(path))
    except scenarios.ScenarioInvalid as error:
        raise typer.BadParameter(str(error), param_hint="--scenario") from error


@app.command()
def demo(
    keep: Annotated[Path | None, typer.Option(help="Keep files and logs in this directory.")] = None,
) -> None:
    """Watch channels open, pay, deposit, withdraw, talk and close through a real RabbitMQ."""
    from bridge.app.demo import play  # heavy, and needed here only

    with _exits():
        raise typer.Exit(play(keep))


@app.command()
def keygen(path: Annotated[Path, typer.Argument(help="The file to write, mode 0600. It must not exist.")]) -> None:
    """Make a signing key and print its account."""
    with _exits():
        out.print(generate(path), markup=False, soft_wrap=True)


@app.command()
def secret(path: Annotated[Path, typer.Argument(help="The file to write, mode 0600. It must not exist.")]) -> None:
    """Make 32 random bytes in hex: a journal key or a password."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(deployment.new_secret() + "\n")


@app.command()
def version() -> None:
    """Print the version."""
    out.print(__version__, markup=False)


@config_app.command("check")
def config_check(config: ConfigPath = None) -> None:
    """Find every mistake without connecting to anything. Exit code 78 if there is one."""
    with _exits():
        loaded = _load(config)
        out.print(f"ok: {len(loaded.channels)} channels on {len(loaded.nodes)} nodes", markup=False)


@config_app.command("show")
def config_show(config: ConfigPath = None) -> None:
    """Print what is in force, secrets masked."""
    with _exits():
        out.print_json(json.dumps(configuration.masked(_load(config))))


@topology_app.command("apply")
def topology_apply(config: ConfigPath = None) -> None:
    """Create what is missing on the broker. Needs a user that may configure; the running bridge does not."""
    with _exits():
        loaded = _load(config)
        planned = deployment.plan(loaded)
        seconds = loaded.limits.broker_timeout_seconds
        access = Access(loaded.broker)
        _run(bus.apply(access.broker_urls[0], planned, ssl_context=access.broker_context, call_seconds=seconds))
        count = len(planned.exchanges), len(planned.queues), len(planned.bindings)
        out.print("applied: {} exchanges, {} queues, {} bindings".format(*count), markup=False)


@topology_app.command("show")
def topology_show(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Show exchanges, queues and bindings without connecting."""
    with _exits():
        planned = deployment.plan(_load(config))
        if as_json:
            out.print_json(json.dumps(deployment.definitions(_load(config)) | {"users": []}))
            return
        table = Table("kind", "name", "bound by")
        for exchange in planned.exchanges:
            table.add_row("exchange", exchange.name, "")
        for queue in planned.queues:
            keys = [f"{binding.exchange} {binding.key}" for binding in planned.bindings if binding.queue == queue.name]
            table.add_row("queue", queue.name, "\n".join(keys))
        out.print(table)


@topology_app.command("permissions")
def topology_permissions(config: ConfigPath = None) -> None:
    """Print RabbitMQ definitions: topology, users with hashed passwords, permissions, topic permissions."""
    with _exits():
        sys.stdout.write(json.dumps(deployment.definitions(_load(config)), indent=2) + "\n")


def _dial(access: Access, name: str) -> Connection:
    return Connection(access.broker_urls, name, ssl_context=access.broker_context)


@command_app.command("send")
def command_send(
    channel: Annotated[str, typer.Argument(help="The channel's name.")],
    kind: Annotated[str, typer.Argument(help="transfer, deposit, withdraw, message, shutdown or query.")],
    fields: Annotated[list[str] | None, typer.Argument(help="Fields as name=value, e.g. amount=5.")] = None,
    url: Url = None,
    prefix: Annotated[str, typer.Option(help="The deployment's prefix.")] = "channels",
    seconds: Annotated[float, typer.Option(help="How long to wait for the outcome.")] = 60.0,
) -> None:
    """Send one command and wait for its outcome. Exit code 1 unless it succeeded."""
    with _exits():
        access = Access(configuration.load_client(url, os.environ))
        outcome: list[dict[str, Any]] = []

        async def work() -> None:
            async with _dial(access, "command") as connection:
                client = busclient.BusClient(connection, prefix, connection.user)
                outcome.append(await client.command(channel, kind, busclient.parse_fields(fields or []), seconds))

        try:
            _run(work())
        except TimeoutError as error:
            err.print(f"no outcome within {seconds:g} s; the command may still run", markup=False)
            raise typer.Exit(FAILED) from error
        out.print_json(json.dumps(outcome[0]))
        raise typer.Exit(OK if outcome[0]["outcome"] == "succeeded" else FAILED)


@events_app.command("tail")
def events_tail(
    key: Annotated[str, typer.Argument(help="Routing key to follow, e.g. 'acme-7.#'.")] = "#",
    url: Url = None,
    prefix: Annotated[str, typer.Option(help="The deployment's prefix.")] = "channels",
) -> None:
    """Print events as they come, one JSON object a line, until Ctrl-C."""

    with _exits():
        access = Access(configuration.load_client(url, os.environ))

        async def work() -> None:
            async with _dial(access, "events") as connection:
                async for body in busclient.BusClient(connection, prefix, connection.user).follow(key):
                    sys.stdout.write(json.dumps(body, ensure_ascii=False) + "\n")
                    sys.stdout.flush()

        _run(work())


@audit_app.command("verify")
def audit_verify(
    journal: JournalPath = None,
    file: Annotated[Path | None, typer.Option(help="An export to check instead of a journal.")] = None,
    anchor: Annotated[str, typer.Option(metavar="SEQ:HASH", help="A head that was kept elsewhere.")] = "",
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Find gaps, edits and rows out of place; also while a bridge runs. Exit code 1 if there is one."""
    with _exits():
        kept = auditreport.read_anchor(anchor) if anchor else None
        verdict = auditreport.check(_audit_of(journal, config) if file is None else None, file, kept)
        for line in auditreport.describe(verdict, as_json=as_json):
            sys.stdout.write(line + "\n")
        raise typer.Exit(OK if verdict.is_whole else FAILED)


@audit_app.command("export")
def audit_export(
    journal: JournalPath = None,
    after: Annotated[int, typer.Option(min=0, help="Only rows behind this number.")] = 0,
    config: ConfigPath = None,
) -> None:
    """Print the audit, one JSON object a row and line; also while a bridge runs."""
    with _exits():
        for line in auditreport.export(_audit_of(journal, config), after):
            sys.stdout.write(line + "\n")


@audit_app.command("head")
def audit_head(journal: JournalPath = None, config: ConfigPath = None) -> None:
    """Print the newest row as SEQ:HASH: keep it elsewhere, it is an anchor for `audit verify`."""
    with _exits():
        sys.stdout.write(auditreport.head(_audit_of(journal, config)) + "\n")


def _audit_of(journal: Path | None, config: Path | None) -> Path:
    """The journal's file."""
    return auditreport.journal_file(journal or Path(_load(config).data_dir))


def main() -> None:
    """The console script."""
    app()
