"""`channel-bridge signer`: a process of its own that holds keys, reads sign requests and writes replies.

A request is acked once its reply is confirmed by the broker, so a crash in between brings it again; the same
request gives the reply that was stored, and the bridge uses one. A reply the broker does not take is published
again until it does: the request came over another connection, which may live on, and then never comes again.
What to sign is `bridge.signing`'s business; this file only carries it.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from functools import partial

from bridge.app.access import Access
from bridge.app.bus import Bus, Consumes, Delivery, Publishes, RabbitBus
from bridge.app.clock import SteadyClock
from bridge.app.http import HttpServer
from bridge.app.keyring import Ring, check_transit, is_development, open_ring
from bridge.app.observer import Answered
from bridge.app.settings import Http
from bridge.app.signermonitor import SignerMonitor
from bridge.app.signersettings import SignerConfig
from bridge.broker.failure import backoff
from bridge.channel.identifier import Account, ChannelName
from bridge.errors import BodyError
from bridge.signing.guard import Guard
from bridge.signing.signer import Signer
from bridge.wire.incoming import read_sign_request
from bridge.wire.outgoing import sign_reply_envelope

DAY_SECONDS = 24 * 3600.0

log = logging.getLogger(__name__)


class SignerService:
    """Serves every account the signer has a key for, each from its own queue."""

    def __init__(
        self,
        prefix: str,
        signer: Signer,
        access: Access,
        clock: Callable[[], float] | None = None,
        bus: Bus | None = None,
        renew_keys: Callable[[], None] = lambda: None,
    ) -> None:
        self._prefix = prefix
        self._signer = signer
        self._access = access
        self._renew_keys = renew_keys
        self._rabbit = RabbitBus(access.broker_urls, name="signer", ssl_context=access.broker_context)
        self._bus = bus or self._rabbit
        self._clock = clock or SteadyClock()
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()
        self.monitor = SignerMonitor(self._rabbit, self.ready, self._stopping)

    def stop(self) -> None:
        """Begins to stop. May be called twice; does not block."""
        self._stopping.set()

    def reload(self, server: HttpServer) -> bool:
        """Passwords, tokens and certificates from their files again; see `Access`. Key files are read once."""
        return self._access.reload(self._rabbit.replace_urls, server.renew, self._renew_keys)

    async def run(self) -> None:
        async with self._bus as bus, asyncio.TaskGroup() as group:
            publisher = bus.publisher()
            consumers = [
                bus.consumer(f"{self._prefix}.sign-requests.{account}", source=f"{self._prefix}.sign-requests")
                for account in self._signer.accounts
            ]
            tasks = [group.create_task(self._consume(consumer, publisher)) for consumer in consumers]
            tasks.append(group.create_task(bus.refused()))
            self.ready.set()
            log.info("signer_ready", extra={"accounts": len(consumers)})
            await self._stopping.wait()
            for consumer in consumers:
                await consumer.close()
            for task in tasks:
                task.cancel()

    async def _consume(self, consumer: Consumes, publisher: Publishes) -> None:
        async for delivery in consumer:
            await self._answer(delivery, publisher)

    async def _answer(self, delivery: Delivery, publisher: Publishes) -> None:
        began = self._clock()
        try:
            request = read_sign_request(delivery.received)
        except BodyError as error:
            log.error("sign_request_unreadable", extra={"code": error.code.value, "path": error.path})  # noqa: TRY400
            await delivery.reject()
            return
        reply = await self._signer.answer(request)
        log.info(
            "sign_request_answered",
            extra={
                "channel": request.channel,
                "tag": request.tag,
                "sign_request_id": request.sign_request_id,
                "refused": reply.refusal is not None,
                "code": None if reply.refusal is None else reply.refusal.code,
                "replaces": reply.replaces,
            },
        )
        envelope = sign_reply_envelope(
            self._prefix, Account(request.account), ChannelName(request.channel), reply, at=self._clock()
        )
        async for attempt in backoff(lambda error: log.warning("reply_not_published", extra={"error": error})):
            with attempt:
                await publisher.publish(envelope)
        self.monitor.observer.tell(Answered(request.tag, reply.refusal is not None, self._clock() - began))
        await delivery.ack()


async def run(config: SignerConfig) -> None:
    """The signer a file describes, its guard open and locked for as long as it runs.

    Raises OwnerConflict, GuardUnavailable and ConfigInvalid.
    """
    ring = open_ring(config)
    async with ring.closing:
        with Guard(config.guard.data_dir, config.guard.reply_days * DAY_SECONDS) as guard:
            await serve(assemble(config, ring, guard), config.http)


def assemble(config: SignerConfig, ring: Ring, guard: Guard) -> SignerService:
    """Blocks for some milliseconds while secrets are read. Raises ConfigInvalid."""
    signer = Signer(ring.keys, config.policy, SteadyClock(), guard, config.reply, is_development=is_development(config))
    access = Access(config.broker, http=config.http, check=partial(check_transit, config.keys.transit))
    return SignerService(config.prefix, signer, access, renew_keys=ring.renew)


async def serve(service: SignerService, http: Http) -> None:
    """Runs a signer until SIGTERM or SIGINT; SIGHUP reads passwords, tokens and certificates again."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    server = service.monitor.server(http)
    loop.add_signal_handler(signal.SIGHUP, service.reload, server)
    async with server:
        await service.run()
