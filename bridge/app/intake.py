"""The bus's side doors: commands, sign replies and approvals from their queues into the journal and the workers.

A command is acked once it is journaled (F1), or once its refusal and its dead letter are in the outbox, never
before. A reply or an approval is acked once the step that used it is committed. Whatever one message holds, the
next is read. While the outbox is full nothing that adds to it is taken in, except the sign replies channels wait for.
"""

import asyncio
import logging
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bridge.app import audit
from bridge.app.bus import Consumes, Delivery
from bridge.app.contract import Names
from bridge.app.observer import Observer, Rejected
from bridge.app.relay import Relay
from bridge.app.worker import Approved, Replied, Worker
from bridge.channel.command import Checkpoint, Command, Direct, Query, Resolve
from bridge.channel.effect import RefuseApproval, RefuseReply
from bridge.channel.identifier import ApprovalRequestId, ChannelName, CommandId, SignRequestId
from bridge.channel.signature import asked_for
from bridge.errors import BodyError, Code, MayBeExecuted
from bridge.journal.journal import Journal
from bridge.journal.record import AuditEntry, Batch, InboxRow, NewOutbox
from bridge.wire.cloudevent import unfold
from bridge.wire.envelope import Envelope, Received, write_instant
from bridge.wire.incoming import (
    NEWEST,
    body_hash,
    is_replay,
    read_approval,
    read_command,
    read_sign_reply,
    readable_command_id,
)
from bridge.wire.letter import LETTER, read_letter_id
from bridge.wire.result import (
    refused_envelope,
    rejection_envelopes,
    repeated_envelopes,
    status_envelopes,
)
from bridge.wire.trace import read_trace

log = logging.getLogger(__name__)

LETTERS = "dead-letters"
"""The lane of all dead letters: their queue refuses when it is full, and no result may wait behind one."""
HALTED = "the channel is halted: its operators have been told"


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much may wait in the journal before a command is refused with `channel_busy`."""

    per_channel: int = 1000
    total: int = 20_000


@dataclass(frozen=True, slots=True)
class Desk:
    """What every intake works at, and how it answers where no channel's state is concerned."""

    names: Names
    workers: Mapping[ChannelName, Worker]
    halted: Container[ChannelName]
    journal: Journal
    relay: Relay
    clock: Callable[[], float]
    observer: Observer = field(default_factory=Observer)

    async def answer(self, author: str, envelopes: Sequence[Envelope]) -> None:
        """Durable and audited, then on its way: results in their order, letters in theirs."""
        outbox = tuple(NewOutbox(self._lane(author, envelope), envelope) for envelope in envelopes)
        entries = audit.refused(author, envelopes, envelopes[0].timestamp)
        self.relay.add(await self.journal.commit(Batch(outbox=outbox, audit=entries)))

    def _lane(self, author: str, envelope: Envelope) -> str:
        return LETTERS if envelope.exchange == f"{self.names.prefix}.{LETTERS}" else f"results/{author}"

    async def reject(self, received: Received, error: BodyError) -> None:
        """The refusal and the raw bytes, both in the outbox before the ack: neither can be lost any more."""
        envelopes = rejection_envelopes(
            self.names.prefix, received, error, at=self.clock(), type_prefix=self.names.event_type_prefix
        )
        await self.answer(received.author, envelopes)
        self.observer.tell(Rejected(error.code))

    async def refuse(self, channel: ChannelName, refusal: RefuseReply | RefuseApproval) -> None:
        """What could be read and is of no use to anybody."""
        envelope = refused_envelope(
            self.names.prefix, channel, refusal, at=self.clock(), type_prefix=self.names.event_type_prefix
        )
        await self.answer(refusal.author, [envelope])
        self.observer.tell(Rejected(refusal.code))


class CommandIntake:
    def __init__(self, desk: Desk, limit: Backlog) -> None:
        self._desk = desk
        self._limit = limit

    async def run(self, consumer: Consumes) -> None:
        async for delivery in consumer:
            await self._desk.relay.room()
            await self.handle(delivery)

    async def handle(self, delivery: Delivery) -> None:
        received = delivery.received
        try:
            plain = unfold(received)
            known = await self._find(plain)
            if known is None:
                await self._accept(plain)
            else:
                await self._repeat(plain, known)
        except BodyError as error:
            log.info("command_rejected", extra={"code": error.code.value, "path": error.path})
            await self._desk.reject(received, error)
        await delivery.ack()

    async def _find(self, received: Received) -> InboxRow | None:
        """What is known of its id, asked before anything is judged: the rules are for what is to be accepted.

        A repeat may come when its command is too old, its channel halted or gone from the configuration. A refusal
        would then call a command "not executed" that was.
        """
        command_id = readable_command_id(received.body)
        return None if command_id is None else await self._desk.journal.find_command(command_id)

    async def _accept(self, received: Received) -> None:
        now = datetime.fromtimestamp(self._desk.clock(), UTC)
        channel, command = read_command(received, channels=self._desk.workers, now=now)
        self._check_memory(command)
        if channel in self._desk.halted:
            raise BodyError(Code.CHANNEL_BUSY, HALTED)
        await self._check_backlog(channel, command)
        row = self._row(received, channel, command)
        await self._desk.journal.commit(Batch(add_inbox=(row,), audit=tuple(_entries(received, row))))
        log.info("command_journaled", extra={"channel": channel, "command_id": row.command_id, "kind": row.kind})
        worker = self._desk.workers[channel]
        if isinstance(command, Direct):
            worker.ask(row)
        else:
            worker.line_grew()

    def _row(self, received: Received, channel: ChannelName, command: Command | Direct) -> InboxRow:
        assert received.user_id is not None  # noqa: S101  # read_command refuses a command without
        trace = read_trace(received.headers)
        return InboxRow(
            command_id=CommandId(command.command_id),
            channel=channel,
            kind=command.kind,
            author=received.user_id,
            body_hash=body_hash(received),
            body=received.body,
            reply_to=received.reply_to,
            correlation_id=received.correlation_id,
            received_at=self._desk.clock(),
            traceparent=trace.parent,
            tracestate=trace.state,
            status="running" if isinstance(command, Direct) else "journaled",
        )

    def _check_memory(self, command: Command | Direct) -> None:
        """Nothing is accepted whose id may have been: a clock that was far ahead can make fresh ids forgotten."""
        known_since = self._desk.journal.forgotten_until + NEWEST.total_seconds()
        if command.issued_at.timestamp() <= known_since:
            sentence = (
                f"ids of commands issued up to {write_instant(known_since)} were forgotten while the clock was wrong:"
                " this one may have been executed, see the books before you give it a new id"
            )
            raise MayBeExecuted(Code.STALE_COMMAND, sentence, "issued_at")

    async def _check_backlog(self, channel: ChannelName, command: Command | Direct) -> None:
        if isinstance(command, Query | Resolve | Checkpoint):
            return  # what mends a channel must not wait behind what clogs it
        waiting = await self._desk.journal.backlog()
        if waiting.get(channel, 0) >= self._limit.per_channel or sum(waiting.values()) >= self._limit.total:
            raise BodyError(Code.CHANNEL_BUSY, "too many commands of this channel wait already")

    async def _repeat(self, received: Received, known: InboxRow) -> None:
        """An id we have met. The same command again gets what is known of it; any other is refused."""
        if known.author != received.user_id:
            raise BodyError(Code.FORBIDDEN, "this command_id is not yours to use", "command_id")
        if known.body_hash != body_hash(received):
            raise BodyError(Code.IDEMPOTENCY_CONFLICT, "another command was given under this command_id", "command_id")
        await self._desk.answer(known.author, self._repeat_answer(received, known))

    def _repeat_answer(self, received: Received, known: InboxRow) -> tuple[Envelope, ...]:
        prefix, type_prefix = self._desk.names.prefix, self._desk.names.event_type_prefix
        address = {"reply_to": received.reply_to, "correlation_id": received.correlation_id}
        if known.outcome is not None:
            return repeated_envelopes(
                prefix, known.author, known.outcome, **address, at=self._desk.clock(), type_prefix=type_prefix
            )
        return status_envelopes(
            prefix,
            known.author,
            ChannelName(known.channel),
            CommandId(known.command_id),
            known.kind,
            known.status,
            **address,
            at=self._desk.clock(),
            type_prefix=type_prefix,
        )


def _entries(received: Received, row: InboxRow) -> Iterator[AuditEntry]:
    yield audit.accepted(row)
    if is_replay(received.routing_key):
        yield audit.replayed(row, read_letter_id(received.headers.get(LETTER)))


class ReplyIntake:
    """What signers answer. The outbox may be full: an answer that is waited for passes, everything else waits."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def run(self, consumer: Consumes) -> None:
        async with asyncio.TaskGroup() as group:
            async for delivery in consumer:
                if self._desk.relay.has_room or self._is_awaited(delivery.received):
                    await self.handle(delivery)
                else:
                    # Beside the others: a signed operation must not wait for the refusal of a stray. No more wait like
                    # this than the prefetch of each connection there was while the outbox was full.
                    group.create_task(self._handle_later(delivery))

    async def _handle_later(self, delivery: Delivery) -> None:
        await self._desk.relay.room()
        await self.handle(delivery)

    def _is_awaited(self, received: Received) -> bool:
        """Whether its channel has asked for it: what it brings adds rows, and there is one such request a channel."""
        try:
            _, channel, reply = read_sign_reply(unfold(received))
        except BodyError:
            return False
        worker = self._desk.workers.get(channel)
        return worker is not None and asked_for(worker.state, SignRequestId(reply.sign_request_id)) is not None

    async def handle(self, delivery: Delivery) -> None:
        """Given to its channel; or refused to its author, and kept as a dead letter if it cannot be read."""
        received = delivery.received
        try:
            account, channel, reply = read_sign_reply(unfold(received))
        except BodyError as error:
            await self._desk.reject(received, error)
            await delivery.ack()
            return
        worker = self._desk.workers.get(channel)
        if worker is not None and worker.terms.own == account and channel not in self._desk.halted:
            worker.reply(Replied(received.author, reply, delivery.ack))
            return
        request_id, sentence = SignRequestId(reply.sign_request_id), "no such channel for this account"
        await self._desk.refuse(channel, RefuseReply(request_id, received.author, Code.SIGN_REQUEST_UNKNOWN, sentence))
        await delivery.ack()


class ApprovalIntake:
    """What approvers answer. Whether an answer counts is decided where the question stands."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def run(self, consumer: Consumes) -> None:
        async for delivery in consumer:
            await self._desk.relay.room()
            await self.handle(delivery)

    async def handle(self, delivery: Delivery) -> None:
        """Given to its channel; or refused to its author, and kept as a dead letter if it cannot be read."""
        received = delivery.received
        try:
            channel, body = read_approval(unfold(received), channels=self._desk.workers)
        except BodyError as error:
            await self._desk.reject(received, error)
            await delivery.ack()
            return
        if channel not in self._desk.halted:
            self._desk.workers[channel].approve(Approved(received.author, body, delivery.ack))
            return
        request_id, sentence = ApprovalRequestId(body.approval_request_id), HALTED
        await self._desk.refuse(channel, RefuseApproval(request_id, received.author, Code.APPROVAL_UNKNOWN, sentence))
        await delivery.ack()
