"""A small HTTP server with the transit engine's two calls, on a real port: keys with versions, tokens, and bad days.

`trouble` holds what the next requests meet instead of an answer; `asked` what was asked, as the server saw it.
"""

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nacl.signing import SigningKey

TOKEN = "s.the-token"
NAME = "acme"


@dataclass
class Trouble:
    status: int = 200
    body: bytes | None = None
    """In place of the answer's."""
    is_cut: bool = False
    """The connection ends without an answer."""
    is_slow: bool = False
    """The answer waits until the vault is `going_on`."""
    is_silent: bool = False
    """No answer comes at all, until the server stops."""


@dataclass
class Vault:
    versions: list[SigningKey]
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    trouble: list[Trouble] = field(default_factory=list)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    url: str = ""
    was_asked: threading.Event = field(default_factory=threading.Event)
    """Something slow."""
    going_on: threading.Event = field(default_factory=threading.Event)
    stopping: threading.Event = field(default_factory=threading.Event)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        match method, path:
            case "GET", "/v1/transit/keys/acme":
                keys = {
                    str(number): {"name": "ed25519", "public_key": base64.b64encode(bytes(key.verify_key)).decode()}
                    for number, key in enumerate(self.versions, 1)
                }
                return 200, {"data": {"type": "ed25519", "latest_version": len(keys), "keys": keys}}
            case "POST", "/v1/transit/sign/acme":
                number = body.get("key_version", 0) or len(self.versions)
                signature = self.versions[number - 1].sign(base64.b64decode(body["input"])).signature
                return 200, {"data": {"signature": f"vault:v{number}:{base64.b64encode(signature).decode()}"}}
            case _:
                return 404, {"errors": []}


class _Handler(BaseHTTPRequestHandler):
    vault: Vault

    def do_GET(self) -> None:
        self._respond(None)

    def do_POST(self) -> None:
        self._respond(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _respond(self, body: Any) -> None:
        vault = self.vault
        vault.asked.append((self.command, self.path, body))
        trouble = vault.trouble.pop(0) if vault.trouble else Trouble()
        if trouble.is_silent:
            vault.stopping.wait()
        if trouble.is_slow:
            vault.was_asked.set()
            vault.going_on.wait(20)
        if trouble.is_silent or trouble.is_cut:
            self.close_connection = True
            return
        if self.headers["X-Vault-Token"] not in vault.tokens:
            errors = ["permission denied", self.headers["X-Vault-Token"]]
            trouble = Trouble(403, json.dumps({"errors": errors}).encode())
        status, answer = (trouble.status, {}) if trouble.status != 200 else vault.answer(self.command, self.path, body)
        content = json.dumps(answer).encode() if trouble.body is None else trouble.body
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", f"{vault.url}{self.path}")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name
        """Says nothing."""


@contextmanager
def serve(*versions: SigningKey, context: ssl.SSLContext | None = None) -> Iterator[Vault]:
    """On loopback, on any free port; with TLS where a context is given."""
    vault = Vault(list(versions))
    handler = type("Handler", (_Handler,), {"vault": vault})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        vault.url = f"{'http' if context is None else 'https'}://localhost:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield vault
        finally:
            vault.stopping.set()
            server.shutdown()
            thread.join()
