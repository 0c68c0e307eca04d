"""What options must hold together: names that are referred to, amounts, and our deadlines under the channel's.

Works on whatever parts of a file are valid by themselves, so that one mistake does not hide another. Each
check gives findings and raises nothing. Timers and their defaults: protocol.md F.1.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from bridge.app.address import CHAIN_SCHEMES, NODE_SCHEMES, check_node
from bridge.app.finding import write_found
from bridge.app.settings import Channel, Limits, Node, User
from bridge.broker.permission import EVERY_CHANNEL
from bridge.broker.permission import Role as UserRole
from bridge.channel.identifier import Account
from bridge.channel.terms import ANYBODY, Dialect, Role, SigningForm
from bridge.errors import Finding

IDLE_MILLISECONDS = 600_000
SIGN_MILLISECONDS = 500_000
ACCEPT_MILLISECONDS = 120_000
NEEDS_CHANNELS = (UserRole.CLIENT, UserRole.APPROVER, UserRole.OPERATOR, UserRole.OBSERVER)

MOVING = frozenset({"transfer", "deposit", "withdraw"})
"""Commands with an amount."""
MEETING = frozenset({"transfer", "deposit", "message", "update_ack", "deposit_ack"})
"""Commands and proposals that are refused with a party that is no counterparty."""

FORMS: Mapping[Dialect, SigningForm] = {
    Dialect.JSON_RPC: SigningForm.NETWORK_HASH,
    Dialect.LEGACY_LATE: SigningForm.NETWORK_RAW,
    Dialect.LEGACY_SEED: SigningForm.RAW,
}
"""What each kind of node wants signed (transactions.md section 4)."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The valid parts of a file, channels and users with their place in it.

    The names are those the file declares, in valid parts or not. `own_accounts` is None when a channel could
    not be read, so that nobody can tell which accounts there are.
    """

    nodes: Mapping[str, Node]
    channels: tuple[tuple[int, Channel], ...]
    users: tuple[tuple[int, User], ...]
    limits: Limits | None
    node_names: frozenset[str]
    channel_names: frozenset[str]
    own_accounts: frozenset[Account] | None


def dialect_of(node: Node) -> Dialect:
    """The dialect and profile as the channel's word for both."""
    if node.dialect == "json-rpc":
        return Dialect.JSON_RPC
    return Dialect.LEGACY_LATE if node.profile == "late" else Dialect.LEGACY_SEED


def form_of(channel: Channel, node: Node) -> SigningForm:
    return channel.signing_form or FORMS[dialect_of(node)]


def own_account(channel: Channel) -> Account:
    return channel.initiator if channel.role is Role.INITIATOR else channel.responder


def check_parts(parts: Parts) -> tuple[Finding, ...]:
    return (
        *(finding for name, node in parts.nodes.items() for finding in _check_node(name, node)),
        *_check_channels(parts),
        *_check_users(parts),
        *_check_limits(parts.limits),
    )


def _check_node(name: str, node: Node) -> Iterator[Finding]:
    at = f"nodes.{name}"
    yield from check_node(f"{at}.url", node.url, NODE_SCHEMES, node.plain_hosts)
    if node.chain_url is not None:
        yield from check_node(f"{at}.chain_url", node.chain_url, CHAIN_SCHEMES, node.plain_hosts)
    if node.dialect == "legacy" and node.profile is None:
        yield Finding(f"{at}.profile", "nothing", "seed or late, for a legacy node")
    if node.dialect == "json-rpc" and node.profile is not None:
        yield Finding(f"{at}.profile", write_found(node.profile), "no profile for a json-rpc node")
    if node.dialect == "json-rpc" and not node.network_id:
        yield Finding(f"{at}.network_id", "nothing", "the chain's network id, e.g. ae_uat")


def _check_channels(parts: Parts) -> Iterator[Finding]:
    yield from _check_repeats("channels", ((index, channel.name) for index, channel in parts.channels))
    for index, channel in parts.channels:
        at = f"channels[{index}]"
        yield from _check_place(at, channel, parts)
        yield from _check_amounts(at, channel)
        yield from _check_deadlines(at, channel)
        yield from _check_block_hashes(at, channel)
        yield from _check_policy(f"{at}.policy", channel)
        yield from _check_approvals(f"{at}.policy", channel, parts)


def _check_repeats(table: str, names: Iterable[tuple[int, str]]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for index, name in names:
        if name in first:
            yield Finding(f"{table}[{index}].name", write_found(name), f"a name unlike {table}[{first[name]}]'s")
        first.setdefault(name, index)


def _check_place(at: str, channel: Channel, parts: Parts) -> Iterator[Finding]:
    if channel.initiator == channel.responder:
        yield Finding(f"{at}.responder", write_found(channel.responder), "another account than the initiator's")
    if channel.node not in parts.node_names:
        known = ", ".join(sorted(parts.node_names)) or "none is configured"
        yield Finding(f"{at}.node", write_found(channel.node), f"the name of a node under [nodes]: {known}")
    node = parts.nodes.get(channel.node)
    # Without a network id a json-rpc node is a finding already.
    if node is not None and node.dialect == "legacy" and not node.network_id:
        form = form_of(channel, node)
        if form is not SigningForm.RAW:
            yield Finding(f"nodes.{channel.node}.network_id", "nothing", f"a network id: {at} signs {form}")


def _check_amounts(at: str, channel: Channel) -> Iterator[Finding]:
    reserve = channel.channel_reserve
    if channel.initiator_amount - channel.push_amount < reserve:
        found = f"{channel.initiator_amount} less push_amount {channel.push_amount}"
        yield Finding(f"{at}.initiator_amount", found, f"at least channel_reserve = {reserve} after the push")
    if channel.responder_amount < reserve:
        expected = f"at least channel_reserve = {reserve}"
        yield Finding(f"{at}.responder_amount", str(channel.responder_amount), expected)


def _check_deadlines(at: str, channel: Channel) -> Iterator[Finding]:
    """A signature given after the channel's timer is worse than none: the two sides may differ for ever."""
    opening = channel.opening
    timers = {
        "timeout_accept": opening.timeout_accept or ACCEPT_MILLISECONDS,
        "timeout_funding_sign": opening.timeout_funding_sign or ACCEPT_MILLISECONDS,
        "timeout_funding_create": opening.timeout_funding_create or ACCEPT_MILLISECONDS,
    }
    shortest = min(timers, key=lambda name: timers[name])
    bounds: tuple[tuple[str, float, str, int], ...] = (
        ("acknowledge_seconds", channel.acknowledge_seconds, shortest, timers[shortest]),
        ("sign_seconds", channel.sign_seconds, "timeout_sign", opening.timeout_sign or SIGN_MILLISECONDS),
        ("keep_alive_seconds", channel.keep_alive_seconds, "timeout_idle", opening.timeout_idle or IDLE_MILLISECONDS),
    )
    for name, seconds, timer, milliseconds in bounds:
        if seconds * 1000 >= milliseconds:
            yield Finding(f"{at}.{name}", f"{seconds:g}", f"less than {timer}, {milliseconds / 1000:g} seconds")


def _check_policy(at: str, channel: Channel) -> Iterator[Finding]:
    """What is allowed by one line and made impossible by another was meant otherwise."""
    policy = channel.policy
    moving = sorted(policy.commands & MOVING)
    if moving and policy.max_amount == 0:
        yield Finding(f"{at}.max_amount", "0", f"the most one {moving[0]} may move")
    peer = channel.responder if channel.role is Role.INITIATOR else channel.initiator
    meeting = sorted(policy.commands & MEETING | policy.acknowledge & MEETING)
    if meeting and not {peer, ANYBODY} & policy.counterparties:
        found = "the other party is not among them" if policy.counterparties else "nothing"
        yield Finding(f"{at}.counterparties", found, f"{peer} or {ANYBODY}: {meeting[0]} is allowed")


def _check_approvals(at: str, channel: Channel, parts: Parts) -> Iterator[Finding]:
    policy = channel.policy
    if policy.approval_threshold is None:
        if policy.approvers:
            yield Finding(f"{at}.approval_threshold", "nothing", "an amount above which the approvers are asked")
        return
    if len(policy.approvers) < policy.approvals:
        yield Finding(f"{at}.approvers", f"{len(policy.approvers)} users", f"at least approvals = {policy.approvals}")
    entitled = {user.name for _, user in parts.users if _may_approve(user, channel)}
    for name in sorted(policy.approvers - entitled) if parts.users else ():
        yield Finding(f"{at}.approvers", write_found(name), "an approver of this channel under [[users]]")


def _may_approve(user: User, channel: Channel) -> bool:
    return user.role is UserRole.APPROVER and not {channel.name, EVERY_CHANNEL}.isdisjoint(user.channels)


def _check_block_hashes(at: str, channel: Channel) -> Iterator[Finding]:
    opening = channel.opening
    newest, oldest, pick = (
        opening.bh_delta_not_newer_than,
        opening.bh_delta_not_older_than,
        opening.bh_delta_pick,
    )
    if newest is oldest is pick is None:
        return
    if newest is None or oldest is None or pick is None:
        yield Finding(f"{at}.opening", "some bh_delta_* options", "all three of them or none")
    elif oldest < newest + pick:
        expected = f"at least {newest + pick}: bh_delta_not_newer_than + bh_delta_pick"
        yield Finding(f"{at}.opening.bh_delta_not_older_than", str(oldest), expected)


def _check_users(parts: Parts) -> Iterator[Finding]:
    yield from _check_repeats("users", ((index, user.name) for index, user in parts.users))
    for index, user in parts.users:
        at = f"users[{index}]"
        yield from _check_entitlement(at, user)
        yield from _check_references(at, user, parts)
        if user.name == "guest":
            yield Finding(f"{at}.name", '"guest"', "a user of your own: everybody knows guest's password")
        if user.password_file is not None and user.password_hash is not None:
            yield Finding(at, "password_file and password_hash", "at most one of the two")


def _check_entitlement(at: str, user: User) -> Iterator[Finding]:
    """Nobody is entitled by leaving something out."""
    if user.role in NEEDS_CHANNELS and not user.channels:
        yield Finding(f"{at}.channels", "nothing", f"the channels of this {user.role}, or {EVERY_CHANNEL}")
    if user.role is UserRole.SIGNER and not user.accounts:
        yield Finding(f"{at}.accounts", "nothing", "the accounts of this signer")
    if user.role is not UserRole.SIGNER and user.accounts:
        yield Finding(f"{at}.accounts", "a list", f"no accounts for a user of role {user.role}")


def _check_references(at: str, user: User, parts: Parts) -> Iterator[Finding]:
    for place, name in enumerate(user.channels):
        if name != EVERY_CHANNEL and name not in parts.channel_names:
            yield Finding(f"{at}.channels[{place}]", write_found(name), "the name of a channel under [[channels]]")
    for place, account in enumerate(user.accounts):
        if parts.own_accounts is not None and account not in parts.own_accounts:
            expected = "the account of a channel's own role"
            yield Finding(f"{at}.accounts[{place}]", write_found(account), expected)


def _check_limits(limits: Limits | None) -> Iterator[Finding]:
    if limits is not None and limits.backlog < limits.backlog_per_channel:
        expected = f"at least backlog_per_channel = {limits.backlog_per_channel}"
        yield Finding("limits.backlog", str(limits.backlog), expected)
