"""The product's logs of one world, or none: thousands of worlds with one fault each would all say the same."""

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bridge.app.telemetry import JsonFormatter


@contextmanager
def keep_logs(is_wanted: bool) -> Iterator[Callable[[], str]]:
    """Gives a function that tells what was logged so far, in the form of a deployment."""
    if not is_wanted:
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            yield lambda: ""
        finally:
            logging.disable(before)
        return
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("bridge")
    level, logger.level = logger.level, logging.DEBUG
    logger.addHandler(handler)
    try:
        yield stream.getvalue
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
