"""Opens one socket to a node: bounded, verified, and not too many at once.

The address holds a credential in its query. So no error of the library passes this file (their texts repeat the
address), no redirect is followed (it could carry the credential elsewhere), and the library's log is cut off
below INFO, where it prints addresses and whole frames. Facts: pitfalls.md rows 10 and 18 to 21.
"""

import asyncio
import logging
import ssl
from functools import partial
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from bridge.errors import NodeUnavailable, NodeUntrusted
from bridge.tls import explain

HANDSHAKES = 10
"""At once per node, all links of the process together: more than that a node is slow to answer."""
DEFAULT_PORTS = {"ws": 80, "wss": 443}


def _is_no_frame(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.INFO


# A filter as well, because somebody who sets every logger to DEBUG undoes a level.
logging.getLogger("websockets").setLevel(logging.INFO)
_log = logging.getLogger("websockets.client")
_log.setLevel(logging.INFO)
_log.addFilter(_is_no_frame)

_slots: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Semaphore] = {}


class _Connect(connect):
    """Follows no redirect: where to connect is for the configuration to say, which has checked it."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


class _Socket(ClientConnection):
    """Tells how its transport ended: with TLS 1.3 a certificate can be refused after our side of the handshake."""

    def __init__(self, ends: list[Exception], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ends = ends

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._ends.append(exc)
        super().connection_lost(exc)


async def open_socket(
    uri: str,
    *,
    context: ssl.SSLContext | None = None,
    max_frame_bytes: int,
    opening: float,
    closing: float,
    ping: float,
    pong: float,
) -> ClientConnection:
    """A socket that pings by itself. Times in seconds. Raises NodeUnavailable with a text without the query.

    Flow control is off: the reader only hands frames over, and a library that stops reading when nobody takes
    them closes its own socket at the pong deadline. A `wss` address is verified by `context`, else against the
    system's authorities.
    """
    node = _host_and_port(uri)
    ends: list[Exception] = []
    async with _slot(node):
        try:
            return await _Connect(
                uri,
                ssl=_context_for(uri, context),
                create_connection=cast("type[ClientConnection]", partial(_Socket, ends)),
                compression=None,
                proxy=None,
                user_agent_header=None,
                max_size=max_frame_bytes,
                max_queue=None,
                open_timeout=opening,
                close_timeout=closing,
                ping_interval=ping,
                ping_timeout=pong,
                logger=_log,
            )
        except (OSError, TimeoutError, WebSocketException) as error:
            # Not chained: the library's text repeats the address.
            reasons = map(explain, (error, *ends))
            if (reason := next(filter(None, reasons), None)) is not None:
                raise NodeUntrusted(f"{node}: {reason}") from None
            raise NodeUnavailable(f"{node}: {_kind(error)}") from None


def _context_for(uri: str, context: ssl.SSLContext | None) -> ssl.SSLContext | Literal[True] | None:
    """The library takes one for `wss` only; True: one of its own, which verifies by the system's authorities."""
    return (context or True) if urlsplit(uri).scheme == "wss" else None


def _host_and_port(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.hostname}:{parts.port or DEFAULT_PORTS.get(parts.scheme, 0)}"


def _slot(node: str) -> asyncio.Semaphore:
    """One semaphore per node and event loop; those of loops that are over are dropped."""
    for key in [key for key in _slots if key[0].is_closed()]:
        del _slots[key]
    return _slots.setdefault((asyncio.get_running_loop(), node), asyncio.Semaphore(HANDSHAKES))


def _kind(error: Exception) -> str:
    match error:
        case InvalidStatus():
            return f"HTTP {error.response.status_code}"
        case _:
            return type(error).__name__
