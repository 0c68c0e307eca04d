"""`events`: read events from the bus, or have them published again."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bridge.app import busclient, replay
from bridge.app import config as configuration
from bridge.app.access import Access
from bridge.app.cli.terminal import (
    AsJson,
    ConfigPath,
    JournalPath,
    Prefix,
    Url,
    Yes,
    dial,
    err,
    exits,
    load,
    make_table,
    out,
    run,
)

app = typer.Typer(help="Read events from the bus, or have them published again.", no_args_is_help=True)

TAIL_EXAMPLES = """
Examples:

    channel-bridge events tail

    channel-bridge events tail 'acme-7.transfer.*' | jq .data
"""
REPLAY_EXAMPLES = """
Examples:

    channel-bridge events replay acme-7 --seq 120-180 --queue ledger -c bridge.toml

    channel-bridge events replay acme-7 --seq 120-180 --queue ledger -c bridge.toml --yes

    channel-bridge events replay --since 2026-01-02T00:00:00Z --queue ledger --rate 50 --journal /var/lib/bridge --yes
"""


@app.command("tail", epilog=TAIL_EXAMPLES)
def events_tail(
    key: Annotated[str, typer.Argument(help="Routing key to follow, e.g. 'acme-7.#'.")] = "#",
    url: Url = None,
    prefix: Prefix = "channels",
) -> None:
    """Print events as they come, one JSON object a line, until Ctrl-C.

    Exit codes: 76 the broker refused us or is away; 78 the address is wrong.
    """

    with exits():
        access = Access(configuration.load_client(url, os.environ))

        async def work() -> None:
            async with dial(access, "events") as connection:
                async for body in busclient.BusClient(connection, prefix, connection.user).follow(key):
                    sys.stdout.write(json.dumps(body, ensure_ascii=False) + "\n")
                    sys.stdout.flush()

        run(work())


@app.command("replay", epilog=REPLAY_EXAMPLES)
def events_replay(
    queue: Annotated[str, typer.Option(help="Into your own queue <prefix>.client.<you>.<this>; made if need be.")],
    channels: Annotated[list[str] | None, typer.Argument(help="Which channels; all without one.")] = None,
    seq: Annotated[str, typer.Option(help="Numbers: 12, 12-40, 12- or -40.")] = "1-",
    since: Annotated[str | None, typer.Option(help="Not before this instant, RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this instant.")] = None,
    rate: Annotated[float, typer.Option(min=0, help="At most so many a second; 0: no limit.")] = 100.0,
    config: ConfigPath = None,
    journal: JournalPath = None,
    url: Url = None,
    prefix: Prefix = "channels",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Publish events again out of the journal, with the same ids and bodies, into a queue of your own.

    They carry the header `replayed`, keep order within a channel, and reach nobody else. Without --yes it only tells
    what would be published. It reads the journal, so it runs where the bridge's data directory is; the bridge may
    run meanwhile. Exit codes: 0; 74 the journal cannot be read; 76 the broker; 78 the configuration.
    """
    with exits():
        first, last = replay.read_seq(seq)
        label = replay.check_label(queue)
        wanted = replay.Range(
            tuple(channels or ()),
            first,
            last,
            replay.read_instant(since, "--since"),
            replay.read_instant(until, "--until"),
        )
        directory = journal or Path(load(config).data_dir)
        with replay.opened(directory) as opened:
            found = replay.find(opened, wanted)
        where = ""
        if yes and any(one.count for one in found):
            access = Access(configuration.load_client(url, os.environ))
            where = _replay(access, prefix, label, directory, wanted, found, rate)
        _tell(found, where, as_json=as_json)


def _replay(
    access: Access,
    prefix: str,
    label: str,
    directory: Path,
    wanted: replay.Range,
    found: tuple[replay.Found, ...],
    rate: float,
) -> str:
    queues: list[str] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("replaying", total=sum(one.count for one in found))

        async def work() -> None:
            async with dial(access, "replay") as connection:
                queues.append(
                    await replay.replay(
                        connection, prefix, label, directory, wanted, found, rate, lambda _: bar.advance(task)
                    )
                )

        run(work())
    return queues[0]


def _tell(found: tuple[replay.Found, ...], queue: str, *, as_json: bool) -> None:
    if as_json:
        rows = [
            {"channel": one.channel, "events": one.count, "first": one.first, "last": one.last, "gone": one.forgotten}
            for one in found
        ]
        out.print_json(json.dumps({"replayed": bool(queue), "queue": queue or None, "channels": rows}))
        return
    table = make_table("channel", "events", "first", "last", "no longer kept")
    for one in found:
        table.add_row(one.channel, str(one.count), str(one.first), str(one.last), str(one.forgotten))
    out.print(table)
    total = sum(one.count for one in found)
    done = (
        f"published again: {total} events into {queue}"
        if queue
        else f"nothing published: {total} events; --yes does it"
    )
    out.print(done, markup=False, soft_wrap=True)
