"""Whether large blocks make the heap grow: the C library's threshold is a matter of the whole process."""

import ctypes
import subprocess
import sys

import pytest

BLOCKS, BYTES = 64, 1 << 18
PROBE = """
import ctypes
{imports}

sbrk = ctypes.CDLL(None).sbrk
sbrk.restype, sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]

async def probe():
    first = bytes({bytes})
    del first  # from here on glibc takes what is no larger from the heap
    before = sbrk(0)
    held = [bytes({bytes}) for _ in range({blocks})]
    print(sbrk(0) - before)

{run}
"""
pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt") or sys.platform != "linux", reason="it is glibc that raises its threshold"
)


def growth(imports: str, run: str) -> int:
    """By how many bytes the heap grew for blocks of 16 MiB in all."""
    program = PROBE.format(imports=imports, run=run, bytes=BYTES, blocks=BLOCKS)
    return int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)


def test_the_heap_grows_by_large_blocks_where_nobody_holds_the_threshold() -> None:
    assert growth("import asyncio", "asyncio.run(probe())") > (BLOCKS - 8) * BYTES


def test_no_large_block_of_a_command_makes_the_heap_grow() -> None:
    assert growth("from bridge.app.cli import terminal", "terminal.run(probe())") < BYTES
