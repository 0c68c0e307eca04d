"""What the AMQP library raises, as what the bridge knows: transient or fatal, and how long to wait.

The one place of this room that says which failures are worth repeating. Facts: pitfalls.md rows 8 and 9, and
the reply codes of AMQP 0-9-1 (403 access refused, 404 not found, 405 locked, 406 precondition, 530 not allowed).

    fatal       wrong credentials, no such vhost, no right, a queue declared otherwise, TLS refused by either side
    transient   everything else: no route, a broker that stops or starts, a queue that is not there (yet)
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiormq.exceptions
import pamqp.exceptions
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from bridge.errors import BrokerRefused, BrokerUnavailable, BrokerUntrusted
from bridge.tls import explain

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 8.0

_FATAL = (
    aiormq.exceptions.ProbableAuthenticationError,
    aiormq.exceptions.AuthenticationError,
    aiormq.exceptions.ConnectionNotAllowed,
    aiormq.exceptions.ChannelAccessRefused,
    aiormq.exceptions.ChannelPreconditionFailed,
)

# RuntimeError is what the library raises for a call on a connection or channel that has just closed; an invalid state
# is that of a future which its connection's end and an answer in its buffer both want to settle.
_TRANSIENT = (
    aiormq.exceptions.AMQPError,
    pamqp.exceptions.PAMQPException,
    RuntimeError,
    OSError,
    EOFError,
    asyncio.InvalidStateError,
)


def translate(error: BaseException, what: str) -> BrokerUnavailable:
    """The bridge's error for one of the library's. `what` is the act that failed, as a sentence's subject."""
    if (reason := explain(error)) is not None:
        return BrokerUntrusted(f"{what}: {reason}")
    fatal = isinstance(error, _FATAL) or isinstance(error.__cause__, _FATAL)
    kind = BrokerRefused if fatal else BrokerUnavailable
    return kind(f"{what}: {describe(error)}")


def describe(error: BaseException) -> str:
    """The broker's own words where there are some, without the library's wrapping."""
    words = " ".join(str(part) for part in error.args if part not in (None, ""))
    return f"{type(error).__name__} {words}".strip()


@asynccontextmanager
async def named(what: str) -> AsyncIterator[None]:
    """Runs library calls so that only `BrokerUnavailable`, `TimeoutError` and our own cancellation leave.

    On a frozen link a pending call can end in a `CancelledError` nobody asked for (pitfalls.md, client
    traps 1): it is told apart by `cancelling() == 0` and becomes an error of the connection. The other way round, a
    call that is cancelled while its connection dies ends in the connection's error: that stays a cancellation, else
    a task that is to end would try again for ever.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        if is_our_cancellation():
            raise
        raise BrokerUnavailable(f"{what}: the connection was lost under the call") from error
    except (BrokerUnavailable, TimeoutError):
        raise
    except Exception as error:
        if not _is_the_library_s(error):
            raise
        if is_our_cancellation():
            raise asyncio.CancelledError from error
        raise translate(error, what) from error


def _is_the_library_s(error: Exception) -> bool:
    """A bare `Exception` is how it ends pending calls of a connection that was closed behind buffered frames."""
    return isinstance(error, _TRANSIENT) or type(error) is Exception


def is_our_cancellation() -> bool:
    """Whether somebody cancelled the running task, rather than the library a future it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, BrokerUnavailable) and not isinstance(error, BrokerRefused)


def backoff(on_failure: Callable[[str], None] | None = None) -> AsyncRetrying:
    """Tries for ever with full jitter, 0.2 s doubling to 8 s; stops at the first fatal error.

    `on_failure` hears one sentence per failed try. It must not block.
    """

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if on_failure is not None and error is not None:
            on_failure(str(error))

    return AsyncRetrying(
        wait=wait_random_exponential(multiplier=FIRST_DELAY_SECONDS, max=LONGEST_DELAY_SECONDS),
        retry=retry_if_exception(_is_transient),
        after=tell,
        reraise=True,
    )
