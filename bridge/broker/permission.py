"""Who may do what on the bus, as RabbitMQ permissions, and the whole as a definitions document.

Source: guarantees.md 5.4. RabbitMQ judges three regular expressions on names (configure, write, read) and, on
topic exchanges, one on the routing key written and one on the binding key read. All of them are anchored here:
RabbitMQ searches, it does not match. A user name never holds a dot: `alice` could else read what belongs to
`alice.x` (pitfalls.md row 28).

Never do here: grant `administrator`, keep `guest`, write a password anywhere but as a salted hash.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bridge.broker.topology import Names, Topology, plan

EVERY_CHANNEL = "*"
OPERATOR_ONLY = ("attach", "checkpoint", "detach", "resolve")
"""Commands that only operators may send."""
OPERATOR_COMMANDS = (*OPERATOR_ONLY, "query")
REPLAY = "replay"
"""Third word of the key of a dead letter sent again: `<channel>.<command>.replay`. A client's key has two words."""

_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_CHANNEL = r"[a-z0-9-]{1,64}"
_NONE = "^$"
_ALL = ".*"


class Role(StrEnum):
    """What a user of the broker is for. Everything but `topology` runs all the time."""

    BRIDGE = "bridge"
    SIGNER = "signer"
    CLIENT = "client"
    APPROVER = "approver"
    OPERATOR = "operator"
    OBSERVER = "observer"
    TOPOLOGY = "topology"


@dataclass(frozen=True, slots=True)
class User:
    """One user of the broker. `channels` and `accounts` bound what it may touch; `*` means every channel."""

    name: str
    role: Role
    channels: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    password: str | None = field(default=None, repr=False)
    """None, and no hash either: only a certificate with this name gets in."""
    password_hash: str | None = field(default=None, repr=False)
    """In place of the password: what `hash_password` makes of it."""

    def __post_init__(self) -> None:
        if not _USER.fullmatch(self.name) or self.name == "guest":
            raise ValueError(f"a user name is 1 to 64 letters, digits, '_' and '-', not {self.name!r}")
        for channel in self.channels:
            if channel != EVERY_CHANNEL and not re.fullmatch(_CHANNEL, channel):
                raise ValueError(f"{self.name}: a channel name is [a-z0-9-]{{1,64}} or '*', not {channel!r}")
        for account in self.accounts:
            if not re.fullmatch(r"ak_[1-9A-HJ-NP-Za-km-z]{38,60}", account):
                raise ValueError(f"{self.name}: {account!r} is no account")


@dataclass(frozen=True, slots=True)
class Topic:
    """What may be written to and bound from one topic exchange, as expressions on the routing key."""

    exchange: str
    write: str = _NONE
    read: str = _NONE


@dataclass(frozen=True, slots=True)
class Rights:
    configure: str
    write: str
    read: str
    topics: tuple[Topic, ...] = ()


def rights(prefix: str, user: User) -> Rights:
    """The permissions of one user."""
    names = Names(prefix)
    match user.role:
        case Role.BRIDGE:
            return _bridge(names)
        case Role.SIGNER:
            return _signer(names, user)
        case Role.CLIENT:
            return _client(names, user)
        case Role.APPROVER:
            return _approver(names, user)
        case Role.OPERATOR:
            return _operator(names, user)
        case Role.OBSERVER:
            return _observer(names, user)
        case Role.TOPOLOGY:
            everything = f"^{re.escape(prefix)}\\."
            return Rights(everything, everything, everything)


def _bridge(names: Names) -> Rights:
    """Creates nothing. `amq.default` is for answers to `reply_to` only; the code bounds which (pitfalls.md row 25)."""
    return Rights(
        configure=_NONE,
        write=_any(names.results, names.sign_requests, names.events, names.dead_letters, "amq.default"),
        read=_any(names.commands, names.sign_replies, names.approvals),
    )


def _signer(names: Names, user: User) -> Rights:
    own = _own_queues(names, user)
    requests = [names.sign_request_queue(account) for account in user.accounts]
    return Rights(
        configure=own,
        write=_any(names.sign_replies, pattern=own),
        read=_any(*requests, names.results, pattern=own),
        topics=(
            Topic(names.sign_replies, write=f"^{_choice(user.accounts)}\\.{_CHANNEL}$"),
            _own_results(names, user),
        ),
    )


def _client(names: Names, user: User) -> Rights:
    own = _own_queues(names, user)
    channels = _channels(user)
    return Rights(
        configure=own,
        write=_any(names.commands, pattern=own),
        read=_any(names.results, names.events, pattern=own),
        topics=(
            Topic(names.commands, write=f"^{channels}\\.(?!{_choice(OPERATOR_ONLY)}$)[A-Za-z0-9_-]+$"),
            Topic(names.events, read=f"^{channels}\\."),
            _own_results(names, user),
        ),
    )


def _approver(names: Names, user: User) -> Rights:
    own = _own_queues(names, user)
    channels = _channels(user)
    return Rights(
        configure=own,
        write=_any(names.approvals, pattern=own),
        read=_any(names.results, names.events, pattern=own),
        topics=(
            Topic(names.approvals, write=f"^{channels}$"),
            Topic(names.events, read=f"^{channels}\\.command\\.approval_requested$"),
            _own_results(names, user),
        ),
    )


def _operator(names: Names, user: User) -> Rights:
    own = _own_queues(names, user)
    channels = _channels(user)
    return Rights(
        configure=own,
        write=_any(names.commands, pattern=own),
        read=_any(names.results, names.events, names.events_log, names.dead_letters, names.unrouted, pattern=own),
        topics=(
            Topic(
                names.commands,
                write=f"^{channels}\\.(?:{_choice(OPERATOR_COMMANDS)}|[A-Za-z0-9_-]+\\.{REPLAY})$",
            ),
            Topic(names.events, read=f"^{channels}\\."),
            Topic(names.dead_letters, read=_ALL),
            Topic(names.unrouted, read=_ALL),
            _own_results(names, user),
        ),
    )


def _observer(names: Names, user: User) -> Rights:
    own = _own_queues(names, user)
    return Rights(
        configure=own,
        write=own,
        read=_any(names.events, pattern=own),
        topics=(Topic(names.events, read=f"^{_channels(user)}\\."),),
    )


def _own_results(names: Names, user: User) -> Topic:
    return Topic(names.results, read=f"^{re.escape(user.name)}\\.")


def _own_queues(names: Names, user: User) -> str:
    return f"^{re.escape(names.reader_queue(user.name, ''))}[A-Za-z0-9._-]+$"


def _channels(user: User) -> str:
    """An expression for the first word of a key. Every channel: also the star of a binding."""
    if EVERY_CHANNEL in user.channels:
        return f"(?:\\*|{_CHANNEL})"
    return _choice(user.channels)


def _choice(words: Iterable[str]) -> str:
    """One of the words. Of none: an expression that nothing matches."""
    joined = "|".join(re.escape(word) for word in words)
    return f"(?:{joined})" if joined else "(?!)"


def _any(*names: str, pattern: str | None = None) -> str:
    """Exactly one of the names, or what the already anchored pattern matches."""
    exact = f"^{_choice(names)}$"
    return f"{exact}|{pattern}" if pattern else exact


def definitions(prefix: str, topology: Topology | None, users: Iterable[User], *, vhost: str = "/") -> dict[str, Any]:
    """The RabbitMQ definitions document: `load_definitions` in the broker's configuration takes it.

    Without a topology the plan for the users' accounts is taken.
    """
    users = tuple(users)
    if topology is None:
        topology = plan(prefix, (account for user in users for account in user.accounts))
    return {
        "rabbit_version": "3.10.0",
        "users": [_user(user) for user in users],
        "vhosts": [{"name": vhost}],
        "permissions": [_permission(prefix, user, vhost) for user in users],
        "topic_permissions": [entry for user in users for entry in _topics(prefix, user, vhost)],
        "exchanges": [
            {
                "name": exchange.name,
                "vhost": vhost,
                "type": "topic",
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": exchange.arguments,
            }
            for exchange in topology.exchanges
        ],
        "queues": [
            {
                "name": queue.name,
                "vhost": vhost,
                "durable": True,
                "auto_delete": False,
                "arguments": dict(queue.arguments),
            }
            for queue in topology.queues
        ],
        "bindings": [
            {
                "source": binding.exchange,
                "vhost": vhost,
                "destination": binding.queue,
                "destination_type": "queue",
                "routing_key": binding.key,
                "arguments": {},
            }
            for binding in topology.bindings
        ],
    }


def _user(user: User) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": user.name, "tags": [], "limits": {}}
    if user.password is None and user.password_hash is None:
        return entry | {"password_hash": ""}
    return entry | {
        "password_hash": user.password_hash if user.password is None else hash_password(user.password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
    }


def hash_password(password: str, salt: bytes | None = None) -> str:
    """base64 of salt (4 bytes) and sha256(salt + password): RabbitMQ's `rabbit_password_hashing_sha256`."""
    salt = secrets.token_bytes(4) if salt is None else salt
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _permission(prefix: str, user: User, vhost: str) -> Mapping[str, str]:
    granted = rights(prefix, user)
    return {
        "user": user.name,
        "vhost": vhost,
        "configure": granted.configure,
        "write": granted.write,
        "read": granted.read,
    }


def _topics(prefix: str, user: User, vhost: str) -> list[dict[str, str]]:
    return [
        {
            "user": user.name,
            "vhost": vhost,
            "exchange": topic.exchange,
            "write": topic.write,
            "read": topic.read,
        }
        for topic in rights(prefix, user).topics
    ]
