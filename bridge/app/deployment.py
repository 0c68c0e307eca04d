"""What a configuration says about the bus: its topology and the broker's users with their rights."""

import secrets
from typing import Any

from bridge.app.config import Config, terms
from bridge.broker import permission, topology


def plan(config: Config) -> topology.Topology:
    """Exchanges, queues and bindings; one request queue for each account the bridge signs for."""
    accounts = {channel_terms.own for channel_terms, _ in terms(config)}
    for user in config.users:
        accounts.update(user.accounts)
    return topology.plan(config.prefix, accounts)


def users(config: Config) -> tuple[permission.User, ...]:
    """The broker's users. One without a password in the configuration can authenticate by certificate only."""
    return tuple(
        permission.User(
            name=user.name,
            role=user.role,
            channels=user.channels,
            accounts=user.accounts,
            password=user.read_password(),
            password_hash=None if user.password_hash is None else user.password_hash.get_secret_value(),
        )
        for user in config.users
    )


def definitions(config: Config) -> dict[str, Any]:
    """A RabbitMQ definitions document: load it once, at the broker's first start or by its management tool."""
    return permission.definitions(config.prefix, plan(config), users(config))


def new_secret() -> str:
    """32 random bytes in hex: a journal key, a password."""
    return secrets.token_hex(32)
