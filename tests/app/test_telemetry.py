"""Log lines: an event and its fields, and never a secret."""

import io
import json
import logging

import pytest

from bridge.app.telemetry import ConsoleFormatter, JsonFormatter, redact

FSM_ID = "ba_" + "Q" * 44
SECRETS = (
    FSM_ID,
    "amqp://bridge:hunter2@localhost",
    f"ws://host/channel?existing_fsm_id={FSM_ID}&role=initiator",
)


@pytest.mark.parametrize("formatter", [JsonFormatter(), ConsoleFormatter()])
@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_masked_wherever_they_stand(formatter: logging.Formatter, secret: str) -> None:
    """In a field, in the message, in an exception's text."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        int(secret)
    except ValueError:
        logger.exception("happened %s", secret, extra={"url": secret})
    text = stream.getvalue()
    assert "hunter2" not in text
    assert FSM_ID not in text
    assert "happened" in text


def test_a_json_line_is_one_object_with_its_fields() -> None:
    record = logging.makeLogRecord({"msg": "command_journaled", "name": "x", "channel": "acme-7"})
    line = json.loads(JsonFormatter().format(record))
    assert (line["event"], line["channel"]) == ("command_journaled", "acme-7")


def test_redaction_leaves_other_text_alone() -> None:
    assert redact("tx_+E0LAcC4 ak_25n12 round=2") == "tx_+E0LAcC4 ak_25n12 round=2"
