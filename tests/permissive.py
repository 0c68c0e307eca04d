"""A policy that allows all there is, as the tests of everything else want it. Deny by default is tested elsewhere."""

from typing import Any

from bridge.channel.terms import Policy

EVERYTHING: dict[str, Any] = {
    "commands": ["transfer", "deposit", "withdraw", "message", "shutdown", "query"],
    "max_amount": 10**27,
    "outflow_per_hour": 10**27,
    "outflow_per_day": 10**27,
    "counterparties": ["*"],
    "acknowledge": ["update_ack", "deposit_ack", "withdraw_ack", "shutdown_sign_ack"],
}
"""As a configuration says it."""

_FIELDS: dict[str, Any] = {
    key: frozenset(value) if isinstance(value, list) else value for key, value in EVERYTHING.items()
}
OPEN = Policy(**_FIELDS)
"""The same as a channel's terms hold it."""
