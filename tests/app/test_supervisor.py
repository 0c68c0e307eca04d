"""What one channel's failure costs: that channel, and nothing of what others hold."""

import asyncio
import time
from pathlib import Path
from typing import cast

from bridge.app.contract import Contract, Names
from bridge.app.relay import Relay
from bridge.app.supervisor import Supervisor
from bridge.app.worker import Replied, Worker
from bridge.channel.state import State
from bridge.journal.journal import Journal
from bridge.wire.body import Refusal, SignReplyBody
from bridge.wire.envelope import Envelope
from tests.checks.desk import TERMS


class Broker:
    def __init__(self) -> None:
        self.types: list[str] = []

    async def publish(self, envelope: Envelope) -> None:
        self.types.append(envelope.type)


class Bug:
    """A reply that our own rules cannot cope with."""

    @property
    def sign_request_id(self) -> str:
        raise ZeroDivisionError


class Settled:
    """An ack that tells when it is called, and how often."""

    def __init__(self) -> None:
        self.count = 0
        self.called = asyncio.Event()

    async def __call__(self) -> bool:
        self.count += 1
        self.called.set()
        return True


async def test_a_halted_channel_keeps_no_delivery(tmp_path: Path) -> None:
    """Each one that is never settled takes a place among the 32 of the prefetch, for all channels and for ever."""
    journal = await Journal.open(tmp_path / "data", b"k" * 32, time.time)
    broker = Broker()
    relay = Relay(journal, broker)
    contract = Contract(Names("channels", "channel-bridge"), TERMS, seq=0, prev="", epoch=journal.epoch)
    worker = Worker(TERMS, "ws://127.0.0.1:1/channel", State(), contract, journal, relay, time.time)
    supervisor = Supervisor({TERMS.name: worker})
    running = asyncio.create_task(supervisor.run())
    await worker.taken_over.wait()
    fatal, behind = Settled(), Settled()
    worker.reply(Replied("signer", cast("SignReplyBody", Bug()), fatal))
    refusal = SignReplyBody(sign_request_id="acme-7.1.aa", refusal=Refusal(reason="no"))
    worker.reply(Replied("signer", refusal, behind))
    async with asyncio.timeout(10):
        await behind.called.wait()
    assert (fatal.count, behind.count) == (1, 1)
    assert supervisor.halted == {TERMS.name}
    await relay.flush(5)
    assert "channel-bridge.alarm.invariant_violation.v1" in broker.types
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await journal.close()
