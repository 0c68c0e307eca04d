"""One channel's side of the bus contract: effects in, rows for one commit out.

Numbers the events (gap-free), chains them by digest, and turns outcomes into results. Holds the two counters
of the channel between commits; `compose` does not change them, `settle` does once the commit is through.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from bridge.app import audit
from bridge.channel.effect import (
    Abandon,
    AskSignature,
    Conclude,
    Effect,
    KeepFsmId,
    KeepState,
    Publish,
    Reconnect,
    RecordForward,
    RefuseApproval,
    RefuseReply,
    Rest,
    Send,
)
from bridge.channel.identifier import ChannelName, CommandId, FsmId
from bridge.channel.state import State, encode
from bridge.channel.terms import Terms
from bridge.errors import InvariantViolation
from bridge.journal.record import Abandoned, Batch, EventRow, InboxRow, LedgerRow, NewOutbox, PostingRow
from bridge.wire.envelope import Envelope, body_digest, write_data, write_json
from bridge.wire.outgoing import event_envelope, sign_request_envelope
from bridge.wire.result import refused_envelope, result_envelopes
from bridge.wire.trace import Trace, carry

POSTED = ("ledger", "posted")
"""The event whose data are an entry of the books, kept beyond the events' retention."""


@dataclass(frozen=True, slots=True)
class Names:
    """What every message of this deployment carries."""

    prefix: str
    event_type_prefix: str


@dataclass(slots=True)
class Draft:
    """A batch in the making. Lives for one step."""

    seq: int
    prev: str
    outbox: list[NewOutbox] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    ledger: list[LedgerRow] = field(default_factory=list)
    postings: list[PostingRow] = field(default_factory=list)
    abandon: list[Abandoned] = field(default_factory=list)
    marks: list[tuple[CommandId, str, bytes | None]] = field(default_factory=list)
    fsm_id: FsmId | None = field(default=None, repr=False)
    reestablished: bool | None = None
    cosigned: tuple[int, str] | None = None


class Contract:
    """`rows` maps a command id to its inbox row: who asked, and where the answer goes."""

    def __init__(self, names: Names, terms: Terms, *, seq: int, prev: str, epoch: int) -> None:
        self._names = names
        self._terms = terms
        self._seq = seq
        self._prev = prev
        self._epoch = epoch

    def compose(
        self, state: State, effects: Iterable[Effect], rows: Mapping[str, InboxRow], now: float
    ) -> tuple[Batch, Draft]:
        """Everything the effects want published or kept, as one batch with the new state and the audit of it."""
        effects = tuple(effects)
        draft = Draft(self._seq, self._prev)
        for effect in effects:
            self._add(draft, state, effect, rows, now)
        batch = Batch(
            channel=self._terms.name,
            state=encode(state),
            seq=draft.seq,
            prev=draft.prev,
            mark_inbox=tuple(draft.marks),
            outbox=tuple(draft.outbox),
            events=tuple(draft.events),
            ledger=tuple(draft.ledger),
            postings=tuple(draft.postings),
            abandon=tuple(draft.abandon),
            fsm_id=draft.fsm_id,
            reestablished=draft.reestablished,
            cosigned=draft.cosigned,
            audit=audit.entries(self._terms.name, state, effects, rows, now),
        )
        return batch, draft

    def settle(self, draft: Draft) -> None:
        """The commit is through: the next event is numbered after these."""
        self._seq, self._prev = draft.seq, draft.prev

    def _add(self, draft: Draft, state: State, effect: Effect, rows: Mapping[str, InboxRow], now: float) -> None:
        match effect:
            case Send() | Reconnect() | Rest():
                pass  # performed, not published
            case KeepFsmId(fsm_id):
                draft.fsm_id, draft.reestablished = fsm_id, state.reestablished
            case KeepState(transaction):
                draft.cosigned = (transaction.round or 0, transaction.text)
            case Abandon():
                draft.abandon.append(
                    Abandoned(effect.round, effect.hash, effect.command_id, effect.evidence, effect.is_exposed)
                )
            case RecordForward():
                draft.ledger.append(self._ledger_row(effect, now))
            case AskSignature(request):
                envelope = sign_request_envelope(
                    self._names.prefix, self._terms, request, type_prefix=self._names.event_type_prefix
                )
                envelope = carry(envelope, _trace(rows, request.command_id))
                draft.outbox.append(NewOutbox(f"sign/{self._terms.name}", envelope))
            case RefuseReply(author=author) | RefuseApproval(author=author):
                envelope = refused_envelope(
                    self._names.prefix, self._terms.name, effect, at=now, type_prefix=self._names.event_type_prefix
                )
                draft.outbox.append(NewOutbox(f"results/{author}", envelope))
            case Publish():
                self._event(draft, state, effect, rows, now)
            case Conclude():
                self._result(draft, effect, rows, now)
            case _:
                assert_never(effect)

    def _event(self, draft: Draft, state: State, publish: Publish, rows: Mapping[str, InboxRow], now: float) -> None:
        seq = draft.seq + 1
        envelope, event_id = event_envelope(
            self._names.prefix,
            self._terms.name,
            publish,
            seq=seq,
            prev=draft.prev,
            round=state.round,
            channel_id=state.channel_id,
            epoch=self._epoch,
            at=now,
            type_prefix=self._names.event_type_prefix,
        )
        envelope = carry(envelope, _trace(rows, publish.data.get("command_id")))
        draft.seq, draft.prev = seq, body_digest(envelope.body)
        draft.outbox.append(NewOutbox(f"events/{self._terms.name}", envelope))
        draft.events.append(self._event_row(envelope, event_id, seq, now))
        if (publish.family, publish.name) == POSTED:
            body = write_json(write_data(publish.data))
            row = PostingRow(self._terms.name, publish.data["entry"], seq, event_id, now, body)
            draft.postings.append(row)

    def _event_row(self, envelope: Envelope, event_id: str, seq: int, now: float) -> EventRow:
        return EventRow(
            channel=self._terms.name,
            seq=seq,
            event_id=event_id,
            routing_key=envelope.routing_key,
            type=envelope.type,
            body=envelope.body,
            headers=envelope.headers,
            at=now,
        )

    def _result(self, draft: Draft, conclude: Conclude, rows: Mapping[str, InboxRow], now: float) -> None:
        row = rows.get(conclude.command_id)
        if row is None:
            raise InvariantViolation(f"an outcome for a command nobody gave: {conclude.command_id}")
        envelopes = result_envelopes(
            self._names.prefix,
            row.author,
            ChannelName(row.channel),
            conclude,
            reply_to=row.reply_to,
            correlation_id=row.correlation_id,
            at=now,
            type_prefix=self._names.event_type_prefix,
        )
        trace = _trace(rows, row.command_id)
        draft.outbox.extend(NewOutbox(f"results/{row.author}", carry(one, trace)) for one in envelopes)
        draft.marks.append((conclude.command_id, conclude.outcome.value, envelopes[0].body))

    def _ledger_row(self, record: RecordForward, now: float) -> LedgerRow:
        return LedgerRow(
            channel=self._terms.name,
            round=record.round,
            hash=record.hash,
            command_id=record.command_id,
            tag=record.tag.value,
            signed_tx=record.signed_tx,
            attempt=record.attempt,
            epoch=self._epoch,
            at=now,
        )


def _trace(rows: Mapping[str, InboxRow], command_id: str | None) -> Trace:
    """The trace of the command that caused it, as it came; none for what the peer or the chain has caused."""
    row = None if command_id is None else rows.get(command_id)
    return Trace() if row is None else Trace(row.traceparent, row.tracestate)
