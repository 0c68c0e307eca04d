"""The 26 example frames of the seed document, one test a row: what is written is written exactly so, what is read
says what the document says. Corrections made to the examples stand beside them in tests/data/corpus/seed.jsonl.
"""

import json
from typing import Any

from bridge.channel.identifier import Account, ChannelId, RequestId
from bridge.channel.input import (
    ChainReported,
    Conflicted,
    InfoReported,
    MessageReceived,
    NodeInput,
    RequestRefused,
    SignRequested,
)
from bridge.channel.request import (
    AskDeposit,
    AskShutdown,
    AskTransfer,
    AskWithdraw,
    NodeRequest,
    SendMessage,
    SendSignature,
    Tag,
)
from bridge.channel.terms import Dialect
from bridge.channel.transaction import Kind
from bridge.wire import encoding
from bridge.wire.legacy import Legacy
from tests.wire.recorded import corpus

ROWS = corpus("seed")
ANY_ID = RequestId(7)


def payload(row: int) -> dict[str, Any]:
    found: dict[str, Any] = ROWS[row - 1].frame["payload"]
    return found


def check_written(row: int, request: NodeRequest) -> None:
    """The neutral request becomes exactly the document's frame."""
    assert ROWS[row - 1].direction == "to_node"
    assert json.loads(Legacy(Dialect.LEGACY_SEED).encode(request)) == ROWS[row - 1].frame


def check_signature(row: int, tag: Tag) -> None:
    """A signed transaction in today's form becomes exactly the document's frame."""
    check_written(row, SendSignature(ANY_ID, tag, encoding.normalize(payload(row)["tx"])))


def read(row: int) -> NodeInput:
    """What the row is to the channel; a node of either age may say it."""
    assert ROWS[row - 1].direction == "from_node"
    early, late = (Legacy(profile).decode(ROWS[row - 1].text) for profile in LEGACY)
    assert early == late
    assert early.raw == ROWS[row - 1].text
    return early


LEGACY = (Dialect.LEGACY_SEED, Dialect.LEGACY_LATE)


def check_sign_request(row: int, tag: Tag, kind: Kind, **facts: object) -> None:
    """A sign request with this tag, for a transaction that keeps its bytes and says these facts."""
    found = read(row)
    assert isinstance(found, SignRequested)
    assert found.tag is tag
    assert found.transaction.kind is kind
    assert found.transaction.text.startswith("tx_")
    bytes_given = encoding.decode(payload(row)["tx"], "tx")
    assert encoding.decode(found.transaction.text, "tx") == bytes_given
    assert {name: getattr(found.transaction, name) for name in facts} == facts


# --- update ---------------------------------------------------------------------------------------------


def test_seed_row_01_sender_triggers_an_update() -> None:
    """The payment itself. Its keys are of an age we cannot read: they are written as they were given."""
    sender, receiver = Account(payload(1)["from"]), Account(payload(1)["to"])
    check_written(1, AskTransfer(ANY_ID, sender, receiver, 2))


def test_seed_row_02_sender_receives_the_unsigned_state() -> None:
    """A transaction of before 0.13 has a valid checksum and a form we only pass on."""
    check_sign_request(2, Tag.UPDATE, Kind.OPAQUE, wrapped=False, signatures=())


def test_seed_row_03_sender_returns_the_signed_state() -> None:
    """The action of the signed reply is the one of the trigger, without its tag."""
    check_signature(3, Tag.UPDATE)


def test_seed_row_04_acknowledger_receives_the_unsigned_state() -> None:
    """The acknowledger is asked about the same transaction as the sender, unsigned."""
    check_sign_request(4, Tag.UPDATE_ACK, Kind.OPAQUE, wrapped=False, signatures=())
    assert payload(4)["tx"] == payload(2)["tx"]


def test_seed_row_05_acknowledger_returns_the_signed_state() -> None:
    """The acknowledger's reply has its own action: the wrong one would be taken for something else."""
    check_signature(5, Tag.UPDATE_ACK)


def test_seed_row_06_update_conflict() -> None:
    """No code in this dialect means code 2; the channel's id is in the payload only."""
    found = read(6)
    channel_id = ChannelId(encoding.normalize("ch$WmpDbaiCs5roqRCL5KEKbpsDNJSbcbiUvt2cs1qyj4sM9HA3b"))
    assert found == Conflicted(channel_id=channel_id, round=42, code=2, message="conflict")


def test_seed_row_07_update_error() -> None:
    """The reason becomes the code and the word today's nodes would give, the request stays as evidence."""
    found = read(7)
    assert found == RequestRefused(request_id=None, codes=(1001,), reasons=("insufficient_balance",))
    assert isinstance(found, RequestRefused)
    assert json.loads(found.request) == payload(7)["request"]


# --- deposit --------------------------------------------------------------------------------------------


def test_seed_row_08_depositor_triggers_a_deposit() -> None:
    """The trigger has no tag, although the update's has one."""
    check_written(8, AskDeposit(ANY_ID, 2))


def test_seed_row_09_depositor_receives_the_unsigned_deposit() -> None:
    """The bare transaction says what will be deposited: what a signer has to see."""
    check_sign_request(9, Tag.DEPOSIT, Kind.DEPOSIT, wrapped=False, signatures=(), amount=2)


def test_seed_row_10_depositor_returns_the_signed_deposit() -> None:
    """Base64 of today becomes base58 of then, byte for byte."""
    check_signature(10, Tag.DEPOSIT)


def test_seed_row_11_acknowledger_receives_the_deposit() -> None:
    """The document's sample is already signed although it says unsigned; a node may do as the sample does."""
    check_sign_request(11, Tag.DEPOSIT_ACK, Kind.DEPOSIT, wrapped=True)
    found = read(11)
    assert isinstance(found, SignRequested)
    assert len(found.transaction.signatures) == 1


def test_seed_row_12_acknowledger_returns_the_signed_deposit() -> None:
    """The acknowledgement has its own action."""
    check_signature(12, Tag.DEPOSIT_ACK)


# --- withdrawal -----------------------------------------------------------------------------------------


def test_seed_row_13_withdrawer_triggers_a_withdrawal() -> None:
    """The mirror of the deposit."""
    check_written(13, AskWithdraw(ANY_ID, 2))


def test_seed_row_14_withdrawer_receives_the_unsigned_withdrawal() -> None:
    """The bare transaction says what will be withdrawn."""
    check_sign_request(14, Tag.WITHDRAW, Kind.WITHDRAW, wrapped=False, signatures=(), amount=2)


def test_seed_row_15_withdrawer_returns_the_signed_withdrawal() -> None:
    """The reply's action is not the trigger's."""
    check_signature(15, Tag.WITHDRAW)


def test_seed_row_16_acknowledger_receives_the_unsigned_withdrawal() -> None:
    """Both sides are asked about the same bare transaction."""
    check_sign_request(16, Tag.WITHDRAW_ACK, Kind.WITHDRAW, wrapped=False, signatures=(), amount=2)
    assert payload(16)["tx"] == payload(14)["tx"]


def test_seed_row_17_acknowledger_returns_the_signed_withdrawal() -> None:
    """The acknowledgement has its own action."""
    check_signature(17, Tag.WITHDRAW_ACK)


# --- generic message ------------------------------------------------------------------------------------


def test_seed_row_18_sender_sends_a_message() -> None:
    """A key of 33 bytes cannot be read: it is written as it was given."""
    check_written(18, SendMessage(ANY_ID, Account(payload(18)["to"]), "hejsan"))


def test_seed_row_19_receiver_receives_the_message() -> None:
    """Accounts we cannot read stay the node's text; the channel's id is today's form of the same bytes."""
    given = payload(19)["message"]
    assert read(19) == MessageReceived(
        channel_id=ChannelId(encoding.normalize(given["channel_id"])),
        from_account=given["from"],
        to_account=given["to"],
        info="hejsan",
    )


# --- mutual close ---------------------------------------------------------------------------------------


def test_seed_row_20_closer_initiates_the_close() -> None:
    """An action alone: neither tag nor payload."""
    check_written(20, AskShutdown(ANY_ID))


def test_seed_row_21_closer_receives_the_unsigned_close() -> None:
    """The close of that age has no payer, only what each side gets."""
    check_sign_request(21, Tag.SHUTDOWN, Kind.CLOSE_MUTUAL, wrapped=False, signatures=())


def test_seed_row_22_closer_returns_the_signed_close() -> None:
    """The reply's action is not the trigger's."""
    check_signature(22, Tag.SHUTDOWN)


def test_seed_row_23_acknowledger_receives_the_unsigned_close() -> None:
    """Both sides are asked about the same bare transaction."""
    check_sign_request(23, Tag.SHUTDOWN_ACK, Kind.CLOSE_MUTUAL, wrapped=False, signatures=())
    assert payload(23)["tx"] == payload(21)["tx"]


def test_seed_row_24_acknowledger_returns_the_signed_close() -> None:
    """The acknowledgement has its own action."""
    check_signature(24, Tag.SHUTDOWN_ACK)


# --- chain and info -------------------------------------------------------------------------------------


def test_seed_row_25_on_chain_transaction() -> None:
    """No kind and no info in this dialect: the kind is read from the bytes, a co-signed create here."""
    found = read(25)
    assert isinstance(found, ChainReported)
    assert found.info is None
    assert found.transaction.kind is Kind.CREATE
    assert found.transaction.round == 1
    assert len(found.transaction.signatures) == 2


def test_seed_row_26_info() -> None:
    """The node's own word, unchanged."""
    assert read(26) == InfoReported(event="own_deposit_locked")


# --- all of them ----------------------------------------------------------------------------------------


def test_each_seed_row_has_its_test() -> None:
    """A row nobody tests is a row that may be misread."""
    names = [name for name in globals() if name.startswith("test_seed_row_")]
    assert [int(name.split("_")[3]) for name in names] == list(range(1, len(ROWS) + 1))
