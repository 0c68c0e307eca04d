"""What all commands share: the options, the two consoles, exit codes, and how a known error ends a command."""

import asyncio
import os
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bridge.app import allocator
from bridge.app import config as configuration
from bridge.app.access import Access
from bridge.broker.connection import Connection
from bridge.errors import (
    BrokerRefused,
    BrokerUnavailable,
    ConfigInvalid,
    GuardUnavailable,
    JournalUnavailable,
    OwnerConflict,
)

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
Prefix = Annotated[str, typer.Option(envvar="CHANNEL_BRIDGE_PREFIX", help="The deployment's prefix.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it. Without: only tell what would be done.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")]

OK, FAILED, JOURNAL_FAILED, OWNED, BROKER_FAILED, WRONG_CONFIG = 0, 1, 74, 75, 76, 78
out = Console()
err = Console(stderr=True)


def make_table(*names: str, **options: Any) -> Table:
    """Nothing in it is ever cut: an amount without its end is another amount."""
    table = Table(**options)
    for name in names:
        table.add_column(name, overflow="fold")
    return table


@contextmanager
def exits() -> Iterator[None]:
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
    except (OwnerConflict, BrokerRefused, BrokerUnavailable, JournalUnavailable, GuardUnavailable) as error:
        err.print(f"{error.code.value}: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(_exit_code(error)) from error


def _exit_code(error: Exception) -> int:
    if isinstance(error, OwnerConflict):
        return OWNED
    return JOURNAL_FAILED if isinstance(error, (JournalUnavailable, GuardUnavailable)) else BROKER_FAILED


def load(path: Path | None) -> configuration.Config:
    return configuration.load(path, os.environ)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Runs it, and unpacks the group a task group wraps our errors in."""
    allocator.hold_mmap_threshold()
    try:
        asyncio.run(work)
    except BaseExceptionGroup as group:
        known = group.subgroup((OwnerConflict, BrokerUnavailable, JournalUnavailable, GuardUnavailable, ConfigInvalid))
        if known is None:
            raise
        raise _first(known) from group


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def dial(access: Access, name: str) -> Connection:
    """A connection as the caller's own user; the broker shows it under `name`."""
    return Connection(access.broker_urls, name, ssl_context=access.broker_context)
