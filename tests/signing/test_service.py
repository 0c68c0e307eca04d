"""`bridge.app.signer`: a request in, its reply out, whatever the broker does meanwhile."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bridge.app.access import Access
from bridge.app.bus import Bus
from bridge.app.settings import Broker
from bridge.app.signer import SignerService
from bridge.broker.topology import plan
from bridge.channel.identifier import Account
from bridge.errors import BrokerRefused
from bridge.signing.guard import Guard
from bridge.signing.key import Key
from bridge.signing.signer import Signer
from bridge.sim.broker import MemoryBroker
from bridge.sim.broker_session import MemorySession
from bridge.wire.body import SignReplyBody
from bridge.wire.envelope import Envelope
from tests.signing.given import EVERYTHING, NOW, OWN, OWN_KEY, ask, update

PREFIX = "house"
REPLIES = f"{PREFIX}.sign-replies"
SECONDS = 20.0


@asynccontextmanager
async def serving(broker: MemoryBroker, directory: Path, bus: Bus | None = None) -> AsyncIterator[asyncio.Task[None]]:
    """A signer at work on that broker."""
    with Guard(directory) as guard:
        keys = {Account(OWN): Key(OWN_KEY)}
        signer = Signer(keys, {Account(OWN): EVERYTHING}, lambda: NOW, guard)
        bus = bus or broker.session("signer")
        service = SignerService(PREFIX, signer, Access(Broker()), lambda: NOW, bus=bus)
        running = asyncio.create_task(service.run())
        await service.ready.wait()
        try:
            yield running
        finally:
            service.stop()
            with suppress(ExceptionGroup):
                await running


async def put(broker: MemoryBroker, request_id: str, round_: int) -> None:
    """A sign request, as the bridge publishes it."""
    body = ask(request_id, update(round_)).model_dump_json(by_alias=True).encode()
    async with broker.session("bridge") as session:
        key = f"{OWN}.update"
        await session.publisher().publish(Envelope(f"{PREFIX}.sign-requests", key, body, {}, "", None, NOW))


async def replied(broker: MemoryBroker, count: int) -> list[str]:
    """The requests that were answered, once there are so many."""
    seen: list[str] = []
    async with asyncio.timeout(SECONDS), broker.session("reader") as session:
        async for delivery in session.consumer(REPLIES):
            seen.append(SignReplyBody.model_validate_json(delivery.received.body).sign_request_id)
            await delivery.ack()
            if len(seen) == count:
                break
    return seen


async def failed(caplog: pytest.LogCaptureFixture) -> None:
    """A reply was tried in vain."""
    async with asyncio.timeout(SECONDS):
        while "reply_not_published" not in caplog.messages:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.01)


@pytest.fixture
def broker() -> MemoryBroker:
    made = MemoryBroker()
    made.declare(plan(PREFIX, [OWN]))
    return made


@pytest.mark.parametrize(
    ("strike", "repair"),
    [
        pytest.param(MemoryBroker.block, MemoryBroker.unblock, id="out of memory"),
        pytest.param(lambda broker: broker.nack(1), lambda _: None, id="a full queue"),
    ],
)
async def test_a_reply_the_broker_does_not_take_comes_later(
    broker: MemoryBroker,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    strike: Callable[[MemoryBroker], None],
    repair: Callable[[MemoryBroker], None],
) -> None:
    """Requests come over another connection than replies leave by: it lives on, and nothing is delivered again."""
    caplog.set_level(logging.WARNING, logger="bridge")
    await put(broker, "r-1", 2)
    strike(broker)
    async with serving(broker, tmp_path):
        await failed(caplog)
        repair(broker)
        await put(broker, "r-2", 3)
        assert await replied(broker, 2) == ["r-1", "r-2"]


async def test_a_signer_that_may_not_reply_ends_and_says_so(
    broker: MemoryBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repeating cannot help, and whoever runs it must hear of it: every channel of that account waits."""
    await put(broker, "r-1", 2)

    def accept(*_: object, **__: object) -> None:
        raise BrokerRefused("ACCESS_REFUSED")

    monkeypatch.setattr(broker, "accept", accept)
    async with serving(broker, tmp_path) as running:
        await asyncio.wait([running], timeout=SECONDS)
        error = running.exception()
        assert isinstance(error, ExceptionGroup)
        assert error.subgroup(BrokerRefused) is not None


class Refusing(MemorySession):
    """A session whose publishing connection is refused for good, as after a change of the password."""

    async def refused(self) -> None:
        raise BrokerRefused("ACCESS_REFUSED")


async def test_a_signer_the_broker_refuses_ends_and_says_so(broker: MemoryBroker, tmp_path: Path) -> None:
    """Even while nobody asks it for anything: the next request would wait for its deadline."""
    async with serving(broker, tmp_path, Refusing(broker, "signer", 20.0)) as running:
        await asyncio.wait([running], timeout=SECONDS)
        assert running.done()
        error = running.exception()
        assert isinstance(error, ExceptionGroup)
        assert error.subgroup(BrokerRefused) is not None
