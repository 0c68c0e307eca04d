"""The chain behind the simulated node: a mempool, blocks on demand, and who wants to hear of what.

By default a block is mined as soon as there is something to put into it, and further ones until nobody waits for
depth. With `auto_mine` off nothing happens until `mine` is called. Listeners are called from the event loop, never
from inside `push` or `watch`, so an FSM is not entered twice.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from bridge.channel.identifier import Account, ChannelId
from bridge.sim.ledger import GENESIS, Ledger, Payment
from bridge.wire.transaction import signed_tx_hash

Seen = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A transaction in the mempool."""

    signed: bytes
    payment: Payment


@dataclass(frozen=True, slots=True)
class Watch:
    """Somebody waits until a transaction has this many blocks on top of its own."""

    hash: str
    depth: int
    tell: Callable[[], None]


@dataclass
class Chain:
    """Heights, accounts, transactions."""

    network_id: str
    ledger: Ledger = field(default_factory=lambda: Ledger(genesis=GENESIS))
    auto_mine: bool = True
    height: int = 1
    mempool: dict[str, Waiting] = field(default_factory=dict)
    mined: dict[str, int] = field(default_factory=dict)
    """Block height of each mined transaction, by `th_…`."""
    latest: dict[ChannelId, bytes] = field(default_factory=dict)
    """Of each channel the transaction mined last."""
    _watches: list[Watch] = field(default_factory=list)
    _listeners: dict[ChannelId, list[Seen]] = field(default_factory=dict)
    _is_due: bool = False

    # --- accounts -----------------------------------------------------------------------------------------

    def knows(self, account: Account) -> bool:
        return self.ledger.find(account) is not None

    def next_nonce(self, account: Account) -> int:
        """Behind what waits in the mempool: so a transaction that is never mined leaves a gap."""
        entry = self.ledger.find(account)
        waiting = [w.payment.nonce for w in self.mempool.values() if w.payment.payer == account]
        return max([0 if entry is None else entry.nonce, *waiting]) + 1

    # --- transactions -------------------------------------------------------------------------------------

    def push(self, signed: bytes, payment: Payment) -> None:
        """Into the mempool. May be called twice with the same transaction."""
        name = signed_tx_hash(signed)
        if name not in self.mined:
            self.mempool[name] = Waiting(signed, payment)
            self._mine_soon()

    def listen(self, channel_id: ChannelId, seen: Seen) -> None:
        """Hear of each mined transaction of this channel."""
        self._listeners.setdefault(channel_id, []).append(seen)

    def unlisten(self, channel_id: ChannelId, seen: Seen) -> None:
        listeners = self._listeners.get(channel_id, [])
        if seen in listeners:
            listeners.remove(seen)

    def watch(self, signed: bytes, depth: int, tell: Callable[[], None]) -> None:
        """Call `tell` once, as soon as the transaction is that deep; now, if it is."""
        self._watches.append(Watch(signed_tx_hash(signed), depth, tell))
        self._mine_soon()

    # --- blocks -------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Blocks on demand again; what waits is mined. Nothing if they are."""
        self.auto_mine = True
        self._mine_soon()

    def mine(self, blocks: int = 1) -> None:
        """Blocks with whatever can be mined, whether or not there is anything."""
        for _ in range(blocks):
            self.height += 1
            for name, waiting in [pair for pair in self.mempool.items() if self._is_ready(pair[1])]:
                self._include(name, waiting)
            self._tell_watchers()

    def _is_ready(self, waiting: Waiting) -> bool:
        return self.ledger.can_apply(waiting.payment)

    def _include(self, name: str, waiting: Waiting) -> None:
        if not self._is_ready(waiting):
            return  # its nonce was used, or its coins spent, by another one of the same block
        self.ledger.apply(waiting.payment)
        self.mined[name] = self.height
        del self.mempool[name]
        self.latest[waiting.payment.channel_id] = waiting.signed
        for seen in list(self._listeners.get(waiting.payment.channel_id, ())):
            seen(waiting.signed)

    def _tell_watchers(self) -> None:
        for watch in [watch for watch in self._watches if self._is_deep(watch)]:
            self._watches.remove(watch)
            watch.tell()

    def _is_deep(self, watch: Watch) -> bool:
        at = self.mined.get(watch.hash)
        return at is not None and self.height - at >= watch.depth

    def _mine_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._mine_on_demand)

    def _mine_on_demand(self) -> None:
        self._is_due = False
        self._tell_watchers()
        if not self.auto_mine:
            return
        while any(map(self._is_ready, self.mempool.values())) or any(w.hash in self.mined for w in self._watches):
            self.mine()


def plain_depth(depth: int | None, strategy: str, fee: int, gas_price: int) -> int:
    """Blocks to wait for: `plain` counts them, `txfee` takes a root of what the fee says (protocol.md A.7)."""
    if strategy == "plain":
        return 0 if depth is None else depth
    factor = 10 if depth is None else depth
    if factor == 0:
        return 1
    units = -(-fee // gas_price)
    root = 1
    while root**factor < units:
        root += 1
    return root
