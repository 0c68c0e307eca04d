"""Whole bridge: commands, replies and approvals as CloudEvents in structured mode, over a real RabbitMQ."""

import asyncio
import base64
import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloudevents.core.bindings.rabbitmq import RabbitMQMessage, from_binary, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from nacl.signing import SigningKey

from bridge.app.busclient import user_of
from bridge.broker.connection import Connection
from bridge.broker.publisher import Publisher
from bridge.wire.envelope import Envelope
from tests.permissive import EVERYTHING
from tests.system.house import House, Pair, house


async def publish(home: House, key: str, message: RabbitMQMessage, exchange: str = "commands") -> None:
    """As a client with the official SDK does."""
    async with Connection(home.url, "sdk client") as connection:
        await Publisher(connection).publish(
            Envelope(
                exchange=f"{home.prefix}.{exchange}",
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


async def test_a_signer_and_an_approver_may_write_structured_events(amqp_url: str, tmp_path: Path) -> None:
    """Nobody else signs here, so the channel opens by such replies only; and an approval is read as one."""
    me = user_of(amqp_url)
    policy = EVERYTHING | {"approval_threshold": 10, "approvals": 1, "approvers": [me, "carol"]}
    pair = Pair("folded", options={"policy": policy})
    async with house(amqp_url, tmp_path, pair, signers=False) as home:
        home.background = asyncio.create_task(sign_all(home, pair))
        await home.opened()
        payer, payee = pair.account("initiator"), pair.account("responder")
        await home.send(pair.initiator, "transfer", from_=payer, to=payee, amount="11")
        asked = (await home.event(pair.initiator, "command.approval_requested"))["data"]
        answer = {key: asked[key] for key in ("approval_request_id", "body_hash")} | {"decision": "approve"}
        await publish(home, pair.initiator, to_structured(event(answer), JSONFormat()), "approvals")
        told = await home.until(lambda: next((one for one in home.results if one["approval_request_id"]), None))
    assert (told["code"], told["approval_request_id"]) == ("forbidden", asked["approval_request_id"])
    assert home.dead_letters == [], "it was read: its author may not approve what he asked for"


async def sign_all(home: House, pair: Pair) -> None:
    """A signer of both roles that answers each question in structured mode."""
    keys = {pair.account(role): SigningKey(pair.key(role)) for role in ("initiator", "responder")}
    for number in itertools.count():
        received = await home.until(lambda number=number: next(iter(home.received["questions"][number:]), None))  # type: ignore[misc]
        request = json.loads(received.body)
        signature = keys[request["account"]].sign(base64.b64decode(request["signing_payload"])).signature
        reply = {"sign_request_id": request["sign_request_id"], "signature": base64.b64encode(signature).decode()}
        key = f"{request['account']}.{request['channel']}"
        await publish(home, key, to_structured(event(reply), JSONFormat()), "sign-replies")
