"""A message that is said at least once: again until the node takes it, with a number by which repeats are dropped."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from bridge.channel.command import Message
from bridge.channel.effect import Publish
from bridge.channel.identifier import RequestId
from bridge.channel.input import Accepted, CommandDue, MessageReceived, RequestRefused, TakenOver
from bridge.channel.letter import MOST_HEARD
from bridge.channel.request import AskBalances, AskState, SendMessage
from bridge.channel.terms import Dialect
from bridge.channel.wake import next_wake
from bridge.errors import Code, Outcome
from tests.channel.given import INITIATOR, ISSUED, RESPONDER, Channel, create, opened
from tests.channel.test_attach import drop, found, reconnect

TEXT = "channel-bridge:message:m-1\nhello"


def letter(info: str = "hello", expires_at: datetime | None = None) -> Message:
    fields = {"command_id": "m-1", "issued_at": ISSUED, "expires_at": expires_at, "to": RESPONDER, "info": info}
    return Message.model_validate({**fields, "delivery": "at_least_once"})


def said(channel: Channel) -> list[str]:
    return [request.info for request in channel.sent(SendMessage)]


def refused(request_id: RequestId | None) -> RequestRefused:
    return RequestRefused(request_id=request_id, reasons=("participant_not_found",), codes=(1,))


def hear(channel: Channel, info: str) -> list[Mapping[str, object]]:
    """What is told of it."""
    channel.give(MessageReceived(from_account=RESPONDER, to_account=INITIATOR, info=info))
    return [event.data for event in channel.last if isinstance(event, Publish)]


def test_a_letter_succeeds_when_the_node_took_it() -> None:
    channel = opened().give(CommandDue(letter()))
    assert said(channel) == [TEXT]
    channel.answer(SendMessage, Accepted())
    assert [e.outcome for e in channel.outcomes()] == [Outcome.SUCCEEDED]


@pytest.mark.parametrize("losses", [1, 5])
def test_a_letter_is_said_again_with_the_same_number_after_each_loss(losses: int) -> None:
    channel = opened().give(CommandDue(letter()))
    for _ in range(losses):
        found(reconnect(drop(channel)), create())
        assert said(channel) == [TEXT]
        assert not channel.outcomes()
    channel.answer(SendMessage, Accepted())
    assert [e.outcome for e in channel.outcomes()] == [Outcome.SUCCEEDED]


def test_a_letter_is_said_again_by_the_next_process() -> None:
    channel = opened().give(CommandDue(letter())).give(TakenOver())
    found(reconnect(channel), create())
    assert said(channel) == [TEXT]


def test_nothing_is_said_before_the_node_was_asked() -> None:
    channel = reconnect(drop(opened().give(CommandDue(letter()))))
    assert channel.sent(AskState)
    assert not said(channel)


def test_a_silent_node_is_given_it_again_and_then_it_is_unknown() -> None:
    channel = opened().give(CommandDue(letter()))
    for _ in range(29):
        channel.wait(channel.terms.trigger_seconds + 0.1)
        assert said(channel) == [TEXT]
    channel.wait(channel.terms.trigger_seconds + 0.1)
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.UNKNOWN, Code.DELIVERY_UNKNOWN)]


def test_the_first_legacy_never_says_it_so_once_is_enough() -> None:
    channel = opened(dialect=Dialect.LEGACY_SEED).give(CommandDue(letter())).wait(3)
    assert [e.outcome for e in channel.outcomes()] == [Outcome.UNKNOWN]


def test_late_legacy_says_it_again_with_a_new_question_behind() -> None:
    channel = opened(dialect=Dialect.LEGACY_LATE).give(CommandDue(letter())).wait(2.1)
    assert [type(r) for r in channel.sent()] == [SendMessage, AskBalances]


def test_a_refusal_of_the_first_is_a_failure_and_of_a_repeat_is_not() -> None:
    """The one before may have been taken."""
    first = opened().give(CommandDue(letter()))
    again = found(reconnect(drop(opened().give(CommandDue(letter())))), create())
    for channel, outcome in ((first, Outcome.FAILED), (again, Outcome.UNKNOWN)):
        (request,) = channel.sent(SendMessage)
        channel.give(refused(request.request_id))
        assert [e.outcome for e in channel.outcomes()] == [outcome]


def test_an_error_between_two_tries_is_about_something_else() -> None:
    channel = opened().give(CommandDue(letter()))
    channel.state = replace(channel.state, pause_until=channel.now + 60)
    channel.wait(channel.terms.trigger_seconds + 0.1)
    assert not said(channel)
    assert not channel.give(refused(None)).outcomes()
    assert said(channel.wait(50)) == [TEXT]


def test_a_letter_whose_time_has_passed_is_unknown_and_not_expired() -> None:
    """What the node may have taken has not failed."""
    channel = opened()
    channel.give(CommandDue(letter(expires_at=datetime.fromtimestamp(channel.now + 5, UTC))))
    drop(channel).wait(10)
    assert [(e.outcome, e.code) for e in channel.outcomes()] == [(Outcome.UNKNOWN, Code.DELIVERY_UNKNOWN)]
    found(reconnect(channel), create())
    assert not said(channel)


def test_the_time_of_a_letter_passes_while_the_link_is_away() -> None:
    """Its author waits for the outcome, not for the node."""
    channel = opened()
    expiry = channel.now + 60
    channel.give(CommandDue(letter(expires_at=datetime.fromtimestamp(expiry, UTC))))
    drop(channel.wait(channel.terms.trigger_seconds + 0.1))
    assert next_wake(channel.terms, channel.state, channel.now) == pytest.approx(expiry, abs=0.01)
    channel.wait(60)
    assert [e.code for e in channel.outcomes()] == [Code.DELIVERY_UNKNOWN]


def test_a_letter_is_told_once_however_often_it_comes() -> None:
    channel = opened()
    (told,) = hear(channel, TEXT)
    assert told == {"from": RESPONDER, "to": INITIATOR, "info": "hello", "message_id": "m-1"}
    assert not hear(channel, TEXT)
    found(reconnect(drop(channel)), create())
    assert not hear(channel, TEXT)
    assert hear(channel, TEXT.replace("m-1", "m-2"))


def test_a_message_without_a_number_is_told_as_often_as_it_comes() -> None:
    channel = opened()
    assert [hear(channel, "hello"), hear(channel, "hello")] == 2 * [
        [{"from": RESPONDER, "to": INITIATOR, "info": "hello"}]
    ]


@pytest.mark.parametrize("info", ["channel-bridge:message:m-1", "channel-bridge:message:\nx", "channel-bridge:x\ny"])
def test_what_only_looks_like_a_letter_is_passed_on_whole(info: str) -> None:
    assert [told["info"] for told in hear(opened(), info)] == [info]


def test_only_so_many_numbers_are_remembered() -> None:
    channel = opened()
    for number in range(MOST_HEARD + 1):
        assert hear(channel, f"channel-bridge:message:{number}\nx")
    assert len(channel.state.heard) == MOST_HEARD


def test_a_text_that_claims_to_be_a_letter_is_refused() -> None:
    with pytest.raises(ValidationError, match="may not begin with"):
        letter(TEXT)


def test_the_number_counts_for_the_length() -> None:
    assert letter("x" * (65_000 - len(TEXT) + 5))
    with pytest.raises(ValidationError, match="with its id"):
        letter("x" * (65_000 - len(TEXT) + 6))
