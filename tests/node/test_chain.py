"""Questions to a node's HTTP interface, against a real server that answers as told."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from bridge.channel.identifier import Account, ChannelId
from bridge.errors import NodeUnavailable
from bridge.node.chain import PENDING, Chain, authorities

ACCOUNT = Account("ak_2a1j2Mk9YSmC1gioUq4PWRm3bsv887MbuRVwyv4KaUGoR1eiKi")
HUGE = 12345678901234567890123456789


@dataclass(slots=True)
class Web:
    """Answers by path; 404 for the rest."""

    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    port: int = 0
    asked: list[str] = field(default_factory=list)
    drips: bool = False
    release: asyncio.Event = field(default_factory=asyncio.Event)
    talks: list[asyncio.Task[None]] = field(default_factory=list)

    async def drip(self, writer: asyncio.StreamWriter) -> None:
        """Never silent for long, and never done: only a bound on the whole call ends it."""
        writer.write(b"HTTP/1.1 200 x\r\nContent-Length: 1000000\r\n\r\n")
        while not self.release.is_set():
            writer.write(b" ")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.release.wait(), 0.02)

    def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.talks.append(asyncio.create_task(self.speak(reader, writer)))

    async def end(self) -> None:
        """Every connection closed: one that outlives its test is blamed on a later one."""
        self.release.set()
        await asyncio.gather(*self.talks)

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        assert method == "GET"
        self.asked.append(path)
        if self.drips:
            await self.drip(writer)
        status, body = self.answers.get(path, (404, '{"reason": "not found"}'))
        writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        writer.close()
        with contextlib.suppress(ConnectionError):  # who waited no longer has hung up
            await writer.wait_closed()


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    web = Web()
    async with await asyncio.start_server(web.meet, "127.0.0.1", 0) as server:
        web.port = server.sockets[0].getsockname()[1]
        yield web
        await web.end()


@pytest.fixture
async def chain(web: Web) -> AsyncIterator[Chain]:
    async with Chain(f"http://127.0.0.1:{web.port}") as chain:
        yield chain


async def test_each_question_has_its_answer(web: Web, chain: Chain) -> None:
    """Amounts beyond 2^53 keep their last digit, and fields we do not know are let pass."""
    web.answers = {
        "/v3/status": (200, '{"network_id": "ae_uat", "top_block_height": 7, "difficulty": 1}'),
        "/v3/key-blocks/current/height": (200, '{"height": 1234}'),
        f"/v3/accounts/{ACCOUNT}": (200, f'{{"balance": {HUGE}, "nonce": 4, "kind": "basic"}}'),
        f"/v3/accounts/{ACCOUNT}/next-nonce": (200, '{"next_nonce": 5}'),
        "/v3/transactions/th_mined": (200, '{"block_height": 1200, "tx": {}}'),
        "/v3/transactions/th_waits": (200, '{"block_height": -1, "block_hash": "none"}'),
        "/v3/channels/ch_open": (200, '{"id": "ch_open", "round": 7}'),
    }
    assert await chain.network_id() == "ae_uat"
    assert await chain.height() == 1234
    assert await chain.balance(ACCOUNT) == HUGE
    assert await chain.nonce(ACCOUNT) == 4
    assert await chain.next_nonce(ACCOUNT) == 5
    assert await chain.has_channel(ChannelId("ch_open"))
    assert await chain.transaction("th_mined") == 1200
    assert await chain.transaction("th_waits") == PENDING == -1


async def test_what_the_chain_has_never_seen(chain: Chain) -> None:
    """A new account is empty and begins at nonce 1; a transaction nobody knows is not one that waits."""
    assert await chain.balance(ACCOUNT) == 0
    assert await chain.nonce(ACCOUNT) == 0
    assert not await chain.has_channel(ChannelId("ch_closed"))
    assert await chain.next_nonce(ACCOUNT) == 1
    assert await chain.transaction("th_nowhere") is None


async def test_a_node_without_the_interface_is_not_an_answer(chain: Chain) -> None:
    """404 for a height is a wrong address, not height nothing."""
    with pytest.raises(NodeUnavailable, match="/v3/key-blocks/current/height: HTTP 404"):
        await chain.height()


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (503, "{}", "HTTP 503"),
        (302, "{}", "HTTP 302"),
        (200, "no json", "another form"),
        (200, '{"height": "7"}', "another form"),
        (200, '{"height": 7.5}', "another form"),
        (200, '{"height": -7}', "another form"),
        (200, '{"height": true}', "another form"),
        (200, "[]", "another form"),
        (200, '{"height": 7' + " " * 2_000_000 + "}", "more than 1048576 bytes"),
    ],
)
async def test_a_wrong_answer_is_no_answer(web: Web, chain: Chain, status: int, body: str, reason: str) -> None:
    """A guess here would settle a payment by mistake; whoever asked asks again later."""
    web.answers["/v3/key-blocks/current/height"] = (status, body)
    with pytest.raises(NodeUnavailable, match=reason):
        await chain.height()


async def test_a_node_that_does_not_answer_is_given_up(web: Web) -> None:
    """Bounded: the channel's other work goes on."""
    web.drips = True
    async with Chain(f"http://127.0.0.1:{web.port}", call_seconds=0.2) as chain, asyncio.timeout(5):
        with pytest.raises(NodeUnavailable, match="TimeoutError"):
            await chain.height()


async def test_a_node_that_is_away_is_named_as_such() -> None:
    """The kind of failure is what an operator needs first."""
    async with Chain("http://127.0.0.1:1") as chain:
        with pytest.raises(NodeUnavailable, match="/v3/status: ConnectError"):
            await chain.network_id()


async def test_a_name_cannot_leave_its_place_in_the_path(web: Web, chain: Chain) -> None:
    """Whoever controls a name must not choose which question is asked."""
    calls: list[Callable[[str], Awaitable[object]]] = [
        lambda name: chain.balance(Account(name)),
        lambda name: chain.next_nonce(Account(name)),
        chain.transaction,
    ]
    for call in calls:
        await call("../status?x=1#")
    prefix = "/v3/accounts/..%2Fstatus%3Fx%3D1%23"
    assert web.asked == [prefix, f"{prefix}/next-nonce", "/v3/transactions/..%2Fstatus%3Fx%3D1%23"]


async def test_the_authorities_are_read_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bridge asks a chain for every channel again and again: each new set would hold up everything else."""
    read = []

    def create() -> ssl.SSLContext:
        read.append(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        return read[-1]

    monkeypatch.setattr(ssl, "create_default_context", create)
    authorities.cache_clear()
    for _ in range(3):
        await Chain("https://127.0.0.1:1").close()
    assert len(read) == 1
    assert authorities().verify_mode is ssl.CERT_REQUIRED
    assert authorities().check_hostname
    authorities.cache_clear()  # the next one reads the real ones
