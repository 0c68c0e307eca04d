"""Whether each commit has an fdatasync of its own: the bridge under strace, the calls on the write-ahead log counted.

A commit is a frame of the log whose header gives the size of the database (bytes 4 to 8 not zero). Between two of them,
and after the last, `fdatasync` on the log must have returned. What was not counted has failed, and says why. Source:
sqlite.org/fileformat2.html section 4.1.
"""

import asyncio
import re
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from bridge.journal.journal import FILE
from tests.faults.journal_home import ROOT, Bridge, home
from tests.system.house import Pair

PAYMENTS = 10
FIRST_AMOUNT = 3_900_001
FRAME_HEADER = 24
WRITE = re.compile(r'pwrite64\(\d+<[^>]*>, "(?P<bytes>[^"]*)"(?:\.\.\.)?, (?P<size>\d+)')
SYNC = re.compile(r"\b(?:fdatasync|fsync)\(\d+<")


@dataclass(frozen=True, slots=True)
class Count:
    commits: int
    unsynced: int
    hindrance: str = ""
    """Why nothing could be counted."""

    @property
    def is_good(self) -> bool:
        return not self.hindrance and self.commits > 0 and not self.unsynced

    def __str__(self) -> str:
        if self.hindrance:
            return f"fsync: not counted, {self.hindrance}"
        return f"fsync: {self.commits} commits in the log, {self.unsynced} without an fdatasync of their own"


def read(lines: list[str]) -> Count:
    """From the calls on the write-ahead log, in their order: one thread writes it."""
    commits = unsynced = 0
    is_open = False
    for line in lines:
        if written := WRITE.search(line):
            head = bytes.fromhex(written["bytes"].replace("\\x", ""))
            if int(written["size"]) == FRAME_HEADER and any(head[4:8]):
                unsynced += is_open
                commits, is_open = commits + 1, True
        elif SYNC.search(line):
            is_open = False
    return Count(commits, unsynced + is_open)


async def count(url: str, directory: Path) -> Count:
    """Some payments under strace."""
    strace = shutil.which("strace")
    if strace is None:
        return Count(0, 0, "this machine has no strace: install the package strace")
    calls = directory / "calls"
    async with home(url, directory, Pair("synced")) as made:
        traced = await asyncio.create_subprocess_exec(
            # -D: the bridge is our child and strace its guest, so a signal meets the bridge.
            *(strace, "-D", "-f", "-y", "-xx", "-s", "24", "-e", "trace=fdatasync,fsync,pwrite64", "-o", str(calls)),
            *(sys.executable, "-m", "bridge", "run", "--config", str(made.config)),
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        bridge = Bridge.read(traced)
        made.bridges.append(bridge)
        await bridge.ready()
        await made.opened()
        for number in range(PAYMENTS):
            await made.paid(await made.pay(FIRST_AMOUNT + number))
        bridge.signal(signal.SIGTERM)
        await bridge.end()
    return read([line for line in calls.read_text().splitlines() if f"{FILE}-wal" in _names(line)])


def _names(line: str) -> str:
    """strace writes names in hexadecimal too when asked to with -xx."""
    found = re.search(r"<([^>]*)>", line)
    if found is None:
        return ""
    name = found[1]
    return bytes.fromhex(name.replace("\\x", "")).decode() if name.startswith("\\x") else name
