"""Questions about a channel's state, and messages: what works beside any running operation."""

from typing import Any, assert_never

from bridge.channel.identifier import Account
from bridge.sim import state
from bridge.sim.balance import Parties
from bridge.sim.event import PeerSaid
from bridge.sim.fsm import NOT_READY, Cosigned, Fsm
from bridge.sim.request import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    AskBalances,
    AskHistory,
    AskProof,
    AskState,
    Question,
    RequestRefused,
)
from bridge.wire import encoding

NOT_FOUND = 100
MAX_MESSAGE_BYTES = 65_000


def answer(fsm: Fsm, asked: Question) -> Any:
    """JSON as both dialects show it. Raises RequestRefused."""
    if isinstance(asked, AskHistory):
        return fsm.history.fetch(asked)
    cosigned, parties = _funded(fsm)
    match asked:
        case AskState():
            return _describe(fsm, cosigned, parties)
        case AskBalances(accounts):
            roles = [(account, parties.role(account)) for account in accounts]
            return [{"account": a, "balance": cosigned.balances.of(role)} for a, role in roles if role is not None]
        case AskProof(accounts):
            proof = state.proof(parties, cosigned.balances, accounts)
            if proof is None:
                raise RequestRefused(NOT_FOUND)
            return {"poi": proof}
        case _:
            assert_never(asked)


def send_message(fsm: Fsm, receiver: Account, text: str) -> None:
    """To the peer's client, if it is there. Raises RequestRefused."""
    _, parties = _funded(fsm)
    if len(text.encode()) > MAX_MESSAGE_BYTES:
        raise RequestRefused(INVALID_REQUEST)
    if parties.role(receiver) in (None, fsm.role):
        raise RequestRefused(INTERNAL_ERROR)
    fsm.tell(PeerSaid(text))


def _funded(fsm: Fsm) -> tuple[Cosigned, Parties]:
    if fsm.cosigned is None or fsm.parties is None:
        raise RequestRefused(NOT_READY)
    return fsm.cosigned, fsm.parties


def _describe(fsm: Fsm, cosigned: Cosigned, parties: Parties) -> dict[str, str]:
    """Half-signed is told only for an update we proposed, from our signature on."""
    half = fsm.half_signed
    is_told = half is not None and not half.is_on_chain
    return {
        "trees": state.trees(parties, cosigned.balances),
        "calls": state.calls(),
        "signed_tx": encoding.encode("tx", cosigned.operation.signed),
        "half_signed_tx": encoding.encode("tx", half.signed) if half is not None and is_told else "",
    }
