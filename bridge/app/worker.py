"""One channel, one task: takes inputs one at a time, decides, commits, performs.

The order never changes: `step` first, then one durable commit of the new state with everything it publishes,
then the outside learns of it (the delivery is acked, the frame is written, the relay is woken). If the commit
fails nothing of the step happens and the whole service stops.

The node's reader only appends here; it never waits for the bus. How much it may append is bounded by `room`; after
that the link ends, and none begins before all of it was decided on.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from bridge.app.contract import Contract
from bridge.app.observer import Decided, Observer, Written
from bridge.app.relay import Relay
from bridge.app.sieve import Sieve
from bridge.channel.command import COMMANDS, Checkpoint, Direct, Query, Resolve
from bridge.channel.effect import Conclude, Effect, Publish, Reconnect, Rest, Send
from bridge.channel.identifier import ApprovalRequestId, CommandId, SignRequestId, fingerprint
from bridge.channel.input import (
    ApprovalGiven,
    BadReply,
    ChainSeen,
    CloseSeen,
    CommandDue,
    FrameRejected,
    Input,
    LinkDown,
    LinkFailed,
    LinkUp,
    QueryDue,
    ResolveDue,
    SignReplied,
    SignRequested,
    TakenOver,
    Ticked,
    Withheld,
)
from bridge.channel.operation import may_enter
from bridge.channel.request import NodeRequest
from bridge.channel.signature import asked_for
from bridge.channel.state import Stage, State
from bridge.channel.step import step
from bridge.channel.terms import Dialect, Terms
from bridge.channel.wake import next_wake
from bridge.errors import Code, NodeUnavailable, Outcome
from bridge.journal.journal import Journal
from bridge.journal.record import InboxRow
from bridge.node.link import MAX_FRAME_BYTES, Address, Link
from bridge.node.pace import MAX_WAITING_BYTES, Room
from bridge.wire.body import ApprovalBody, SignReplyBody
from bridge.wire.codec import codec_for
from bridge.wire.dialect import Resume
from bridge.wire.verdict import assess, read_input

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Replied:
    """A sign reply as it came: judged only when its turn comes, against the request open then."""

    author: str
    reply: SignReplyBody
    settled: Callable[[], Awaitable[object]]
    """Acks the delivery. Called after the commit, so a crash before it brings the reply again."""
    arrived_at: float = 0.0
    """Given by the worker: when it came, by the steady clock."""


@dataclass(frozen=True, slots=True)
class Approved:
    """An approver's answer, yes or no, as it came."""

    author: str
    body: ApprovalBody
    settled: Callable[[], Awaitable[object]]
    """As with `Replied`."""


@dataclass(frozen=True, slots=True)
class Text:
    """A frame as it came from the socket; if it waited at the node, `arrived_at` is when it left at the earliest."""

    text: str | bytes
    arrived_at: float


@dataclass(frozen=True, slots=True)
class LineGrew:
    """The journal holds a new command of this channel."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A journaled query."""

    row: InboxRow


@dataclass(frozen=True, slots=True)
class Unpublished:
    """The broker returned or refused something of this channel: it waits in the outbox."""

    routing_key: str
    sentence: str


@dataclass(frozen=True, slots=True)
class AuditGrew:
    """The newest row of the audit, as an anchor: `SEQ:HASH`."""

    anchor: str


Item = (
    Unpublished
    | AuditGrew
    | Replied
    | Approved
    | Text
    | LineGrew
    | Asked
    | Withheld
    | ChainSeen
    | CloseSeen
    | LinkUp
    | LinkDown
    | LinkFailed
)


class Worker:
    """`node_url` is the WebSocket's, `context` gives the TLS in force for it.

    `state` is what the journal holds of it. Then `run()` until cancelled.
    """

    def __init__(
        self,
        terms: Terms,
        node_url: str,
        state: State,
        contract: Contract,
        journal: Journal,
        relay: Relay,
        clock: Callable[[], float],
        *,
        context: Callable[[], ssl.SSLContext | None] = lambda: None,
        max_frame_bytes: int = MAX_FRAME_BYTES,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        observer: Observer | None = None,
    ) -> None:
        self.terms = terms
        self._observer = observer or Observer()
        self.state = state
        self._node_url = node_url
        self._context = context
        self._contract = contract
        self._journal = journal
        self._relay = relay
        self._clock = clock
        self._codec = codec_for(terms.dialect)
        self._items: asyncio.Queue[Item] = asyncio.Queue()
        self._in_hand: Item | None = None
        self._rows: dict[str, InboxRow] = {}
        self._line_grew = True
        self._is_line_told = False
        self._takes_from_line = True
        self._decided_at = 0.0
        self._moved = asyncio.Event()
        self._is_losing = False
        self._sieve = Sieve(terms.name)
        self._presented = ""
        self.taken_over = asyncio.Event()
        """Set once what an earlier owner left is known: only then may the bus be read."""
        self.room = Room(max_waiting_bytes)
        """What the node sent and the journal does not hold yet."""
        self.link = Link(self.address, self, max_frame_bytes=max_frame_bytes, room=self.room)

    # --- what the outside gives; none of these blocks ---------------------------------------------------

    def link_up(self, resumed: bool) -> None:
        self._items.put_nowait(LinkUp(resumed, self._presented))

    def received(self, text: str | bytes, waited: float) -> None:
        self._items.put_nowait(Text(text, self._clock() - waited))

    def link_down(self, code: int, reason: str) -> None:
        self._is_losing = True
        self._items.put_nowait(LinkDown(code, reason))

    def link_failed(self, attempts: int, reason: str, code: Code) -> None:
        self._items.put_nowait(LinkFailed(attempts, reason, code))

    def line_grew(self) -> None:
        if not self._is_line_told:  # one is enough: what the node says must not wait behind one for each command
            self._is_line_told = True
            self._items.put_nowait(LineGrew())

    def ask(self, row: InboxRow) -> None:
        self._items.put_nowait(Asked(row))

    def reply(self, replied: Replied) -> None:
        self._items.put_nowait(replace(replied, arrived_at=self._clock()))

    def approve(self, approved: Approved) -> None:
        self._items.put_nowait(approved)

    def chain_seen(self, seen: ChainSeen | CloseSeen) -> None:
        self._items.put_nowait(seen)

    def unpublished(self, routing_key: str, sentence: str) -> None:
        self._items.put_nowait(Unpublished(routing_key, sentence))

    def audit_grew(self, anchor: str) -> None:
        """Puts the anchor among the channel's events, whose readers then hold it."""
        self._items.put_nowait(AuditGrew(anchor))

    async def drained(self) -> None:
        """Returns once everything given so far was decided on and committed."""
        await self._items.join()

    def take_no_more(self) -> None:
        """What waits in the line stays there, for the next start."""
        self._takes_from_line = False

    async def settled(self) -> None:
        """Returns once no signature of ours waits for its outcome."""
        while _is_signed(self.state):
            await self._moved.wait()

    # --- the loop ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take over, keep the link, and work. Ends by cancellation, or with the error that halts the channel."""
        await self._take_over()
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(self.link.run(), name=f"link {self.terms.name}")
            try:
                await self._work()
            finally:
                keeper.cancel()

    async def tell_halted(self, error: BaseException) -> None:
        """The last event of a channel that met a bug of ours: what kind, and at which round it stands."""
        self.taken_over.set()  # whoever waits for it must not wait for ever
        sentence = f"the bridge halted this channel: {type(error).__name__}"
        await self._tell("alarm", Code.INVARIANT_VIOLATION.value, {"sentence": sentence, "round": self.state.round})
        await _settle(self._in_hand)  # what it broke at is decided on by nobody any more
        while not self._items.empty():
            await _settle(self._items.get_nowait())
            self._items.task_done()

    async def _tell(self, family: str, name: str, data: Mapping[str, object]) -> None:
        """An event that changes nothing in the channel's state."""
        batch, draft = self._contract.compose(self.state, (Publish(family, name, data),), self._rows, self._clock())
        rows = await self._journal.commit(batch)
        self._contract.settle(draft)
        self._relay.add(rows)

    async def _take_over(self) -> None:
        """What an earlier owner left: its command in flight, and queries nobody answered."""
        for row in await self._journal.running(self.terms.name):
            self._rows[row.command_id] = row
            if issubclass(COMMANDS[row.kind], Direct):
                self._items.put_nowait(Asked(row))
        await self._decide(TakenOver())
        self.taken_over.set()

    async def _work(self) -> None:
        """Commands that end at once may fill the line for ever, so each waits for all that came meanwhile."""
        while True:
            has_moved = await self._take_command()
            for _ in range(self._items.qsize()):
                await self._give(self._items.get_nowait())
                has_moved = True  # and with it, perhaps, the line
            if has_moved and not self._is_due():
                continue
            item = await self._next()
            if item is None:
                await self._decide(Ticked())
            else:
                await self._give(item)

    async def _give(self, item: Item) -> None:
        self._in_hand = item
        try:
            await self._handle(item)
        finally:
            self._items.task_done()
        if isinstance(item, Text):
            self.room.give()
        self._in_hand = None

    async def _next(self) -> Item | None:
        """What comes next; None when time itself has something to say first."""
        wake = self._wake()
        if wake is None:
            return await self._items.get()
        if self._is_due():
            return None
        try:
            async with asyncio.timeout(max(0.0, wake - self._clock())):
                return await self._items.get()
        except TimeoutError:
            return None

    def _wake(self) -> float | None:
        return next_wake(self.terms, self.state, self._decided_at)

    def _is_due(self) -> bool:
        """Whether time has something to say, however much else waits."""
        wake = self._wake()
        return wake is not None and wake <= self._clock()

    async def _handle(self, item: Item) -> None:
        match item:
            case Text(text, arrived_at):
                decoded = self._decode(text)
                if isinstance(decoded, SignRequested):
                    decoded = replace(decoded, arrived_at=arrived_at)
                if self._sieve.passes(decoded, self._clock(), is_full=self._relay.is_full):
                    await self._decide(decoded, arrived_at=arrived_at)
            case Replied():
                await self._judge(item)
            case Approved():
                await self._decide(_read_approval(item))
                await item.settled()
            case LineGrew():
                self._line_grew, self._is_line_told = True, False
            case Asked(row):
                self._rows[row.command_id] = row
                await self._decide(_read_direct(row))
            case LinkDown():
                await self._decide(item)
                self._is_losing = False
                self._tell_moved()
            case Unpublished(routing_key, sentence):
                data = {"routing_key": routing_key, "sentence": sentence}
                await self._tell("alarm", Code.EVENT_UNROUTABLE.value, data)
            case AuditGrew(anchor):
                await self._tell("audit", "head", {"anchor": anchor})
            case LinkUp() | LinkFailed() | Withheld() | ChainSeen() | CloseSeen():
                await self._decide(item)

    async def _take_command(self) -> bool:
        """Give the head of the line to `step` if nothing of ours is beyond it. Whether there was one."""
        # What no checkpoint may enter, nothing may: the journal need not be asked.
        if not (self._takes_from_line and self._line_grew and may_enter(self.terms, self.state, Checkpoint.kind)):
            return False
        row = await self._journal.next_command(self.terms.name)
        if row is None:
            self._line_grew = False
            return False
        if not may_enter(self.terms, self.state, row.kind):
            return False
        self._rows[row.command_id] = row
        command = COMMANDS[row.kind].model_validate_json(row.body)
        assert not isinstance(command, Direct)  # noqa: S101  # those are never put in the line
        await self._decide(CommandDue(command, row.author, row.body_hash), began=row.command_id)
        return True

    def _decode(self, text: str | bytes) -> Input:
        decoded = read_input(self._codec, self.terms, text)
        if isinstance(decoded, FrameRejected):
            log.warning("frame_rejected", extra={"channel": self.terms.name, "reason": decoded.reason})
        return decoded

    async def _judge(self, replied: Replied) -> None:
        """A reply to the open request is checked; any other is only told that it is not open."""
        sign_request_id = SignRequestId(replied.reply.sign_request_id)
        opened = asked_for(self.state, sign_request_id)
        if opened is not None:
            verdict = assess(self.terms, opened.transaction, replied.reply)
        else:
            verdict = BadReply("the request is not open")
        await self._decide(SignReplied(sign_request_id, replied.author, verdict), arrived_at=replied.arrived_at)
        await replied.settled()

    async def _decide(self, input_: Input, began: str | None = None, arrived_at: float | None = None) -> None:
        """Decide, commit, perform. `began`: the command that leaves the journal's line with this step."""
        now = self._decided_at = self._clock()
        state, effects = step(self.terms, self.state, input_, now)
        if state == self.state and not effects and began is None:
            return
        batch, draft = self._contract.compose(state, effects, self._rows, now)
        if began is not None:
            batch = replace(batch, mark_inbox=((CommandId(began), "running", None), *batch.mark_inbox))
        rows = await self._journal.commit(batch)
        self._contract.settle(draft)
        before, self.state = self.state, state
        self._tell_moved()
        self._forget_ended(effects)
        self._relay.add(rows)
        self._observer.tell(
            Decided(self.terms, input_, before, state, effects, batch.events, arrived_at, self._clock())
        )
        await self._perform(effects, input_, arrived_at)

    def _tell_moved(self) -> None:
        """Wakes whoever waits for the state to change; each waits for the next change only."""
        self._moved.set()
        self._moved = asyncio.Event()

    def _forget_ended(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if isinstance(effect, Conclude) and effect.outcome is not Outcome.IN_DOUBT:
                self._rows.pop(effect.command_id, None)

    async def _perform(self, effects: tuple[Effect, ...], input_: Input, arrived_at: float | None) -> None:
        for effect in effects:
            match effect:
                case Send(request, not_after) if not_after is not None and self._clock() >= not_after:
                    log.warning("signature_withheld", extra={"channel": self.terms.name})
                    self._items.put_nowait(Withheld(request.request_id))
                case Send(request):
                    if await self._send(request):
                        self._observer.tell(Written(input_, arrived_at, self._clock()))
                case Reconnect(reason):
                    await self.link.reconnect(reason)
                case Rest():
                    await self.link.rest()
                case _:
                    pass  # published or stored with the commit

    async def _send(self, request: NodeRequest) -> bool:
        """False: it could not be written. It is not repeated: `LinkDown` follows, and then the state is asked."""
        try:
            await self.link.send(self._codec.encode(request))
        except NodeUnavailable as error:
            log.info("frame_not_sent", extra={"channel": self.terms.name, "error": str(error)})
            return False
        return True

    # --- what the link asks -----------------------------------------------------------------------------

    async def address(self) -> tuple[Address, bool]:
        """Where to connect, and with what: read from the journal at each try, the node may have rotated it.

        Answers only once the loss of the last socket was decided on, and not at all for a channel that is
        over: to connect on yesterday's belief would open a new channel.
        """
        while self._is_losing or self.state.is_over:
            await self._moved.wait()
        await asyncio.sleep(max(0.0, self.state.quiet_until - self._clock()))
        resume = await self._resume() if self.state.is_resumable else None
        if resume is None and self.state.is_resumable:
            # To open instead would make a second channel of a first that may exist.
            raise NodeUnavailable("the channel exists and the journal holds nothing to come back to it with")
        self._presented = "" if resume is None or resume.fsm_id is None else fingerprint(resume.fsm_id)
        query = self._codec.query(self.terms, resume)
        return Address(self._node_url, query, self._context()), resume is not None

    async def _resume(self) -> Resume | None:
        record = await self._journal.load(self.terms.name)
        if record is None or self.state.channel_id is None:
            return None
        if self.terms.dialect is Dialect.JSON_RPC:
            fsm_id = record.fsm_id
            if self.state.uses_previous and record.previous_fsm_id is not None:
                fsm_id = record.previous_fsm_id
            return None if fsm_id is None else Resume(self.state.channel_id, fsm_id=fsm_id)
        if record.cosigned is None:
            return None
        return Resume(self.state.channel_id, offchain_tx=record.cosigned)


def _is_signed(state: State) -> bool:
    """Whether a signature of ours is out whose outcome comes soon. The opening's comes with the chain."""
    operation, settling = state.operation, state.settling
    own = operation is not None and operation.stage is Stage.SIGNED_SENT
    return own or (settling is not None and not settling.tag.is_opening)


async def _settle(item: Item | None) -> None:
    if isinstance(item, Replied | Approved):
        await item.settled()


def _read_approval(approved: Approved) -> ApprovalGiven:
    body = approved.body
    return ApprovalGiven(
        ApprovalRequestId(body.approval_request_id),
        approved.author,
        body.body_hash,
        body.decision == "approve",
        body.reason or "",
    )


def _read_direct(row: InboxRow) -> QueryDue | ResolveDue:
    """What stands outside the line, as the input it is."""
    if row.kind == Resolve.kind:
        return ResolveDue(Resolve.model_validate_json(row.body), row.author)
    return QueryDue(Query.model_validate_json(row.body))
