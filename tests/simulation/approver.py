"""The approvers of a world: people who agree to whatever they are asked, each with a user of his own."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from bridge.errors import BrokerUnavailable
from bridge.wire.envelope import Envelope
from tests.simulation.cast import EPOCH

THOUGHT_SECONDS = 0.15
AGAIN_SECONDS = 0.2


async def answer(consumer: Any, prefix: str, names: Sequence[str], publishers: Mapping[str, Any]) -> None:
    """For ever: each question once, by each of the names in turn, one that stands there twice answers twice."""
    seen: set[str] = set()
    async for delivery in consumer:
        body = json.loads(delivery.received.body)
        question = body["data"]
        if question["approval_request_id"] not in seen:
            seen.add(question["approval_request_id"])
            for name in names:
                await asyncio.sleep(THOUGHT_SECONDS)
                await _publish(publishers[name], prefix, body["channel"], question)
        await delivery.ack()


async def _publish(publisher: Any, prefix: str, channel: str, question: Mapping[str, Any]) -> None:
    said = {key: question[key] for key in ("approval_request_id", "body_hash")} | {"decision": "approve"}
    now = EPOCH + asyncio.get_running_loop().time()
    envelope = Envelope(f"{prefix}.approvals", channel, json.dumps(said).encode(), {}, "", None, now)
    while True:
        try:
            await publisher.publish(envelope)
        except BrokerUnavailable:
            await asyncio.sleep(AGAIN_SECONDS)
        else:
            return
