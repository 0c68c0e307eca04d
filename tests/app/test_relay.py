"""The relay: every row until it is confirmed, each lane in order, over a publisher that fails as brokers do."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.app.relay import Relay
from bridge.errors import BrokerRefused, BrokerUnavailable, JournalUnavailable, Nacked, Unroutable
from bridge.journal.journal import Journal
from bridge.journal.record import Batch, NewOutbox, OutboxRow
from bridge.wire.envelope import Envelope


class Broker:
    """Takes what it is given, except the first `failures` tries of each body named in `stubborn`."""

    def __init__(
        self, stubborn: dict[bytes, int] | None = None, error: type[BrokerUnavailable] = BrokerUnavailable
    ) -> None:
        self.taken: list[bytes] = []
        self.tries: list[bytes] = []
        self._stubborn = dict(stubborn or {})
        self._error = error

    async def publish(self, envelope: Envelope) -> None:
        self.tries.append(envelope.body)
        await asyncio.sleep(0)
        if self._stubborn.get(envelope.body, 0):
            self._stubborn[envelope.body] -= 1
            raise self._error("not now")
        self.taken.append(envelope.body)


def envelope(body: bytes, *, mandatory: bool = True) -> Envelope:
    return Envelope(
        exchange="x",
        routing_key="k",
        body=body,
        headers={"ce-id": body.decode()},
        type="t",
        correlation_id=None,
        timestamp=1.0,
        mandatory=mandatory,
    )


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = await Journal.open(tmp_path / "data", b"k" * 32, lambda: 1.0)
    yield opened
    await opened.close()


async def rows(journal: Journal, *bodies: tuple[str, bytes]) -> tuple[OutboxRow, ...]:
    return await journal.commit(Batch(outbox=tuple(NewOutbox(lane, envelope(body)) for lane, body in bodies)))


async def test_a_lane_keeps_its_order_although_a_row_fails(journal: Journal) -> None:
    """Later events wait behind the one the broker would not take: order within a channel is promised."""
    broker = Broker({b"1": 2})
    relay = Relay(journal, broker)
    relay.add(await rows(journal, ("a", b"1"), ("a", b"2"), ("b", b"3")))
    assert await relay.flush(20)
    assert [body for body in broker.taken if body != b"3"] == [b"1", b"2"]
    assert broker.taken[0] == b"3", "another lane is not held up"


async def test_a_row_leaves_the_journal_only_after_its_confirm(journal: Journal) -> None:
    """F7: a crash before the confirm publishes it again."""
    never = Broker({b"1": 10**6})
    relay = Relay(journal, never)
    relay.add(await rows(journal, ("a", b"1"), ("b", b"2")))
    assert not await relay.flush(0.3)
    assert [row.envelope.body for row in await journal.outbox(0, 10)] == [b"1"]
    await relay.close()


async def test_what_an_earlier_process_left_is_published_first(journal: Journal) -> None:
    """The outbox survives its process."""
    await rows(journal, ("a", b"1"))
    broker = Broker()
    relay = Relay(journal, broker)
    await relay.load()
    relay.add(await rows(journal, ("a", b"2")))
    assert await relay.flush(5)
    assert broker.taken == [b"1", b"2"]
    assert await journal.outbox_depth() == (0, 0)


async def test_a_copy_to_a_reply_address_is_tried_once(journal: Journal) -> None:
    """Whoever waited there may be gone: it may fail without harm."""
    broker = Broker({b"copy": 10**6})
    relay = Relay(journal, broker)
    copy = NewOutbox("results/alice", envelope(b"copy", mandatory=False))
    relay.add(await journal.commit(Batch(outbox=(copy, NewOutbox("results/alice", envelope(b"next"))))))
    assert await relay.flush(5)
    assert broker.tries == [b"copy", b"next"]


async def test_a_full_outbox_asks_the_intakes_to_wait(journal: Journal) -> None:
    """G6: while the broker takes nothing the backlog is bounded, and nothing accepted is dropped."""
    broker = Broker({b"1": 3})
    relay = Relay(journal, broker, most_rows=5)
    relay.add(await rows(journal, *((f"lane {n}", b"1" if n == 0 else b"2") for n in range(4))))
    waits = asyncio.create_task(relay.room())
    await asyncio.sleep(0)
    assert not waits.done()
    await asyncio.wait_for(waits, 10)
    assert await relay.flush(10)


async def test_a_bug_in_publishing_ends_the_relay_loudly(journal: Journal) -> None:
    """An exception nobody expected must not silence a lane for ever."""

    class Broken:
        async def publish(self, envelope: Envelope) -> None:
            raise JournalUnavailable(f"anything: {envelope.routing_key}")

    relay = Relay(journal, Broken())
    relay.add(await rows(journal, ("a", b"1")))
    with pytest.raises(JournalUnavailable):
        await asyncio.wait_for(relay.run(), 5)


@pytest.mark.parametrize("error", [Unroutable, Nacked, BrokerRefused])
async def test_a_refused_row_raises_one_alarm_and_stays(journal: Journal, error: type[BrokerUnavailable]) -> None:
    """Nobody listens, or it may not be written there: operators are told once, the row waits, and the next trouble is
    told again.
    """
    broker = Broker({b"1": 3, b"3": 1}, error)
    told: list[str] = []
    relay = Relay(journal, broker, alarm=lambda row, error: told.append(f"{row.lane}: {error}"))
    relay.add(await rows(journal, ("events/a", b"1"), ("events/a", b"2"), ("events/a", b"3")))
    assert await relay.flush(30)
    assert broker.taken == [b"1", b"2", b"3"]
    assert told == ["events/a: not now"] * 2
    assert relay.refusals == 4


async def test_an_unreachable_broker_is_no_alarm(journal: Journal) -> None:
    """It passes by itself, and its connection tells of it."""
    told: list[OutboxRow] = []
    relay = Relay(journal, Broker({b"1": 2}), alarm=lambda row, _: told.append(row))
    relay.add(await rows(journal, ("events/a", b"1")))
    assert await relay.flush(30)
    assert (told, relay.refusals) == ([], 0)
