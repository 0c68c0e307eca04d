"""Which effects and answers are audited, and as what. The rows go into the same commit as what they tell of.

A decision that is published as an event is audited by one line in `DECISIONS`. An answer to something that was
refused at the door is audited as it was told to its author. Source: guarantees.md 5.7.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bridge.channel.effect import Abandon, AskSignature, Conclude, Effect, Publish, RecordForward, RefuseReply, Send
from bridge.channel.identifier import ChannelName, SignRequestId
from bridge.channel.request import AskDeposit, AskShutdown, AskTransfer, AskWithdraw, SendMessage
from bridge.channel.signature import asked_for
from bridge.channel.state import State
from bridge.errors import Code, Outcome
from bridge.journal.record import AuditEntry, InboxRow
from bridge.wire.body import ResultBody
from bridge.wire.envelope import Envelope

DECISIONS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("sign", "forwarded"): ("sign_reply", "accepted"),
    ("sign", "refused"): ("sign_reply", "declined"),
    ("sign", "misbehaved"): ("sign_request", "misbehaved"),
    ("sign", "expired"): ("sign_request", "expired"),
    ("sign", "withdrawn"): ("sign_request", "withdrawn"),
    ("sign", "withheld"): ("forward", "withheld"),
    ("sign", "mismatch"): ("check", "refused"),
    ("sign", "unexpected"): ("check", "refused"),
    ("sign", "busy"): ("check", "refused"),
    ("sign", "denied"): ("policy", "denied"),
    ("command", "approval_requested"): ("approval", "requested"),
    ("command", "approval_given"): ("approval", "given"),
    ("command", "approval_denied"): ("approval", "denied"),
    ("command", "approval_refused"): ("approval", "refused"),
    ("command", "outcome_corrected"): ("outcome", "corrected"),
    ("transfer", "received"): ("outcome", "cosigned"),
    ("deposit", "acknowledged"): ("outcome", "cosigned"),
    ("withdraw", "acknowledged"): ("outcome", "cosigned"),
    ("shutdown", "acknowledged"): ("outcome", "cosigned"),
    ("transfer", "reverted"): ("outcome", "reverted"),
    ("deposit", "reverted"): ("outcome", "reverted"),
    ("withdraw", "reverted"): ("outcome", "reverted"),
    ("shutdown", "reverted"): ("outcome", "reverted"),
}
"""The event's family and name, then the audit's kind and verdict."""

TRIGGERS = AskTransfer | AskDeposit | AskWithdraw | AskShutdown | SendMessage
"""What is sent to the node only after the policy has permitted the command."""
OWN = "command"


def accepted(row: InboxRow) -> AuditEntry:
    """A command that enters the journal."""
    return AuditEntry(
        "command",
        "accepted",
        row.received_at,
        author=row.author,
        command_id=row.command_id,
        channel=row.channel,
    )


def replayed(row: InboxRow, letter: str | None) -> AuditEntry:
    """The same, sent again by an operator out of the dead letters; `letter` is the one he names."""
    return AuditEntry(
        "operator",
        "replayed",
        row.received_at,
        author=row.author,
        command_id=row.command_id,
        channel=row.channel,
        reference=letter,
    )


def refused(author: str, answer: Sequence[Envelope], at: float) -> tuple[AuditEntry, ...]:
    """What its author was told at the door; nothing if that was no refusal, but a repeat of what stands."""
    body = ResultBody.model_validate_json(answer[0].body)
    if body.code is None or body.duplicate:
        return ()
    return (
        AuditEntry(
            _kind(body, answer),
            "refused",
            at,
            author=author,
            command_id=body.command_id,
            channel=body.channel,
            code=body.code.value,
            reference=body.sign_request_id or body.approval_request_id,
        ),
    )


def _kind(body: ResultBody, answer: Sequence[Envelope]) -> str:
    """`command`, `sign_reply` or `approval`: the dead letter is sorted by it, where there is one."""
    if body.outcome is Outcome.REJECTED:
        return "command"
    letters = [envelope.routing_key for envelope in answer if envelope.exchange.endswith(".dead-letters")]
    return letters[0] if letters else "approval" if body.sign_request_id is None else "sign_reply"


def entries(
    channel: ChannelName, state: State, effects: Iterable[Effect], rows: Mapping[str, InboxRow], at: float
) -> tuple[AuditEntry, ...]:
    """What one step of a channel adds. `state` is the one the step led to; `rows` as for the contract."""
    return tuple(entry for effect in effects for entry in _entries(channel, state, effect, rows, at))


def _entries(
    channel: ChannelName, state: State, effect: Effect, rows: Mapping[str, InboxRow], at: float
) -> Iterator[AuditEntry]:
    match effect:
        case Send(request) if isinstance(request, TRIGGERS):
            yield _permitted(channel, state, rows, at)
        case AskSignature():
            yield from _asked(channel, effect, rows, at)
        case RefuseReply():
            yield _reply_refused(channel, state, effect, at)
        case RecordForward():
            yield AuditEntry(
                "forward",
                "handed_over",
                at,
                author=_author(rows, effect.command_id),
                command_id=effect.command_id,
                channel=channel,
                round=effect.round,
                tx_hash=effect.hash,
            )
        case Abandon():
            yield AuditEntry(
                "abandonment",
                "exposed" if effect.is_exposed else "unexposed",
                at,
                command_id=effect.command_id,
                channel=channel,
                round=effect.round,
                tx_hash=effect.hash,
            )
        case Conclude():
            yield from _concluded(channel, effect, rows, at)
        case Publish("audit", "resolved"):
            yield _decision(channel, effect, ("operator", str(effect.data.get("outcome"))), at)
        case Publish(family, name) if (family, name) in DECISIONS:
            yield _decision(channel, effect, DECISIONS[family, name], at)
        case _:
            pass  # decides nothing, or is told by one of these


def _permitted(channel: ChannelName, state: State, rows: Mapping[str, InboxRow], at: float) -> AuditEntry:
    operation = state.operation
    command_id = None if operation is None else operation.command.command_id
    return AuditEntry(
        "policy", "permitted", at, author=_author(rows, command_id), command_id=command_id, channel=channel
    )


def _asked(channel: ChannelName, effect: AskSignature, rows: Mapping[str, InboxRow], at: float) -> Iterator[AuditEntry]:
    """A proposal of the peer is shown to a signer only when the policy permits it; ours were judged before."""
    request = effect.request
    asked = AuditEntry(
        "sign_request",
        "asked",
        at,
        author=_author(rows, request.command_id),
        command_id=request.command_id,
        channel=channel,
        round=request.transaction.round,
        tx_hash=request.transaction.hash,
        reference=request.sign_request_id,
    )
    if request.cause != OWN:
        yield AuditEntry(
            "policy",
            "permitted",
            at,
            channel=channel,
            round=asked.round,
            tx_hash=asked.tx_hash,
            reference=asked.reference,
        )
    yield asked


def _reply_refused(channel: ChannelName, state: State, effect: RefuseReply, at: float) -> AuditEntry:
    opened = asked_for(state, SignRequestId(effect.sign_request_id))
    operation = state.operation if opened is not None and opened.cause == OWN else None
    return AuditEntry(
        "sign_reply",
        "refused",
        at,
        author=effect.author,
        command_id=None if operation is None else operation.command.command_id,
        channel=channel,
        round=None if opened is None else opened.transaction.round,
        tx_hash=None if opened is None else opened.transaction.hash,
        code=effect.code.value,
        reference=effect.sign_request_id,
    )


def _concluded(channel: ChannelName, effect: Conclude, rows: Mapping[str, InboxRow], at: float) -> Iterator[AuditEntry]:
    author = _author(rows, effect.command_id)
    code = None if effect.code is None else effect.code.value
    if effect.code is Code.POLICY_DENIED:
        yield AuditEntry(
            "policy", "denied", at, author=author, command_id=effect.command_id, channel=channel, code=code
        )
    yield AuditEntry(
        "outcome",
        effect.outcome.value,
        at,
        author=author,
        command_id=effect.command_id,
        channel=channel,
        round=effect.round,
        tx_hash=effect.hash,
        code=code,
    )


def _decision(channel: ChannelName, publish: Publish, named: tuple[str, str], at: float) -> AuditEntry:
    """From the event's own data: whoever may read the events finds the same there."""
    data = publish.data
    kind, verdict = named
    return AuditEntry(
        kind,
        verdict,
        at,
        author=_text(data, "by", "signer", "requester"),
        command_id=_text(data, "command_id"),
        channel=channel,
        round=data.get("target_round", data.get("round")),
        tx_hash=_text(data, "tx_hash"),
        code=_text(data, "code"),
        reference=_text(data, "sign_request_id", "approval_request_id"),
    )


def _text(data: Mapping[str, object], *names: str) -> str | None:
    """The first of them that is there. A code is its stable word."""
    found = next((data[name] for name in names if data.get(name) is not None), None)
    return None if found is None else str(found)


def _author(rows: Mapping[str, InboxRow], command_id: str | None) -> str | None:
    row = None if command_id is None else rows.get(command_id)
    return None if row is None else row.author
