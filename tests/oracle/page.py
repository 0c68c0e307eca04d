"""The simulated node's book as evidence: its pages, in the JSON form its control interface shows, become pairs.

Reads only; what is missing in a page is an error, never a default.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.oracle.evidence import Fact, Pair, Reply, Request, Said, State

Entry = Mapping[str, Any]


def read_pair(
    name: str,
    roles: Mapping[str, str],
    accounts: Mapping[str, str],
    page: Mapping[str, Sequence[Entry]],
    final_rounds: Mapping[str, int],
    *,
    epoch: float = 0.0,
    **more: Any,
) -> Pair:
    """`roles`: role to our name of it; `accounts`: role to its account; `page`: `bridge.sim.book.Page.write()`.

    `epoch`: the instant, in seconds since the epoch, at which the node's clock showed 0. `more`: further fields of the
    pair.
    """
    return Pair(
        name=name,
        initiator=roles["initiator"],
        responder=roles["responder"],
        states=tuple(_read_state(entry, accounts, epoch) for entry in page["states"]),
        final_rounds=dict(final_rounds),
        requests=tuple(_read_request(entry, epoch) for entry in page["signatures"]),
        replies=tuple(_read_reply(entry, epoch) for entry in page["replies"]),
        facts=tuple(_read_fact(entry, epoch) for entry in page["facts"]),
        messages=tuple(_read_said(entry, epoch) for entry in page["messages"]),
        **more,
    )


def _read_state(entry: Entry, accounts: Mapping[str, str], epoch: float) -> State:
    role_of = {account: role for role, account in accounts.items()}
    moved = [update for update in entry["updates"] if update.get("amount")]
    if len(moved) > 1:
        raise ValueError(f"a state that moves more than one amount: {moved}")
    return State(
        role=entry["role"],
        round=entry["round"],
        kind=entry["kind"],
        tx_hash=entry["tx_hash"],
        amount=int(moved[0]["amount"]) if moved else None,
        payer=role_of[moved[0].get("from") or moved[0]["to"]] if moved else None,
        initiator_balance=entry["balances"][accounts["initiator"]],
        responder_balance=entry["balances"][accounts["responder"]],
        at=epoch + entry["at"],
    )


def _read_request(entry: Entry, epoch: float) -> Request:
    answered_at = entry["answered_at"]
    return Request(
        role=entry["role"],
        tag=entry["tag"],
        round=entry["round"],
        tx_hash=entry["tx_hash"],
        asked_at=epoch + entry["asked_at"],
        answered_at=None if answered_at is None else epoch + answered_at,
        answer=entry["answer"],
        reply_hash=entry["reply_tx_hash"],
    )


def _read_reply(entry: Entry, epoch: float) -> Reply:
    return Reply(
        role=entry["role"],
        tag=entry["tag"],
        round=entry["round"],
        tx_hash=entry["tx_hash"],
        signed=entry["signed_hash"],
        at=epoch + entry["at"],
        is_stray=entry["is_stray"],
    )


def _read_fact(entry: Entry, epoch: float) -> Fact:
    return Fact(
        role=entry["role"],
        what=entry["what"],
        round=entry["round"],
        at=epoch + entry["at"],
        code=entry["code"],
        raised_at=entry["raised_at"],
        half_hash=entry["half_hash"],
        reused_hash=entry["reused_hash"],
    )


def _read_said(entry: Entry, epoch: float) -> Said:
    return Said(entry["role"], entry["text"], entry["is_delivery"], epoch + entry["at"])
