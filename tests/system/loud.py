"""`channel-bridge` with every logger of every library at DEBUG, as somebody in search of a fault would have it.

What is logged is kept twice: as the program writes it, and raw in `LOUD_FILE`, every field of every record, before
anything could mask it.
"""

import logging
import os
from typing import Literal

from bridge.app import cli, telemetry

_set_up = telemetry.set_up


class Raw(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = f"{record.getMessage()} {vars(record)!r}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def set_up(level: str, form: Literal["json", "console"]) -> None:
    _set_up("DEBUG" if level else level, form)
    handler = logging.FileHandler(os.environ["LOUD_FILE"])
    handler.setFormatter(Raw())
    logging.getLogger().addHandler(handler)
    for name in [*logging.Logger.manager.loggerDict, *telemetry.NOISY]:
        logging.getLogger(name).setLevel(logging.DEBUG)


if __name__ == "__main__":
    telemetry.set_up = set_up
    cli.main()
