"""What outside of the loop would make two runs of one seed differ, or cost half of a small world."""

import asyncio
import gc
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from functools import cache
from importlib.util import find_spec
from unittest.mock import patch

from httpx import create_ssl_context

from tests.simulation.cast import EPOCH

_CONTEXT = cache(create_ssl_context)


class _Dates:
    """The node stamps its memory by the wall clock."""

    @staticmethod
    def now(zone: tzinfo) -> datetime:
        return datetime.fromtimestamp(EPOCH + asyncio.get_running_loop().time(), zone)


@cache
def freeze() -> None:
    """Once a program: what it has imported is no garbage, and each world's collection need not look at it again.

    What is not installed stays so: httpx looks through all folders for `sniffio` at each request.
    """
    if find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment]
    gc.collect()
    gc.freeze()


@contextmanager
def surroundings(seed: int) -> Iterator[None]:
    """Everything as it was before, afterwards."""
    state = random.getstate()
    random.seed(f"world {seed}")
    with (
        patch("bridge.sim.history.datetime", _Dates),
        patch("httpx._transports.default.create_ssl_context", _CONTEXT),  # loads all authorities anew each time
    ):
        try:
            yield
        finally:
            random.setstate(state)
