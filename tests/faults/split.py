"""Bytes of a link cut into what they mean: WebSocket text frames, AMQP methods with their content, or just bytes.

Nothing is lost or changed: the pieces' `data` put together are the bytes that came in, in their order (of one AMQP
channel; another channel's frames in between keep theirs). Never decides. Sources: RFC 6455 section 5.2, AMQP 0-9-1
section 4.2.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

TEXT = 1
METHOD, HEADER, BODY = 1, 2, 3
AMQP_GREETING = 8
METHODS = {
    (50, 10): "queue.declare",
    (60, 20): "basic.consume",
    (60, 40): "basic.publish",
    (60, 50): "basic.return",
    (60, 60): "basic.deliver",
    (60, 80): "basic.ack",
    (60, 90): "basic.reject",
    (60, 120): "basic.nack",
}
WITH_CONTENT = frozenset({(60, 40), (60, 50), (60, 60)})


class Direction(StrEnum):
    OUT = "out"
    """From whoever connected, here the bridge or a signer."""
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Piece:
    data: bytes
    word: str = ""
    """The JSON-RPC method without its prefix, `result`, `error`, or the AMQP method; empty for what has no name."""
    body: bytes = b""
    """The text of the frame, the content of the message, or the head of the handshake."""
    exchange: str = ""
    routing_key: str = ""
    amqp_channel: int = 0
    delivery_tag: int = 0
    is_multiple: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        """The body as a JSON object; empty if it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class Splitter(Protocol):
    def feed(self, data: bytes) -> Iterator[Piece]: ...


class Bytes:
    """No meaning at all."""

    def feed(self, data: bytes) -> Iterator[Piece]:
        yield Piece(data)


class WebSocket:
    """One direction, without compression. What is no text frame has no word."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_open = False

    def feed(self, data: bytes) -> Iterator[Piece]:
        self._rest += data
        while (size := self._size()) is not None:
            taken, self._rest = self._rest[:size], self._rest[size:]
            if self._is_open:
                yield _read_text(taken)
            else:
                self._is_open = True
                yield Piece(taken, "handshake", taken)

    def _size(self) -> int | None:
        """Of the next piece, None until all of it is here."""
        if not self._is_open:
            end = self._rest.find(b"\r\n\r\n")
            return None if end < 0 else end + 4
        if len(self._rest) < 2:
            return None
        head, length = _head(self._rest[1])
        if len(self._rest) < head:
            return None
        if length is None:
            length = int.from_bytes(self._rest[2 : head - 4 * (self._rest[1] >> 7)], "big")
        return head + length if len(self._rest) >= head + length else None


def _head(second: int) -> tuple[int, int | None]:
    """Bytes before the payload, and its length unless that stands in them."""
    length, mask = second & 0x7F, 4 * (second >> 7)
    if length < 126:
        return 2 + mask, length
    return (4 if length == 126 else 10) + mask, None


def _read_text(frame: bytes) -> Piece:
    if frame[0] & 0x0F != TEXT:
        return Piece(frame)
    head, _ = _head(frame[1])
    payload = frame[head:]
    if frame[1] >> 7:
        mask = frame[head - 4 : head]
        payload = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return Piece(frame, _word(payload), payload)


def _word(text: bytes) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        return "text"
    if not isinstance(found, dict):
        return "text"
    if "method" in found:
        return str(found["method"]).removeprefix("channels.")
    if "action" in found:
        return ".".join(str(found[name]) for name in ("action", "tag") if name in found)
    return "error" if "error" in found else "result"


class Amqp:
    """One direction. A method with content is one piece, from its method frame to the last of its body."""

    def __init__(self, *, greets: bool) -> None:
        self._rest = b""
        self._greets = greets
        self._open: dict[int, list[bytes]] = {}
        self._missing: dict[int, int] = {}

    def feed(self, data: bytes) -> Iterator[Piece]:
        self._rest += data
        while (size := self._size()) is not None:
            taken, self._rest = self._rest[:size], self._rest[size:]
            if self._greets:
                self._greets = False
                yield Piece(taken)
            elif (piece := self._take(taken)) is not None:
                yield piece

    def _size(self) -> int | None:
        if self._greets:
            return AMQP_GREETING if len(self._rest) >= AMQP_GREETING else None
        if len(self._rest) < 7:
            return None
        size = 8 + int.from_bytes(self._rest[3:7], "big")
        return size if len(self._rest) >= size else None

    def _take(self, frame: bytes) -> Piece | None:
        """None while content is still to come."""
        kind, channel, payload = frame[0], int.from_bytes(frame[1:3], "big"), frame[7:-1]
        if kind == METHOD and _method(payload) not in WITH_CONTENT:
            return _read_method([frame])
        if kind not in (METHOD, HEADER, BODY):
            return Piece(frame)
        self._open.setdefault(channel, []).append(frame)
        if kind == METHOD:
            return None
        if kind == HEADER:
            self._missing[channel] = int.from_bytes(payload[4:12], "big")
        else:
            self._missing[channel] -= len(payload)
        return None if self._missing[channel] else _read_method(self._open.pop(channel))


def _method(payload: bytes) -> tuple[int, int]:
    return int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:4], "big")


def _read_method(frames: list[bytes]) -> Piece:
    first, arguments = frames[0], frames[0][11:-1]
    method = _method(frames[0][7:-1])
    word, channel = METHODS.get(method, ""), int.from_bytes(first[1:3], "big")
    data, body = b"".join(frames), b"".join(frame[7:-1] for frame in frames[2:])
    match word:
        case "basic.ack" | "basic.nack" | "basic.reject":
            tag = int.from_bytes(arguments[:8], "big")
            return Piece(data, word, amqp_channel=channel, delivery_tag=tag, is_multiple=bool(arguments[8] & 1))
        case "basic.publish":
            exchange, rest = _short(arguments[2:])
            return Piece(data, word, body, exchange, _short(rest)[0], channel)
        case "basic.deliver":
            _, rest = _short(arguments)
            exchange, after = _short(rest[9:])
            return Piece(data, word, body, exchange, _short(after)[0], channel, int.from_bytes(rest[:8], "big"))
    return Piece(data, word, body, amqp_channel=channel)


def _short(data: bytes) -> tuple[str, bytes]:
    return data[1 : 1 + data[0]].decode(), data[1 + data[0] :]
