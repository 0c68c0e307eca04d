"""TLS to a real RabbitMQ: who is refused, with which words, and that the rest works as without."""

import asyncio
import shutil
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from bridge.app.tls import make_context
from bridge.broker.connection import Connection
from bridge.broker.consumer import Consumer
from bridge.broker.package import Program
from bridge.broker.permission import Role, User, definitions
from bridge.broker.private import PrivateBroker, TlsListener
from bridge.broker.publisher import Publisher
from bridge.broker.transport import Transport
from bridge.errors import BrokerRefused, BrokerUnavailable, BrokerUntrusted, Code
from bridge.wire.envelope import Envelope
from tests.authority import HOST, Authority, Pair
from tests.broker.people import PREFIX

PASSWORD = "the-password-of-alice"
USERS = (
    User("alice", Role.CLIENT, ("acme-7",), password=PASSWORD),
    User("bridge", Role.BRIDGE),
)


@dataclass(slots=True)
class Walled:
    """A RabbitMQ that demands client certificates, and the files of everybody."""

    broker: PrivateBroker
    authority: Authority
    shown: Pair

    async def show(self, pair: Pair) -> None:
        """From now on the broker shows another certificate."""
        shutil.copyfile(pair.certificate, self.shown.certificate)
        shutil.copyfile(pair.key, self.shown.key)
        await self.broker.control("eval", "ssl:clear_pem_cache().")

    def context(self, user: str) -> ssl.SSLContext:
        pair = self.authority.issue(f"client-{user}", user)
        return make_context(self.authority.ca_file, pair.certificate, pair.key)


def made(listener: TlsListener, program: Program) -> PrivateBroker:
    document = definitions(PREFIX, None, USERS)
    return PrivateBroker(document, passwords={"alice": PASSWORD}, program=program, tls=listener)


@pytest.fixture(scope="module")
def walled(tmp_path_factory: pytest.TempPathFactory, broker_program: Program) -> Iterator[Walled]:
    authority = Authority(tmp_path_factory.mktemp("walled"))
    shown = authority.issue("shown", HOST)
    listener = TlsListener(authority.ca_file, shown.certificate, shown.key, demands_certificate=True)
    broker = made(listener, broker_program)
    asyncio.run(broker.start())
    yield Walled(broker, authority, shown)
    asyncio.run(broker.stop())


async def connect(url: str, context: ssl.SSLContext) -> None:
    async with Connection(url, "probe", ssl_context=context, call_seconds=20) as opened:
        await opened.amqp_channel()


async def test_a_payment_of_words_passes_over_tls(walled: Walled) -> None:
    """A password user writes, a certificate user reads: the author is vouched for as without TLS."""
    alice, bridge = walled.context("alice"), walled.context("bridge")
    async with (
        Connection(walled.broker.tls_url("alice"), "alice", ssl_context=alice) as writing,
        Connection(walled.broker.tls_url("bridge", with_password=False), "bridge", ssl_context=bridge) as reading,
    ):
        assert (writing.user, reading.user) == ("alice", "bridge")
        await Publisher(writing).publish(
            Envelope(f"{PREFIX}.commands", "acme-7.transfer", b"{}", {}, "command", None, 1_700_000_000.0)
        )
        consumer = Consumer(reading, f"{PREFIX}.commands")
        async with asyncio.timeout(20):
            delivery = await anext(consumer)
        assert delivery.received.user_id == "alice"
        await delivery.ack()
        await consumer.close()


@pytest.mark.parametrize("trouble", ["self-signed", "unknown authority", "expired", "wrong host"])
async def test_a_broker_that_cannot_prove_who_it_is_gets_no_password(walled: Walled, trouble: str) -> None:
    """Whoever sits between would read every password and every command."""
    pair, sentence = walled.authority.troubles()[trouble]
    await walled.show(pair)
    try:
        with pytest.raises(BrokerRefused, match=f"connecting to {HOST}:{walled.broker.tls_port}: {sentence}") as caught:
            await connect(walled.broker.tls_url("alice"), walled.context("alice"))
    finally:
        await walled.show(walled.authority.issue("again", HOST))
    assert isinstance(caught.value, BrokerUntrusted)
    assert caught.value.code is Code.TLS_REFUSED
    assert PASSWORD not in str(caught.value)


async def test_a_client_without_a_certificate_is_told_so(walled: Walled) -> None:
    """The broker says it after our side of the handshake: not for ever "connection lost"."""
    with pytest.raises(BrokerRefused, match="it demands a client certificate and we have none"):
        await connect(walled.broker.tls_url("alice"), make_context(walled.authority.ca_file))


async def test_a_client_certificate_of_nobody_is_refused(walled: Walled) -> None:
    """Anybody can write `bridge` into a certificate of his own."""
    stray = walled.authority.stray("stray", "bridge")
    context = make_context(walled.authority.ca_file, stray.certificate, stray.key)
    with pytest.raises(BrokerRefused, match="it does not take our client certificate"):
        await connect(walled.broker.tls_url("bridge", with_password=False), context)


async def test_a_refusal_overtaken_by_a_reset_is_heard(walled: Walled, monkeypatch: pytest.MonkeyPatch) -> None:
    """RabbitMQ resets what it closes, and the first bytes written after that hide its alert: here always."""
    create = Transport.create
    slow: list[str] = []

    async def create_slowly(transport: Transport, url: URL, **kwargs: Any) -> Any:
        streams = await create(transport, url, **kwargs)
        time.sleep(0.5)  # noqa: ASYNC251 - a machine that has no time for us is what is tried
        slow.append(url.host or "")
        return streams

    monkeypatch.setattr(Transport, "create", create_slowly)
    stray = walled.authority.stray("stray", "bridge")
    context = make_context(walled.authority.ca_file, stray.certificate, stray.key)
    with pytest.raises(BrokerUntrusted, match="it does not take our client certificate"):
        await connect(walled.broker.tls_url("bridge", with_password=False), context)
    assert slow == [HOST]


async def test_a_certificate_of_somebody_without_an_account_opens_nothing(walled: Walled) -> None:
    """The authority vouches for a name; whether the name may enter is the broker's business."""
    with pytest.raises(BrokerRefused, match="ACCESS_REFUSED"):
        await connect(walled.broker.tls_url("mallory", with_password=False), walled.context("mallory"))


async def test_a_user_without_a_password_has_no_empty_one(walled: Walled) -> None:
    """`bridge` has no password: none at all, and not one of no letters."""
    url = walled.broker.tls_url("bridge", with_password=False).replace("bridge@", "bridge:@").partition("?")[0]
    with pytest.raises(BrokerRefused, match="ACCESS_REFUSED"):
        await connect(url, walled.context("bridge"))


async def test_plain_text_on_the_port_of_tls_is_no_way_in(walled: Walled) -> None:
    url = walled.broker.tls_url("alice").replace("amqps", "amqp")
    with pytest.raises(BrokerUnavailable):
        async with Connection(url, "probe", call_seconds=2) as opened:
            await opened.amqp_channel()


async def test_a_broker_of_the_last_century_is_refused(tmp_path: Path, broker_program: Program) -> None:
    """TLS 1.1 and earlier are broken: better no connection than one that only looks safe."""
    authority = Authority(tmp_path)
    shown = authority.issue("shown", HOST)
    listener = TlsListener(authority.ca_file, shown.certificate, shown.key, versions=("tlsv1.1",))
    async with made(listener, broker_program) as broker:
        with pytest.raises(BrokerRefused, match=r"it offers no TLS 1\.2 or later"):
            await connect(broker.tls_url("alice"), make_context(authority.ca_file))


async def test_a_new_password_and_certificate_count_from_the_next_connect(walled: Walled) -> None:
    """What SIGHUP does to a connection: it stays, and the next one is made with what was read."""
    stray = walled.authority.stray("stray", "alice")
    wrong = make_context(walled.authority.ca_file, stray.certificate, stray.key)
    async with Connection(walled.broker.tls_url("alice"), "probe", ssl_context=walled.context("alice")) as opened:
        opened.replace_urls(walled.broker.tls_url("alice"), walled.context("alice"))
        assert (opened.is_up, opened.generation) == (True, 1)
        opened.discard("by the test", 1)
        await opened.wait_up()
        assert opened.generation == 2
        opened.replace_urls(walled.broker.tls_url("alice"), wrong)
        opened.discard("by the test", 2)
        with pytest.raises(BrokerRefused, match="it does not take our client certificate"):
            await opened.wait_up()
