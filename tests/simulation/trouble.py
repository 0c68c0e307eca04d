"""What is wrong with the bus at the moment, and with the signer: set by the schedule, looked at where it hurts."""

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import Any, Self

from bridge.errors import BrokerUnavailable
from bridge.wire.envelope import Envelope
from tests.simulation.plan import HeldConfirms, Mischief, Nacks

CALL_SECONDS = 30.0
"""What the bridge waits for a confirm at most."""


@dataclass
class Trouble:
    """Of one world."""

    nacks: int = 0
    held_until: float = 0.0
    mischief: list[Mischief] = field(default_factory=list)
    """One entry for each reply that will be spoilt."""

    def begin(self, fault: Nacks | HeldConfirms | Mischief) -> None:
        match fault:
            case Nacks(count=count):
                self.nacks += count
            case HeldConfirms(seconds=seconds):
                self.held_until = asyncio.get_running_loop().time() + seconds
            case Mischief(count=count):
                self.mischief += [fault] * count

    def heal(self) -> None:
        self.nacks = 0
        self.held_until = 0.0
        self.mischief.clear()

    def refuse(self) -> None:
        """Raises as long as the broker refuses publishes."""
        if self.nacks > 0:
            self.nacks -= 1
            raise BrokerUnavailable("the broker refused it")

    async def hold(self) -> None:
        """The confirm comes when they are released, or too late."""
        loop = asyncio.get_running_loop()
        left = self.held_until - loop.time()
        if left > 0:
            await asyncio.sleep(min(left, CALL_SECONDS))
        if left > CALL_SECONDS:
            raise BrokerUnavailable("no confirm in time")


class MischievousBus:
    """A signer's bus: its replies come late, twice, or as the answer to another request, which may be the only one."""

    def __init__(self, inner: Any, trouble: Trouble) -> None:
        self._inner = inner
        self._trouble = trouble

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._inner.__aexit__(*error)

    def consumer(self, queue: str, **options: Any) -> Any:
        return self._inner.consumer(queue, **options)

    def publisher(self) -> "MischievousPublisher":
        return MischievousPublisher(self._inner.publisher(), self._trouble)

    async def refused(self) -> None:
        await self._inner.refused()


class MischievousPublisher:
    def __init__(self, inner: Any, trouble: Trouble) -> None:
        self._inner = inner
        self._trouble = trouble
        self._latest = ""
        """The signature it gave last."""

    async def publish(self, envelope: Envelope) -> None:
        spoilt = self._trouble.mischief.pop(0) if self._trouble.mischief else None
        body = json.loads(envelope.body)
        before, self._latest = self._latest, body.get("signature", self._latest)
        match spoilt:
            case Mischief(how="late", seconds=seconds):
                await asyncio.sleep(seconds)
            case Mischief(how="doubled"):
                await self._inner.publish(envelope)
            case Mischief(how="crossed" | "swapped" as how) if before:
                crossed = json.dumps(body | {"signature": before}).encode()
                await self._inner.publish(replace(envelope, body=crossed))
                if how == "swapped":
                    return
        await self._inner.publish(envelope)
