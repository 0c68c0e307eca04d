"""`bridge.signing.policy`: what may be signed; everything else may not."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from bridge.channel.identifier import Account, ChannelId, TransactionHash
from bridge.channel.request import Tag
from bridge.channel.terms import SigningForm
from bridge.channel.transaction import Kind, Transaction, Update
from bridge.signing.policy import AccountPolicy, Question, decide

OWN = Account("ak_2U5uowyre6aqU1gz3Pkd1VtMkBVc2rquvr3oPWynbPNYozaLhv")
PEER = Account("ak_9UUfv5MBBZRKsS82REfUw4xLxrGVrEtjxuiEHiZDgraJg27Sn")
STRANGER = Account("ak_mLjWgLbapr5CiVD2Q248aS2TQj9itXnoPv5tteXvZaJ8tdD2C")
CHANNEL = ChannelId("ch_TCFBizm3XNHeQjDDPKNof9wPtFksneSPy7QXe3LamEwyKsxP4")


def _transaction(kind: Kind = Kind.OFFCHAIN, **fields: Any) -> Transaction:
    return Transaction(
        text="tx_", wrapped=True, kind=kind, hash=TransactionHash("00" * 32), channel_id=CHANNEL, round=2, **fields
    )


def _transfer(amount: int, sender: Account = OWN, receiver: Account = PEER) -> Update:
    return Update("OffChainTransfer", amount, sender, receiver)


RULES = AccountPolicy(
    tags=frozenset(Tag), networks=frozenset({"ae_uat"}), counterparties=frozenset({PEER}), max_amount=100, max_fee=20
)
PAYMENT = Question(
    OWN, Tag.UPDATE, "ae_uat", SigningForm.NETWORK_HASH, _transaction(), (_transfer(100),), {OWN: 500, PEER: 500}
)


def _reason(question: Question, **rules: Any) -> str | None:
    """The reason against it, None if it is allowed."""
    decision = decide({OWN: RULES.model_copy(update=rules)}, question)
    assert decision.reason
    return None if decision.allowed else decision.reason


def test_payment_within_all_rules_is_allowed() -> None:
    """The other tests forbid by changing one thing of this one."""
    assert _reason(PAYMENT) is None


def test_account_without_an_entry_signs_nothing() -> None:
    """Deny by default: a key behind the signer is no permission."""
    decision = decide({PEER: RULES}, PAYMENT)
    assert not decision.allowed
    assert OWN in decision.reason


def test_empty_entry_allows_nothing() -> None:
    """Deny by default, option by option."""
    assert not decide({OWN: AccountPolicy()}, PAYMENT).allowed


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"tags": frozenset({Tag.UPDATE_ACK})}, "tag update is not allowed"),
        ({"networks": frozenset({"ae_mainnet"})}, "network ae_uat is not allowed"),
        ({"forms": frozenset({SigningForm.RAW})}, "signing form network_id+hash is not allowed"),
        ({"counterparties": frozenset({STRANGER})}, f"counterparty {PEER} is not allowed"),
        ({"counterparties": frozenset[str]()}, f"counterparty {PEER} is not allowed"),
        ({"max_amount": 99}, "it moves 100 aettos, more than max_amount = 99"),
    ],
)
def test_each_rule_forbids_by_itself(rules: dict[str, Any], reason: str) -> None:
    """A rule that is only looked at together with others is a hole."""
    assert _reason(PAYMENT, **rules) == reason


def test_raw_form_must_be_allowed_by_name() -> None:
    """A signature over the bare transaction is bound to no chain, so `networks` would not protect it."""
    raw = replace(PAYMENT, form=SigningForm.RAW)
    assert _reason(raw) == "signing form tx is not allowed"
    assert _reason(raw, forms=frozenset({SigningForm.RAW})) is None


def test_anybody_is_a_counterparty_only_when_written_so() -> None:
    """`*` is an explicit choice."""
    stranger = replace(PAYMENT, updates=(_transfer(1, receiver=STRANGER),))
    assert _reason(stranger) == f"counterparty {STRANGER} is not allowed"
    assert _reason(stranger, counterparties=frozenset({"*"})) is None


def test_request_that_names_nobody_is_refused() -> None:
    """Unknown is not allowed."""
    nobody = replace(PAYMENT, updates=(), balances_before=None)
    assert _reason(nobody) == "the request names no counterparty"


def test_payments_of_one_update_are_added_up() -> None:
    """Two transfers of 60 are a payment of 120."""
    assert _reason(replace(PAYMENT, updates=(_transfer(60), _transfer(60)))) is not None


def test_received_money_is_not_limited() -> None:
    """A limit protects what leaves the account."""
    received = replace(PAYMENT, tag=Tag.UPDATE_ACK, updates=(_transfer(10**20, PEER, OWN),))
    assert _reason(received) is None


def test_peer_may_not_take_unless_the_policy_says_so() -> None:
    """The peer can propose a transfer from our balance to its own."""
    taken = replace(PAYMENT, tag=Tag.UPDATE_ACK, updates=(_transfer(1),))
    assert _reason(taken) == "the peer's proposal takes 1 aettos from the account"
    assert _reason(taken, acknowledge_outflow=True) is None
    assert _reason(replace(taken, updates=(_transfer(101),)), acknowledge_outflow=True) is not None


@pytest.mark.parametrize("op", ["OffChainNewContract", "OffChainCallContract", ""])
def test_operation_it_does_not_know_is_refused(op: str) -> None:
    """What a contract moves cannot be read off the request."""
    assert _reason(replace(PAYMENT, updates=(Update(op),))) == f"operation {op} is not one this signer signs"


def test_meta_moves_nothing() -> None:
    """The bridge marks its own updates with one."""
    assert _reason(replace(PAYMENT, updates=(_transfer(100), Update("OffChainMeta", data="x")))) is None


def test_negative_amount_does_not_lower_the_sum() -> None:
    """-50 beside 150 would pass a limit of 100."""
    assert _reason(replace(PAYMENT, updates=(_transfer(150), _transfer(-50)))) == "an operation has a negative amount"


def test_operations_inside_the_transaction_count_more_than_those_beside_it() -> None:
    """Old off-chain transactions carry their updates: there the signature covers them."""
    inside = replace(PAYMENT, transaction=_transaction(updates=(_transfer(101),)), updates=(_transfer(1),))
    assert _reason(inside) is not None


def test_untold_update_is_judged_by_the_balances_and_else_refused() -> None:
    """A dialect that does not tell the operations still has a limit."""
    untold = replace(PAYMENT, updates=None, balances_after={OWN: 400, PEER: 600})
    assert _reason(untold) is None
    assert _reason(replace(untold, balances_after={OWN: 399, PEER: 601})) is not None
    assert _reason(replace(untold, balances_after=None)) == "the request does not say what the update moves"


@pytest.mark.parametrize(
    ("tag", "transaction", "limit"),
    [
        (Tag.DEPOSIT, _transaction(Kind.DEPOSIT, amount=70, account=OWN, fee=20), 70),
        (Tag.WITHDRAW, _transaction(Kind.WITHDRAW, amount=70, account=OWN, fee=20), 70),
        (
            Tag.INITIATOR_SIGN,
            _transaction(Kind.CREATE, initiator=OWN, responder=PEER, initiator_amount=70, responder_amount=999),
            70,
        ),
        (
            Tag.RESPONDER_SIGN,
            _transaction(Kind.CREATE, initiator=PEER, responder=OWN, initiator_amount=999, responder_amount=70),
            70,
        ),
        (Tag.DEPOSIT_ACK, _transaction(Kind.DEPOSIT, amount=999, account=PEER, fee=20), 0),
        (Tag.SHUTDOWN, _transaction(Kind.CLOSE_MUTUAL, initiator_amount=999, responder_amount=1, fee=20), 0),
    ],
    ids=["deposit", "withdraw", "initiator", "responder", "peer-deposit", "close"],
)
def test_on_chain_transaction_is_limited_by_its_own_bytes(tag: Tag, transaction: Transaction, limit: int) -> None:
    """The amounts the signature covers count, not what the bridge says beside them."""
    question = replace(PAYMENT, tag=tag, transaction=transaction, updates=None)
    assert _reason(question, max_amount=limit) is None
    if limit:
        assert _reason(question, max_amount=limit - 1) == f"it moves {limit} aettos, more than max_amount = {limit - 1}"


def test_fee_is_limited_whoever_pays_it() -> None:
    """A fee is money gone; a mutual close takes it from both."""
    close = replace(PAYMENT, tag=Tag.SHUTDOWN_ACK, transaction=_transaction(Kind.CLOSE_MUTUAL, fee=21), updates=None)
    assert _reason(close) == "the fee is 21 aettos, more than max_fee = 20"
    assert _reason(close, max_fee=21) is None


@pytest.mark.parametrize(
    "entry",
    [
        {"counterparties": [PEER[:-1] + "m"]},
        {"counterparties": ["*x"]},
        {"tags": ["everything"]},
        {"forms": ["sha256"]},
        {"max_amount": -1},
        {"max_amount": "1e3"},
        {"max_ammount": 5},
    ],
)
def test_entry_with_a_mistake_is_refused(entry: dict[str, Any]) -> None:
    """A rule that is misspelt must not be a rule that is absent."""
    with pytest.raises(ValidationError):
        AccountPolicy.model_validate(entry)
