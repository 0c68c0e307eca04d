"""What docs/policy.md shows is what the program takes and gives: a reader copies from it."""

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

from bridge.app.settings import ChannelPolicy
from bridge.channel.input import CommandDue
from bridge.wire.body import ApprovalBody
from bridge.wire.envelope import Received
from bridge.wire.incoming import body_hash
from tests.channel.given import opened, transfer
from tests.channel.test_approval import BODY_HASH, POLICY

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "policy.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_smallest_policy_is_one() -> None:
    (text,) = blocks("toml")
    policy = tomllib.loads(text)["channels"]["policy"]
    assert set(ChannelPolicy.model_validate(policy).model_dump(exclude_defaults=True)) == set(policy)


def test_every_option_of_a_policy_is_explained() -> None:
    for name in ChannelPolicy.model_fields:
        assert f"`{name}`" in PAGE, name


def test_the_question_is_shown_with_the_fields_it_has() -> None:
    question, answer = map(json.loads, blocks("json"))
    channel = opened(policy=POLICY).give(CommandDue(transfer(), "shop", BODY_HASH))
    told: dict[str, Any] = dict(channel.event("command.approval_requested").data)
    assert set(question) == set(told)
    assert set(question["body"]) <= set(told["body"])
    assert ApprovalBody.model_validate(answer).body_hash == question["body_hash"]
    assert answer["approval_request_id"] == question["approval_request_id"]


def test_the_body_hash_is_made_as_it_says() -> None:
    """An approver who got the order some other way computes it and compares."""
    body = {"command_id": "x-1", "issued_at": "2026-01-02T03:04:05Z", "to": "é", "amount": "5"}
    text = json.dumps({"body": body, "channel": "acme-7", "command": "transfer"}, sort_keys=True, separators=(",", ":"))
    received = Received("channels.commands", "acme-7.transfer", json.dumps(body, indent=1).encode())
    assert body_hash(received) == hashlib.sha256(text.encode()).hexdigest()
