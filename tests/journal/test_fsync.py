"""Durable means: the disk was told to write through before anybody was told that it is done. Seen from outside."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMITS = 50
CHILD = """
import asyncio, os, sys, time
from pathlib import Path
from bridge.channel.identifier import ChannelName
from bridge.journal.record import Batch
from tests.journal.given import open_journal

async def main():
    async with open_journal(Path(sys.argv[1]), time.time) as journal:
        for number in range(int(sys.argv[2])):
            await journal.commit(Batch(ChannelName("acme-7"), state=str(number).encode(), seq=number))
            os.write(1, b"durable %d." % number)

asyncio.run(main())
"""
TOLD = re.compile(r'write\(1, "durable (\d+)\."')
SYNCED = re.compile(r"(fdatasync|fsync)(\(\d+\)| resumed>\))\s+= 0")


def test_each_commit_is_written_through_before_it_returns(tmp_path: Path) -> None:
    """commit -> fdatasync done -> told; a commit without its own would be lost with the power."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace to see what the disk is told")
    trace = tmp_path / "trace"
    command = [strace, "-f", "-qq", "-e", "trace=fdatasync,fsync,write", "-o", str(trace)]
    child = [sys.executable, "-c", CHILD, str(tmp_path / "data"), str(COMMITS)]
    done = subprocess.run(  # our own words
        [*command, *child], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    if "PTRACE" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("this machine lets nobody be traced")
    assert done.returncode == 0, done.stderr
    synced, told = 0, []
    for line in trace.read_text().splitlines():
        if SYNCED.search(line):
            synced += 1
        elif (found := TOLD.search(line)) is not None:
            told.append((int(found[1]), synced))
            synced = 0
    assert [number for number, _ in told] == list(range(COMMITS))
    assert [number for number, syncs in told if syncs == 0] == []
