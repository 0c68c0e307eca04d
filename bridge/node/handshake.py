"""Opens one socket to a node: bounded, verified, and not too many at once.

The address holds a credential in its query. So no error of the library passes this file (their texts repeat the
address), no redirect is followed (it could carry the credential elsewhere), and the library's log is cut off
below INFO, where it prints addresses and whole frames. Facts: pitfalls.md rows 10 and 18 to 21.
"""

import asyncio
import logging
import ssl
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from bridge.errors import NodeUnavailable

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


async def open_socket(
    uri: str, *, max_frame_bytes: int, opening: float, closing: float, ping: float, pong: float
) -> ClientConnection:
    """A socket that pings by itself. Times in seconds. Raises NodeUnavailable with a text without the query.

    Flow control is off: the reader only hands frames over, and a library that stops reading when nobody takes
    them closes its own socket at the pong deadline. A `wss` address is verified against the system's authorities.
    """
    node = _host_and_port(uri)
    async with _slot(node):
        try:
            return await _Connect(
                uri,
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
            raise NodeUnavailable(f"{node}: {_kind(error)}") from None


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
        case ssl.SSLCertVerificationError():
            return f"certificate refused, {error.verify_message}"
        case _:
            return type(error).__name__
