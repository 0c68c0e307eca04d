"""What may be watched: a handful of named moments, and whoever subscribed to them.

The core does not know it. Workers, relay and intake tell a moment after the fact is durable; metrics and console
subscribe. A subscriber must not block. One that fails is logged and not asked again: watching never stops a payment.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from bridge.channel.effect import Effect
from bridge.channel.input import Input
from bridge.channel.state import State
from bridge.channel.terms import Terms
from bridge.errors import Code
from bridge.journal.record import EventRow, OutboxRow

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Decided:
    """A step of a channel is committed. Instants in seconds since the epoch, by the process's steady clock."""

    terms: Terms
    input: Input
    before: State
    after: State
    effects: tuple[Effect, ...]
    events: tuple[EventRow, ...]
    """What it published, in order."""
    arrived_at: float | None
    """When the frame or the sign reply came that caused it; None: something else did."""
    committed_at: float


@dataclass(frozen=True, slots=True)
class Written:
    """A frame was handed to the socket of a node."""

    input: Input
    """Whose effect it was."""
    arrived_at: float | None
    at: float


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The broker has confirmed an envelope."""

    row: OutboxRow
    at: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """A command, reply or approval that could not be read or taken was refused."""

    code: Code


@dataclass(frozen=True, slots=True)
class Answered:
    """A signer has answered a sign request and the broker has confirmed the reply."""

    tag: str
    is_refusal: bool
    seconds: float
    """From the request's arrival to the confirm."""


Moment = Decided | Written | Confirmed | Rejected | Answered
Subscriber = Callable[[Moment], None]


class Observer:
    """Passes moments on, in the order they come. Does not block and never raises."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.append(subscriber)

    def tell(self, moment: Moment) -> None:
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(moment)
            except Exception:  # the outermost frame of whoever watches
                self._subscribers.remove(subscriber)
                log.exception("observer_failed", extra={"moment": type(moment).__name__})
