"""Opening a socket: who is trusted, and where the credential may go."""

import asyncio
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from bridge.errors import NodeUnavailable
from bridge.node.handshake import open_socket
from tests.node.certificate import make
from tests.node.server import SECRET, run_node


async def open_(uri: str) -> ClientConnection:
    return await open_socket(uri, max_frame_bytes=1000, opening=0.5, closing=0.5, ping=15.0, pong=10.0)


async def test_a_node_with_a_trusted_certificate_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the two refusals below are refusals of the certificate, and not of everything."""
    certificate, context = make(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with run_node(context=context) as node:
        socket = await open_(f"wss://127.0.0.1:{node.port}/channel?fsm_id={SECRET}")
        await socket.close()
        assert node.paths == [f"/channel?fsm_id={SECRET}"]


@pytest.mark.parametrize(("named", "trusted"), [("127.0.0.1", False), ("127.0.0.2", True)])
async def test_a_node_that_is_not_proven_to_be_itself_gets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, trusted: bool
) -> None:
    """Neither one nobody vouches for, nor one that shows another's certificate: the credential stays here."""
    certificate, context = make(tmp_path, named)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with run_node(context=context) as node:
        with pytest.raises(NodeUnavailable, match=rf"127.0.0.1:{node.port}: its certificate is ") as caught:
            await open_(f"wss://127.0.0.1:{node.port}/channel?fsm_id={SECRET}")
        assert node.paths == []
        assert SECRET not in str(caught.value)


async def test_a_redirect_is_not_followed() -> None:
    """Where a credential goes is said by the configuration, which was checked, and by nobody else."""
    async with run_node() as thief, run_node() as node:

        async def redirect(socket: ServerConnection, request: Request) -> Response:
            response = socket.respond(302, "")
            response.headers["Location"] = f"ws://127.0.0.1:{thief.port}{request.path}"
            return response

        node.answer = redirect
        with pytest.raises(NodeUnavailable, match="HTTP 302"):
            await open_(f"{node.url}?fsm_id={SECRET}")
        assert thief.paths == []


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable meant for a browser must not send a credential through somebody's machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy", "socks_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with run_node() as node:
        await (await open_(node.url)).close()
        assert len(node.paths) == 1


async def test_no_compression_is_offered() -> None:
    """Four times the memory for each link, a bomb that a size on the network does not bound, and guarantees.md 5.5."""
    offered: list[list[str]] = []

    async def look(_: ServerConnection, request: Request) -> None:
        offered.append(request.headers.get_all("Sec-WebSocket-Extensions"))

    async with run_node() as node:
        node.answer = look
        await (await open_(node.url)).close()
    assert offered == [[]]


async def test_a_node_that_takes_the_connection_and_says_nothing_is_given_up() -> None:
    """Bounded: a hung node must not stop the next try, on which another may answer."""

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NodeUnavailable, match=f"127.0.0.1:{port}: TimeoutError"):
            await asyncio.wait_for(open_(f"ws://127.0.0.1:{port}/channel?fsm_id={SECRET}"), 10)
        for writer in writers:
            writer.close()


@pytest.mark.parametrize("answer", [b"garbage\r\n\r\n", b"", b"HTTP/1.1 101 ok\r\n\r\n"])
async def test_what_is_no_websocket_is_named_without_the_address(answer: bytes) -> None:
    """Another program on that port: a mistake the operator must see, without the credential in it."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NodeUnavailable, match=f"127.0.0.1:{port}: Invalid") as caught:
            await open_(f"ws://127.0.0.1:{port}/channel?fsm_id={SECRET}")
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
