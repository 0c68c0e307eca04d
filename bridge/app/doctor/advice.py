"""One finding of the doctor: how grave, its stable code, the sentence, and what to type or write.

The codes are in `Check`; docs/operations.md lists them, and a test compares the two.
"""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """`error`: it does not work, or not safely. `warning`: it will not, or a person is asked. `note`: good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Check(StrEnum):
    """Stable: never renamed, only added."""

    CONFIG_INVALID = "config_invalid"
    DEADLINE_TOO_LONG = "deadline_too_long"
    PLAIN_TEXT = "plain_text"
    SECRET_EXPOSED = "secret_exposed"  # noqa: S105  # a code
    DATA_DIR = "data_dir"
    DISK_SPACE = "disk_space"
    CLOCK = "clock"
    BROKER_UNREACHABLE = "broker_unreachable"
    BROKER_REFUSED = "broker_refused"
    TLS_REFUSED = "tls_refused"
    BROKER_VERSION = "broker_version"
    EXCHANGE_MISSING = "exchange_missing"
    QUEUE_MISSING = "queue_missing"
    ACCOUNT_WITHOUT_QUEUE = "account_without_queue"
    ARGUMENT_DIFFERS = "argument_differs"
    ARGUMENTS_NOT_SEEN = "arguments_not_seen"
    PERMISSION_MISSING = "permission_missing"
    PERMISSION_UNNEEDED = "permission_unneeded"
    NO_SIGNER = "no_signer"
    NO_BRIDGE = "no_bridge"
    DEAD_LETTERS = "dead_letters"
    UNROUTED = "unrouted"
    NODE_UNREACHABLE = "node_unreachable"
    CHAIN_UNREACHABLE = "chain_unreachable"
    NETWORK_DIFFERS = "network_differs"


@dataclass(frozen=True, slots=True)
class Advice:
    """`fix`: a command to type or an option to write; empty where there is nothing to do."""

    level: Level
    check: Check
    sentence: str
    fix: str = ""

    @property
    def is_finding(self) -> bool:
        return self.level is not Level.NOTE


def error(check: Check, sentence: str, fix: str) -> Advice:
    return Advice(Level.ERROR, check, sentence, fix)


def warning(check: Check, sentence: str, fix: str) -> Advice:
    return Advice(Level.WARNING, check, sentence, fix)


def note(check: Check, sentence: str, fix: str = "") -> Advice:
    return Advice(Level.NOTE, check, sentence, fix)
