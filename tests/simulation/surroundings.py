"""What outside of the loop would make two runs of one seed differ, or cost half of a small world."""

import asyncio
import gc
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from functools import cache
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
    """Once a program: what it has imported is no garbage, and each world's collection need not look at it again."""
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
