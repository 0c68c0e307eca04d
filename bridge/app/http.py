"""The small port: probes, metrics and the console, by the HTTP hook of the `websockets` server. Reads only.

Whatever can be asked for is a `Page`; everything else is refused here: another method, a foreign host name (a web
page that points its own name at us, "DNS rebinding"), a foreign origin, a wrong token. There is no CORS. Anybody
who reaches the port may ask for probes and metrics: they hold no secret, no account and no channel's balance.
"""

import asyncio
import base64
import binascii
import hmac
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Self
from urllib.parse import urlsplit

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from bridge.app.address import is_loopback
from bridge.app.settings import Http
from bridge.errors import ConfigInvalid, Finding

log = logging.getLogger(__name__)

JSON, TEXT = "application/json", "text/plain; charset=utf-8"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
SECURITY = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
CLOSE_SECONDS = 1.0
"""Part of the 25 seconds a bridge has to stop: what answers no goodbye, or has never asked for anything, is cut."""
LONGEST_MESSAGE = 1024
"""Of what a page may send to us: it has nothing to say."""


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes
    kind: str = TEXT
    status: HTTPStatus = HTTPStatus.OK


Page = Callable[[str], Awaitable[Answer | None]]
"""Given what follows its path; None: there is no such thing."""


@dataclass(frozen=True, slots=True)
class Site:
    """What is served. A path that ends in `/*` answers for everything below it."""

    pages: Mapping[str, Page]
    """For everybody who reaches the port."""
    console: Mapping[str, Page] = field(default_factory=dict)
    """Behind host check and token."""
    live: Callable[[ServerConnection], Awaitable[None]] | None = None
    """The WebSocket at `/live`, behind the same."""


class HttpServer:
    """`async with`: listens. Raises ConfigInvalid when the address is not to be had and somebody asked for it."""

    def __init__(self, settings: Http, site: Site) -> None:
        self._settings = settings
        self._site = site
        self._token = settings.read_token()
        self._context = settings.read_context()
        self._stack = AsyncExitStack()
        self._server: WebSocketServer | None = None

    def renew(self) -> None:
        """Token and certificate from their files again, which `Access` has judged. They count from the next request."""
        self._token = self._settings.read_token()
        if self._context is not None:
            self._settings.renew_context(self._context)

    @property
    def port(self) -> int | None:
        """Where it listens; None: nowhere."""
        return None if self._server is None else next(iter(self._server.sockets)).getsockname()[1]

    async def __aenter__(self) -> Self:
        listener = serve(
            self._talk,
            self._settings.host,
            self._settings.port,
            ssl=self._context,
            process_request=self._answer,
            compression=None,
            max_size=LONGEST_MESSAGE,
            close_timeout=CLOSE_SECONDS,
            server_header=None,
            logger=logging.getLogger("websockets.server"),
        )
        try:
            self._server = await self._stack.enter_async_context(listener)
        except OSError as error:
            self._tell_taken(error)
        else:
            log.info("http_listens", extra={"host": self._settings.host, "port": self.port})
        return self

    async def __aexit__(self, *_: object) -> None:
        """Bounded from outside as well: the library waits for handshakes that have only begun, as long as those may."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._stack.aclose()

    def _tell_taken(self, error: OSError) -> None:
        found = f"{self._settings.host}:{self._settings.port}, {error.strerror or 'not to be had'}"
        if "port" in self._settings.model_fields_set:
            raise ConfigInvalid((Finding("http.port", found, "a free port, or 0 for any"),)) from error
        log.warning("http_not_served", extra={"found": found, "advice": "set http.port"})

    async def _talk(self, connection: ServerConnection) -> None:
        if self._site.live is not None:
            await self._site.live(connection)

    async def _answer(self, _: ServerConnection, request: Request) -> Response | None:
        """None: the WebSocket's handshake goes on."""
        path = request.path.partition("?")[0]
        is_console = path == "/live" or _find(self._site.console, path) is not None
        refusal = self._refuse(request, is_console=is_console)
        if refusal is not None:
            return refusal
        if path == "/live" and self._site.live is not None:
            return None if _upgrades(request) else _write(HTTPStatus.UPGRADE_REQUIRED, {"Upgrade": "websocket"})
        found = _find(self._site.pages, path) or _find(self._site.console, path)
        answer = None if found is None else await found[0](found[1])
        if answer is None:
            return _write(HTTPStatus.NOT_FOUND)
        return _write(answer.status, {"Content-Type": answer.kind}, answer.body)

    def _refuse(self, request: Request, *, is_console: bool) -> Response | None:
        if request.method != "GET":
            return _write(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET"})
        is_guarded = is_console or is_loopback(self._settings.host)
        if is_guarded and not _is_own_host(request.headers, self._settings.names):
            return _write(HTTPStatus.MISDIRECTED_REQUEST)
        if is_console and not _is_own_origin(request.headers):
            return _write(HTTPStatus.FORBIDDEN)
        if is_console and self._token is not None and not _shows(request.headers, self._token):
            return _write(HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": 'Basic realm="console", charset="UTF-8"'})
        return None


def _find(pages: Mapping[str, Page], path: str) -> tuple[Page, str] | None:
    if path in pages:
        return pages[path], ""
    folder, _, rest = path.rpartition("/")
    return (pages[f"{folder}/*"], rest) if rest and f"{folder}/*" in pages else None


def _upgrades(request: Request) -> bool:
    return ",".join(request.headers.get_all("Upgrade")).lower() == "websocket"


def _one(headers: Headers, name: str) -> str | None:
    """The header's only value; of several none is to be believed."""
    values = headers.get_all(name)
    return values[0] if len(values) == 1 else None


def _is_own_host(headers: Headers, names: tuple[str, ...]) -> bool:
    """An address cannot be pointed elsewhere by whoever owns a name; a name can."""
    host = urlsplit(f"//{_one(headers, 'Host') or ''}").hostname or ""
    if host == "localhost" or host in (name.lower() for name in names):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_own_origin(headers: Headers) -> bool:
    """Browsers name the page that asks; a program names none."""
    origins = headers.get_all("Origin")
    return not origins or [urlsplit(origin).netloc for origin in origins] == headers.get_all("Host")


def _shows(headers: Headers, token: str) -> bool:
    scheme, _, given = (_one(headers, "Authorization") or "").partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.encode(), token.encode())


def _write(status: HTTPStatus, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> Response:
    data = f"{status.phrase}\n".encode() if body is None else body
    lines = {"Content-Type": TEXT, **SECURITY, **(headers or {}), "Content-Length": str(len(data))}
    return Response(status.value, status.phrase, Headers({**lines, "Connection": "close"}), data)
