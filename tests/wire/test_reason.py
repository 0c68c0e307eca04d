"""One table between legacy's texts and JSON-RPC's numbers, held against what real nodes sent."""

import pytest

from bridge.wire.reason import name_codes, read_reason, write_reason
from tests.wire.recorded import everything, from_node

RULE_2 = {
    "insufficient_balance": 1001,
    "negative_amount": 1002,
    "invalid_pubkeys": 1003,
    "call_not_found": 1004,
    "broken_encoding: accounts": 1005,
    "broken_encoding: contracts": 1006,
    "broken_encoding": 104,
    "contract_init_failed": 1007,
    "not_a_number": 1008,
    "broken_code": 1009,
    "invalid_tx": 1010,
    "not_found": 100,
    "conflict": 107,
    "not_ready": 108,
    "unhandled": -32601,
}
"""protocol.md section D, rule 2."""


@pytest.mark.parametrize(("text", "code"), RULE_2.items())
def test_a_text_and_its_code_lead_to_each_other(text: str, code: int) -> None:
    """Both dialects give the client the same word for the same mistake."""
    codes, words = read_reason(text)
    assert codes == (code,)
    assert words == name_codes((code,)) == (text.partition(":")[0],)
    assert write_reason(code) == text


def test_every_code_a_node_sent_has_a_word() -> None:
    """An `unknown` tells a client nothing."""
    sent = set()
    for line in from_node(everything()):
        error = line.frame.get("error", {}) if isinstance(line.frame, dict) else {}
        sent |= {error[key] for key in ("code",) if key in error}
        sent |= {detail["code"] for detail in error.get("data", [])}
    assert len(sent) > 15
    assert [code for code in sent if name_codes((code,)) == ("unknown",)] == []


def test_two_codes_of_one_word_are_one_reason() -> None:
    """Accounts and contracts may both be broken: two codes, one word."""
    assert read_reason("broken_encoding: accounts, contracts") == ((1005, 1006), ("broken_encoding",))
    assert name_codes((1001, 1008, 1001)) == ("insufficient_balance", "not_a_number")


def test_a_text_beyond_the_table_stays_as_it_is() -> None:
    """Rule 2: anything else is an internal error, and the client still sees the node's word."""
    assert read_reason("unknown_recipient") == ((-32603,), ("unknown_recipient",))
    assert write_reason(-32603) == "internal_error"
    assert write_reason(9_999) == "unknown"
