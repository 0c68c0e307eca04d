"""What counts as a lost channel: what the simulated node itself shows, and nothing that a run was merely permitted."""

from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from bridge.channel.identifier import ChannelId
from bridge.channel.terms import Dialect, Role
from bridge.sim.server import SimulatedNode
from bridge.wire import encoding
from tests.oracle.witness import find_channels, hold, shows_loss
from tests.sim.client import INITIATOR, JSON_RPC, LATE, RESPONDER, SEED, opened, running, until_true


def find(node: SimulatedNode) -> ChannelId:
    (channel,) = find_channels(node, (INITIATOR, RESPONDER))
    return channel


def known(node: SimulatedNode) -> dict[str, str]:
    """The latest state of each side, as a bridge would hold it that got every report."""
    held = {role: hold(node, find(node), role) for role in Role}
    return {
        role.value: encoding.encode("tx", cosigned.operation.signed)
        for role, cosigned in held.items()
        if cosigned is not None
    }


def is_lost(node: SimulatedNode, dialect: Dialect) -> bool:
    return shows_loss(node, find(node), dialect, known(node))


@pytest.mark.parametrize("dialect", [JSON_RPC, LATE, SEED])
async def test_an_open_channel_is_not_lost(dialect: Dialect) -> None:
    async with running() as node, opened(node, dialect):
        assert not is_lost(node, dialect)


@pytest.mark.parametrize("dialect", [JSON_RPC, LATE, SEED])
async def test_only_the_oldest_dialect_loses_its_channel_with_the_sockets(dialect: Dialect) -> None:
    """All others may come back, for the same state."""
    async with running() as node, opened(node, dialect) as pair:
        pair.initiator.cut()
        pair.responder.cut()
        if dialect.is_legacy:
            await until_true(lambda: not node.registry.alive)
        assert is_lost(node, dialect) is (dialect is SEED)


async def test_a_killed_node_has_lost_every_channel_and_a_stopped_one_none() -> None:
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(running())
        await stack.enter_async_context(opened(node))
        await node.stop()
        assert not is_lost(node, JSON_RPC)
        await node.kill()
        assert is_lost(node, JSON_RPC)


async def test_two_saved_states_that_differ_are_a_loss_and_so_is_another_one_at_a_legacy_bridge() -> None:
    """No reestablish brings the first together, and no legacy node takes anything but its own."""
    async with running() as node, opened(node, LATE) as pair:
        pair.initiator.cut()
        pair.responder.cut()
        await until_true(lambda: not node.registry.alive)
        channel, states = find(node), known(node)
        other = encoding.encode("tx", b"another one")
        assert not shows_loss(node, channel, LATE, states)
        assert shows_loss(node, channel, LATE, states | {"initiator": other})
        saved = node.registry.saved[channel, Role.INITIATOR]
        operation = replace(saved.cosigned.operation, signatures=())
        node.registry.saved[channel, Role.INITIATOR] = replace(
            saved, cosigned=replace(saved.cosigned, operation=operation)
        )
        assert is_lost(node, LATE)
