"""The published models: every field typed and described, every code classed, signers' answers strict."""

import json
import re
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from bridge.channel.command import COMMANDS
from bridge.errors import Code, Outcome
from bridge.wire.body import (
    CodeClass,
    DeadLetterHeaders,
    EventBody,
    Refusal,
    ResultBody,
    SignReplyBody,
    SignRequestBody,
    TransactionBody,
    UpdateBody,
    classify,
)

PUBLISHED: list[type[BaseModel]] = [
    SignRequestBody,
    TransactionBody,
    UpdateBody,
    ResultBody,
    EventBody,
    DeadLetterHeaders,
]
READ: list[type[BaseModel]] = [SignReplyBody, Refusal]


@pytest.mark.parametrize("model", [*PUBLISHED, *READ])
def test_every_field_is_described(model: type[BaseModel]) -> None:
    """The contract's document is generated from these: a field without a word is a riddle for its readers."""
    properties = model.model_json_schema(mode="serialization")["properties"]
    assert [name for name, schema in properties.items() if not schema.get("description")] == []


def test_all_models_give_one_schema_document() -> None:
    """The AsyncAPI document refers to these names."""
    models: list[type[BaseModel]] = [*PUBLISHED, *READ, *COMMANDS.values()]
    pairs: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "validation") for model in models]
    _, document = models_json_schema(pairs, ref_template="#/components/schemas/{model}")
    assert {model.__name__ for model in models} <= set(document["$defs"])


@pytest.mark.parametrize("model", PUBLISHED)
def test_amounts_are_strings_in_the_schema(model: type[BaseModel]) -> None:
    """What the document promises: no amount is a JSON number."""
    for name, schema in model.model_json_schema()["properties"].items():
        if name.endswith(("amount", "fee", "reserve", "balances_before", "balances_after")):
            assert not re.search(r'"type": "(integer|number)"', json.dumps(schema))
            assert '"type": "string"' in json.dumps(schema)


@pytest.mark.parametrize("amount", ["1.5", "007", "1e3", "", "+1", 5, "٣"])
def test_no_other_amount_can_be_published(amount: Any) -> None:
    """A wrong amount is stopped here, not in a reader's ledger."""
    with pytest.raises(ValidationError):
        UpdateBody(op="OffChainTransfer", amount=amount)


def test_bodies_are_frozen_and_readers_ignore_what_they_do_not_know() -> None:
    """Within version 1 changes are additive: an older reader must not fall over a newer field."""
    update = UpdateBody.model_validate({"op": "OffChainMeta", "data": "x", "later": 1})
    frozen: Any = update
    with pytest.raises(ValidationError):
        frozen.op = "OffChainTransfer"
    assert update.model_dump() == {"op": "OffChainMeta", "amount": None, "from": None, "to": None, "data": "x"}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (Code.MALFORMED, CodeClass.REJECTED),
        (Code.SHUTTING_DOWN, CodeClass.REJECTED),
        (Code.EXPIRED, CodeClass.FAILED_UNSIGNED),
        (Code.UNSUPPORTED_SIGNATURE, CodeClass.FAILED_UNSIGNED),
        (Code.CONFLICT, CodeClass.FAILED_SIGNED),
        (Code.ONCHAIN_REJECTED, CodeClass.FAILED_SIGNED),
        (Code.PEER_TIMEOUT, CodeClass.IN_DOUBT),
        (Code.LEGACY_NO_EVIDENCE, CodeClass.IN_DOUBT),
        (Code.DELIVERY_UNKNOWN, CodeClass.UNKNOWN),
        (Code.SIGN_REPLY_INVALID, CodeClass.SIGN_REPLY_REFUSED),
        (Code.SIGN_REPLY_DUPLICATE, CodeClass.SIGN_REPLY_REFUSED),
        (Code.PROTOCOL_VIOLATION, CodeClass.SERVICE),
        (Code.TLS_REQUIRED, CodeClass.SERVICE),
    ],
)
def test_each_class_runs_from_its_first_code_to_its_last(code: Code, expected: CodeClass) -> None:
    """Clients branch on the class: `failed_unsigned` may be sent again, `in_doubt` must not."""
    assert classify(code) is expected


def test_every_code_has_a_class() -> None:
    """A code added later falls into the class it is written under."""
    assert {classify(code) for code in Code} == set(CodeClass)


@pytest.mark.parametrize("outcome", [*Outcome, "refused"])
def test_results_are_read_back_as_they_were_written(outcome: Any) -> None:
    """The stored body of a result is what a repeated id is answered with."""
    result = ResultBody(
        command_id="c-1", channel="acme-7", outcome=outcome, executed="unknown", at="2026-01-02T03:04:05.678Z"
    )
    assert ResultBody.model_validate_json(result.model_dump_json()) == result
    assert result.model_dump(mode="json")["class"] is None


@pytest.mark.parametrize("executed", [True, False, "unknown"])
def test_executed_is_true_false_or_unknown(executed: Any) -> None:
    """The one field a client needs to decide whether it may pay again."""
    facts = {"command_id": None, "channel": None, "outcome": "failed", "executed": executed}
    read = ResultBody.model_validate_json(json.dumps({**facts, "at": "2026-01-02T03:04:05.678Z"}))
    assert read.executed is executed or read.executed == "unknown" == executed
    with pytest.raises(ValidationError):
        ResultBody.model_validate({**facts, "executed": "perhaps", "at": "2026-01-02T03:04:05.678Z"})
