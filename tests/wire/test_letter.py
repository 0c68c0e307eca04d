"""A letter is read whatever its headers hold, and what others may have forged is told from what the bridge wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import BodyError, Code
from bridge.wire.envelope import Received
from bridge.wire.letter import Letter, read_letter, read_letter_id
from bridge.wire.result import rejection_envelopes

COMMAND = Received(
    "channels.commands", "acme-7.transfer", b'{"command_id":"t-1"}', user_id="shop", queue="channels.commands"
)
DEATH = {
    "queue": "channels.commands",
    "reason": "delivery_limit",
    "exchange": "channels.commands",
    "routing-keys": ["acme-7.transfer"],
    "count": 1,
    "time": "2026-01-02 03:04:05",
}


def delivered(received: Received = COMMAND, code: Code = Code.INVALID_AMOUNT, message_id: str = "m-1") -> Received:
    """The bridge's dead letter, as an operator gets it."""
    *_, letter = rejection_envelopes("channels", received, BodyError(code, "no such amount", "amount"), at=5.0)
    return Received(letter.exchange, letter.routing_key, letter.body, dict(letter.headers), message_id=message_id)


def test_what_the_bridge_refused_names_where_it_came_from_and_why() -> None:
    letter = read_letter(delivered())
    assert (letter.hand, letter.exchange, letter.routing_key) == ("bridge", "channels.commands", "acme-7.transfer")
    assert (letter.channel, letter.command, letter.command_id) == ("acme-7", "transfer", "t-1")
    assert (letter.author, letter.code, letter.path) == ("shop", "invalid_amount", "amount")
    assert (letter.at, letter.body) == ("1970-01-01T00:00:05.000Z", COMMAND.body)


def test_what_the_broker_moved_names_the_queue_it_was_in() -> None:
    moved = Received("channels.dead-letters", "commands", b"{}", {"x-death": [DEATH]}, user_id="shop")
    letter = read_letter(moved)
    assert (letter.hand, letter.queue, letter.routing_key) == ("broker", "channels.commands", "acme-7.transfer")
    assert (letter.author, letter.code) == ("shop", "delivery_limit")


def test_what_nobody_took_keeps_its_exchange_and_key() -> None:
    letter = read_letter(Received("channels.results", "shop.acme-7.succeeded", b"{}", user_id="bridge"))
    assert (letter.hand, letter.kind, letter.channel, letter.command) == ("nobody", "results", "acme-7", "")


def test_headers_like_the_bridges_count_only_in_the_bridges_exchange() -> None:
    """A client may write any header. In `unrouted` its message would else pass for a command to a foreign channel."""
    forged = {"source_exchange": "channels.commands", "code": "channel_busy", "routing_key": "acme-9.transfer"}
    letter = read_letter(Received("channels.results", "mallory.x.y", b"{}", forged, user_id="mallory"))
    assert (letter.hand, letter.kind) == ("nobody", "results")


def test_the_id_tells_two_alike_apart_and_stays_the_same() -> None:
    """Two letters with the same bytes are two; looked at twice, one stays one."""
    first, second = read_letter(delivered()), read_letter(delivered(message_id="m-2"))
    assert first.letter_id == read_letter(delivered()).letter_id
    assert first.letter_id != second.letter_id
    assert read_letter_id(first.letter_id) == first.letter_id


@pytest.mark.parametrize("value", [None, 5, "", "x" * 16, "0" * 15, "0" * 17])
def test_what_is_no_letter_id_never_reaches_the_audit(value: object) -> None:
    assert read_letter_id(value) is None


HEADER = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.binary()
    | st.lists(st.dictionaries(st.text(), st.text()))
)
NAMES = st.sampled_from(["x-death", "code", "source_exchange", "routing_key", "author", "first_seen", "ce-time"])


@given(
    exchange=st.sampled_from(["channels.dead-letters", "channels.results", ""]),
    headers=st.dictionaries(NAMES, HEADER),
    key=st.text(),
    body=st.binary(),
)
def test_any_message_is_somebodys_letter(exchange: str, headers: dict[str, object], key: str, body: bytes) -> None:
    """Whatever lies there, the list of letters is shown; and nothing of it moves the cursor of a terminal."""
    letter = read_letter(Received(exchange, key, body, headers))
    assert isinstance(letter, Letter)
    assert all(text.isprintable() for text in (letter.code, letter.author, letter.reason, letter.at, letter.queue))
