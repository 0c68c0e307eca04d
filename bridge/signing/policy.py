"""What a signer signs: its owner's rules per account, deny by default.

The rules stand in the signer's own file, under `[policy."ak_…"]`, and not in the bridge's: whoever holds the
keys decides, and trusts no decision of the bridge. Everything a transaction carries is judged by its bytes.
An off-chain update since the Lima era carries only channel, round and state hash; its amounts are known from
the `updates` beside it, which no signature covers. A signer that keeps no state trees must believe those,
and so must this one. Source: transactions.md section 2.

Every rule is a function that answers with a sentence when it forbids, else None.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from bridge.channel.command import Fee
from bridge.channel.identifier import Account
from bridge.channel.request import Tag
from bridge.channel.terms import SigningForm
from bridge.channel.transaction import Kind, Transaction, Update
from bridge.errors import EncodingError
from bridge.wire.encoding import account as encode_account
from bridge.wire.encoding import account_key

ANYBODY = "*"
TRANSFER = "OffChainTransfer"
KNOWN_OPERATIONS = frozenset({TRANSFER, "OffChainDeposit", "OffChainWithdrawal", "OffChainMeta"})


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of an option, for the reference page."""

    name: str


def check_account(text: str) -> Account:
    """An account in today's form, its checksum right. Raises `ValueError`."""
    try:
        account = encode_account(account_key(text))
    except EncodingError as error:
        raise ValueError(str(error)) from error
    if account != text:
        raise ValueError(f"an account in today's form, {account}")
    return account


def _check_counterparty(text: str) -> str:
    return text if text == ANYBODY else check_account(text)


AccountId = Annotated[Account, AfterValidator(check_account)]
Counterparty = Annotated[str, AfterValidator(_check_counterparty)]
Aettos = Annotated[Fee, Unit("aettos")]


class AccountPolicy(BaseModel):
    """What may be signed with one account's key. Without an entry nothing is; each empty list allows nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    tags: frozenset[Tag] = frozenset()
    """What may be signed: `update`, `update_ack`, `deposit_tx`, `shutdown_sign`, …"""
    networks: frozenset[str] = frozenset()
    """Chains the signature may be bound to, by network id: `ae_mainnet`, `ae_uat`, …"""
    forms: frozenset[SigningForm] = frozenset({SigningForm.NETWORK_HASH, SigningForm.NETWORK_RAW})
    """Which bytes may be signed. `tx` binds the signature to no chain at all; only nodes before 0.25 want it."""
    counterparties: frozenset[Counterparty] = frozenset()
    """The peers' accounts; `*` stands for anybody."""
    max_amount: Aettos = 0
    """The most that one signature may move out of the account's hands: a transfer, a deposit, a withdrawal to
    the account's own address, or its share when a channel opens. What is received is not limited."""
    max_fee: Aettos = 0
    """The highest fee of a transaction that goes on chain, whoever pays it."""
    acknowledge_outflow: bool = False
    """Whether a peer's proposal that takes from this account may be signed, within `max_amount`."""


Policy = Mapping[Account, AccountPolicy]


@dataclass(frozen=True, slots=True)
class Question:
    """A sign request as the policy sees it: the transaction as decoded here, the rest as the bridge told it."""

    account: Account
    tag: Tag
    network_id: str
    form: SigningForm
    transaction: Transaction
    updates: tuple[Update, ...] | None = None
    balances_before: Mapping[str, int] | None = None
    balances_after: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """`reason` says which rule forbade it, or under whose policy it was allowed."""

    allowed: bool
    reason: str


def decide(policy: Policy, question: Question) -> Decision:
    """May this be signed? The first rule that forbids is the reason."""
    rules = policy.get(question.account)
    if rules is None:
        return Decision(allowed=False, reason=f"the policy has no entry for {question.account}")
    forbidden = (
        _check_membership("tag", question.tag, rules.tags)
        or _check_membership("network", question.network_id, rules.networks)
        or _check_membership("signing form", question.form, rules.forms)
        or _check_operations(question)
        or _check_counterparties(question, rules)
        or _check_amount(question, rules)
        or _check_fee(question, rules)
    )
    if forbidden is not None:
        return Decision(allowed=False, reason=forbidden)
    return Decision(allowed=True, reason=f"allowed by the policy of {question.account}")


def _check_membership(what: str, found: str, allowed: Iterable[str]) -> str | None:
    return None if found in allowed else f"{what} {found} is not allowed"


def _operations(question: Question) -> tuple[Update, ...] | None:
    """What the transaction itself carries is better evidence than what stands beside it."""
    embedded = question.transaction.updates
    return question.updates if embedded is None else embedded


def _check_operations(question: Question) -> str | None:
    for update in _operations(question) or ():
        if update.op not in KNOWN_OPERATIONS:
            return f"operation {update.op} is not one this signer signs"
        if update.amount is not None and update.amount < 0:
            return "an operation has a negative amount"
    return None


def _parties(question: Question) -> set[str]:
    transaction = question.transaction
    named = {transaction.initiator, transaction.responder, transaction.account, *(question.balances_before or ())}
    for update in _operations(question) or ():
        named |= {update.from_account, update.to_account}
    return {party for party in named if party is not None and party != question.account}


def _check_counterparties(question: Question, rules: AccountPolicy) -> str | None:
    if ANYBODY in rules.counterparties:
        return None
    parties = _parties(question)
    if not parties:
        return "the request names no counterparty"
    strangers = sorted(parties - rules.counterparties)
    return f"counterparty {strangers[0]} is not allowed" if strangers else None


def _outflow(question: Question) -> int | None:
    """What leaves the account's hands, in aettos; None if that cannot be told."""
    stake = _stake(question.transaction, question.account)
    operations = _operations(question)
    if operations is not None:
        own = (one for one in operations if one.op == TRANSFER and one.from_account == question.account)
        return stake + sum(update.amount or 0 for update in own)
    if question.transaction.kind is not Kind.OFFCHAIN:
        return stake
    before, after = question.balances_before or {}, question.balances_after or {}
    if question.account in before and question.account in after:
        return max(0, before[question.account] - after[question.account])
    return None


def _stake(transaction: Transaction, account: Account) -> int:
    """What an on-chain transaction moves between the account and the channel, by its own bytes."""
    match transaction.kind:
        case Kind.CREATE:
            own = transaction.initiator == account
            return (transaction.initiator_amount if own else transaction.responder_amount) or 0
        case Kind.DEPOSIT | Kind.WITHDRAW if transaction.account == account:
            return transaction.amount or 0
        case _:
            return 0


def _check_amount(question: Question, rules: AccountPolicy) -> str | None:
    outflow = _outflow(question)
    if outflow is None:
        return "the request does not say what the update moves"
    if outflow > rules.max_amount:
        return f"it moves {outflow} aettos, more than max_amount = {rules.max_amount}"
    if outflow and question.tag.is_acknowledgement and not rules.acknowledge_outflow:
        return f"the peer's proposal takes {outflow} aettos from the account"
    return None


def _check_fee(question: Question, rules: AccountPolicy) -> str | None:
    fee = question.transaction.fee or 0
    return f"the fee is {fee} aettos, more than max_fee = {rules.max_fee}" if fee > rules.max_fee else None
