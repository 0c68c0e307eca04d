"""What we ask of the C library's memory allocator, so that a process stays as large as it was."""

import ctypes
from typing import Final

M_MMAP_THRESHOLD: Final = -3
"""`<malloc.h>`; see mallopt(3)."""
THRESHOLD_BYTES: Final = 128 * 1024
"""With which glibc begins."""


def hold_mmap_threshold() -> None:
    """Let no large block make the heap grow, for the life of this process.

    asyncio takes 256 KiB for each read of a socket and gives back at once what it did not fill. glibc raises its
    threshold to the size of what was freed, so that after the first read these blocks come from the heap; there the
    few bytes that were read pin each block's place, and the next read finds no gap that is wide enough. A bridge at
    full speed grew by a megabyte a minute, though it used no more than before. A threshold that was set stays.

    Another C library has no such function, and needs none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, THRESHOLD_BYTES)
