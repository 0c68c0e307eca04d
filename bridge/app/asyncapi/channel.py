"""The exchanges as AsyncAPI channels: addresses, parameters of the routing keys, and who may do what with them."""

from dataclasses import dataclass, field
from typing import Any

from bridge.broker.permission import Role as UserRole
from bridge.wire.incoming import REPLAY

CHANNEL = {"description": "Our name of one role of one channel: `[a-z0-9-]{1,64}`.", "examples": ["acme-7"]}
ACCOUNT = {
    "description": "The account that signs, ak_….",
    "examples": ["ak_2d8tPbW9mZ9YD3hsGzw28oPm8NwF5AgtTtzWYQoLABkAzUZHBg"],
}
USER = {"description": "The broker's user who wrote to us; `_` where unknown.", "examples": ["shop"]}


@dataclass(frozen=True, slots=True)
class Exchange:
    name: str
    address: str
    title: str
    description: str
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    queues: tuple[str, ...] = ()
    """Names of the durable queues bound to it, without the prefix."""


def _word(description: str, *values: str) -> dict[str, Any]:
    return {"description": description, **({"enum": list(values)} if values else {})}


EXCHANGES: tuple[Exchange, ...] = (
    Exchange(
        "commands",
        "{channel}.{command}",
        "Commands",
        "What clients and operators ask of a channel. Acked once journaled; one at a time per channel, in this order. "
        f"An operator sends a dead letter again under `{{channel}}.{{command}}.{REPLAY}`.",
        {"channel": CHANNEL, "command": _word("The kind of command.")},
        ("commands",),
    ),
    Exchange(
        "results",
        "{user}.{channel}.{outcome}",
        "Results",
        "What became of a command, or why a sign reply or an approval was not used. At least once.",
        {"user": USER, "channel": CHANNEL, "outcome": _word("How it ended, or stands.")},
    ),
    Exchange(
        "sign-requests",
        "{account}.{tag}",
        "Sign requests",
        "Questions to the signers of an account. At least once; a repeat has the same bytes.",
        {"account": ACCOUNT, "tag": _word("What is to be signed.")},
        ("sign-requests.{account}",),
    ),
    Exchange(
        "sign-replies",
        "{account}.{channel}",
        "Sign replies",
        "A signature, a signed transaction or a refusal. The bridge uses one reply a request.",
        {"account": ACCOUNT, "channel": CHANNEL},
        ("sign-replies",),
    ),
    Exchange(
        "approvals",
        "{channel}",
        "Approvals",
        "Answers to the event command.approval_requested.",
        {"channel": CHANNEL},
        ("approvals",),
    ),
    Exchange(
        "events",
        "{channel}.{family}.{name}",
        "Events",
        "Facts about a channel. At least once, in order, without gaps by `seq`; drop what has a `ce-id` you have seen.",
        {"channel": CHANNEL, "family": _word("The kind of fact."), "name": _word("The fact.")},
        ("events.log",),
    ),
    Exchange(
        "dead-letters",
        "{source}",
        "Dead letters",
        "What was refused or could not be processed, byte for byte; never executed. The headers say why.",
        {"source": _word("`command`, `sign_reply`, `approval`, or the queue it came from.")},
        ("dead-letters",),
    ),
)


@dataclass(frozen=True, slots=True)
class Operation:
    """What one role does with one exchange, said from the bridge's side: it `receive`s commands."""

    name: str
    action: str
    exchange: str
    role: UserRole
    summary: str
    messages: tuple[str, ...] = ()
    """Those this role may write or read; empty: all of the exchange."""
    reply: str = ""
    """The exchange the answer comes on."""


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "receiveClientCommands",
        "receive",
        "commands",
        UserRole.CLIENT,
        "A client gives a command to one of its channels.",
        tuple(f"command.{kind}" for kind in ("transfer", "deposit", "withdraw", "message", "shutdown", "query")),
        "results",
    ),
    Operation(
        "receiveOperatorCommands",
        "receive",
        "commands",
        UserRole.OPERATOR,
        "An operator asks, or settles what is in doubt.",
        ("command.query", "command.checkpoint", "command.resolve"),
        "results",
    ),
    Operation(
        "sendResultsToClients",
        "send",
        "results",
        UserRole.CLIENT,
        "Whoever wrote reads what became of it.",
        ("result",),
    ),
    Operation(
        "sendSignRequests",
        "send",
        "sign-requests",
        UserRole.SIGNER,
        "A signer of the account is asked.",
        ("sign-request",),
        "sign-replies",
    ),
    Operation(
        "receiveSignReplies",
        "receive",
        "sign-replies",
        UserRole.SIGNER,
        "A signer answers; a reply that is not used is told on the results.",
        ("sign-reply",),
        "results",
    ),
    Operation(
        "sendQuestionsToApprovers",
        "send",
        "events",
        UserRole.APPROVER,
        "The approvers are asked.",
        ("event.command.approval_requested",),
        "approvals",
    ),
    Operation(
        "receiveApprovals",
        "receive",
        "approvals",
        UserRole.APPROVER,
        "An approver answers; an answer that does not count is told on the results.",
        ("approval",),
        "results",
    ),
    Operation("sendEvents", "send", "events", UserRole.OBSERVER, "Everybody entitled reads what happens."),
    Operation("sendDeadLetters", "send", "dead-letters", UserRole.OPERATOR, "An operator reads what was refused."),
)
