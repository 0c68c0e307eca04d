"""`channel-bridge demo` as a stranger runs it: it ends with its summary, and leaves nothing behind."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bridge.broker.private import PrivateBroker
from bridge.journal.journal import FILE
from tests.contract.judge import complaints

SECONDS = 200.0
"""Bound of a run. How long it takes, and that Ctrl-C is done within 5 s, is for a machine that does nothing else."""
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo leaves its files, because it was asked to."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def demo(private_broker: PrivateBroker, tmp_path: Path, kept: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo as a process group of its own, its temporary files in ours."""
    assert private_broker.port  # asked for because it skips where no RabbitMQ is to be had
    environment = {name: value for name, value in os.environ.items() if name != "AMQP_URL"}
    environment |= {"TMPDIR": str(tmp_path), "COLUMNS": "200"}
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "bridge", "demo", "--keep", str(kept)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def left_behind(directory: Path) -> tuple[list[str], list[str]]:
    """Processes that still know the directory, and what lies in it."""
    mark = str(directory).encode()
    processes = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue  # it ended while we looked, or is somebody else's
        if mark in words:
            processes.append((entry / "cmdline").read_bytes().decode(errors="replace")[:200])
    return processes, [path.name for path in directory.iterdir()]


def published(kept: Path) -> Iterator[tuple[str, str, bytes]]:
    """Exchange, routing key and body of each event and each final result, as the bridge's journal has them."""
    (journal,) = kept.rglob(FILE)
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection:
        for key, body in connection.execute("SELECT routing_key, body FROM event"):
            yield "events", key, body
        for (body,) in connection.execute("SELECT outcome FROM inbox WHERE outcome IS NOT NULL"):
            yield "results", "", body


def test_the_demo_sums_up_and_leaves_nothing_behind(demo: subprocess.Popen[str], tmp_path: Path, kept: Path) -> None:
    """Every flow in every dialect, by least-privilege users, the books agree, and all of it is as the contract says."""
    output, _ = demo.communicate(timeout=SECONDS)
    last = output.rstrip().splitlines()[-1]
    assert demo.returncode == 0, output[-2000:]
    assert re.fullmatch(
        r"demo: ok  channels 3 .*  dialects 3  commands \d+  outcomes \d+ \(.*\)  sign requests \d+"
        r"  events \d+  seed frames 26 of 26  bridge killed 1  broker restarted 1  books balance",
        last,
    )
    assert left_behind(tmp_path) == ([], [])
    messages = list(published(kept))
    assert len(messages) > 1000
    assert [found for exchange, key, body in messages for found in complaints(exchange, key, json.loads(body))] == []


def test_ctrl_c_cleans_up(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    """A terminal sends it to the whole group: every part is told at once, and all of it is gone soon."""
    assert demo.stdout is not None
    for line in demo.stdout:
        if "transfer.succeeded" in line:
            break
    os.killpg(demo.pid, signal.SIGINT)
    rest, _ = demo.communicate(timeout=SECONDS)
    assert demo.returncode == 130, rest[-1000:]
    assert left_behind(tmp_path) == ([], [])
