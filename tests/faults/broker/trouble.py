"""What RabbitMQ can do to a bridge, one function each: strike for so many seconds, repair, and judge.

Each takes a private broker that it may ruin and returns it repaired, with its figures; it raises AssertionError when
something was lost, doubled, or did not come back in time. Payments go on or wait meanwhile; the nodes' sockets stay.
"""

import asyncio
from collections.abc import Awaitable, Callable

from bridge.app.deployment import plan
from bridge.broker.private import PrivateBroker
from bridge.broker.topology import Binding, Queue, Topology, apply
from tests.faults.broker.link import Torn, Unconfirmed, gone
from tests.faults.broker.scene import ROLES, Scene, scene
from tests.faults.proxy import Proxy, broker_link, proxied
from tests.faults.split import Direction

Figures = dict[str, object]
Trouble = Callable[[PrivateBroker, float], Awaitable[Figures]]
Strike = Callable[[Scene, float], Awaitable[None]]

CALL_SECONDS = 5.0
"""The bridge's bound of a broker call here: the default, 30 s, only makes the runs longer."""
SILENT_SECONDS = 60.0
"""Both ends of a silent connection know by then: a heartbeat is due every 10 s."""
DELAY_SECONDS = 0.05


async def _endure(
    broker: PrivateBroker, seconds: float, strike: Strike, link: Proxy | None = None, signer_link: Proxy | None = None
) -> Figures:
    """Payments run; the strike returns with the broker repaired."""
    limits = {"broker_timeout_seconds": CALL_SECONDS}
    async with scene(broker, limits=limits, link=link, signer_link=signer_link) as stage:
        stage.begin()
        await stage.paid(4)
        await strike(stage, seconds)
        recovery = await stage.recover()
        await stage.paid(4)
        return {"trouble seconds": seconds, "recovery seconds": recovery} | await stage.finish()


async def stopped(broker: PrivateBroker, seconds: float) -> Figures:
    """RabbitMQ stops in order, stays away, and starts again with its data."""

    async def strike(_: Scene, away: float) -> None:
        await broker.terminate()
        await asyncio.sleep(away)
        await broker.start()

    return await _endure(broker, seconds, strike)


async def killed_in_mid_payment(broker: PrivateBroker, seconds: float) -> Figures:
    """`kill -9` of RabbitMQ while a transaction is out to be signed; again and again in a longer run."""

    async def strike(stage: Scene, total: float) -> None:
        for number in range(max(1, int(total // 20))):
            if number:
                await stage.paid(4)
            await stage.awaiting_signature()
            broker.kill()
            await broker.start()

    return await _endure(broker, seconds, strike)


async def out_of_memory(broker: PrivateBroker, seconds: float) -> Figures:
    """The memory alarm: whoever publishes is blocked, whoever consumes is not."""

    async def strike(stage: Scene, duration: float) -> None:
        await broker.control("set_vm_memory_high_watermark", "0.00001")
        try:
            async with asyncio.timeout(20):
                while not stage.is_blocked:  # noqa: ASYNC110 - a gauge has no event
                    await asyncio.sleep(0.05)
            await asyncio.sleep(duration)
        finally:
            await broker.control("set_vm_memory_high_watermark", "0.4")

    return await _endure(broker, seconds, strike)


async def frozen(broker: PrivateBroker, seconds: float) -> Figures:
    """The whole of it stands still: its sockets stay open, nothing is taken in and nothing said."""

    async def strike(_: Scene, duration: float) -> None:
        broker.freeze()
        try:
            await asyncio.sleep(duration + CALL_SECONDS)
        finally:
            broker.thaw()

    return await _endure(broker, seconds, strike)


async def unconfirmed(broker: PrivateBroker, seconds: float) -> Figures:
    """Confirms withheld: what the bridge publishes is taken and passed on, and nothing says so. Deliveries go on."""
    watch = Unconfirmed()
    async with proxied(broker.port, broker_link, watch.see) as link:

        async def strike(stage: Scene, duration: float) -> None:
            watch.withhold()
            try:
                await stage.until(lambda: watch.withheld > 0)
                await asyncio.sleep(duration + CALL_SECONDS)
            finally:
                watch.relent()

        figures = await _endure(broker, seconds, strike, link)
    assert figures["repeated events"], "nothing was taken, or all of it confirmed"
    return figures


async def half_open(broker: PrivateBroker, seconds: float) -> Figures:
    """The bridge's connections stay open for both ends and carry nothing. The repair is theirs: they find out."""
    async with proxied(broker.port, broker_link) as link:

        async def strike(_: Scene, duration: float) -> None:
            link.half_open()
            silent = tuple(link.connections)
            assert len(silent) == 2, "one to publish, one to consume"
            await asyncio.sleep(duration)
            async with asyncio.timeout(SILENT_SECONDS):
                await gone(link, silent)

        return await _endure(broker, seconds, strike, link)


async def torn(broker: PrivateBroker, _: float) -> Figures:
    """A connection is lost in the middle of a message: one the bridge publishes, and one it is given."""
    watch = Torn()
    async with proxied(broker.port, broker_link, watch.see) as link:

        async def strike(stage: Scene, _: float) -> None:
            for direction in Direction:
                known = link.accepted
                async with asyncio.timeout(SILENT_SECONDS):
                    await watch.tear(direction)
                    while link.accepted == known:
                        link.news.clear()
                        await link.news.wait()
                await stage.paid(4)

        return await _endure(broker, 0.0, strike, link)


async def delayed(broker: PrivateBroker, seconds: float) -> Figures:
    """Whatever crosses comes late, in its order: no reason to give a connection up."""
    async with proxied(broker.port, broker_link) as link:

        async def strike(stage: Scene, duration: float) -> None:
            known = link.accepted
            link.delay_seconds = DELAY_SECONDS
            await stage.paid(4)
            await asyncio.sleep(duration)
            link.heal()
            assert link.accepted == known, "a connection was given up for being slow"

        return await _endure(broker, seconds, strike, link)


async def unheard(broker: PrivateBroker, seconds: float) -> Figures:
    """What the bridge says reaches nobody, on new connections either; what it is told does."""
    return await _one_way(broker, seconds, Direction.OUT)


async def deaf(broker: PrivateBroker, seconds: float) -> Figures:
    """What the bridge says arrives, and nothing comes back: what it publishes may be there, and is sent again."""
    figures = await _one_way(broker, seconds, Direction.BACK)
    assert figures["repeated events"], "nothing arrived, or all of it was confirmed"
    return figures


async def _one_way(broker: PrivateBroker, seconds: float, direction: Direction) -> Figures:
    async with proxied(broker.port, broker_link) as link:

        async def strike(stage: Scene, duration: float) -> None:
            link.freeze(direction)
            passed = link.passed[direction]
            await asyncio.sleep(duration + CALL_SECONDS)
            assert link.passed[direction] == passed, "something came through"
            assert stage.pending == len(stage.home.pairs), "payments went on"
            link.heal()

        return await _endure(broker, seconds, strike, link)


async def signers_frozen(broker: PrivateBroker, seconds: float) -> Figures:
    """The signers' own link stands still both ways: payments wait for them, no channel is harmed."""
    async with proxied(broker.port, broker_link) as link:

        async def strike(stage: Scene, duration: float) -> None:
            link.freeze()
            await stage.until(lambda: stage.pending == len(stage.home.pairs))
            await stage.awaiting_signature()
            succeeded = stage.succeeded
            await asyncio.sleep(duration + CALL_SECONDS)
            assert stage.succeeded == succeeded, "somebody signed"
            link.heal()

        figures = await _endure(broker, seconds, strike, signer_link=link)
    assert figures["succeeded"] == figures["payments"], "a payment failed for want of a signature that was only late"
    return figures


async def refusing(broker: PrivateBroker, seconds: float) -> Figures:
    """A reader's queue is full and refuses, so that every event is nacked though the others stored it."""

    async def strike(stage: Scene, duration: float) -> None:
        full = f"{stage.home.prefix}.full"
        arguments: dict[str, str | int | bool] = {"x-max-length": 1, "x-overflow": "reject-publish"}
        events = f"{stage.home.prefix}.events"
        await apply(broker.url(), Topology("t", (), (Queue(full, arguments),), (Binding(events, full, "#"),)))
        await stage.until(lambda: stage.has_logged("event_unroutable"))
        await stage.paid(4)
        await asyncio.sleep(duration)
        await _delete(stage, full)
        await _alarm(stage)

    figures = await _endure(broker, seconds, strike)
    assert figures["repeated events"], "nothing was refused"
    return figures


async def unbound(broker: PrivateBroker, seconds: float) -> Figures:
    """Nobody takes events any more: payments go on, events wait in the outbox, an alarm behind them."""

    async def strike(stage: Scene, duration: float) -> None:
        await unbind_events(stage)
        await stage.paid(4)
        seen = len(stage.home.events)  # those of before have come by now
        await asyncio.sleep(duration)
        assert len(stage.home.events) == seen, "somebody still takes events"
        assert stage.has_logged("event_unroutable"), "nobody was told"
        await bind_events(stage)
        await _alarm(stage)

    return await _endure(broker, seconds, strike)


async def cancelled(broker: PrivateBroker, seconds: float) -> Figures:
    """The queues the bridge reads are deleted, its consumers cancelled, in the middle of payments; later they are back.

    What lies in a deleted queue is gone with it, and that is no bridge's to mend: so nothing lies there. The signers'
    queues go first, between two payments, and then on every channel one waits whose request to sign nobody has got.
    """

    async def strike(stage: Scene, duration: float) -> None:
        await stage.pause()
        for pair in stage.home.pairs:
            for role in ROLES:
                queue = f"{stage.home.prefix}.sign-requests.{pair.account(role)}"
                assert await _delete(stage, queue) == 0, "something was lost with the queue"
        stage.begin()
        await stage.until(lambda: _all_wait(stage), 30)
        for word in ("commands", "sign-replies"):
            assert await _delete(stage, f"{stage.home.prefix}.{word}") == 0, "something was lost with the queue"
        await asyncio.sleep(max(0.5, duration))
        assert stage.pending == len(stage.home.pairs), "no payment was under way"
        await apply(broker.url(), plan(stage.home.config()))

    return await _endure(broker, seconds, strike)


async def no_signer_queue(broker: PrivateBroker, seconds: float) -> Figures:
    """A signer's queue is gone: its requests wait in the outbox with an alarm, and are signed once it is back."""

    async def strike(stage: Scene, duration: float) -> None:
        await stage.pause()
        pair = stage.home.pairs[0]
        await _delete(stage, f"{stage.home.prefix}.sign-requests.{pair.account('initiator')}")
        stage.begin()
        await _alarm(stage)
        await asyncio.sleep(duration)
        await apply(broker.url(), plan(stage.home.config()))

    return await _endure(broker, seconds, strike)


async def _alarm(stage: Scene) -> None:
    """The alarm among a channel's events; when it is the events that are refused it waits behind them."""
    await stage.until(lambda: bool(stage.told("alarm", "event_unroutable")), 30)


def _all_wait(stage: Scene) -> bool:
    """On each channel there is a request that no queue takes."""
    told = {body["channel"] for body in stage.told("alarm", "event_unroutable")}
    return all(told & {pair.initiator, pair.responder} for pair in stage.home.pairs)


def _bindings(stage: Scene) -> list[Binding]:
    """Everything bound to the events exchange of this scene."""
    topology, prefix = plan(stage.home.config()), stage.home.prefix
    events = f"{prefix}.events"
    ours = [binding for binding in topology.bindings if binding.exchange == events]
    return [*ours, Binding(events, f"{prefix}.client.admin.events", "#")]


async def unbind_events(stage: Scene) -> None:
    """From here on no queue takes an event."""
    amqp_channel = await stage.connection.amqp_channel()
    underlay = await amqp_channel.raw.get_underlay_channel()
    for binding in _bindings(stage):
        await underlay.queue_unbind(binding.queue, binding.exchange, binding.key)
    await amqp_channel.raw.close()


async def bind_events(stage: Scene) -> None:
    await apply(stage.home.url, Topology("t", (), (), tuple(_bindings(stage))))


async def _delete(stage: Scene, queue: str) -> int:
    """How many messages went with it."""
    amqp_channel = await stage.connection.amqp_channel()
    deleted = await (await amqp_channel.raw.get_underlay_channel()).queue_delete(queue)
    await amqp_channel.raw.close()
    return int(deleted.message_count or 0)


BROKER_TROUBLES: tuple[Trouble, ...] = (
    stopped,
    killed_in_mid_payment,
    out_of_memory,
    frozen,
    unconfirmed,
    half_open,
    torn,
    delayed,
    unheard,
    deaf,
    signers_frozen,
    refusing,
    unbound,
    cancelled,
    no_signer_queue,
)
