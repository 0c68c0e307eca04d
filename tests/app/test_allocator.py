"""Whether large blocks stay out of the heap: the C library's threshold is a matter of the whole process."""

import ctypes
import subprocess
import sys

import pytest

PROBE = """
from pathlib import Path
{imports}

def is_in_heap(block):
    lines = Path("/proc/self/maps").read_text().splitlines()
    heaps = [line.split()[0].split("-") for line in lines if line.endswith("[heap]")]
    assert heaps  # the same one twice, if it grew while this was read
    return any(int(start, 16) <= id(block) < int(end, 16) for start, end in heaps)

async def probe():
    for _ in range(3):
        first = bytes(1 << 18)
        del first
        print(is_in_heap(bytes(1 << 18)))

{run}
"""
pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt") or sys.platform != "linux", reason="it is glibc that raises its threshold"
)


def run(imports: str, run: str) -> list[str]:
    words = [sys.executable, "-c", PROBE.format(imports=imports, run=run)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def test_a_large_block_comes_from_the_heap_where_nobody_holds_the_threshold() -> None:
    assert run("import asyncio", "asyncio.run(probe())") == ["True"] * 3


def test_no_large_block_of_a_command_comes_from_the_heap() -> None:
    assert run("from bridge.app.cli import terminal", "terminal.run(probe())") == ["False"] * 3
