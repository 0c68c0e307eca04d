"""CloudEvents around what others write: read as the official Python SDK writes them, and what is none is named."""

import base64
import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.rabbitmq import (
    RabbitMQMessage,
    from_binary,
    to_binary,
    to_structured,
)
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bridge.app.asyncapi.example import Example, examples
from bridge.errors import BodyError, Code
from bridge.wire.body import ApprovalBody, SignReplyBody
from bridge.wire.cloudevent import STRUCTURED, unfold
from bridge.wire.envelope import Received
from bridge.wire.incoming import body_hash, read_approval, read_command, read_sign_reply
from bridge.wire.result import rejection_envelopes
from tests.simulation.cast import account_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMMAND = {
    "command_id": "invoice-4711",
    "issued_at": "2026-01-02T03:04:05Z",
    "from": account_of("initiator"),
    "to": account_of("responder"),
    "amount": "5",
}
REPLY = {"sign_request_id": "acme-7.3.03e3", "signature": base64.b64encode(bytes(range(64))).decode()}
APPROVAL = {"approval_request_id": "acme-7.a1.6b1f", "body_hash": "0" * 64, "decision": "approve"}
ATTRIBUTES = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "org.example.pay.v1"}


def sdk(data: Mapping[str, Any], **more: str) -> CloudEvent:
    attributes = {"id": "e-1", "source": "/shop", "type": "org.example.pay.v1", "datacontenttype": "application/json"}
    return CloudEvent(attributes={**attributes, "time": NOW, **more}, data=dict(data))


def received(message: RabbitMQMessage, exchange: str, key: str) -> Received:
    return Received(
        f"channels.{exchange}",
        key,
        message.body,
        headers=dict(message.headers),
        user_id="shop",
        content_type=message.content_type,
    )


def structured(envelope: Any, exchange: str = "commands", key: str = "acme-7.transfer", **more: Any) -> Received:
    body = envelope if isinstance(envelope, bytes) else json.dumps(envelope).encode()
    return Received(f"channels.{exchange}", key, body, user_id="shop", content_type=STRUCTURED, **more)


@pytest.mark.parametrize("write", [to_binary, to_structured])
def test_what_the_sdk_writes_is_accepted(write: Any) -> None:
    """Whoever has the SDK in his stack changes nothing: commands, sign replies and approvals, in both modes."""
    command = unfold(received(write(sdk(COMMAND), JSONFormat()), "commands", "acme-7.transfer"))
    assert read_command(command, channels={"acme-7"}, now=NOW)[1].command_id == "invoice-4711"
    assert command.attribute("id") == "e-1"
    reply = unfold(received(write(sdk(REPLY), JSONFormat()), "sign-replies", f"{account_of('initiator')}.acme-7"))
    assert read_sign_reply(reply)[2] == SignReplyBody.model_validate(REPLY)
    approval = unfold(received(write(sdk(APPROVAL), JSONFormat()), "approvals", "acme-7"))
    assert read_approval(approval, channels={"acme-7"})[1] == ApprovalBody.model_validate(APPROVAL)


def test_one_command_in_each_mode_is_one_command() -> None:
    """A client that changes its library in the middle of a retry pays once."""
    plain = Received("channels.commands", "acme-7.transfer", json.dumps(COMMAND).encode(), user_id="shop")
    binary = received(to_binary(sdk(COMMAND), JSONFormat()), "commands", "acme-7.transfer")
    folded = received(to_structured(sdk(COMMAND), JSONFormat()), "commands", "acme-7.transfer")
    assert len({body_hash(unfold(one)) for one in (plain, binary, folded)}) == 1


@pytest.mark.parametrize(
    "name", [name for name, one in examples().items() if one.headers and not name.startswith(("dead", "command"))]
)
def test_what_we_publish_is_read_by_the_sdk(name: str) -> None:
    """Each example of what the programs wrote is a CloudEvent with our id, type and body."""
    example: Example = examples()[name]
    body = json.dumps(example.body).encode()
    event = from_binary(RabbitMQMessage(example.headers, "application/json", body), JSONFormat())
    assert event.get_id() == example.headers["ce-id"]
    assert event.get_type() == example.headers["ce-type"]
    assert event.get_data() == example.body


def test_body_is_handed_on_byte_for_byte() -> None:
    """Its numbers are judged by our rules, not by whoever takes the envelope off."""
    data = b'{ "amount" : 1.50, "text": "\\u00e9 }{", "long": ' + b"9" * 5000 + b" }"
    envelope = b' {"id":"e","x":[{}],"data" : ' + data + b',"type":"t.v1","source":"/s","specversion":"1.0"} '
    assert unfold(structured(envelope)).body == data


def test_data_may_come_as_base64() -> None:
    coded = base64.b64encode(json.dumps(COMMAND).encode()).decode()
    command = unfold(structured(ATTRIBUTES | {"data_base64": coded}))
    assert read_command(command, channels={"acme-7"}, now=NOW)[1].command_id == "invoice-4711"


def test_headers_beside_a_structured_event_do_not_speak_for_it() -> None:
    """The content type says which mode it is; two truths in one message would be one too many."""
    folded = unfold(structured(ATTRIBUTES | {"data": COMMAND}, headers={"ce-type": "other.v9", "traceparent": "00-1"}))
    assert folded.attribute("type") == "org.example.pay.v1"
    assert folded.headers["traceparent"] == "00-1"


def test_other_content_types_are_left_alone() -> None:
    for content_type in (None, "application/json", "text/plain"):
        plain = Received("channels.commands", "a.query", b"{}", content_type=content_type)
        assert unfold(plain) is plain


@pytest.mark.parametrize(
    ("envelope", "code", "path"),
    [
        (b"[]", Code.MALFORMED, ""),
        (b"{", Code.MALFORMED, ""),
        (b'{"id":"1","id":"2"}', Code.MALFORMED, ""),
        ({"data": COMMAND}, Code.MISSING_FIELD, "specversion"),
        ({**ATTRIBUTES, "specversion": "0.3", "data": COMMAND}, Code.UNSUPPORTED_VERSION, "specversion"),
        ({key: value for key, value in ATTRIBUTES.items() if key != "id"}, Code.MISSING_FIELD, "id"),
        ({**ATTRIBUTES, "source": 5, "data": COMMAND}, Code.INVALID_FIELD, "source"),
        ({**ATTRIBUTES, "id": "", "data": COMMAND}, Code.INVALID_FIELD, "id"),
        (ATTRIBUTES, Code.MISSING_FIELD, "data"),
        ({**ATTRIBUTES, "data": COMMAND, "data_base64": "e30="}, Code.INVALID_FIELD, "data"),
        ({**ATTRIBUTES, "data_base64": "?"}, Code.INVALID_FIELD, "data_base64"),
        ({**ATTRIBUTES, "data_base64": {}}, Code.INVALID_FIELD, "data_base64"),
        ({**ATTRIBUTES, "datacontenttype": "text/xml", "data": COMMAND}, Code.INVALID_FIELD, "datacontenttype"),
        (b" " * (512 * 1024 + 1), Code.TOO_LARGE, ""),
        (b'{"data":' + b"[" * 20 + b"]" * 20 + b"}", Code.TOO_DEEP, ""),
    ],
)
def test_what_is_no_cloudevent_is_named(envelope: Any, code: Code, path: str) -> None:
    with pytest.raises(BodyError) as caught:
        unfold(structured(envelope))
    assert (caught.value.code, caught.value.path) == (code, path)


@pytest.mark.parametrize("media", ["application/cloudevents-batch+json", "application/cloudevents+avro"])
def test_other_formats_of_cloudevents_are_refused_and_not_guessed(media: str) -> None:
    """A batch read as one command would lose the rest of it."""
    with pytest.raises(BodyError) as caught:
        unfold(replace(structured(ATTRIBUTES | {"data": COMMAND}), content_type=media))
    assert (caught.value.code, caught.value.path) == (Code.INVALID_FIELD, "content_type")


@pytest.mark.parametrize("content_type", [STRUCTURED, f"{STRUCTURED}; charset=UTF-8", "Application/CloudEvents+JSON"])
def test_content_type_is_read_as_mail_reads_it(content_type: str) -> None:
    command = unfold(replace(structured(ATTRIBUTES | {"data": COMMAND}), content_type=content_type))
    assert json.loads(command.body) == COMMAND


def test_refused_structured_command_is_answered_by_its_id_and_kept_whole() -> None:
    """Nothing is lost: the dead letter is the envelope as it came, with the content type to send it again by."""
    bad = structured(ATTRIBUTES | {"data": COMMAND | {"amount": "-5"}})
    with pytest.raises(BodyError) as caught:
        read_command(unfold(bad), channels={"acme-7"}, now=NOW)
    result, letter = rejection_envelopes("channels", bad, caught.value, at=NOW.timestamp())
    assert json.loads(result.body)["command_id"] == "invoice-4711"
    assert letter.body == bad.body
    assert letter.headers["source_content_type"] == STRUCTURED


def test_type_of_a_structured_event_may_not_be_of_another_version() -> None:
    envelope = ATTRIBUTES | {"type": "channel-bridge.command.transfer.v2", "data": COMMAND}
    with pytest.raises(BodyError) as caught:
        read_command(unfold(structured(envelope)), channels={"acme-7"}, now=NOW)
    assert caught.value.code is Code.UNSUPPORTED_VERSION


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
patient = settings(suppress_health_check=[HealthCheck.too_slow])
"""The first draws build the strategy: on a busy machine that takes seconds."""


@patient
@given(body=st.binary(max_size=200) | st.dictionaries(st.sampled_from([*ATTRIBUTES, "data", "data_base64"]), _JSON))
def test_any_bytes_are_a_message_or_a_named_error(body: Any) -> None:
    """Anybody may write here; an exception of another kind would stop the intake of everybody."""
    with contextlib.suppress(BodyError):
        unfold(structured(body))


@patient
@given(
    data=st.dictionaries(st.text(max_size=8), _JSON, max_size=4), extra=st.dictionaries(st.sampled_from("abc"), _JSON)
)
def test_what_was_folded_is_unfolded(data: dict[str, Any], extra: dict[str, Any]) -> None:
    """Wherever the data stands among the attributes, and whatever is in it."""
    envelope = {**extra, "data": data, **ATTRIBUTES}
    assume("\\u0000" not in json.dumps(envelope))
    assert (
        json.loads(unfold(structured(json.dumps(envelope, ensure_ascii=False).encode("utf-8", "replace"))).body) == data
    )
