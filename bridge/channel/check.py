"""Is this the transaction that was asked for? The checks before anybody is asked to sign (G4).

Each function answers with a sentence when something differs, else None. Whoever calls refuses the request.
Source: guarantees.md 5.1. Whose a signature is was worked out by `wire.verdict.identify`, where bytes are known.
"""

from collections.abc import Callable
from typing import assert_never

from bridge.channel.close import check_close
from bridge.channel.command import Checkpoint, Command, Deposit, Message, Shutdown, Transfer, Withdraw
from bridge.channel.input import SignRequested
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


def check_frame(terms: Terms, state: State, requested: SignRequested) -> str | None:
    """What holds for every sign request: kind, channel, round, nonce, and who has signed so far."""
    transaction = requested.transaction
    return _first(
        _differs("the kind of transaction", transaction.kind, KINDS[requested.tag]),
        _check_channel(state, requested),
        _check_round(state, transaction),
        _check_signatures(terms, requested),
        "the nonce is 0, as a generalized account's" if transaction.nonce == 0 else None,
        _check_told(transaction, requested.updates),
    )


def _check_channel(state: State, requested: SignRequested) -> str | None:
    """The frame, the transaction and what we know name one channel."""
    named = (requested.transaction.channel_id, requested.channel_id, state.channel_id)
    known = [channel for channel in named if channel is not None]
    return _first(*(_differs("the channel", channel, known[-1]) for channel in known))


def _check_signatures(terms: Terms, requested: SignRequested) -> str | None:
    """None yet for who signs first; for who signs second exactly the peer's, valid. A bare transaction has none."""
    transaction, tag = requested.transaction, requested.tag
    second = (tag.is_acknowledgement or tag is Tag.RESPONDER_SIGN) and transaction.wrapped
    expected = (terms.peer,) if second else ()
    return _first(
        _differs("the number of signatures", len(transaction.signatures), len(expected)),
        None if requested.signers == expected else f"its signature is not a valid one of {terms.peer}",
    )


def _check_told(transaction: Transaction, updates: tuple[Update, ...] | None) -> str | None:
    """What stands beside the transaction must be what it carries itself, and nothing is moved backwards."""
    if transaction.updates is not None and updates != transaction.updates:
        return "the updates told are not those in the transaction"
    negative = [update for update in updates or () if update.amount is not None and update.amount < 0]
    return f"the amount is {negative[0].amount}" if negative else None


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
        _check_ttl(terms, transaction),
    )


def _check_fee(terms: Terms, transaction: Transaction, asked: int | None) -> str | None:
    """What the command asks for is what the node takes; otherwise the node chooses, up to the policy's limit."""
    fee = transaction.fee or 0
    if asked is not None and fee != asked:
        return f"the fee is {fee}, not {asked}"
    return f"the fee is {fee}, above {terms.policy.max_fee}" if fee > terms.policy.max_fee else None


def _check_ttl(terms: Terms, transaction: Transaction) -> str | None:
    """None, or the configured one; legacy nodes choose their own."""
    if terms.dialect.is_legacy or transaction.ttl in (None, 0):
        return None
    return _differs("the ttl", str(transaction.ttl), terms.opening.get("ttl", "0"))


def check_command(
    terms: Terms,
    state: State,
    command: Command,
    transaction: Transaction,
    updates: tuple[Update, ...] | None,
    meta: tuple[str, ...] = (),
) -> str | None:
    """The transaction does what our command asked for, and nothing else. `meta`: the texts sent with it."""
    match command:
        case Transfer():
            return _first(_check_updates(updates, lambda: _wanted_transfer(command)), _check_meta(updates, meta))
        case Checkpoint():
            wanted = ("OffChainTransfer", 0, terms.own, terms.peer)
            return _first(_check_updates(updates, lambda: wanted), _check_meta(updates, meta))
        case Deposit() | Withdraw():
            return _first(
                _differs("the amount", transaction.amount, command.amount),
                _differs("the account", transaction.account, terms.own),
                _check_fee(terms, transaction, command.fee),
                _check_ttl(terms, transaction),
                _check_move(transaction, updates),
                _check_meta(updates, ()),
            )
        case Shutdown():
            return _first(
                _check_closer(transaction, terms.own),
                check_close(terms, state, transaction, command.fee),
                _check_ttl(terms, transaction),
                _check_nothing_told(updates),
            )
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


def _check_meta(updates: tuple[Update, ...] | None, sent: tuple[str, ...]) -> str | None:
    """Exactly the texts we sent, the number of our attempt among them, or none where the node repeats none."""
    found = tuple(update.data for update in updates or () if update.op == "OffChainMeta")
    return None if found in ((), sent) else "the update carries other meta texts than were sent"


def _check_move(transaction: Transaction, updates: tuple[Update, ...] | None) -> str | None:
    """A deposit or withdrawal names its amount itself; where the node tells updates too, they say the same."""
    if updates is None:
        return None
    if transaction.kind is Kind.DEPOSIT:
        return _check_updates(updates, lambda: ("OffChainDeposit", transaction.amount or 0, transaction.account, None))
    wanted = ("OffChainWithdrawal", transaction.amount or 0, None, transaction.account)
    return _check_updates(updates, lambda: wanted)


def _check_closer(transaction: Transaction, account: str) -> str | None:
    """Nodes before 0.18 did not name who closes."""
    return None if transaction.account is None else _differs("the account", transaction.account, account)


def _check_nothing_told(updates: tuple[Update, ...] | None) -> str | None:
    return f"a close holds {len(updates)} operations" if updates else None


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


def own_moves(terms: Terms, command: Command, transaction: Transaction) -> Moves | None:
    """What our command does to the two balances once it is co-signed as that transaction."""
    if isinstance(command, Transfer):
        amount = command.amount if command.from_account == terms.initiator else -command.amount
        return (-amount, amount)
    return (0, 0) if isinstance(command, Checkpoint) else moves(terms, transaction, None)


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


def check_peer(
    terms: Terms, state: State, tag: Tag, transaction: Transaction, updates: tuple[Update, ...] | None
) -> str | None:
    """Whether a peer's proposal is what its tag says and concerns the two parties only; nothing of policy but fees."""
    match tag:
        case Tag.DEPOSIT_ACK | Tag.WITHDRAW_ACK:
            return _first(
                _differs("the account", transaction.account, terms.peer),
                _check_fee(terms, transaction, None),
                _check_move(transaction, updates),
            )
        case Tag.SHUTDOWN_ACK:
            return _first(
                _check_closer(transaction, terms.peer),
                check_close(terms, state, transaction),
                _check_nothing_told(updates),
            )
        case _:
            unknown = moves(terms, transaction, updates) is None
            return "the proposal does not say what it does to the balances" if unknown else None


def check_proposal(
    terms: Terms, state: State, tag: Tag, transaction: Transaction, updates: tuple[Update, ...] | None
) -> str | None:
    """Whether the policy lets a peer's proposal reach a signer (guarantees.md 5.3)."""
    if tag.value not in terms.policy.acknowledge:
        return f"the policy acknowledges no {tag.value}"
    if tag is Tag.SHUTDOWN_ACK:
        return None
    moved = moves(terms, transaction, updates)
    if moved is None:
        return "the proposal does not say what it does to the balances"
    own = moved[0] if terms.role is Role.INITIATOR else moved[1]
    if own < 0 and terms.policy.acknowledge_only_if_not_poorer:
        return f"the proposal would take {-own} from us"
    return None
