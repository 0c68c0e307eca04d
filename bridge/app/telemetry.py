"""Log lines: an event name and fields, as JSON or for a console. Never a key, an `fsm_id` or a password.

What the libraries log below INFO is switched off whatever the level: it holds whole frames and URLs.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Literal

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SECRET = re.compile(r"ba_[A-Za-z0-9+/=]{20,}|(?<=://)[^/@\s]+@|existing_fsm_id=[^&\s]+")
NOISY = ("aio_pika", "aiormq", "websockets", "httpx", "httpcore", "asyncio")


def redact(text: str) -> str:
    """Masks what must never be read: credentials of a channel, and users and passwords in URLs."""
    return _SECRET.sub("***", text)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One line, one object: `time`, `level`, `event`, `logger` and the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return redact(json.dumps(line, default=str, ensure_ascii=False))


class ConsoleFormatter(logging.Formatter):
    """For people: time, level, event, then the fields as `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fields = " ".join(f"{key}={value}" for key, value in _fields(record).items())
        line = f"{time} {record.levelname.lower():7} {record.getMessage()} {fields}".rstrip()
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return redact(line)


def set_up(level: str, form: Literal["json", "console"]) -> None:
    """Standard error only: standard output belongs to what a command answers."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
