"""One channel of the simulated node as a pair: its book, what each side holds in the end, and whether it is lost.

The node's own word, from inside its process. Lost is only what the node itself shows: a side that is gone, or two
sides that no reestablish can bring together. That a run may lose channels is a permission, and no fact.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from bridge.channel.identifier import ChannelId
from bridge.channel.terms import Dialect, Role
from bridge.channel.transaction import Kind
from bridge.sim.event import AwaitingReturn, Returning
from bridge.sim.fsm import Cosigned, Fsm
from bridge.sim.server import SimulatedNode
from bridge.wire import encoding, transaction
from tests.oracle.evidence import Pair
from tests.oracle.page import read_pair


def find_channels(node: SimulatedNode, accounts: Iterable[str]) -> list[ChannelId]:
    """Those of exactly these two parties."""
    wanted = set(accounts)
    pages = node.registry.book.pages.items()
    return [ChannelId(name) for name, page in pages if page.states and wanted == set(page.states[0]["balances"])]


def read_channel(
    node: SimulatedNode,
    channel: ChannelId,
    name: str,
    roles: Mapping[str, str],
    accounts: Mapping[str, str],
    **more: Any,
) -> Pair:
    """What the node did and holds. `more`: further fields of the pair, `epoch` among them."""
    held = {role: hold(node, channel, role) for role in Role}
    standing = {role.value: cosigned for role, cosigned in held.items() if cosigned is not None}
    return read_pair(
        name,
        roles,
        accounts,
        node.registry.book.pages[channel].write(),
        {role: cosigned.round for role, cosigned in standing.items()},
        final_hashes={role: transaction.tx_hash(cosigned.operation.inner) for role, cosigned in standing.items()},
        is_closed=channel not in node.chain.ledger.channels,
        closed_by=_closed_by(node, channel),
        **more,
    )


def written(pairs: Iterable[Pair]) -> list[tuple[str, str]]:
    """Channel and signed transaction of each signed reply, where only the node saw them."""
    return [(pair.channel(reply.role), reply.signed) for pair in pairs for reply in pair.replies]


def hold(node: SimulatedNode, channel: ChannelId, role: Role) -> Cosigned | None:
    """What a side stands at: its FSM's state, else the one saved for a reestablish, else nothing any more."""
    alive, saved = node.registry.find(channel, role), node.registry.saved.get((channel, role))
    if alive is not None and alive.cosigned is not None:
        return alive.cosigned
    return None if saved is None else saved.cosigned


def shows_loss(node: SimulatedNode, channel: ChannelId, dialect: Dialect, known: Mapping[str, str]) -> bool:
    """Whether nothing is left that both sides could go on with.

    `known`: role to the latest co-signed transaction its bridge has, as a text of any era. A legacy node takes a client
    back for exactly that one, and the oldest takes nobody back. A channel that is closed is not lost, unless its side
    was gone before it could see that: a legacy FSM dies with its socket.
    """
    if channel not in node.chain.ledger.channels:
        facts = node.registry.book.pages[channel].facts
        saw = {fact.role for fact in facts if fact.what == "closed_confirmed"}
        return dialect.is_legacy and len(saw) < len(Role)
    held = [hold(node, channel, role) for role in Role]
    if None in held:
        return True
    away = [role for role in Role if _is_away(node.registry.find(channel, role))]
    if not away:
        return False
    first, second = (cosigned.operation.signed for cosigned in held if cosigned is not None)
    return first != second or (dialect.is_legacy and any(_is_locked_out(node, channel, role, known) for role in away))


def _is_away(fsm: Fsm | None) -> bool:
    """Whether it takes a reestablish before this side works again."""
    return fsm is None or isinstance(fsm.state, AwaitingReturn | Returning)


def _is_locked_out(node: SimulatedNode, channel: ChannelId, role: Role, known: Mapping[str, str]) -> bool:
    """In the legacy dialects: whether the side's FSM is gone, and its bridge cannot ask for another one."""
    saved = node.registry.saved.get((channel, role))
    if saved is None or node.registry.find(channel, role) is not None:
        return False
    if saved.opening.dialect is Dialect.LEGACY_SEED or role.value not in known:
        return True
    return encoding.decode(known[role.value], "tx") != saved.cosigned.operation.signed


def _closed_by(node: SimulatedNode, channel: ChannelId) -> str | None:
    """The hash of the mutual close that the chain holds, if one is the channel's latest transaction there."""
    signed = node.chain.latest.get(channel)
    if signed is None:
        return None
    inner = transaction.unwrap(signed).inner
    return transaction.tx_hash(inner) if transaction.fields(inner)[0] is Kind.CLOSE_MUTUAL else None
