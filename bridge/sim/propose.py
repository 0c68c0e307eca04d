"""From a client's request to a transaction: what may be asked for, and what it becomes."""

from typing import assert_never

from bridge.channel.transaction import Kind, Update
from bridge.sim.draft import Operation
from bridge.sim.fsm import Fsm
from bridge.sim.request import INTERNAL_ERROR, Move, RequestRefused, Shutdown, Transfer, Trigger

INSUFFICIENT_BALANCE, INVALID_PUBKEYS = 1001, 1003


def draw(fsm: Fsm, trigger: Trigger) -> Operation:
    """The unsigned transaction. Raises RequestRefused."""
    match trigger:
        case Transfer():
            return _transfer(fsm, trigger)
        case Move():
            return _move(fsm, trigger)
        case Shutdown(fee, nonce):
            return fsm.draft().close(fsm.role, _nonce(fsm, nonce), fee)
        case _:
            assert_never(trigger)


def _transfer(fsm: Fsm, asked: Transfer) -> Operation:
    """Either direction: a proposer may take from the peer, who must sign."""
    draft = fsm.draft()
    sender, receiver = draft.parties.role(asked.sender), draft.parties.role(asked.receiver)
    if sender is None or receiver is None or sender is receiver:
        raise RequestRefused(INVALID_PUBKEYS)
    if draft.balances.of(sender) - asked.amount < draft.parties.reserve:
        raise RequestRefused(INSUFFICIENT_BALANCE)
    moved = Update("OffChainTransfer", asked.amount, asked.sender, asked.receiver)
    return draft.update((moved, *_metas(asked.meta)))


def _move(fsm: Fsm, asked: Move) -> Operation:
    """A deposit beyond the account's coins is proposed all the same, and never mined."""
    draft = fsm.draft()
    own = draft.parties.account(fsm.role)
    if asked.amount == 0:
        raise RequestRefused(INTERNAL_ERROR)
    if asked.op == "OffChainDeposit":
        kind, moved = Kind.DEPOSIT, Update(asked.op, asked.amount, from_account=own)
    else:
        kind, moved = Kind.WITHDRAW, Update(asked.op, asked.amount, to_account=own)
        if draft.balances.of(fsm.role) - asked.amount < draft.parties.reserve:
            raise RequestRefused(INTERNAL_ERROR)
    return draft.move(kind, (moved, *_metas(asked.meta)), _nonce(fsm, asked.nonce), asked.fee)


def _nonce(fsm: Fsm, asked: int | None) -> int:
    if asked is not None:
        return asked
    return fsm.chain.next_nonce(fsm.draft().parties.account(fsm.role))


def _metas(texts: tuple[str, ...]) -> tuple[Update, ...]:
    return tuple(Update("OffChainMeta", data=text) for text in texts)
