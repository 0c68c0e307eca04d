"""What all published messages share: amounts and instants as text, one form of JSON, the attributes of CloudEvents."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.channel.effect import Publish
from bridge.channel.identifier import ChannelName
from bridge.errors import Code
from bridge.wire.envelope import (
    AMOUNT_WORDS,
    Received,
    body_digest,
    seal,
    write_data,
    write_instant,
    write_json,
    write_word,
)
from bridge.wire.outgoing import event_envelope

AT = 1767323045.678

amount_names = st.sampled_from(
    [*AMOUNT_WORDS, "initiator_amount", "balances_before", "balance_after", "max_fee", "channel_reserve"]
)
other_names = st.sampled_from(["round", "nonce", "updates", "exposure", "note", "x"])
leaves = st.none() | st.booleans() | st.integers() | st.text(st.characters(), max_size=10)
values = st.recursive(
    leaves,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(amount_names | other_names, children, max_size=4),
    max_leaves=15,
)
facts = st.dictionaries(amount_names | other_names, values, max_size=5)


def walk(value: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value with the names above it, in the order of the names."""
    yield names, value
    if isinstance(value, dict):
        for name in sorted(value):
            yield from walk(value[name], (*names, name))
    elif isinstance(value, list):
        for child in value:
            yield from walk(child, (*names, ""))


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_amount(name: str) -> bool:
    """Told by another rule than the one under test."""
    stem = name.removesuffix("_before").removesuffix("_after")
    return stem.rsplit("_", 1)[-1] in AMOUNT_WORDS


@given(facts)
def test_no_published_amount_is_a_json_number(data: dict[str, Any]) -> None:
    """A reader whose numbers are doubles loses coins from 2^53 aettos on: 0.009 of one coin."""
    publish = Publish("transfer", "received", data)
    envelope, _ = event_envelope(
        "channels", ChannelName("acme-7"), publish, seq=1, prev="", round=1, channel_id=None, epoch=1, at=AT
    )
    for names, value in walk(json.loads(envelope.body)):
        if is_number(value):
            assert abs(value) < 2**53
            assert not any(is_amount(name) for name in names)


@given(facts)
def test_nothing_but_numbers_changes_on_the_way_out(data: dict[str, Any]) -> None:
    """Every fact arrives under its name, as the number it was or its digits."""
    written = dict(enumerate(walk(json.loads(write_json(write_data(data))))))
    for index, (names, value) in enumerate(walk(data)):
        told_names, told = written[index]
        assert told_names == names
        if is_number(value):
            assert int(told) == value
        elif isinstance(value, str):
            assert told == value.encode("utf-8", "replace").decode()
        elif not isinstance(value, dict | list):
            assert told is value


def test_amounts_become_strings_and_counts_stay_numbers() -> None:
    """Ledgers need every digit; rounds and nonces are counted with."""
    data = {
        "amount": 10**20,
        "balances": {"ak_a": 1, "ak_b": 2},
        "updates": ({"op": "OffChainTransfer", "amount": 3},),
        "postings": [{"debit": 5, "account": "cash"}],
        "round": 7,
        "open": True,
        "code": Code.CONFLICT,
        "seconds": 0.5,
        "deposit_nonce": 9,
        "height": 2**53,
    }
    assert write_data(data) == {
        "amount": "100000000000000000000",
        "balances": {"ak_a": "1", "ak_b": "2"},
        "updates": [{"op": "OffChainTransfer", "amount": "3"}],
        "postings": [{"debit": "5", "account": "cash"}],
        "round": 7,
        "open": True,
        "code": "conflict",
        "seconds": 0.5,
        "deposit_nonce": 9,
        "height": "9007199254740992",
    }


def test_instants_become_text() -> None:
    """A person reads a deadline; a float of seconds is nobody's language."""
    written = write_data({"deadline": AT, "closed_at": AT, "at": 5, "format": 1.5})
    assert written == {
        "deadline": "2026-01-02T03:04:05.678Z",
        "closed_at": "2026-01-02T03:04:05.678Z",
        "at": 5,
        "format": 1.5,
    }


def test_a_credential_never_leaves_whatever_put_it_there() -> None:
    """The fsm_id opens the channel to whoever reads the event."""
    assert write_data({"fsm_id": "ba_secret", "deep": [{"existing_fsm_id": "ba_secret"}]}) == {
        "fsm_id": "masked",
        "deep": [{"existing_fsm_id": "masked"}],
    }


@pytest.mark.parametrize("value", [b"bytes", object(), {1, 2}, float("nan"), float("inf")])
def test_what_json_has_no_word_for_is_a_bug_of_ours(value: object) -> None:
    """Published half-right it would be wrong for years; raised, it is found in the first test."""
    with pytest.raises((TypeError, ValueError)):
        write_json(write_data({"x": value}))


def test_half_a_surrogate_pair_does_not_stop_an_event() -> None:
    """A node may send one, escaped: the event with it must still leave the outbox."""
    assert write_json(write_data({"info": "a\ud800b"})) == b'{"info":"a?b"}'


def test_equal_bodies_are_equal_bytes() -> None:
    """Repeats are identical byte for byte: the hash chain and every reader's de-duplication rest on it."""
    assert write_json({"b": 1, "a": "é"}) == write_json({"a": "é", "b": 1}) == '{"a":"é","b":1}'.encode()
    assert body_digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("text", "word"), [("channel_changed", "channel_changed"), ("a.b #*", "a_b___"), ("", "_"), ("x" * 99, "x" * 64)]
)
def test_a_word_cannot_tear_a_routing_key(text: str, word: str) -> None:
    """The node's own words become part of the key; a dot in one would move the event to other readers."""
    assert write_word(text) == word


def test_instant_is_written_in_utc_with_milliseconds() -> None:
    """One form everywhere, so that texts sort as instants do."""
    assert write_instant(0.0) == "1970-01-01T00:00:00.000Z"
    assert write_instant(AT) == "2026-01-02T03:04:05.678Z"


def test_headers_are_cloud_events_in_binary_mode() -> None:
    """Names as the CloudEvents SDK's RabbitMQ binding writes and reads them."""
    envelope = seal(
        "channels.events",
        "acme-7.info.open",
        b"{}",
        source="channels",
        event_id="event:acme-7:1",
        event_type="channel-bridge.info.open.v1",
        subject="acme-7",
        at=AT,
        correlation_id=None,
    )
    assert envelope.headers == {
        "ce-specversion": "1.0",
        "ce-id": "event:acme-7:1",
        "ce-source": "/channels",
        "ce-type": "channel-bridge.info.open.v1",
        "ce-subject": "acme-7",
        "ce-time": "2026-01-02T03:04:05.678Z",
    }
    assert envelope.event_id == "event:acme-7:1"
    assert (envelope.type, envelope.timestamp) == ("channel-bridge.info.open.v1", AT)
    assert envelope.mandatory


@pytest.mark.parametrize("prefix", ["ce-", "cloudEvents:", "cloudEvents_"])
def test_attributes_are_understood_in_every_form_in_use(prefix: str) -> None:
    """Clients come with the SDK's binding, or with that of AMQP 1.0 through the broker's plug-in."""
    received = Received("channels.commands", "acme-7.query", b"", {f"{prefix}type": "x.v1"})
    assert received.attribute("type") == "x.v1"
    assert received.attribute("id") is None


@pytest.mark.parametrize(
    ("user", "author"), [("alice", "alice"), ("A-1_b", "A-1_b"), (None, "_"), ("_", "_"), ("alice.x", "_"), ("", "_")]
)
def test_author_is_a_word_of_a_routing_key_or_unknown(user: str | None, author: str) -> None:
    """What is for alice.x must not land where alice may read."""
    assert Received("channels.commands", "k", b"", user_id=user).author == author
