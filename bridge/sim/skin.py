"""What a dialect does for a socket: frames into requests, answers and reports into frames.

A skin remembers nothing and decides nothing; which request is allowed is the FSM's business.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from bridge.channel.identifier import Account
from bridge.channel.request import Tag
from bridge.channel.transaction import Update
from bridge.errors import EncodingError, TransactionError
from bridge.sim.report import Report
from bridge.sim.request import Reply, Request, RequestRefused
from bridge.wire import encoding, transaction

NEGATIVE_AMOUNT, BROKEN_ACCOUNT, NOT_A_NUMBER, BROKEN_TRANSACTION = 1002, 1005, 1008, 1010


class _Nothing:
    """A request without an id."""

    def __repr__(self) -> str:
        return "NO_ID"


NO_ID = _Nothing()


@dataclass(frozen=True, slots=True)
class Asked:
    """One request out of a frame: what it asks, or why it cannot be asked."""

    request: Request | RequestRefused
    echo: Any
    """The frame as the client wrote it, repeated in errors."""
    id: Any = NO_ID


@dataclass(frozen=True, slots=True)
class Incoming:
    """One frame: usually one request, several in a batch, none if it is no frame."""

    asked: tuple[Asked, ...] = ()


class Skin(Protocol):
    """One dialect, seen from the node."""

    def read(self, text: str) -> Incoming:
        """Never raises: what is no frame holds no request, and is answered by silence."""
        ...

    def answer(self, asked: Asked, value: Any, channel_id: str | None) -> Any | None:
        """The frame that says the request went well; None where the dialect says nothing."""
        ...

    def refuse(self, asked: Asked | None, refusal: RequestRefused, channel_id: str | None) -> Any:
        """The frame that says why not; `asked` is None for the connection itself."""
        ...

    def report(self, report: Report, channel_id: str | None) -> Any | None:
        """The frame of a report; None where the dialect has no word for it."""
        ...


def read_account(text: Any) -> Account:
    """Raises RequestRefused."""
    try:
        return encoding.account(encoding.account_key(text))
    except (EncodingError, TypeError) as error:
        raise RequestRefused(BROKEN_ACCOUNT) from error


def read_integer(value: Any) -> int:
    """Not a text, a fraction, a truth value or nothing. Raises RequestRefused."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise RequestRefused(NOT_A_NUMBER)
    return value


def read_amount(value: Any) -> int:
    """Nor below zero. Raises RequestRefused.

    The handler finds this out by itself: it is answered also while the FSM would let the request wait (recorded).
    """
    amount = read_integer(value)
    if amount < 0:
        raise RequestRefused(NEGATIVE_AMOUNT)
    return amount


def read_reply(tag: Tag, text: Any) -> Reply:
    """A text with a broken checksum is refused; bytes that are no transaction are passed on as such."""
    try:
        data = encoding.decode(text, "tx")
    except (EncodingError, TypeError) as error:
        raise RequestRefused(BROKEN_TRANSACTION) from error
    try:
        return Reply(tag, transaction.unwrap(data))
    except TransactionError:
        return Reply(tag, None)


def write_update(update: Update) -> dict[str, Any]:
    """One entry of a sign request's `updates`."""
    fields = {
        "op": update.op,
        "amount": update.amount,
        "from": update.from_account,
        "to": update.to_account,
        "data": update.data,
    }
    return {name: value for name, value in fields.items() if value is not None}
