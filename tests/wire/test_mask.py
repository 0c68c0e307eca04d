"""No evidence holds the credential: whatever spelling it came in, wherever it was cut."""

import json

import pytest

from bridge.wire.mask import EXCERPT_BYTES, MASK, excerpt, mask
from tests.wire.recorded import recording

SECRET = recording("open")[1].frame["params"]["data"]["fsm_id"]
ODD = "ba_not+the/usual=length"


@pytest.mark.parametrize("secret", [SECRET, SECRET.replace("/", "\\/"), ODD, "short"])
@pytest.mark.parametrize("name", ["fsm_id", "existing_fsm_id"])
@pytest.mark.parametrize(
    "spelling",
    ['{{"{0}":"{1}","a":1}}', '{{"{0}" :\n "{1}"}}', '{{\\"{0}\\":\\"{1}\\"}}', "{{'{0}': '{1}'}}", "?{0}={1}&a=1"],
)
def test_a_named_credential_is_masked(secret: str, name: str, spelling: str) -> None:
    """Whoever reads an event could otherwise take the channel over."""
    if name == "fsm_id" and spelling.startswith("?"):
        spelling = "fsm_id={1}&a=1"
    text = spelling.format(name, secret)
    assert secret not in mask(text)
    assert mask(text) == spelling.format(name, MASK)


def test_a_credential_without_a_name_is_masked_by_its_shape() -> None:
    """An error's sentence may quote it."""
    assert mask(f"no FSM for {SECRET}, sorry") == f"no FSM for {MASK}, sorry"
    assert mask(f"{SECRET}{SECRET}") == f"{MASK}{MASK}"


@pytest.mark.parametrize("text", ["ba_dGltZW91dDYSHjQ=", "ba_" + "A" * 400, "tx_" + "A" * 48, "fsm_ids are secret"])
def test_other_byte_arrays_are_kept(text: str) -> None:
    """History entries hold texts and states as byte arrays: evidence."""
    assert mask(json.dumps({"state": text})) == json.dumps({"state": text})


def test_a_frame_without_a_secret_is_kept_to_the_letter() -> None:
    """Evidence that was rewritten is none."""
    for line in recording("conflict"):
        if "fsm_id" not in line.text:
            assert mask(line.text) == line.text


@pytest.mark.parametrize("length", [0, 10, 990, 999, 1_000, 5_000, 100_000])
def test_an_excerpt_is_short_and_masked(length: int) -> None:
    """At most 1,000 bytes, cut between characters, the secret masked before the cut."""
    text = "é" * (length // 2) + f'{{"fsm_id":"{SECRET}"}}'
    for given in (text, text.encode()):
        found = excerpt(given)
        assert len(found.encode()) <= EXCERPT_BYTES
        assert SECRET[:12] not in found
        assert mask(text).startswith(found)


def test_an_excerpt_of_any_bytes_is_text() -> None:
    """What is no UTF-8 is still evidence."""
    assert excerpt(b"\xff\x00a") == "\ufffd\x00a"
    assert excerpt("\ud800a") == "?a"


@pytest.mark.parametrize("head", ["", 'x"', '\\"fsm_id\\":\\"', '"fsm_id"', '"fsm_id":"'])
@pytest.mark.parametrize("unit", ["\\", " ", '"', "ba_", "fsm_id", "A", "/"])
@pytest.mark.timeout(10)
def test_no_text_takes_long(head: str, unit: str) -> None:
    """Every frame is masked: a text made to be slow would stop every channel."""
    assert "fsm_id" in mask(head + unit * 1_000_000 + '"fsm_id')
