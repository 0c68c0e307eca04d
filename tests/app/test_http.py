"""`bridge.app.http`: who may ask for what at the small port."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidStatus

from bridge.app.health import Health, Stage
from bridge.app.http import CLOSE_SECONDS, Answer, HttpServer, Site
from bridge.app.settings import Http
from bridge.errors import ConfigInvalid
from bridge.signing.secret import write_secret

TOKEN = "a-token-of-twenty-one"  # not a secret: it guards nothing but this test


async def _secret(_: str) -> Answer:
    return Answer(b"balances")


async def _echo(rest: str) -> Answer | None:
    return None if rest == "nothing" else Answer(rest.encode())


async def _live(connection: ServerConnection) -> None:
    await connection.send("hello")


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[HttpServer]:
    health = Health(lambda: Stage.RUNNING, {})
    site = Site({"/livez": health.livez}, {"/": _secret, "/history/*": _echo}, _live)
    async with HttpServer(Http(port=0, **options), site) as server:
        yield server


async def get(server: HttpServer, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.request(method, f"http://127.0.0.1:{server.port}{path}", headers=headers)


async def test_every_answer_forbids_what_a_page_does_not_need() -> None:
    """A page that shows balances runs no foreign script, sits in no foreign frame and lies in no cache."""
    async with serving() as server:
        for path in ("/", "/livez", "/absent"):
            headers = (await get(server, path)).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["cache-control"] == "no-store"
            assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
async def test_only_get_is_answered(method: str) -> None:
    """The port changes nothing, so nothing that wants to change something is listened to."""
    async with serving() as server:
        assert (await get(server, "/livez", method)).status_code == 405


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:8090", 200),
        ("[::1]:8090", 200),
        ("console.example", 200),
        ("CONSOLE.example:8090", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("console.example@evil.example", 421),
        ("", 421),
    ],
)
async def test_page_is_not_shown_under_a_foreign_name(host: str, status: int) -> None:
    """Who owns a name can point it at 127.0.0.1: his page would then read ours as if it were his own."""
    async with serving(names=("console.example",)) as server:
        assert (await get(server, "/", Host=host)).status_code == status


async def test_page_of_another_origin_reads_neither_page_nor_feed() -> None:
    """A WebSocket knows no same-origin rule of its own: any page may open one to us."""
    async with serving() as server:
        own = f"http://127.0.0.1:{server.port}"
        assert (await get(server, "/", Origin="http://evil.example")).status_code == 403
        assert (await get(server, "/", Origin=own)).status_code == 200
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{server.port}/live", additional_headers={"Origin": "null"}, proxy=None)
        assert refused.value.response.status_code == 403
        async with connect(
            f"ws://127.0.0.1:{server.port}/live", additional_headers={"Origin": own}, proxy=None
        ) as feed:
            assert await feed.recv() == "hello"


async def test_token_guards_the_console_and_not_the_probes(tmp_path: Path) -> None:
    """A probe has no token; whoever sees balances has one, as the password of any user or as a bearer."""
    write_secret(tmp_path / "token", TOKEN)
    async with serving(token_file=tmp_path / "token") as server:
        basic = base64.b64encode(f"anybody:{TOKEN}".encode()).decode()
        wrong = base64.b64encode(b"anybody:another").decode()
        assert (await get(server, "/livez")).status_code == 200
        assert (await get(server, "/")).status_code == 401
        assert (await get(server, "/live")).status_code == 401
        assert (await get(server, "/history/x")).status_code == 401
        assert (await get(server, "/", Authorization=f"Basic {wrong}")).status_code == 401
        assert (await get(server, "/", Authorization="Basic %%%")).status_code == 401
        assert (await get(server, "/", Authorization=f"Digest {TOKEN}")).status_code == 401
        assert (await get(server, "/", Authorization=f"Basic {basic}")).status_code == 200
        assert (await get(server, "/", Authorization=f"Bearer {TOKEN}")).status_code == 200


async def test_renewed_token_counts_from_the_next_request(tmp_path: Path) -> None:
    """A token that leaked is changed without a restart, and the old one opens nothing any more."""
    token = tmp_path / "token"
    write_secret(token, TOKEN)
    async with serving(token_file=token) as server:
        token.write_text("another-token-of-some-length")
        assert (await get(server, "/", Authorization=f"Bearer {TOKEN}")).status_code == 200
        server.renew()
        assert (await get(server, "/", Authorization=f"Bearer {TOKEN}")).status_code == 401
        assert (await get(server, "/", Authorization="Bearer another-token-of-some-length")).status_code == 200


async def test_paths_below_a_folder_reach_its_page_and_no_other() -> None:
    """A path is looked up in a table: there is no file behind it."""
    async with serving() as server:
        assert (await get(server, "/history/shop-1")).text == "shop-1"
        assert (await get(server, "/history/nothing")).status_code == 404
        assert (await get(server, "/history/")).status_code == 404
        assert (await get(server, "/history/a/b")).status_code == 404
        assert (await get(server, "/../etc/passwd")).status_code == 404
        assert (await get(server, "/live")).status_code == 426


async def test_taken_port_is_an_error_only_where_somebody_chose_it(caplog: pytest.LogCaptureFixture) -> None:
    """Two bridges on one machine start by their defaults; a port that was asked for and is not there is a mistake."""
    async with serving() as first:
        assert first.port is not None
        with pytest.raises(ConfigInvalid, match=r"."):
            async with HttpServer(Http(port=first.port), Site({})):
                pass
        chosen_by_nobody = Http.model_construct(_fields_set=set(), **Http(port=first.port).model_dump())
        async with HttpServer(chosen_by_nobody, Site({})) as second:
            assert second.port is None
    assert "http_not_served" in caplog.messages


def issue(directory: Path) -> ssl.SSLContext:
    """A server's certificate by a new authority, in the files of before; who trusts that authority alone."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
    (directory / "key.pem").unlink(missing_ok=True)
    write_secret(directory / "key.pem", issued.private_key_pem.bytes().decode())
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.load_verify_locations(cadata=authority.cert_pem.bytes().decode())
    return trusting


async def is_trusted(server: HttpServer, trusting: ssl.SSLContext) -> bool:
    async with httpx.AsyncClient(trust_env=False, verify=trusting) as client:
        try:
            return (await client.get(f"https://127.0.0.1:{server.port}/livez")).status_code == 200
        except httpx.ConnectError:
            return False


async def test_renewed_certificate_counts_from_the_next_handshake(tmp_path: Path) -> None:
    """Certificates end every few months; the port need not."""
    first = issue(tmp_path)
    async with serving(certificate_file=tmp_path / "cert.pem", key_file=tmp_path / "key.pem") as server:
        second = issue(tmp_path)
        assert (await is_trusted(server, first), await is_trusted(server, second)) == (True, False)
        server.renew()
        assert (await is_trusted(server, first), await is_trusted(server, second)) == (False, True)


async def test_certificate_makes_the_port_speak_tls_only(tmp_path: Path) -> None:
    """Beyond loopback a token in plain text is everybody's."""
    trusting = issue(tmp_path)
    async with serving(certificate_file=tmp_path / "cert.pem", key_file=tmp_path / "key.pem") as server:
        assert await is_trusted(server, trusting)
        with pytest.raises(httpx.TransportError):
            await get(server, "/livez")


async def test_a_client_that_never_asks_does_not_hold_up_the_end() -> None:
    """A stop has 25 seconds for everything; the library alone waits ten for a handshake that has only begun."""
    loop = asyncio.get_running_loop()
    async with serving() as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await get(server, "/livez")  # the server has seen both
        began = loop.time()
    assert loop.time() - began < CLOSE_SECONDS + 0.5
    writer.close()
