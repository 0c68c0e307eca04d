"""`topology`: exchanges, queues, bindings and users on the broker."""

import json
import sys

import typer

from bridge.app import deployment
from bridge.app.access import Access
from bridge.app.cli.terminal import AsJson, ConfigPath, exits, load, make_table, out, run
from bridge.broker import topology as bus

app = typer.Typer(help="Exchanges, queues, bindings and users on the broker.", no_args_is_help=True)


@app.command("apply", epilog="Examples:\n\n    AMQP_URL_FILE=builder_url channel-bridge topology apply -c bridge.toml")
def apply(config: ConfigPath = None) -> None:
    """Create what is missing on the broker. Needs a user that may configure; the running bridge does not."""
    with exits():
        loaded = load(config)
        planned = deployment.plan(loaded)
        seconds = loaded.limits.broker_timeout_seconds
        access = Access(loaded.broker)
        run(bus.apply(access.broker_urls[0], planned, ssl_context=access.broker_context, call_seconds=seconds))
        count = len(planned.exchanges), len(planned.queues), len(planned.bindings)
        out.print("applied: {} exchanges, {} queues, {} bindings".format(*count), markup=False)


@app.command("show", epilog="Examples:\n\n    channel-bridge topology show -c bridge.toml --json")
def topology_show(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Show exchanges, queues and bindings without connecting."""
    with exits():
        planned = deployment.plan(load(config))
        if as_json:
            out.print_json(json.dumps(deployment.definitions(load(config)) | {"users": []}))
            return
        table = make_table("kind", "name", "bound by")
        for exchange in planned.exchanges:
            table.add_row("exchange", exchange.name, "")
        for queue in planned.queues:
            keys = [f"{binding.exchange} {binding.key}" for binding in planned.bindings if binding.queue == queue.name]
            table.add_row("queue", queue.name, "\n".join(keys))
        out.print(table)


@app.command(
    "permissions", epilog="Examples:\n\n    channel-bridge topology permissions -c bridge.toml > definitions.json"
)
def topology_permissions(config: ConfigPath = None) -> None:
    """Print RabbitMQ definitions: topology, users with hashed passwords, permissions, topic permissions."""
    with exits():
        sys.stdout.write(json.dumps(deployment.definitions(load(config)), indent=2) + "\n")
