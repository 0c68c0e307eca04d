"""TLS to a node, its WebSocket and its HTTP interface: who is refused, with which words, and what they got: nothing."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bridge.app.tls import make_context
from bridge.errors import Code, NodeUnavailable, NodeUntrusted
from bridge.node.chain import Chain
from bridge.node.handshake import open_socket
from bridge.node.link import Address, Link
from tests.authority import HOST, Authority
from tests.front import front
from tests.node.server import QUICK, SECRET, Ear, Node, run_node, running

TROUBLES = ("self-signed", "unknown authority", "expired", "wrong host")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def connect(port: int, context: ssl.SSLContext) -> None:
    uri = f"wss://{HOST}:{port}/channel?fsm_id={SECRET}"
    socket = await open_socket(
        uri, context=context, max_frame_bytes=1000, opening=5.0, closing=0.5, ping=15.0, pong=10.0
    )
    await socket.close()


@asynccontextmanager
async def socket_node(context: ssl.SSLContext) -> AsyncIterator[tuple[int, Node]]:
    """A WebSocket behind TLS: its port, and what the node saw."""
    async with run_node() as node, front(context, node.port) as port:
        yield port, node


@asynccontextmanager
async def web(context: ssl.SSLContext) -> AsyncIterator[tuple[int, list[bytes]]]:
    """An HTTP interface behind TLS that knows its network: its port, and what it was asked."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        body = b'{"network_id": "ae_dev"}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, front(context, server.sockets[0].getsockname()[1]) as port:
        yield port, asked


async def ask(port: int, context: ssl.SSLContext) -> str:
    async with Chain(f"https://{HOST}:{port}", context=context) as chain:
        return await chain.network_id()


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_node_that_cannot_prove_who_it_is_hears_no_word(authority: Authority, trouble: str) -> None:
    """The address holds the credential of the channel: it must not even be asked for with it."""
    pair, sentence = authority.troubles()[trouble]
    context = make_context(authority.ca_file)
    async with socket_node(authority.server(pair)) as (port, node):
        with pytest.raises(NodeUntrusted, match=f"^{HOST}:{port}: {sentence}") as caught:
            await connect(port, context)
        assert node.paths == []
    assert caught.value.code is Code.TLS_REFUSED
    assert SECRET not in str(caught.value)
    async with web(authority.server(pair)) as (port, asked):
        with pytest.raises(NodeUntrusted, match=f"^/v3/status: {sentence}"):
            await ask(port, context)
        assert asked == []


async def test_a_node_of_the_last_century_is_refused(authority: Authority) -> None:
    """TLS 1.1 and earlier are broken: better no connection than one that only looks safe."""
    server = authority.server(authority.issue("old", HOST), is_old=True)
    context = make_context(authority.ca_file)
    async with socket_node(server) as (port, node):
        with pytest.raises(NodeUntrusted, match=r"it offers no TLS 1\.2 or later"):
            await connect(port, context)
        assert node.paths == []
    async with web(server) as (port, asked):
        with pytest.raises(NodeUntrusted, match=r"it offers no TLS 1\.2 or later"):
            await ask(port, context)
        assert asked == []


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_node_that_demands_a_certificate_says_so(authority: Authority, newest: ssl.TLSVersion) -> None:
    """In TLS 1.3 the refusal comes after our side of the handshake is over: it must be found all the same."""
    server = authority.server(authority.issue("node", HOST), demands_certificate=True)
    server.maximum_version = newest
    mine = authority.issue("bridge", "bridge")
    bare, complete = make_context(authority.ca_file), make_context(authority.ca_file, mine.certificate, mine.key)
    async with socket_node(server) as (port, node):
        with pytest.raises(NodeUntrusted, match="it demands a client certificate and we have none"):
            await connect(port, bare)
        assert node.paths == []
        await connect(port, complete)
        assert len(node.paths) == 1
    async with web(server) as (port, _):
        with pytest.raises(NodeUntrusted, match="it demands a client certificate and we have none"):
            await ask(port, bare)
        assert await ask(port, complete) == "ae_dev"


async def test_a_client_certificate_of_nobody_is_not_taken(authority: Authority) -> None:
    """An operator who gave the wrong file reads that it is the certificate, and ours."""
    server = authority.server(authority.issue("node", HOST), demands_certificate=True)
    stray = authority.stray("stray", "bridge")
    async with socket_node(server) as (port, _):
        with pytest.raises(NodeUntrusted, match="it does not take our client certificate"):
            await connect(port, make_context(authority.ca_file, stray.certificate, stray.key))


async def test_a_node_without_tls_is_told_apart(authority: Authority) -> None:
    """`wss` to a port that speaks `ws`: the most common mistake of all."""

    async def wonder(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(wonder, "127.0.0.1", 0) as server:
        with pytest.raises(NodeUntrusted, match="it answers with something that is no TLS"):
            await connect(server.sockets[0].getsockname()[1], make_context(authority.ca_file))


async def test_a_socket_that_breaks_in_the_handshake_is_no_refusal(authority: Authority) -> None:
    """A node that restarts ends handshakes in the middle: nothing is there to be mended."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NodeUnavailable) as caught:
            await connect(port, make_context(authority.ca_file))
        assert not isinstance(caught.value, NodeUntrusted)


async def test_certificates_are_asked_for_at_each_try(authority: Authority) -> None:
    """A certificate that was renewed counts with the next try, without a restart; the listener hears the code."""
    contexts = [make_context(), make_context(authority.ca_file)]
    ear = Ear()
    async with socket_node(authority.server(authority.issue("node", HOST))) as (port, _):

        async def address() -> tuple[Address, bool]:
            return Address(f"wss://{HOST}:{port}/channel", {}, contexts.pop(0)), False

        async with running(Link(address, ear, timing=QUICK)):
            kind, attempts, reason, code = await ear.next()
            assert (kind, attempts, code) == ("failed", 1, Code.TLS_REFUSED)
            assert str(reason).endswith("nobody we trust has signed its certificate")
            assert await ear.next() == ("up", False)
