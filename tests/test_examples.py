"""The contract's examples are what the code writes and reads: whoever copies one must not be misled."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from bridge.channel.identifier import Account, ChannelName
from bridge.channel.input import Signed
from bridge.channel.terms import Role, Terms
from bridge.wire import transaction as codec
from bridge.wire.body import EventBody, ResultBody, SignReplyBody, SignRequestBody, UpdateBody
from bridge.wire.envelope import Received
from bridge.wire.incoming import read_command, read_sign_request
from bridge.wire.verdict import assess

ROOT = Path(__file__).resolve().parent.parent
README, CONTRACT = (ROOT / "README.md").read_text(), (ROOT / "docs" / "contract.md").read_text()
TITLES = ("A command", "A sign request", "A sign reply", "A result", "An event")


def example(title: str) -> dict[str, Any]:
    """The JSON under a heading of the bus contract."""
    [section] = re.findall(rf"^## {title}$(.*?)^## ", CONTRACT, re.DOTALL | re.MULTILINE)
    return only_json(section)


def only_json(text: str) -> dict[str, Any]:
    [block] = re.findall(r"^```json\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    found: dict[str, Any] = json.loads(block)
    return found


def test_the_command_is_accepted() -> None:
    """The first thing a stranger sends is this, with names of his own. The README shows the same one."""
    body = example("A command")
    assert only_json(README) == body
    received = Received("channels.commands", "acme-7.transfer", json.dumps(body).encode(), user_id="shop")
    channel, command = read_command(received, channels={"acme-7"}, now=datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC))
    assert (channel, command.kind, command.command_id) == ("acme-7", "transfer", "invoice-4711")


@pytest.mark.parametrize(
    ("title", "model"), [("A sign request", SignRequestBody), ("A result", ResultBody), ("An event", EventBody)]
)
def test_a_published_example_has_every_field_and_no_other(title: str, model: type[BaseModel]) -> None:
    """A reader is written against the example; a field that is not there any more would be looked for in vain."""
    body = example(title)
    assert model.model_validate(body).model_dump(mode="json") == body


def test_the_sign_reply_is_the_answer_to_the_sign_request() -> None:
    """The example's signature verifies for the example's transaction, over the example's payload."""
    asked, reply = example("A sign request"), SignReplyBody.model_validate(example("A sign reply"))
    request = read_sign_request(Received("channels.sign-requests", "x.update", json.dumps(asked).encode()))
    initiator, responder = request.balances_before or {}
    terms = Terms(
        name=ChannelName(request.channel),
        role=Role(request.role),
        initiator=Account(initiator),
        responder=Account(responder),
        initiator_amount=0,
        responder_amount=0,
        network_id=request.network_id,
    )
    assert reply.sign_request_id == request.sign_request_id
    assert isinstance(assess(terms, codec.read(request.transaction), reply), Signed)


def test_the_examples_tell_one_story() -> None:
    """Command, sign request, result and event are about one payment of one amount in one transaction."""
    command, request, _, result, event = map(example, TITLES)
    update = UpdateBody.model_validate(request["updates"][0])
    assert (update.from_account, update.to_account, update.amount) == (
        command["from"],
        command["to"],
        command["amount"],
    )
    assert {command["command_id"]} == {request["command_id"], result["command_id"], event["data"]["command_id"]}
    assert {request["decoded"]["hash"]} == {result["tx_hash"], event["data"]["tx_hash"]}
    assert event["data"]["amount"] == command["amount"]
