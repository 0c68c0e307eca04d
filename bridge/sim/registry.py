"""Which FSMs run, who waits for whom, and the states kept for a reestablish.

Two oddities are the node's (observed.md, "Recovery"): an initiator's FSM born of a reestablish is not found by a
reconnect, so a second client starts a second FSM from the saved copy; and whoever took that copy last alone keeps
it fresh.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from bridge.channel.identifier import ChannelId
from bridge.channel.terms import Dialect, Role
from bridge.sim import behaviour
from bridge.sim.balance import Parties
from bridge.sim.book import Book
from bridge.sim.chain import Chain
from bridge.sim.event import AwaitingPeer, AwaitingReturn, Client, Ended, PeerMet, PeerReturned, Returning
from bridge.sim.fsm import CRASHED, Cosigned, Fsm, Surroundings
from bridge.sim.parameter import Opening, Return
from bridge.sim.reestablish import give_up_soon
from bridge.sim.report import Info, OnChain
from bridge.sim.request import ClientDropped, RequestRefused
from bridge.wire import encoding
from bridge.wire.transaction import Signed, fields, unwrap

INVALID_FSM_ID, MISSING_FSM_ID, PARTICIPANT_NOT_FOUND = 1016, 2000, 1011
FSM_ID_BYTES = 32
IDS_KEPT = 20_000
"""Credentials that are remembered, for whoever looks for them where they must not be."""
log = logging.getLogger(__name__)

Key = tuple[ChannelId, Role]


@dataclass(frozen=True, slots=True)
class Saved:
    """One role's latest co-signed state, under the id that opens it."""

    fsm_id: str = field(repr=False)
    opening: Opening
    parties: Parties
    cosigned: Cosigned


@dataclass
class Registry:
    """The node's memory of its channels."""

    chain: Chain
    random_bytes: Callable[[int], bytes]
    saved: dict[Key, Saved] = field(default_factory=dict)
    running: dict[Key, Fsm] = field(default_factory=dict)
    """Those a reconnect finds."""
    alive: list[Fsm] = field(default_factory=list)
    book: Book = field(default_factory=Book)
    seen: dict[Key, bytes | None] = field(default_factory=dict)
    """What each role's last FSM knew of the chain."""
    issued: deque[str] = field(default_factory=lambda: deque(maxlen=IDS_KEPT), repr=False)
    """Every `fsm_id` there was, the oldest forgotten first."""

    # --- opening ------------------------------------------------------------------------------------------

    def open(self, opening: Opening, client: Client) -> Fsm:
        """A new channel, or its second party. Raises RequestRefused."""
        for account in (opening.initiator, opening.responder):
            if account is not None and not self.chain.knows(account):
                raise RequestRefused(PARTICIPANT_NOT_FOUND)
        fsm = self._start(Fsm(opening, self._surroundings(), self._new_fsm_id()), client)
        self._introduce(fsm)
        return fsm

    def _introduce(self, fsm: Fsm) -> None:
        waiting = [other for other in self.alive if other.role is not fsm.role and self._is_waiting(other)]
        for other in waiting:
            responder, initiator = (other, fsm) if fsm.is_initiator else (fsm, other)
            if responder.opening.meets(initiator.opening):
                responder.peer, initiator.peer = initiator, responder  # taken: nobody else meets them
                responder.post(PeerMet(initiator))
                initiator.post(PeerMet(responder))
                return
            if (responder.opening.responder, responder.opening.initiator) == _accounts(initiator):
                log.warning(
                    "initiator and responder of one channel wait at different ports: %d and %d",
                    initiator.opening.port,
                    responder.opening.port,
                )

    def _is_waiting(self, fsm: Fsm) -> bool:
        return isinstance(fsm.state, AwaitingPeer) and fsm.peer is None

    # --- coming back --------------------------------------------------------------------------------------

    def resume(self, back: Return, client: Client) -> Fsm:
        """Attach to the running FSM, or start one from the saved state. Raises RequestRefused or ClientDropped."""
        if back.fsm_id is None:
            raise RequestRefused(MISSING_FSM_ID)
        key = ChannelId(back.channel_id), back.role
        found = self.running.get(key)
        if found is not None:
            return self._reconnect(found, back.fsm_id, client)
        saved = self._find_saved(key)
        if saved.fsm_id != back.fsm_id:
            raise RequestRefused(INVALID_FSM_ID)
        return self._reestablish(key, saved, client)

    def resume_by_state(self, back: Return, dialect: Dialect, client: Client) -> Fsm:
        """The legacy way: by the latest co-signed transaction. Raises ClientDropped."""
        key = ChannelId(back.channel_id), back.role
        saved = self._find_saved(key)
        if key in self.running or saved.opening.dialect is not dialect or dialect is Dialect.LEGACY_SEED:
            raise ClientDropped
        latest = unwrap(encoding.decode(back.offchain_tx or "", "tx"))
        if latest != Signed(saved.cosigned.operation.signatures, saved.cosigned.operation.inner):
            raise ClientDropped
        return self._reestablish(key, saved, client)

    def _find_saved(self, key: Key) -> Saved:
        if key not in self.saved or key[0] not in self.chain.ledger.channels:
            raise ClientDropped
        return self.saved[key]

    def _reconnect(self, fsm: Fsm, fsm_id: str, client: Client) -> Fsm:
        """The newer client wins, if the older one ever said a word."""
        if fsm.fsm_id != fsm_id:
            raise RequestRefused(INVALID_FSM_ID)
        if fsm.client is not None:
            if not fsm.client.has_spoken:
                raise ClientDropped
            fsm.client.evict()
            if fsm.is_returned:
                fsm.client = None
                fsm.end()
                raise ClientDropped(CRASHED)
        fsm.client = client
        client.deliver(Info("fsm_up", fsm.fsm_id), fsm.channel_id)
        return fsm

    def _reestablish(self, key: Key, saved: Saved, client: Client) -> Fsm:
        """A new FSM under a new id. The old id is dead from here on, whether or not the client learns the new one."""
        channel_id, role = key
        fsm = Fsm(saved.opening, self._surroundings(), self._new_fsm_id(), is_returned=True)
        fsm.parties, fsm.cosigned, fsm.is_bound = saved.parties, saved.cosigned, True
        self.saved[key] = replace(saved, fsm_id=fsm.fsm_id)
        fsm.find_channel(channel_id)
        self._catch_up(fsm, key, client)
        if role is Role.RESPONDER:
            self.running[key] = fsm
            fsm.go(AwaitingReturn())
            return self._start(fsm, client)
        fsm.go(Returning())
        self._start(fsm, client)
        responder = self.running.get((channel_id, Role.RESPONDER))
        if responder is None:
            give_up_soon(fsm)
        else:
            fsm.peer = responder
            responder.post(PeerReturned(fsm, saved.cosigned.operation.signed))
        return fsm

    def _catch_up(self, fsm: Fsm, key: Key, client: Client) -> None:
        """What was mined while no FSM of this role ran is told before anything else."""
        fsm.seen = latest = self.chain.latest.get(key[0])
        if latest is not None and self.seen.get(key, latest) != latest:
            kind, _ = fields(unwrap(latest).inner)
            client.deliver(OnChain("channel_changed", kind, latest), key[0])

    # --- all ----------------------------------------------------------------------------------------------

    def _start(self, fsm: Fsm, client: Client) -> Fsm:
        fsm.attach(client)
        self.alive.append(fsm)
        fsm.inform("fsm_up", fsm_id=True)
        return fsm

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            self.chain,
            behaviour.take,
            self._note_end,
            self._save,
            self.book.note_report,
            self.book.note_reused,
        )

    def _new_fsm_id(self) -> str:
        self.issued.append(encoding.encode("ba", self.random_bytes(FSM_ID_BYTES)))
        return self.issued[-1]

    def _save(self, fsm: Fsm) -> None:
        if fsm.channel_id is None or fsm.parties is None or fsm.cosigned is None:
            return
        self.book.note_state(fsm)
        key = fsm.channel_id, fsm.role
        held = self.saved.get(key)
        if held is None or held.fsm_id == fsm.fsm_id:
            self.saved[key] = Saved(fsm.fsm_id, fsm.opening, fsm.parties, fsm.cosigned)
        if held is None:
            self.running[key] = fsm

    def _note_end(self, fsm: Fsm) -> None:
        self.alive.remove(fsm)
        if fsm.channel_id is None:
            return
        key = fsm.channel_id, fsm.role
        self.seen[key] = fsm.seen
        if self.running.get(key) is fsm:
            del self.running[key]
        closed = fsm.channel_id not in self.chain.ledger.channels
        if closed:
            self.saved.pop(key, None)

    def forget(self) -> None:
        """A crash: what was in memory is lost."""
        self.saved.clear()

    def stop(self) -> None:
        """Every FSM ends without a word; the saved states stay."""
        for fsm in list(self.alive):
            fsm.client = None
            fsm.peer = None
            fsm.end()
        self.running.clear()

    def find(self, channel_id: str, role: Role) -> Fsm | None:
        """The FSM whose state is the newest, for a look from inside the process."""
        alive = [fsm for fsm in self.alive if (fsm.channel_id, fsm.role) == (channel_id, role)]
        return max((fsm for fsm in alive if not isinstance(fsm.state, Ended)), key=lambda fsm: fsm.round, default=None)


def _accounts(fsm: Fsm) -> tuple[object, object]:
    return fsm.opening.responder, fsm.opening.initiator
