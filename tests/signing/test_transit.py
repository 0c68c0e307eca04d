"""`bridge.signing.transit`: a key in a service signs; what the service says is believed only as far as it verifies."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from bridge.errors import KeyRefused, KeyUnavailable
from bridge.signing.secret import read_secret, write_secret
from bridge.signing.transit import MAX_ANSWER_BYTES, TransitKey
from tests.signing.given import OWN, OWN_KEY, PEER_KEY
from tests.signing.vault import NAME, TOKEN, Trouble, Vault, serve

PAYLOAD = b"ae_uat" + bytes(range(32))
SIGNATURE = OWN_KEY.sign(PAYLOAD).signature
KEYS, SIGN = f"/v1/transit/keys/{NAME}", f"/v1/transit/sign/{NAME}"


@pytest.fixture
def vault() -> Iterator[Vault]:
    with serve(OWN_KEY) as made:
        yield made


@asynccontextmanager
async def key(
    vault: Vault, directory: Path, seconds: float = 20.0, context: ssl.SSLContext | None = None
) -> AsyncIterator[TransitKey]:
    file = directory / "token"
    if not file.exists():
        write_secret(file, TOKEN)
    made = TransitKey(
        OWN, vault.url, "transit", NAME, lambda: read_secret(file), seconds, context or ssl.create_default_context()
    )
    try:
        yield made
    finally:
        await made.close()


async def test_service_signs_and_is_asked_for_the_key_once(vault: Vault, tmp_path: Path) -> None:
    """Each signature costs one request."""
    async with key(vault, tmp_path) as made:
        assert [await made.sign(PAYLOAD), await made.sign(PAYLOAD)] == [SIGNATURE, SIGNATURE]
    assert [(method, path) for method, path, _ in vault.asked] == [("GET", KEYS), ("POST", SIGN), ("POST", SIGN)]


async def test_rotated_key_signs_on_with_the_version_of_the_account(vault: Vault, tmp_path: Path) -> None:
    """An account is one version's public key: the newest one is another account's, and worth nothing here."""
    vault.versions = [OWN_KEY, PEER_KEY]
    async with key(vault, tmp_path) as made:
        assert await made.sign(PAYLOAD) == SIGNATURE
    assert vault.asked[-1][2]["key_version"] == 1


async def test_key_of_another_account_is_refused_before_it_signs(vault: Vault, tmp_path: Path) -> None:
    """A typing error in the key's name must not make another account sign."""
    vault.versions = [PEER_KEY]
    async with key(vault, tmp_path) as made:
        with pytest.raises(KeyRefused, match=f"no version of the service's key is that of {OWN}"):
            await made.sign(PAYLOAD)
    assert [path for _, path, _ in vault.asked] == [KEYS]


@pytest.mark.parametrize("status", [408, 412, 429, 500, 502, 503, 504, 599])
async def test_what_may_pass_is_told_apart(vault: Vault, tmp_path: Path, status: int) -> None:
    """Sealed, a standby, busy: the signer asks again."""
    vault.trouble = [Trouble(), Trouble(status)]
    async with key(vault, tmp_path) as made:
        with pytest.raises(KeyUnavailable, match=f"status {status}"):
            await made.sign(PAYLOAD)
        assert await made.sign(PAYLOAD) == SIGNATURE


@pytest.mark.parametrize("status", [201, 301, 307, 400, 403, 404, 405])
async def test_every_other_status_is_final_and_no_redirect_is_followed(
    vault: Vault, tmp_path: Path, status: int
) -> None:
    """A redirect would hand the token to whoever it names."""
    vault.trouble = [Trouble(status)]
    async with key(vault, tmp_path) as made:
        with pytest.raises(KeyRefused, match=f"status {status}"):
            await made.sign(PAYLOAD)
    assert len(vault.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[" * 200_000,
        b"[]",
        b'{"data": []}',
        b'{"data": {}}',
        b'{"data": {"signature": "vault:v1:QUJD"}}',
        b'{"data": {"signature": "vault:v2:' + b"A" * 86 + b'=="}}',
        b'{"data": {"signature": 5}}',
        b"x" * (MAX_ANSWER_BYTES + 1),
    ],
    ids=["empty", "text", "deep", "list", "no-data", "no-signature", "short", "other-version", "number", "endless"],
)
async def test_answer_that_is_none_is_refused(vault: Vault, tmp_path: Path, body: bytes) -> None:
    """A proxy's page, an older interface, a flood."""
    vault.trouble = [Trouble(), Trouble(200, body)]
    async with key(vault, tmp_path) as made:
        with pytest.raises(KeyRefused, match="the service's answer"):
            await made.sign(PAYLOAD)


@pytest.mark.parametrize("trouble", [Trouble(is_cut=True), Trouble(is_silent=True)], ids=["cut", "silent"])
async def test_service_that_does_not_answer_is_away(vault: Vault, tmp_path: Path, trouble: Trouble) -> None:
    """Whether it has signed is not known, which the guard counts as signed."""
    vault.trouble = [Trouble(), trouble]
    async with key(vault, tmp_path, seconds=0.5) as made:
        with pytest.raises(KeyUnavailable):
            await made.sign(PAYLOAD)


async def test_nobody_there_is_away(vault: Vault, tmp_path: Path) -> None:
    """It may be started later."""
    vault.url = "http://127.0.0.1:1"
    async with key(vault, tmp_path) as made:
        with pytest.raises(KeyUnavailable, match="cannot be reached: ConnectError"):
            await made.sign(PAYLOAD)


async def test_renewed_token_counts_at_once_and_no_token_is_ever_shown(vault: Vault, tmp_path: Path) -> None:
    """Tokens live for hours; the signer for months. The service repeats the refused one in its answer."""
    async with key(vault, tmp_path) as made:
        vault.tokens = {"s.newer"}
        with pytest.raises(KeyRefused, match="status 403") as caught:
            await made.sign(PAYLOAD)
        assert TOKEN not in str(caught.value) + repr(made)
        (tmp_path / "token").unlink()
        with pytest.raises(KeyUnavailable, match="the token cannot be read"):
            await made.sign(PAYLOAD)
        write_secret(tmp_path / "token", "s.newer")
        assert await made.sign(PAYLOAD) == SIGNATURE


async def test_proxy_of_the_environment_is_not_used(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would read the token."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with key(vault, tmp_path) as made:
        assert await made.sign(PAYLOAD) == SIGNATURE


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_service_must_prove_to_be_itself(tmp_path: Path, is_trusted: bool) -> None:
    """The token goes to nobody else."""
    ours, others = trustme.CA(), trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    ours.issue_cert("localhost").configure_cert(server)
    (ours if is_trusted else others).configure_trust(client)
    with serve(OWN_KEY, context=server) as vault:
        async with key(vault, tmp_path, context=client) as made:
            if is_trusted:
                assert await made.sign(PAYLOAD) == SIGNATURE
                return
            with pytest.raises(KeyUnavailable, match="nobody we trust has signed its certificate"):
                await made.sign(PAYLOAD)
        assert not vault.asked


async def test_renewed_certificates_count_from_the_next_request(tmp_path: Path) -> None:
    """Certificates live for months, the signer for longer."""
    older, newer = trustme.CA(), trustme.CA()
    server, first, second = (
        ssl.create_default_context(purpose)
        for purpose in (ssl.Purpose.CLIENT_AUTH, ssl.Purpose.SERVER_AUTH, ssl.Purpose.SERVER_AUTH)
    )
    newer.issue_cert("localhost").configure_cert(server)
    older.configure_trust(first)
    newer.configure_trust(second)
    with serve(OWN_KEY, context=server) as vault:
        async with key(vault, tmp_path, context=first) as made:
            with pytest.raises(KeyUnavailable, match="nobody we trust has signed its certificate"):
                await made.sign(PAYLOAD)
            made.renew(second)
            assert await made.sign(PAYLOAD) == SIGNATURE


async def test_who_waits_for_an_answer_keeps_his_connection(vault: Vault, tmp_path: Path) -> None:
    """A renewal in the middle of a signature must not cost it."""
    vault.trouble = [Trouble(is_slow=True)]
    async with key(vault, tmp_path) as made:
        signing = asyncio.create_task(made.sign(PAYLOAD))
        await asyncio.to_thread(vault.was_asked.wait, 20)
        made.renew(ssl.create_default_context())
        vault.going_on.set()
        assert await signing == SIGNATURE
