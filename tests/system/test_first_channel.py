"""The README's first channel in ten minutes, command by command, as a stranger would type it.

Only two things are not as written: the environment is the one the tests run in, and the simulated node takes a
port that is free.
"""

import asyncio
import csv
import json
import os
import re
import signal
import socket
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

import pytest

from bridge.broker.package import DIRECTORY_VARIABLE, default_directory
from bridge.broker.private import PrivateBroker

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 300.0
INSTALLING = "make environment"


def script() -> str:
    """The blocks of commands from "Your first channel" to its end, in order."""
    text = (ROOT / "README.md").read_text()
    section = text.partition("## Your first channel in ten minutes\n")[2].partition("\n## ")[0]
    blocks: list[str] = re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert len(blocks) > 5
    commands = "".join(block for block in blocks if INSTALLING not in block)
    return f"set -eu\n{_free_port(commands)}"


def _free_port(commands: str) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert "127.0.0.1:3014" in commands
    moved = commands.replace("127.0.0.1:3014", f"127.0.0.1:{port}")
    return moved.replace("channel-bridge simulate", f"channel-bridge simulate --port {port}")


def _environment(directory: Path) -> Mapping[str, str]:
    """What `make environment` and the line after it would give; nothing of ours besides."""
    programs = directory / "bin"
    programs.mkdir()
    for name, arguments in (("channel-bridge", " -m bridge"), ("python", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{arguments} "$@"\n')
        program.chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AMQP_", "CHANNEL_BRIDGE_"))}
    return clean | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        DIRECTORY_VARIABLE: str(default_directory()),
    }


@pytest.mark.timeout(400)
async def test_the_first_channel_of_the_readme_opens_pays_and_closes(
    private_broker: PrivateBroker, tmp_path: Path
) -> None:
    """A command that does not work costs the project the reader who typed it."""
    assert private_broker.port  # asked for because it skips where no RabbitMQ is to be had
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    output = await _run(script(), tmp_path)
    results = [json.loads(text) for text in re.findall(r"^\{\n.*?^\}$", output, re.DOTALL | re.MULTILINE)]
    told = [(result["command"], result["outcome"]) for result in results]
    assert told == [("transfer", "succeeded"), ("query", "succeeded"), ("shutdown", "succeeded")], output
    assert sorted(results[1]["data"]["balances"].values()) == ["500000000000000005", "999999999999999995"]
    events = [json.loads(line) for line in (tmp_path / "first" / "events.log").read_text().splitlines()]
    first = events[0]["seq"]  # `events tail` follows from the moment it listens
    assert [event["seq"] for event in events] == list(range(first, first + len(events)))
    await _check_books(tmp_path, output)
    definitions = json.loads((tmp_path / "first" / "definitions.json").read_text())
    assert [user["name"] for user in definitions["users"]] == ["bridge", "signer", "shop", "books"]


async def _check_books(directory: Path, output: str) -> None:
    """The accountant of the documents, run from the README alone: opening, payment and close, for both roles."""
    assert re.search(r"^ok: [56] entries of 2 channels", output, re.MULTILINE)  # the peer may be a moment behind
    told = (directory / "first" / "books.log").read_text()
    assert re.fullmatch(r"reading channels\.client\.[\w-]+\.accounting\n", told), told
    with (directory / "first" / "books.csv").open() as file:
        kinds = [row["kind"] for row in csv.DictReader(file)]
    assert list(dict.fromkeys(kinds)) == ["opening", "payment", "close"]
    with closing(sqlite3.connect(directory / "first" / "books.sqlite3")) as table:
        paid = table.execute("SELECT account, debit, credit FROM line WHERE channel='acme-7' AND entry=2").fetchall()
    assert paid == [("channel.initiator", "0", "5"), ("channel.responder", "5", "0")]


async def _run(commands: str, directory: Path) -> str:
    """What they printed. They must all succeed; whatever they left running is ended."""
    printed = directory / "printed"
    with printed.open("wb") as file:
        shell = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            commands,
            cwd=directory,
            env=_environment(directory),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(SECONDS):
                code = await shell.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGTERM)
            await shell.wait()
    assert code == 0, printed.read_text()
    return printed.read_text()
