"""The clients of a world: they send what the plan says, keep everything that comes back, and never die.

A client that gets no confirm sends the same command again until it has one, as a good client does.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bridge.errors import BrokerUnavailable
from bridge.wire.envelope import Envelope
from tests.oracle.evidence import TERMINAL, Arrived, Sent, letter
from tests.simulation.cast import EPOCH, USER, Cast
from tests.simulation.plan import FIRST_AMOUNT, ROLES, Step

FAVOUR_AMOUNT = FIRST_AMOUNT + 5000
"""What the peer pays to be of help, counted up."""
AGAIN_SECONDS = 0.2


class Client:
    """`publisher` and the consumers are of the user `alice`."""

    def __init__(self, cast: Cast, prefixes: Mapping[str, str], publisher: Any) -> None:
        """`prefixes`: role to the bus its bridge listens on."""
        self._cast = cast
        self._prefixes = prefixes
        self._publisher = publisher
        self.sent: list[Sent] = []
        self.results: list[Arrived] = []
        self.events: list[Arrived] = []
        self.letters: list[Arrived] = []
        self.open: set[str] = set()
        """Commands without a terminal outcome."""
        self.latest: dict[str, str] = {}
        """Command to what was said of it last."""
        self.checkpoints = self.favours = 0
        self.mended = Counter[str]()
        """How often an operator has tried to settle what is in doubt, by role."""

    async def send(self, command_id: str, step: Step) -> None:
        """One command, confirmed by the broker when this returns."""
        channel = self._cast.channel(step.role)
        is_letter, kind = step.kind == "letter", "message" if step.kind == "letter" else step.kind
        text = f"message {command_id}" if kind == "message" else None
        spelt = letter(command_id, text) if is_letter and text is not None else text
        self.sent.append(Sent(command_id, channel, kind, USER, step.amount, text=spelt, may_repeat=is_letter))
        self.open.add(command_id)
        body = {"command_id": command_id, "issued_at": _now()} | self._fields(step, text)
        for _ in range(step.times):
            exchange = f"{self._prefixes[step.role]}.commands"
            await self._publish(exchange, f"{channel}.{kind}", json.dumps(body).encode(), command_id)

    async def mend(self) -> None:
        """An operator's part: what stays in doubt is settled by a checkpoint (guarantees.md section 3, rule 10).

        If that does not help, the peer's next payment does: a node whose close never met the peer takes nothing from
        its own client any more, and ends its FSM at the peer's next update (observed.md; docs/recovery.md).
        """
        doubtful = {sent.channel for sent in self.sent if self.latest.get(sent.command_id) == "in_doubt"}
        for role in ROLES:
            if self._cast.channel(role) in doubtful:
                self.mended[role] += 1
                if self.mended[role] % 2:
                    self.checkpoints += 1
                    await self.send(f"checkpoint-{self.checkpoints}", Step(0.0, role, "checkpoint"))
                else:
                    self.favours += 1
                    payment = Step(0.0, other(role), "transfer", FAVOUR_AMOUNT + self.favours)
                    await self.send(f"favour-{self.favours}", payment)

    async def _publish(self, exchange: str, key: str, body: bytes, command_id: str) -> None:
        now = EPOCH + asyncio.get_running_loop().time()
        envelope = Envelope(exchange, key, body, {}, "", command_id, now)
        while True:
            try:
                await self._publisher.publish(envelope)
            except BrokerUnavailable:
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    def _fields(self, step: Step, text: str | None) -> dict[str, Any]:
        own, peer = self._cast.account(step.role), self._cast.account(other(step.role))
        match step.kind:
            case "transfer":
                return {"from": own, "to": peer, "amount": str(step.amount)}
            case "deposit" | "withdraw":
                # What an earlier attempt left exposed on chain may stay so for ever: nobody there uses its nonce.
                return {"amount": str(step.amount), "allow_exposed": True}
            case "shutdown":
                return {"allow_exposed": True}
            case "message":
                return {"to": peer, "info": text}
            case "letter":
                return {"to": peer, "info": text, "delivery": "at_least_once"}
            case _:
                return {}

    async def collect(self, consumer: Any, into: list[Arrived]) -> None:
        """For ever."""
        async for delivery in consumer:
            received = delivery.received
            into.append(Arrived(received.routing_key, received.body, dict(received.headers)))
            if into is self.results:
                self._note(json.loads(received.body))
            await delivery.ack()

    def _note(self, body: dict[str, Any]) -> None:
        command_id, outcome = body.get("command_id"), body["outcome"]
        if command_id is None or outcome == "accepted":
            return
        self.latest[command_id] = outcome
        if outcome in TERMINAL:
            self.open.discard(command_id)


def other(role: str) -> str:
    return "responder" if role == "initiator" else "initiator"


def _now() -> str:
    return datetime.fromtimestamp(EPOCH + asyncio.get_running_loop().time(), UTC).isoformat()
