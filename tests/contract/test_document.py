"""The contract as documents: complete, made by this program, and every example is as its schema says."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from typer.testing import CliRunner

from bridge.app.asyncapi.channel import EXCHANGES, OPERATIONS
from bridge.app.asyncapi.document import as_yaml, document
from bridge.app.asyncapi.example import examples
from bridge.app.asyncapi.message import MESSAGES, Message, find_message
from bridge.app.asyncapi.schema import files, render
from bridge.app.cli import app
from bridge.broker.permission import OPERATOR_COMMANDS
from bridge.broker.topology import plan
from bridge.channel.command import COMMANDS
from bridge.wire.event import EVENTS, find_event
from tests.contract.judge import complaints, complaints_of, letter_complaints

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
AGAIN = (
    "made anew by `channel-bridge asyncapi > docs/asyncapi.yaml` and `channel-bridge asyncapi --schemas docs/schemas`"
)


def test_document_is_the_one_the_program_makes() -> None:
    """A model that changes without its document misleads everybody who integrates."""
    assert (DOCS / "asyncapi.yaml").read_text(encoding="utf-8") == as_yaml(document()), AGAIN


def test_schemas_are_those_the_program_makes() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "schemas").iterdir()}
    assert committed == {name: render(schema) for name, schema in files().items()}, AGAIN


def test_every_schema_file_is_a_schema() -> None:
    for schema in files().values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.name)
def test_example_is_as_its_schema_says(message: Message) -> None:
    """And as the program files it: by exchange and routing key alone."""
    example = examples()[message.name]
    exchange = example.exchange.removeprefix("channels.")
    assert find_message(exchange, example.routing_key) == message
    if exchange == "dead-letters":
        assert letter_complaints(example.headers) == []
    else:
        assert complaints(exchange, example.routing_key, example.body) == []


def test_there_is_no_example_of_what_is_no_message() -> None:
    assert set(examples()) == {message.name for message in MESSAGES}


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("command.transfer", "amount", 1.5),
        ("command.transfer", "amount", "007"),
        ("command.transfer", "surprise", 1),
        ("sign-reply", "signature", 5),
        ("result", "unit", "ae"),
        ("event.link.attached", "data", {"role": "initiator"}),
        ("event.link.attached", "data", {"role": "initiator", "dialect": "json-rpc", "undescribed": 1}),
        ("event.link.attached", "family", "sign"),
    ],
)
def test_judge_finds_what_is_wrong(name: str, key: str, value: Any) -> None:
    """A judge that says yes to everything would make every other test here worthless."""
    (message,) = (message for message in MESSAGES if message.name == name)
    body = examples()[name].body | {key: value}
    assert complaints_of(message, body)


def test_reader_may_meet_fields_he_does_not_know() -> None:
    """Within version 1 we may add: a schema that forbids it would break its users with our next release."""
    body = examples()["event.link.attached"].body
    grown = body | {"data": body["data"] | {"later": 1}, "later": 1}
    Draft202012Validator(files()["event-link.json"]).validate(grown)
    with pytest.raises(ValidationError):
        Draft202012Validator(files()["command-query.json"]).validate(examples()["command.query"].body | {"later": 1})


def _published() -> set[tuple[str, str]]:
    """The family and name of every event the channel's code publishes by a word of its own."""
    found = set()
    for path in (ROOT / "bridge").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _called(node) in ("publish", "Publish") and len(node.args) >= 2:
                family, name = (_word(argument) for argument in node.args[:2])
                if family and name:
                    found.add((family, name))
    return found


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _word(node: ast.expr) -> str:
    """A literal, or the value of a code written as `Code.NAME.value`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return (
        ast.unparse(node).removeprefix("Code.").removesuffix(".value").lower() if "Code." in ast.unparse(node) else ""
    )


def test_every_published_event_is_in_the_contract() -> None:
    """An event nobody described would be met by readers first."""
    published = _published()
    assert len(published) > 30
    assert [one for one in sorted(published) if find_event(*one) is None] == []


def test_every_command_exchange_and_event_is_in_the_document() -> None:
    made = document()
    named = set(made["components"]["messages"])
    assert {f"command.{kind}" for kind in COMMANDS} <= named
    assert len([name for name in named if name.startswith("event.")]) == len(EVENTS)
    operated = {ref["$ref"].rpartition("/")[2] for one in made["operations"].values() for ref in one["messages"]}
    assert operated == named, "each message has somebody who writes or reads it"
    planned = {exchange.name.removeprefix("channels.") for exchange in plan("channels", []).exchanges}
    assert {exchange.name for exchange in EXCHANGES} == planned - {"unrouted"}


def test_operators_commands_are_those_the_broker_lets_them_send() -> None:
    (operation,) = (one for one in OPERATIONS if one.name == "receiveOperatorCommands")
    given = {name.removeprefix("command.") for name in operation.messages}
    assert given == set(OPERATOR_COMMANDS) & set(COMMANDS)


def test_event_has_a_word_for_people() -> None:
    """Each message of the page says what it means."""
    assert [message.name for message in MESSAGES if not message.summary] == []


def test_command_prints_yaml_and_json_of_one_document() -> None:
    printed = CliRunner().invoke(app, ["asyncapi", "--prefix", "pay"])
    as_json = CliRunner().invoke(app, ["asyncapi", "--prefix", "pay", "--json"])
    assert yaml.safe_load(printed.output) == json.loads(as_json.output) == document("pay")
    assert "channels." not in json.dumps(document("pay")["channels"])


def test_a_command_that_is_sent_again_is_the_same_message() -> None:
    """Under its key of three words (ADR 0024), which the contract's address has only two of."""
    assert find_message("commands", "acme-7.transfer.replay") is find_message("commands", "acme-7.transfer")
    assert find_message("commands", "acme-7.nothing.replay") is None
