"""The simulated node's book as evidence: its pages, in the JSON form its control interface shows, become pairs.

Reads only; what is missing in a page is an error, never a default.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.oracle.evidence import Pair, Request, State


def read_pair(
    name: str,
    roles: Mapping[str, str],
    accounts: Mapping[str, str],
    page: Mapping[str, Sequence[Mapping[str, Any]]],
    final_rounds: Mapping[str, int],
    *,
    is_lost: bool = False,
    is_closed: bool = False,
) -> Pair:
    """`roles`: role to our name of it; `accounts`: role to its account; `page`: `states` and `signatures`."""
    return Pair(
        name=name,
        initiator=roles["initiator"],
        responder=roles["responder"],
        states=tuple(_read_state(entry, accounts) for entry in page["states"]),
        final_rounds=dict(final_rounds),
        requests=tuple(_read_request(entry) for entry in page["signatures"]),
        is_lost=is_lost,
        is_closed=is_closed,
    )


def _read_state(entry: Mapping[str, Any], accounts: Mapping[str, str]) -> State:
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
    )


def _read_request(entry: Mapping[str, Any]) -> Request:
    return Request(
        role=entry["role"],
        tag=entry["tag"],
        round=entry["round"],
        tx_hash=entry["tx_hash"],
        asked_at=entry["asked_at"],
        answered_at=entry["answered_at"],
        answer=entry["answer"],
    )
