"""Frames are told apart by what the websockets library really writes."""

import json
from collections.abc import Callable

import pytest
from websockets.frames import Frame as Written
from websockets.frames import Opcode

from bridge.wire import encoding
from bridge.wire.transaction import signed_tx_hash
from tests.simulation.frame import hash_of, read_frame, read_message, read_query, read_signed


@pytest.mark.parametrize("size", [10, 1000, 70_000])
@pytest.mark.parametrize("is_masked", [True, False])
def test_a_text_is_read_whatever_its_length_and_mask(size: int, is_masked: bool) -> None:
    """A label by the wrong word would name another point."""
    text = json.dumps({"method": "channels.sign.update", "params": "x" * size}).encode()
    frame = read_frame(Written(Opcode.TEXT, text).serialize(mask=is_masked))
    assert (frame.word, frame.text) == ("sign.update", text)


def test_both_dialects_have_the_same_word() -> None:
    """One schedule means the same in both."""
    legacy = json.dumps({"action": "sign", "tag": "update", "payload": {}}).encode()
    assert read_frame(Written(Opcode.TEXT, legacy).serialize(mask=False)).word == "sign.update"


def test_beats_are_no_points() -> None:
    """Pings come by the clock: counted, they would move every number behind them."""
    assert read_frame(Written(Opcode.PING, b"1234").serialize(mask=True)).is_beat
    assert not read_frame(Written(Opcode.CLOSE, b"").serialize(mask=True)).is_beat


def test_a_handshake_tells_whose_socket_it_is_and_not_its_credential() -> None:
    """The trace is shown to people."""
    request = b"GET /channel?role=initiator&existing_fsm_id=ba_secret HTTP/1.1\r\n\r\n"
    assert read_query(request)["role"] == "initiator"
    assert read_frame(request).text == b"/channel"


@pytest.mark.parametrize("write", [encoding.encode, encoding.encode_legacy])
def test_a_signed_reply_is_found_in_every_spelling_and_has_one_name(write: Callable[[str, bytes], str]) -> None:
    """The oldest dialect writes `tx$…`: a rule that sees none of its replies is silent for nothing."""
    text = write("tx", b"a signed transaction")
    name = signed_tx_hash(b"a signed transaction")
    assert hash_of(text) == name
    for frame in (
        {"method": "channels.update", "params": {"signed_tx": text}},
        {"action": "update", "payload": {"tx": text}},
    ):
        assert read_signed(json.dumps(frame, separators=(",", ":")).encode()) == [name]
    assert read_signed(b'{"method":"channels.get.balances"}') == []


def test_a_message_is_known_by_its_text_in_both_dialects() -> None:
    """What the network doubles the bridge has said once."""
    for frame in (
        {"method": "channels.message", "params": {"to": "ak_x", "info": "hello"}},
        {"action": "message", "payload": {"to": "ak_x", "info": "hello"}},
    ):
        assert read_message(json.dumps(frame).encode()) == "hello"
    assert read_message(b'{"method": "channels.update.new", "params": {"info": "no message"}}') is None
    assert read_message(b"no frame") is None
