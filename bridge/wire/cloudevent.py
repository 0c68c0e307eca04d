"""CloudEvents around what others write to us: binary mode beside the body, structured mode around it.

In structured mode (`application/cloudevents+json`) the attributes and the body (`data`, or `data_base64`) are one
JSON object. `unfold` gives the message as if it had come in binary mode, the body's bytes untouched, so whatever reads
it knows one form only and the same command in both modes is the same command. Source: CloudEvents 1.0.2, JSON format
and AMQP binding; headers as the RabbitMQ binding writes them.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import replace
from json.decoder import JSONDecoder
from typing import Any

from bridge.errors import BodyError, Code
from bridge.wire.envelope import CE_PREFIXES, UNREADABLE_HEADERS, Received
from bridge.wire.strictbody import Limits, read_object

STRUCTURED = "application/cloudevents+json"
REQUIRED = ("specversion", "id", "source", "type")
ENVELOPE_LIMITS = Limits(body_bytes=512 * 1024, string_bytes=360_000, depth=17, values=2_100)
"""The largest body, its envelope, and the body once more as base64; what is in it is measured again by itself."""

_SPACE = re.compile(r"[ \t\n\r]*")
# Numbers stay text here: only where each value ends is asked, and Python refuses integers of 5,000 digits.
_DECODER = JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def unfold(received: Received) -> Received:
    """The message in binary mode. Raises `BodyError` for an envelope that is none; bodies are judged later."""
    check_headers(received)
    media = _media_type(received.content_type)
    if not media.startswith("application/cloudevents"):
        return received
    if media != STRUCTURED:
        raise BodyError(Code.INVALID_FIELD, f"of structured CloudEvents {STRUCTURED} is understood", "content_type")
    envelope = read_object(received.body, ENVELOPE_LIMITS)
    attributes = _attributes(envelope)
    body = _body(received.body.decode(), envelope)
    own = {key: value for key, value in received.headers.items() if not key.startswith(CE_PREFIXES)}
    headers = own | {f"ce-{name}": value for name, value in attributes.items()}
    content_type = attributes.get("datacontenttype", "application/json")
    return replace(received, body=body, headers=headers, content_type=content_type)


def check_headers(received: Received) -> None:
    """Raises `BodyError` where they could not be decoded: that it was dead-lettered to us may stand among them."""
    if UNREADABLE_HEADERS in received.headers:
        raise BodyError(Code.MALFORMED, "the headers of the message cannot be read", "headers")


def readable_body(received: Received) -> bytes:
    """The body inside an envelope, or what arrived where that is none: a refusal looks for its address in it."""
    try:
        return unfold(replace(received, headers={})).body
    except BodyError:
        return received.body


def _media_type(content_type: str | None) -> str:
    """Without its parameters, as RFC 2045 compares them."""
    return (content_type or "").partition(";")[0].strip().lower()


def _attributes(envelope: Mapping[str, Any]) -> dict[str, str]:
    """All but the data; the required ones are there, and each is a text."""
    for name in REQUIRED:
        if name not in envelope:
            raise BodyError(Code.MISSING_FIELD, "a CloudEvent has this attribute", name)
    if envelope["specversion"] != "1.0":
        raise BodyError(Code.UNSUPPORTED_VERSION, "CloudEvents 1.0 is understood", "specversion")
    attributes = {name: value for name, value in envelope.items() if name not in ("data", "data_base64")}
    for name in (*REQUIRED, "datacontenttype"):
        value = attributes.get(name, "application/json")
        if not isinstance(value, str) or not value:
            raise BodyError(Code.INVALID_FIELD, "this attribute of a CloudEvent is a text that is not empty", name)
    if not re.fullmatch(
        r"application/(?:[^;/]+\+)?json", _media_type(attributes.get("datacontenttype", "application/json"))
    ):
        raise BodyError(Code.INVALID_FIELD, "the data is JSON", "datacontenttype")
    return {name: value for name, value in attributes.items() if isinstance(value, str)}


def _body(text: str, envelope: Mapping[str, Any]) -> bytes:
    if ("data" in envelope) == ("data_base64" in envelope):
        code = Code.INVALID_FIELD if "data" in envelope else Code.MISSING_FIELD
        raise BodyError(code, "a CloudEvent to the bridge has either data or data_base64", "data")
    if "data" in envelope:
        return _span(text, "data").encode()
    try:
        return base64.b64decode(envelope["data_base64"], validate=True)
    except (ValueError, TypeError, binascii.Error) as error:
        raise BodyError(Code.INVALID_FIELD, "data_base64 is base64", "data_base64") from error


def _span(text: str, wanted: str) -> str:
    """The text of one value of an object that was read before, exactly as it was written."""
    at = _skip(text, 0) + 1
    while True:
        key, at = _DECODER.raw_decode(text, _skip(text, at))
        start = _skip(text, _skip(text, at) + 1)
        _, end = _DECODER.raw_decode(text, start)
        if key == wanted:
            return text[start:end]
        at = _skip(text, end) + 1


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None  # noqa: S101  # it matches nothing, too
    return found.end()
