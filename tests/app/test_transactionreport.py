"""`bridge.app.transactionreport` and the command over it: an auditor reads a transaction with none of our services."""

import json
from typing import Any

import pytest
from nacl.signing import SigningKey
from typer.testing import CliRunner

from bridge.app.cli import app
from bridge.app.transactionreport import describe
from bridge.channel.identifier import Account
from bridge.channel.transaction import Kind
from bridge.wire import encoding
from bridge.wire.signature import ORDER, blake2b
from bridge.wire.transaction import unwrap, wrap
from tests.wire.recorded import DATA
from tests.wire.test_recorded_transactions import files, transactions

run = CliRunner().invoke
VECTORS = json.loads((DATA / "vectors.json").read_text())
[SIGNED] = VECTORS["signing"]
KEY = SigningKey(bytes.fromhex(SIGNED["seed"]))
ACCOUNT = Account(encoding.account(bytes(KEY.verify_key)))
INNER = bytes.fromhex(SIGNED["tx_hex"])
NETWORK = SIGNED["network_id"]


def _signed(signature: bytes) -> str:
    return encoding.encode("tx", wrap([signature], INNER))


def _only(text: str, network_id: str = NETWORK, *accounts: Account) -> dict[str, Any]:
    [signature] = describe(text, network_id, accounts)["signatures"]
    return dict(signature)


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_every_vector_is_shown_with_its_hashes_and_fields(vector: dict[str, Any]) -> None:
    report = describe(vector["signed_tx"], "", ())
    assert report["hash"] == vector["tx_blake2b"]
    assert report["signed_tx_hash"] in (vector["signed_tx_hash"], None)
    assert len(report["signatures"]) == len(vector["signatures"])
    assert report["fields"]


@pytest.mark.parametrize(
    ("signature", "form"), [("signature_hash", "network_id+hash"), ("signature_raw", "network_id+tx")]
)
def test_a_signature_is_told_with_its_signer_and_form(signature: str, form: str) -> None:
    found = _only(_signed(bytes.fromhex(SIGNED[signature])), NETWORK, ACCOUNT)
    assert (found["account"], found["form"], found["sentence"]) == (ACCOUNT, form, "valid")


def test_a_signature_for_a_transaction_inside_a_payment_for_others_is_told_so() -> None:
    """`-inner_tx` behind the network id: it counts only inside a paying_for_tx."""
    signature = KEY.sign(f"{NETWORK}-inner_tx".encode() + blake2b(INNER)).signature
    assert _only(_signed(signature), NETWORK, ACCOUNT)["form"] == "network_id+hash, inside a paying_for_tx"


@pytest.mark.parametrize(
    ("signature", "sentence"),
    [
        (KEY.sign(b"ae_uat" + blake2b(INNER)).signature, "by none of the accounts"),
        (bytes(32) + ORDER.to_bytes(32, "little"), "no signature in its canonical form"),
        (bytes.fromhex("3006020101020101"), "of another curve"),
    ],
)
def test_what_is_no_valid_signature_says_why(signature: bytes, sentence: str) -> None:
    found = _only(_signed(signature), NETWORK, ACCOUNT)
    assert found["account"] is None
    assert found["sentence"].startswith(sentence)


def test_participants_of_a_create_transaction_are_tried_unasked() -> None:
    """Of a real opening both signatures are told with their accounts, and the channel's id is worked out."""
    [create] = [v for v in VECTORS["vectors"] if v["type"] == Kind.CREATE.value and len(v["signatures"]) == 2][:1]
    report = describe(create["signed_tx"], _network(create), ())
    accounts = {report["fields"]["initiator"], report["fields"]["responder"]}
    assert {signature["account"] for signature in report["signatures"]} == accounts
    assert report["channel_id"].startswith("ch_")


def _network(vector: dict[str, Any]) -> str:
    return next(str(part["network_id"]) for part in vector["signatures"])


def test_a_generalized_account_is_looked_into() -> None:
    """Real transcripts: what the meta transactions stand around is the channel's own transaction."""
    shown = [describe(found.text, "", ()) for _, _, found in transactions("corpus") if found.kind is Kind.GA_META]
    assert shown
    assert all(report["inside"]["kind"].startswith("channel_") for report in shown)


def test_the_channel_of_a_generalized_initiator_is_the_one_its_node_told() -> None:
    """His create transaction has no nonce: the id follows from his authentication, and stands in his node's frames."""
    created = 0
    for stem, _, found in transactions("corpus"):
        report = describe(found.text, "", ()) if found.kind is Kind.GA_META else {}
        if report and report["inside"]["kind"] == Kind.CREATE.value:
            created += 1
            assert report["inside"]["channel_id"] in files("corpus")[stem]
    assert created >= 3


def test_the_command_prints_a_table_and_json() -> None:
    text = _signed(bytes.fromhex(SIGNED["signature_hash"]))
    words = ["transaction", "show", "--network-id", NETWORK, "--account", ACCOUNT]
    table = run(app, [*words, text], env={"COLUMNS": "250"})
    assert (table.exit_code, "valid" in table.output) == (0, True)
    shown = json.loads(run(app, [*words, "--json", "-"], input=text + "\n").output)
    assert shown["signatures"][0]["account"] == ACCOUNT
    assert unwrap(encoding.decode(text, "tx")).inner == INNER


@pytest.mark.parametrize("words", [["tx_broken"], ["--account", "ak_broken", _signed(bytes(64))]])
def test_a_broken_text_is_refused_in_a_sentence(words: list[str]) -> None:
    result = run(app, ["transaction", "show", *words])
    assert result.exit_code == 1
    assert result.output.startswith("invalid_address: ")
    assert "Traceback" not in result.output
