"""Whole bridge: commands, replies and approvals as CloudEvents in structured mode, over a real RabbitMQ."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloudevents.core.bindings.rabbitmq import RabbitMQMessage, from_binary, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from bridge.broker.connection import Connection
from bridge.broker.publisher import Publisher
from bridge.wire.envelope import Envelope
from tests.system.house import House, Pair, house


async def publish(home: House, key: str, message: RabbitMQMessage) -> None:
    """As a client with the official SDK does."""
    async with Connection(home.url, "sdk client") as connection:
        await Publisher(connection).publish(
            Envelope(
                exchange=f"{home.prefix}.commands",
                routing_key=key,
                body=message.body,
                headers=message.headers,
                type="",
                correlation_id=None,
                timestamp=datetime.now(UTC).timestamp(),
                content_type=message.content_type or "",
            )
        )


def event(body: dict[str, Any]) -> CloudEvent:
    attributes = {"type": "org.example.pay.v1", "source": "/shop", "datacontenttype": "application/json"}
    return CloudEvent(attributes=attributes, data=body)


async def test_the_sdks_commands_are_carried_out_once_in_either_mode(amqp_url: str, tmp_path: Path) -> None:
    """Structured first, then the same in binary mode: one payment, its outcome told twice."""
    pair = Pair("sdk")
    async with house(amqp_url, tmp_path, pair) as home:
        await home.opened()
        body = {
            "command_id": "pay-1",
            "issued_at": datetime.now(UTC).isoformat(),
            "from": pair.account("initiator"),
            "to": pair.account("responder"),
            "amount": "7",
        }
        await publish(home, f"{pair.initiator}.transfer", to_structured(event(body), JSONFormat()))
        paid = await home.outcome("pay-1")
        await publish(home, f"{pair.initiator}.transfer", to_binary(event(body), JSONFormat()))
        again = await home.until(lambda: next((one for one in home.results if one["duplicate"]), None))
        received = await home.event(pair.responder, "transfer.received")
        as_published = next(one for one in home.received["events"] if json.loads(one.body) == received)
    assert (paid["outcome"], again["outcome"], again["tx_hash"]) == ("succeeded", "succeeded", paid["tx_hash"])
    assert received["data"]["amount"] == "7"
    headers = {key: str(value) for key, value in as_published.headers.items()}
    read = from_binary(RabbitMQMessage(headers, as_published.content_type, as_published.body), JSONFormat())
    assert (read.get_data(), read.get_id()) == (received, f"event:{pair.responder}:{received['seq']}")


async def test_a_bad_envelope_is_told_and_kept_and_the_next_command_runs(amqp_url: str, tmp_path: Path) -> None:
    """Whatever one message holds, nothing of it is lost and the next one is read."""
    pair = Pair("bad")
    message = to_structured(event({"command_id": "q-1"}), JSONFormat())
    wrong = json.dumps({key: value for key, value in json.loads(message.body).items() if key != "source"}).encode()
    async with house(amqp_url, tmp_path, pair) as home:
        await home.opened()
        await publish(home, f"{pair.initiator}.query", RabbitMQMessage({}, message.content_type, wrong))
        refused = await home.until(lambda: next((one for one in home.results if one["code"]), None))
        body, headers = await home.until(lambda: next(iter(home.dead_letters), None))
        answered = await home.run(pair.initiator, "query", what="state")
    assert (refused["code"], refused["path"], refused["executed"]) == ("missing_field", "source", False)
    assert (body, headers["source_content_type"]) == (wrong, "application/cloudevents+json")
    assert answered["outcome"] == "succeeded"
