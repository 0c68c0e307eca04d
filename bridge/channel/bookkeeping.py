"""What of a step is a fact for the books: one balanced entry for each co-signed state, and for the close.

Nothing is booked from what a command wanted. At the end of a step the co-signed state and the balances are compared
with what is booked, and the difference is the entry: so the books follow whatever way a state came (reported, found
after a crash, gone back behind, used against our word), and an entry cannot be forgotten or made twice. What the
difference cannot be explained by goes into suspense, with an alarm. ADR 0023.
"""

from dataclasses import replace
from typing import Any

from bridge.channel.books import ACCOUNTS, INITIATOR, RESPONDER, Books, Line, Move, balance
from bridge.channel.effect import Conclude
from bridge.channel.ending import pending_close
from bridge.channel.state import Phase, State
from bridge.channel.terms import Terms
from bridge.channel.transaction import Kind, Transaction
from bridge.channel.turn import Turn
from bridge.errors import Code, Outcome

KINDS = {Kind.OFFCHAIN: "payment", Kind.DEPOSIT: "deposit", Kind.WITHDRAW: "withdrawal"}
SUSPENSE = ACCOUNTS.index("suspense")


def keep(before: State, turn: Turn) -> Turn:
    """`before`: the state the step began with."""
    return _close(before, _follow(before, turn))


def _follow(before: State, turn: Turn) -> Turn:
    """The latest co-signed state and its balances, if they are not what is booked."""
    state, books = turn.state, turn.state.books
    held = _balances(state)
    if books.is_closed or state.cosigned is None or held is None:
        return turn  # unknown balances are asked for, and then the difference is booked
    if (state.cosigned.hash, held) == (books.hash, books.held):
        return turn
    changes = _changes(books, held)
    if not books.entries:
        return _begin(turn, state.cosigned, changes)
    if state.cosigned.hash == books.hash:
        sentence = "the node's balances are not the booked ones"
        return _post(turn, "adjustment", state.cosigned, changes, sentence=sentence)
    if state.round < books.round and before.cosigned is not None:
        back = tuple((account, -amount) for account, amount in _on_chain(turn.terms, before.cosigned))
        sentence = "both sides agreed on the state before it"
        return _post(turn, "reversal", before.cosigned, (*changes, *back), reverses=books.fact, sentence=sentence)
    if state.round != books.round + 1:
        sentence = f"the balances after round {books.round} and up to {state.round} were not known"
        return _post(turn, "adjustment", state.cosigned, changes, sentence=sentence)
    kind = KINDS.get(state.cosigned.kind, "adjustment")
    moves = (*changes, *_on_chain(turn.terms, state.cosigned))
    return _post(turn, "checkpoint" if kind == "payment" and not any(_amounts(moves)) else kind, state.cosigned, moves)


def _begin(turn: Turn, transaction: Transaction, changes: tuple[Move, ...]) -> Turn:
    """The first entry: what both put in, or what a channel held that was open before there were books."""
    if transaction.kind is Kind.CREATE:
        return _post(turn, "opening", transaction, (*changes, *_on_chain(turn.terms, transaction)))
    moves = (*changes, ("brought_forward", -sum(_amounts(changes))))
    return _post(turn, "brought_forward", transaction, moves, sentence="the books begin with this state")


def _close(before: State, turn: Turn) -> Turn:
    """All of it leaves the channel: to the two accounts on chain, the fee as each bears it."""
    books = turn.state.books
    if turn.state.phase is not Phase.CLOSED or not books.entries or books.is_closed:
        return turn
    transaction = turn.state.mined_close or pending_close(before)
    moves = (*_changes(books, (0, 0)), *_paid_out(books, transaction))
    turn = _post(turn, "close", transaction, moves)
    return turn.set(books=replace(turn.state.books, is_closed=True))


def _paid_out(books: Books, transaction: Transaction | None) -> tuple[Move, ...]:
    """Without the transaction nobody knows who got what: all of it is in suspense."""
    if transaction is None or transaction.initiator_amount is None or transaction.responder_amount is None:
        return ()
    paid = (transaction.initiator_amount, transaction.responder_amount)
    borne = (books.held[0] - paid[0], books.held[1] - paid[1])
    moves = tuple((f"chain.{role}", amount) for role, amount in zip((INITIATOR, RESPONDER), paid, strict=True))
    if sum(borne) != transaction.fee or min(borne) < 0:
        return moves
    return (*moves, (f"fee.{INITIATOR}", borne[0]), (f"fee.{RESPONDER}", borne[1]))


def _on_chain(terms: Terms, transaction: Transaction) -> tuple[Move, ...]:
    """What the transaction itself moves on chain. Its fee is paid by the account whose nonce it uses."""
    amount, fee = transaction.amount or 0, transaction.fee or 0
    role = INITIATOR if transaction.account == terms.initiator else RESPONDER
    match transaction.kind:
        case Kind.CREATE:
            puts = (transaction.initiator_amount or 0, transaction.responder_amount or 0)
            return (
                (f"chain.{INITIATOR}", -puts[0]),
                (f"chain.{RESPONDER}", -puts[1]),
                *_fee(INITIATOR, fee),
            )
        case Kind.DEPOSIT:
            return ((f"chain.{role}", -amount), *_fee(role, fee))
        case Kind.WITHDRAW:
            return ((f"chain.{role}", amount), *_fee(role, fee))
        case _:
            return ()


def _fee(role: str, fee: int) -> tuple[Move, ...]:
    return (f"fee.{role}", fee), (f"chain.{role}", -fee)


def _post(
    turn: Turn,
    kind: str,
    transaction: Transaction | None,
    moves: tuple[Move, ...],
    *,
    reverses: str | None = None,
    sentence: str = "",
) -> Turn:
    """One entry, and an alarm if it had to be balanced with suspense."""
    state, books = turn.state, turn.state.books
    totals, lines = books.enter(balance(moves))
    number = books.entries + 1
    hash_ = None if transaction is None else transaction.hash
    round_ = books.round if reverses is not None else state.round
    fact = f"{state.channel_id}:{round_}:{kind}:{hash_ or ''}"
    fact = f"{fact}:{turn.terms.name}/{number}" if kind == "adjustment" else fact
    cosigned = "" if state.cosigned is None else state.cosigned.hash
    if totals[SUSPENSE] != books.totals[SUSPENSE] or (kind == "adjustment" and cosigned == books.hash):
        turn = _alarm(turn, kind, totals)
    turn = turn.set(books=Books(number, state.round, cosigned, fact, totals))
    return turn.publish(
        "ledger",
        "posted",
        entry=number,
        entry_id=f"{turn.terms.name}/{number}",
        fact_id=fact,
        kind=kind,
        entry_round=round_,
        tx_hash=hash_,
        command_id=_command_id(turn, hash_),
        reverses=reverses,
        sentence=sentence,
        lines=[_describe(turn.terms, line) for line in lines],
        initiator_balance=totals[0],
        responder_balance=totals[1],
    )


def _describe(terms: Terms, line: Line) -> dict[str, Any]:
    """With the account on chain of the party it is of, and whether that is ours."""
    role = line.account.rpartition(".")[2]
    party = {INITIATOR: terms.initiator, RESPONDER: terms.responder}.get(role)
    return {
        "account": line.account,
        "party": party,
        "side": None if party is None else "own" if party == terms.own else "peer",
        "debit": line.debit,
        "credit": line.credit,
        "balance": line.balance,
    }


def _alarm(turn: Turn, kind: str, totals: tuple[int, ...]) -> Turn:
    """The books go on with what the node proves; why they differ is for people to find."""
    booked = turn.state.books.held
    return turn.publish(
        "alarm",
        Code.BOOKS_DISAGREE.value,
        sentence=f"the books needed more than the facts explain: entry {turn.state.books.entries + 1}, {kind}",
        round=turn.state.round,
        tx_hash=None if turn.state.cosigned is None else turn.state.cosigned.hash,
        booked_initiator_balance=booked[0],
        booked_responder_balance=booked[1],
        initiator_balance=totals[0],
        responder_balance=totals[1],
        suspense_balance=totals[SUSPENSE],
    )


def _command_id(turn: Turn, hash_: str | None) -> str | None:
    """The command of ours that ended in this step with that transaction."""
    ended = (effect for effect in turn.effects if isinstance(effect, Conclude))
    done = (effect for effect in ended if effect.outcome is Outcome.SUCCEEDED and effect.hash == hash_)
    return next((str(effect.command_id) for effect in done if hash_ is not None), None)


def _balances(state: State) -> tuple[int, int] | None:
    if state.initiator_balance is None or state.responder_balance is None:
        return None
    return state.initiator_balance, state.responder_balance


def _changes(books: Books, held: tuple[int, int]) -> tuple[Move, ...]:
    """From what is booked to what is held."""
    return (f"channel.{INITIATOR}", held[0] - books.held[0]), (f"channel.{RESPONDER}", held[1] - books.held[1])


def _amounts(moves: tuple[Move, ...]) -> tuple[int, ...]:
    return tuple(amount for _, amount in moves)
