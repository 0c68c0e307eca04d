"""What crosses a socket, told apart: handshake, text, control; and a text's word, the same in both dialects.

Each write of the websockets library is one whole WebSocket frame, so a frame can be lost, doubled or late by
itself. Reads only.
"""

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from bridge.errors import EncodingError
from bridge.sim.fault import word_of
from bridge.sim.note import TEXT_KEPT
from bridge.wire import encoding
from bridge.wire.transaction import signed_tx_hash

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
SIGNED = re.compile(rb'"(?:signed_)?tx"\s*:\s*"(tx[_$][^"]+)"')
"""In what a bridge writes: today's spelling and the oldest one."""
NAMES = {CLOSE: "close", PING: "ping", PONG: "pong"}


@dataclass(frozen=True, slots=True)
class Frame:
    """One write, read."""

    word: str
    text: bytes
    """Unmasked; empty for control frames, whose payload is drawn by the library. Of a handshake or a question to the
    chain the path, and what was answered."""

    @property
    def is_beat(self) -> bool:
        """Pings come by the clock and say nothing."""
        return self.word in ("ping", "pong")


def read_frame(data: bytes) -> Frame:
    """Of bytes as the library writes them."""
    if data.startswith(b"GET "):
        return Frame("request", data.split(b" ", 2)[1].partition(b"?")[0])
    if data.startswith(b"HTTP/"):
        return Frame("response", data.rpartition(b"\r\n\r\n")[2])
    opcode = data[0] & 0x0F
    if opcode != TEXT:
        return Frame(NAMES.get(opcode, "binary"), b"")
    text = _payload(data)
    return Frame(word_of(_parse(text)), text)


def read_query(data: bytes) -> dict[str, str]:
    """The query of a handshake request: it tells whose socket this is."""
    target = data.split(b" ", 2)[1].decode()
    return dict(parse_qsl(urlsplit(target).query))


def hash_of(text: str) -> str:
    """Of a signed transaction in any spelling: one form for the ledger's texts, the frames and the node's notes."""
    try:
        return signed_tx_hash(encoding.decode(text, "tx"))
    except EncodingError:
        return text


def read_signed(text: bytes) -> list[str]:
    """The signed transactions in a frame of a bridge, by their hashes."""
    return [hash_of(found.decode()) for found in SIGNED.findall(text)]


def read_message(text: bytes) -> str | None:
    """What a client says to the other one, as much of it as the node notes; None if the frame is no message."""
    frame: Any = _parse(text)
    if not isinstance(frame, dict) or word_of(frame) != "message":
        return None
    said = (frame.get("params") or frame.get("payload") or {}).get("info")
    return None if said is None else str(said)[:TEXT_KEPT]


def _payload(data: bytes) -> bytes:
    """Without its header, and without the mask a client puts on."""
    length, start = data[1] & 0x7F, 2
    if length >= 126:
        size = 2 if length == 126 else 8
        length, start = int.from_bytes(data[2 : 2 + size], "big"), 2 + size
    if not data[1] & 0x80:
        return data[start : start + length]
    mask, body = data[start : start + 4], data[start + 4 : start + 4 + length]
    pad = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(body, "big") ^ int.from_bytes(pad, "big")).to_bytes(length, "big")


def _parse(text: bytes) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
