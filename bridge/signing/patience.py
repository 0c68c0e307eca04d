"""Asks for a signature again while what holds the key is away, until the request's deadline and not a moment longer.

A refusal fails the command, a late reply harms nothing: so waiting is right as long as the answer can still be used.
The one list of what may pass by itself is `KeyUnavailable`; each backend says of its own errors which they are.
"""

import asyncio
import logging
from collections.abc import Callable

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from bridge.errors import KeyUnavailable
from bridge.signing.key import Signs

FIRST_SECONDS = 0.25
LONGEST_SECONDS = 8.0

log = logging.getLogger(__name__)
_WAIT = wait_random_exponential(multiplier=FIRST_SECONDS, max=LONGEST_SECONDS)


async def sign(key: Signs, payload: bytes, left: Callable[[], float]) -> bytes:
    """`left` gives the seconds that are left. Raises KeyUnavailable when there are none, KeyRefused at once."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(KeyUnavailable),
        wait=lambda state: max(0.0, min(_WAIT(state), left())),
        stop=lambda _: left() <= 0,
        before_sleep=_say(key),
        reraise=True,
    )
    return await retrying(_ask, key, payload, left)


async def _ask(key: Signs, payload: bytes, left: Callable[[], float]) -> bytes:
    try:
        async with asyncio.timeout(max(0.0, left())):
            return await key.sign(payload)
    except TimeoutError:
        raise KeyUnavailable("what holds the key did not answer before the deadline") from None


def _say(key: Signs) -> Callable[[RetryCallState], None]:
    def say(state: RetryCallState) -> None:
        error = None if state.outcome is None else state.outcome.exception()
        log.warning("key_unavailable", extra={"account": key.account, "error": str(error)})

    return say
