"""Is this the transaction that was asked for? The checks before anybody is asked to sign (G4).

Each function answers with a sentence when something differs, else None. Whoever calls refuses the request.
Source: guarantees.md 5.1. How many signatures there are is checked here; that the peer's one verifies is not.
"""

from collections.abc import Callable
from typing import assert_never

from bridge.channel.command import Checkpoint, Command, Deposit, Message, Shutdown, Transfer, Withdraw
from bridge.channel.request import Tag
from bridge.channel.state import State
from bridge.channel.terms import Role, Terms
from bridge.channel.transaction import Kind, Transaction, Update

KINDS: dict[Tag, Kind] = {
    Tag.INITIATOR_SIGN: Kind.CREATE,
    Tag.RESPONDER_SIGN: Kind.CREATE,
    Tag.UPDATE: Kind.OFFCHAIN,
    Tag.UPDATE_ACK: Kind.OFFCHAIN,
    Tag.DEPOSIT: Kind.DEPOSIT,
    Tag.DEPOSIT_ACK: Kind.DEPOSIT,
    Tag.WITHDRAW: Kind.WITHDRAW,
    Tag.WITHDRAW_ACK: Kind.WITHDRAW,
    Tag.SHUTDOWN: Kind.CLOSE_MUTUAL,
    Tag.SHUTDOWN_ACK: Kind.CLOSE_MUTUAL,
    Tag.CLOSE_SOLO: Kind.CLOSE_SOLO,
    Tag.SLASH: Kind.SLASH,
    Tag.SETTLE: Kind.SETTLE,
    Tag.SNAPSHOT_SOLO: Kind.SNAPSHOT_SOLO,
    Tag.FORCE_PROGRESS: Kind.FORCE_PROGRESS,
}

OWN_TAGS: dict[type[Command], Tag] = {
    Transfer: Tag.UPDATE,
    Checkpoint: Tag.UPDATE,
    Deposit: Tag.DEPOSIT,
    Withdraw: Tag.WITHDRAW,
    Shutdown: Tag.SHUTDOWN,
}

Moves = tuple[int, int]
"""What a proposal does to (initiator's, responder's) balance, in aettos."""


def _differs(what: str, found: object, wanted: object) -> str | None:
    return None if found == wanted else f"{what} is {found}, not {wanted}"


def _first(*findings: str | None) -> str | None:
    return next((finding for finding in findings if finding is not None), None)


def check_frame(state: State, tag: Tag, transaction: Transaction) -> str | None:
    """What holds for every sign request: kind, channel, round, and how many signatures it may have."""
    expected = 1 if (tag.is_acknowledgement or tag is Tag.RESPONDER_SIGN) and transaction.wrapped else 0
    return _first(
        _differs("the kind of transaction", transaction.kind, KINDS[tag]),
        _check_channel(state, transaction),
        _check_round(state, transaction),
        _differs("the number of signatures", len(transaction.signatures), expected),
    )


def _check_channel(state: State, transaction: Transaction) -> str | None:
    if state.channel_id is None or transaction.channel_id is None:
        return None
    return _differs("the channel", transaction.channel_id, state.channel_id)


def _check_round(state: State, transaction: Transaction) -> str | None:
    if transaction.round is None:
        return None
    return _differs("the round", transaction.round, state.round + 1)


def check_opening(terms: Terms, transaction: Transaction) -> str | None:
    """The create transaction says what the configuration says."""
    return _first(
        _differs("the initiator", transaction.initiator, terms.initiator),
        _differs("the responder", transaction.responder, terms.responder),
        _differs("the initiator's amount", transaction.initiator_amount, terms.initiator_amount),
        _differs("the responder's amount", transaction.responder_amount, terms.responder_amount),
        _differs("the reserve", transaction.channel_reserve, terms.channel_reserve),
        _differs("the lock period", transaction.lock_period, terms.lock_period),
        _check_fee(terms, transaction, None),
    )


def _check_fee(terms: Terms, transaction: Transaction, asked: int | None) -> str | None:
    fee = transaction.fee or 0
    limit = terms.policy.max_fee if asked is None else max(asked, 0)
    if fee > max(limit, terms.policy.max_fee):
        return f"the fee is {fee}, above {limit}"
    return None


def check_command(
    terms: Terms, state: State, command: Command, transaction: Transaction, updates: tuple[Update, ...] | None
) -> str | None:
    """The transaction does what our command asked for, and nothing else."""
    match command:
        case Transfer():
            return _check_updates(updates, lambda: _wanted_transfer(command))
        case Checkpoint():
            return _check_updates(updates, lambda: ("OffChainTransfer", 0, terms.own, terms.peer))
        case Deposit() | Withdraw():
            op = "OffChainDeposit" if isinstance(command, Deposit) else "OffChainWithdrawal"
            return _first(
                _differs("the amount", transaction.amount, command.amount),
                _differs("the account", transaction.account, terms.own),
                _check_fee(terms, transaction, command.fee),
                None if updates is None else _check_updates(updates, lambda: (op, command.amount, None, None)),
            )
        case Shutdown():
            return check_close(terms, state, transaction)
        case Message():
            return "a message is never signed"
        case _:
            assert_never(command)


def _wanted_transfer(command: Transfer) -> tuple[str, int, str | None, str | None]:
    return ("OffChainTransfer", command.amount, command.from_account, command.to_account)


def _check_updates(
    updates: tuple[Update, ...] | None, wanted: Callable[[], tuple[str, int, str | None, str | None]]
) -> str | None:
    """Exactly one operation besides meta texts, and that one is ours."""
    if updates is None:
        return "the node does not say what the update does"
    operations = [update for update in updates if update.op != "OffChainMeta"]
    if len(operations) != 1:
        return f"the update holds {len(operations)} operations, not 1"
    op, amount, sender, receiver = wanted()
    found = operations[0]
    return _first(
        _differs("the operation", found.op, op),
        _differs("the amount", found.amount, amount),
        _differs("the sender", found.from_account, sender) if sender is not None else None,
        _differs("the receiver", found.to_account, receiver) if receiver is not None else None,
    )


def check_close(terms: Terms, state: State, transaction: Transaction) -> str | None:
    """A mutual close pays out the present balances; the fee comes out of them (transactions.md section 7)."""
    ours, theirs = _finals(terms, transaction)
    if ours is None or theirs is None:
        return "the close does not say who gets what"
    own, peer = _balances(terms, state)
    if own is None or peer is None:
        return "the balances to close with are not known"
    fee = transaction.fee or 0
    return _first(
        _check_fee(terms, transaction, None),
        _differs("the sum of both payments and the fee", ours + theirs + fee, own + peer),
        None if ours >= own - fee else f"we would get {ours} of {own}",
    )


def _finals(terms: Terms, transaction: Transaction) -> tuple[int | None, int | None]:
    pair = (transaction.initiator_amount, transaction.responder_amount)
    return pair if terms.role is Role.INITIATOR else (pair[1], pair[0])


def _balances(terms: Terms, state: State) -> tuple[int | None, int | None]:
    pair = (state.initiator_balance, state.responder_balance)
    return pair if terms.role is Role.INITIATOR else (pair[1], pair[0])


def moves(terms: Terms, transaction: Transaction, updates: tuple[Update, ...] | None) -> Moves | None:
    """What a transaction does to the two balances; None when it does not say (or does what we do not know)."""
    match transaction.kind:
        case Kind.DEPOSIT if transaction.amount is not None:
            return _by(terms, transaction.account, transaction.amount)
        case Kind.WITHDRAW if transaction.amount is not None:
            return _by(terms, transaction.account, -transaction.amount)
        case Kind.OFFCHAIN if updates is not None:
            return _sum_transfers(terms, updates)
        case _:
            return None


def _by(terms: Terms, account: str | None, amount: int) -> Moves | None:
    if account == terms.initiator:
        return (amount, 0)
    return (0, amount) if account == terms.responder else None


def _sum_transfers(terms: Terms, updates: tuple[Update, ...]) -> Moves | None:
    total = 0
    for update in updates:
        if update.op == "OffChainMeta":
            continue
        pair = (update.from_account, update.to_account)
        if update.op != "OffChainTransfer" or update.amount is None:
            return None
        if pair == (terms.initiator, terms.responder):
            total -= update.amount
        elif pair == (terms.responder, terms.initiator):
            total += update.amount
        else:
            return None
    return (total, -total)


def check_proposal(
    terms: Terms, state: State, tag: Tag, transaction: Transaction, updates: tuple[Update, ...] | None
) -> str | None:
    """Whether the policy lets a peer's proposal reach a signer (guarantees.md 5.3)."""
    if tag.value not in terms.policy.acknowledge:
        return f"the policy acknowledges no {tag.value}"
    on_chain = tag in (Tag.DEPOSIT_ACK, Tag.WITHDRAW_ACK)
    if on_chain and transaction.account != terms.peer:
        return f"the peer's {tag.value} names {transaction.account} as its account"
    if tag is Tag.SHUTDOWN_ACK:
        return check_close(terms, state, transaction)
    moved = moves(terms, transaction, updates)
    if moved is None:
        return "the proposal does not say what it does to the balances"
    own = moved[0] if terms.role is Role.INITIATOR else moved[1]
    if own < 0 and terms.policy.acknowledge_only_if_not_poorer:
        return f"the proposal would take {-own} from us"
    return None
