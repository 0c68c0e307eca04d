"""One step in the making: the state so far and the effects so far.

Every rule takes a `Turn` and returns a new one, so a rule reads as a sentence: set this, do that.
Nothing here is stored or shared; if the commit fails the whole turn is dropped.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bridge.channel.command import Query
from bridge.channel.effect import Conclude, Effect, Publish, Send
from bridge.channel.identifier import RequestId
from bridge.channel.request import NodeRequest
from bridge.channel.state import Asked, Attachment, Operation, Purpose, State
from bridge.channel.terms import Role, Terms


@dataclass(frozen=True, slots=True)
class Turn:
    terms: Terms
    now: float
    """Seconds since the epoch by the process's steady clock."""
    state: State
    effects: tuple[Effect, ...] = ()

    def set(self, **changes: Any) -> "Turn":
        return replace(self, state=replace(self.state, **changes))

    def set_operation(self, **changes: Any) -> "Turn":
        """Change the operation in flight; there must be one."""
        assert self.state.operation is not None  # noqa: S101  # a caller's bug, not an input
        return self.set(operation=replace(self.state.operation, **changes))

    def do(self, *effects: Effect) -> "Turn":
        return replace(self, effects=self.effects + effects)

    def publish(self, family: str, name: str, *, raw: str = "", **data: Any) -> "Turn":
        return self.do(Publish(family, name, data, raw))

    def ask(self, build: Callable[[RequestId], NodeRequest], purpose: Purpose, query: Query | None = None) -> "Turn":
        """Put a question to the node and remember why."""
        turn, request = self.number(build)
        asked = Asked(request.request_id, purpose, type(request).__name__, self.now, query)
        return turn.set(asked=(*turn.state.asked, asked)).do(Send(request))

    def number(self, build: Callable[[RequestId], NodeRequest]) -> tuple["Turn", NodeRequest]:
        """A request with the next number; ids are counted, not drawn, so that a step repeats itself exactly."""
        request_id = RequestId(self.state.next_request)
        return self.set(next_request=self.state.next_request + 1), build(request_id)

    def tell(self, build: Callable[[RequestId], NodeRequest], not_after: float | None = None) -> "Turn":
        """Send a request whose answer settles nothing (a signed reply's `ok` proves nothing)."""
        turn, request = self.number(build)
        return turn.do(Send(request, not_after))

    def conclude(self, ending: Conclude) -> "Turn":
        """End the operation in flight, or give its present standing when the outcome is `in_doubt`."""
        return self.do(ending).publish(
            ending.command.kind,
            ending.outcome.value,
            command_id=ending.command_id,
            code=ending.code,
            sentence=ending.sentence,
            round=ending.round,
            tx_hash=ending.hash,
            exposure=ending.exposure,
            **_describe(ending),
        )

    @property
    def operation(self) -> Operation | None:
        return self.state.operation

    @property
    def is_initiator(self) -> bool:
        return self.terms.role is Role.INITIATOR

    @property
    def own_balance(self) -> int | None:
        return self.state.initiator_balance if self.is_initiator else self.state.responder_balance

    @property
    def is_linked(self) -> bool:
        return self.state.attachment is not Attachment.DOWN


def _describe(ending: Conclude) -> dict[str, Any]:
    """The part of a command an accountant wants to see beside its outcome."""
    body = ending.command.model_dump(include={"from_account", "to_account", "amount", "fee", "info"}, by_alias=True)
    return {key: value for key, value in body.items() if value is not None}
