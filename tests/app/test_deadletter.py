"""What may be sent again, and what not: the rules of `dlq replay`, each with the case it exists for."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bridge.app.deadletter import Refusal, Replay, Standing, describe, explain, judge, remedy
from bridge.errors import Code
from bridge.wire.envelope import write_instant
from bridge.wire.letter import Letter
from tests.broker.people import ALICE_ACCOUNT, BOB_ACCOUNT

NOW = 1_800_000_000.0


def body(**changes: Any) -> bytes:
    fields = {
        "command_id": "t-1",
        "issued_at": write_instant(NOW - 60),
        "from": ALICE_ACCOUNT,
        "to": BOB_ACCOUNT,
        "amount": "5",
    }
    return json.dumps(fields | changes).encode()


LETTER = Letter(
    letter_id="0123456789abcdef",
    hand="bridge",
    exchange="channels.commands",
    routing_key="acme-7.transfer",
    queue="channels.commands",
    author="shop",
    code="channel_busy",
    reason="too many wait",
    path="",
    at="",
    body=body(),
)
BROKEN = replace(LETTER, code="invalid_amount", body=body(amount="5.0"))
MOVED = replace(LETTER, hand="broker", code="delivery_limit")


UNKNOWN = Standing()


def folded(letter: Letter) -> Letter:
    """The same, written as one structured CloudEvent."""
    event = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "x", "data": json.loads(letter.body)}
    return replace(letter, body=json.dumps(event).encode(), content_type="application/cloudevents+json")


def judged(
    letter: Letter, *, key: str | None = None, repaired: bytes | None = None, standing: Standing = UNKNOWN
) -> str:
    """The refusal's code, or the command's id."""
    verdict = judge(letter, "channels", key=key, repaired=repaired, standing=standing, now=NOW)
    return verdict.code if isinstance(verdict, Refusal) else f"sent {verdict.command.command_id}"


CASES: list[tuple[str, Letter, dict[str, Any], str]] = [
    ("only the moment was wrong", LETTER, {}, "sent t-1"),
    ("broken still", BROKEN, {}, "invalid_amount"),
    ("repaired under a new id", BROKEN, {"repaired": body(command_id="t-2")}, "sent t-2"),
    ("repaired under the old id", BROKEN, {"repaired": body()}, "new_id_needed"),
    ("repaired badly", BROKEN, {"repaired": b"{"}, "malformed"),
    ("a day old", replace(LETTER, body=body(issued_at=write_instant(NOW - 86_401))), {}, "stale_command"),
    ("an id of another", replace(LETTER, code="idempotency_conflict"), {}, "new_id_needed"),
    ("an id of somebody else", replace(LETTER, code="forbidden"), {}, "new_id_needed"),
    ("accepted since", LETTER, {"standing": Standing(1, {"t-1": "succeeded"})}, "already_accepted"),
    (
        "accepted since, now repaired under another id",
        BROKEN,
        {"repaired": body(command_id="t-2"), "standing": Standing(1, {"t-1": "succeeded"})},
        "already_accepted",
    ),
    ("the round it expects", replace(LETTER, body=body(expect_round=7)), {"standing": Standing(7)}, "sent t-1"),
    ("a round that is past", replace(LETTER, body=body(expect_round=7)), {"standing": Standing(8)}, "round_mismatch"),
    ("a round nobody knows", replace(LETTER, body=body(expect_round=7)), {}, "round_unknown"),
    ("a key that was wrong", replace(LETTER, routing_key="acme-7.transfr"), {}, "unknown_command"),
    ("the right key", replace(LETTER, routing_key="acme-7.transfr"), {"key": "acme-7.transfer"}, "sent t-1"),
    ("a replay that failed", replace(LETTER, routing_key="acme-7.transfer.replay"), {}, "sent t-1"),
    ("a structured CloudEvent", folded(LETTER), {}, "sent t-1"),
    ("a structured CloudEvent under an id of another", replace(folded(LETTER), code="forbidden"), {}, "new_id_needed"),
    ("a structured CloudEvent, repaired plainly", folded(BROKEN), {"repaired": body(command_id="t-2")}, "sent t-2"),
    ("moved by the broker", MOVED, {}, "key_needed"),
    ("moved, and the key named", MOVED, {"key": "acme-7.transfer"}, "sent t-1"),
    ("moved from the replies", replace(MOVED, queue="channels.sign-replies"), {"key": "a.transfer"}, "not_a_command"),
    ("a sign reply", replace(LETTER, exchange="channels.sign-replies"), {}, "not_a_command"),
    ("a result", replace(LETTER, exchange="channels.results", hand="nobody"), {"key": "a.transfer"}, "not_a_command"),
]


@pytest.mark.parametrize(("letter", "given", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_letter_is_judged_as_the_bridge_would_and_more_strictly(
    letter: Letter, given: dict[str, Any], expected: str
) -> None:
    assert judged(letter, **given) == expected


def test_a_replay_says_whose_it_was_and_where_it_comes_from() -> None:
    """Under a key that operators may write, with the author in a header: his `user_id` would close the connection."""
    verdict = judge(LETTER, "channels", key=None, repaired=None, standing=Standing(), now=NOW)
    assert isinstance(verdict, Replay)
    envelope = verdict.envelope("channels", NOW)
    assert (envelope.exchange, envelope.routing_key) == ("channels.commands", "acme-7.transfer.replay")
    assert (envelope.body, envelope.correlation_id) == (LETTER.body, "t-1")
    assert dict(envelope.headers) == {
        "letter": LETTER.letter_id,
        "author": "shop",
        "replayed": write_instant(NOW),
    }


def test_what_is_to_be_repaired_is_the_body_and_not_what_stands_around_it() -> None:
    """`dlq show --raw` writes it, `dlq replay --body` takes it back."""
    assert json.loads(folded(LETTER).plain) == json.loads(LETTER.body)
    assert LETTER.plain == LETTER.body
    assert describe(folded(LETTER))["content_type"] == "application/cloudevents+json"


@pytest.mark.parametrize("code", [code for code in Code if code.value < "~"])
def test_every_code_is_explained(code: Code) -> None:
    """A person who sees one for the first time reads why, and that nothing happened."""
    told = explain(replace(LETTER, code=code.value))
    assert told.endswith("It was not executed.")
    assert len(told) > len("The bridge refused it. It was not executed.") + 10


def test_a_wrong_key_is_told_apart_from_a_wrong_body() -> None:
    """No body mends a routing key."""
    verdict = judge(
        replace(LETTER, routing_key="acme-7.transfers"), "channels", key=None, repaired=None, standing=UNKNOWN, now=NOW
    )
    assert isinstance(verdict, Refusal)
    assert "--key CHANNEL.COMMAND" in verdict.sentence
    verdict = judge(BROKEN, "channels", key=None, repaired=None, standing=UNKNOWN, now=NOW)
    assert isinstance(verdict, Refusal)
    assert "--body FILE" in verdict.sentence


def test_what_names_no_author_is_not_said_to_be_of_another_one() -> None:
    assert "user_id" in explain(replace(LETTER, code="forbidden", author=""))
    assert "another author" in explain(replace(LETTER, code="forbidden"))


def test_a_command_sent_again_is_not_to_be_repaired_at_once() -> None:
    """With a new id it would be a second payment."""
    assert "discarded" in explain(replace(LETTER, code="idempotency_conflict"))


def test_there_is_a_word_for_each_kind_of_letter() -> None:
    assert (remedy(LETTER), remedy(BROKEN), remedy(MOVED)) == ("replay", "repair", "replay")
    for exchange in ("sign-replies", "sign-requests", "approvals", "results"):
        letter = replace(LETTER, exchange=f"channels.{exchange}", hand="nobody")
        assert remedy(letter) == "none"
        assert explain(letter) != explain(replace(letter, exchange="elsewhere"))
    assert describe(replace(LETTER, body=b"\xff"))["body"] == "\\xff"
