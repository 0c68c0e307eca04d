"""Every message of the bus contract, by name: which exchange carries it, and which model describes its body.

The one list that the AsyncAPI document, the schemas and the examples are made from. Commands come from
`channel.command.COMMANDS`, events from `wire.event.EVENTS`: nothing is listed twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from bridge.channel.command import COMMANDS, Checkpoint, Resolve
from bridge.wire.body import ApprovalBody, DeadLetterHeaders, ResultBody, SignReplyBody, SignRequestBody
from bridge.wire.event import EVENTS, Event, find_event
from bridge.wire.incoming import split_command_key

OPERATORS = frozenset({Checkpoint.kind, Resolve.kind})
"""Commands that settle what is in doubt."""


@dataclass(frozen=True, slots=True)
class Message:
    """`subject` stands in its `type` between prefix and version; `group` names the schema file it stands in.

    `event` is set for an event; `model` then describes its `data`.
    """

    name: str
    exchange: str
    subject: str
    model: type[BaseModel]
    group: str
    event: Event | None = None

    @property
    def summary(self) -> str:
        """The model's first sentence."""
        return " ".join((self.model.__doc__ or "").split())

    @property
    def is_published(self) -> bool:
        """Whether the bridge writes it; else others do, and unknown fields are refused."""
        return self.exchange in ("results", "sign-requests", "events", "dead-letters")


def _command(kind: str, model: type[BaseModel]) -> Message:
    return Message(f"command.{kind}", "commands", f"command.{kind}", model, f"command-{kind}")


def _event(event: Event) -> Message:
    name = "any" if event.is_open else event.name
    word = "<word>" if event.is_open else event.name
    return Message(
        f"event.{event.family}.{name}",
        "events",
        f"{event.family}.{word}",
        event.data,
        f"event-{event.family}",
        event,
    )


MESSAGES: tuple[Message, ...] = (
    *(_command(kind, model) for kind, model in COMMANDS.items()),
    Message("result", "results", "result.<outcome>", ResultBody, "result"),
    Message("sign-request", "sign-requests", "sign-request.<tag>", SignRequestBody, "sign-request"),
    Message("sign-reply", "sign-replies", "sign-reply", SignReplyBody, "sign-reply"),
    Message("approval", "approvals", "approval", ApprovalBody, "approval"),
    *(_event(event) for event in EVENTS),
    Message("dead-letter", "dead-letters", "dead-letter.<source>", DeadLetterHeaders, "dead-letter-headers"),
)
_NAMED = {message.name: message for message in MESSAGES}


def find_message(exchange: str, routing_key: str) -> Message | None:
    """What such a message is; `exchange` without its prefix. None if the contract does not know it."""
    words = routing_key.split(".")
    match exchange:
        case "commands":
            return _NAMED.get(f"command.{split_command_key(routing_key)[1]}")
        case "events" if len(words) == 3:
            event = find_event(words[1], words[2])
            return None if event is None else _NAMED[_event(event).name]
        case _:
            return next((message for message in _NAMED.values() if message.exchange == exchange), None)


def groups() -> Iterator[tuple[str, tuple[Message, ...]]]:
    """The schema files with the messages in each."""
    for group in dict.fromkeys(message.group for message in MESSAGES):
        yield group, tuple(message for message in MESSAGES if message.group == group)
