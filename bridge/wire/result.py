"""Answers to whoever wrote to us: results on the results exchange, and dead letters for what was refused.

Each result goes to `<user>.<channel>.<outcome>`; a copy goes to a reply address only where that address is
the author's own, or the broker's direct reply: otherwise a foreign `reply_to` could make us fill any queue.
Pure. Contract: design.md section 4, guarantees.md sections 7 and 8.
"""

import hashlib
from dataclasses import replace
from typing import Literal

from bridge.channel.command import COMMANDS
from bridge.channel.effect import Conclude, RefuseApproval, RefuseReply
from bridge.channel.identifier import ChannelName, CommandId
from bridge.errors import BodyError, Code, MayBeExecuted, Outcome
from bridge.wire.body import REFUSED, DeadLetterHeaders, ResultBody, classify
from bridge.wire.cloudevent import readable_body
from bridge.wire.envelope import (
    CHANNEL,
    TYPE_PREFIX,
    UNKNOWN,
    Envelope,
    Received,
    seal,
    write_body,
    write_data,
    write_instant,
    write_text,
)
from bridge.wire.incoming import (
    readable_approval_request_id,
    readable_command_id,
    readable_sign_request_id,
    split_command_key,
)
from bridge.wire.strictbody import clip

DIRECT_REPLY = "amq.rabbitmq.reply-to."
"""How the broker writes the address of a client that waits on the spot."""

Source = Literal["command", "sign_reply", "approval"]


def result_envelopes(
    prefix: str,
    user: str,
    channel: ChannelName,
    conclude: Conclude,
    *,
    reply_to: str | None,
    correlation_id: str | None,
    at: float,
    duplicate: bool = False,
    type_prefix: str = TYPE_PREFIX,
) -> tuple[Envelope, ...]:
    """A command's outcome for its author: the result proper, then the copy to a reply address if allowed."""
    body = ResultBody(
        command_id=conclude.command_id,
        channel=channel,
        command=conclude.command.kind,
        outcome=conclude.outcome,
        code=conclude.code,
        code_class=None if conclude.code is None else classify(conclude.code),
        sentence=clip(write_text(conclude.sentence)),
        executed=_executed(conclude.outcome),
        retryable=conclude.code is not None and conclude.code.is_retryable,
        round=conclude.round,
        tx_hash=conclude.hash,
        exposure=None if conclude.exposure is None else write_data(conclude.exposure),
        data=write_data(conclude.data),
        duplicate=duplicate,
        at=write_instant(at),
    )
    result = _address(prefix, user, body, at=at, correlation_id=correlation_id, type_prefix=type_prefix)
    return (result, *_copy(prefix, user, result, reply_to))


def status_envelopes(
    prefix: str,
    user: str,
    channel: ChannelName,
    command_id: CommandId,
    kind: str,
    status: str,
    *,
    reply_to: str | None,
    correlation_id: str | None,
    at: float,
    type_prefix: str = TYPE_PREFIX,
) -> tuple[Envelope, ...]:
    """The answer to a repeated id whose first command still runs: `accepted`, and how far it is."""
    body = ResultBody(
        command_id=command_id,
        channel=channel,
        command=kind,
        outcome=Outcome.ACCEPTED,
        status=status,
        executed="unknown",
        duplicate=True,
        at=write_instant(at),
    )
    result = _address(prefix, user, body, at=at, correlation_id=correlation_id, type_prefix=type_prefix)
    return (result, *_copy(prefix, user, result, reply_to))


def repeated_envelopes(
    prefix: str,
    user: str,
    stored: bytes,
    *,
    reply_to: str | None,
    correlation_id: str | None,
    at: float,
    type_prefix: str = TYPE_PREFIX,
) -> tuple[Envelope, ...]:
    """The answer to a repeated id whose first command has ended: the stored body again, marked a duplicate."""
    body = ResultBody.model_validate_json(stored).model_copy(update={"duplicate": True})
    result = _address(prefix, user, body, at=at, correlation_id=correlation_id, type_prefix=type_prefix)
    return (result, *_copy(prefix, user, result, reply_to))


def refused_envelope(
    prefix: str,
    channel: ChannelName,
    refuse: RefuseReply | RefuseApproval,
    *,
    at: float,
    type_prefix: str = TYPE_PREFIX,
) -> Envelope:
    """Tells a signer that his reply was not used, or an approver that his answer was not counted."""
    body = ResultBody(
        command_id=None,
        sign_request_id=refuse.sign_request_id if isinstance(refuse, RefuseReply) else None,
        approval_request_id=refuse.approval_request_id if isinstance(refuse, RefuseApproval) else None,
        channel=channel,
        outcome=REFUSED,
        code=refuse.code,
        code_class=classify(refuse.code),
        sentence=clip(write_text(refuse.reason)),
        executed=False,
        retryable=refuse.code.is_retryable,
        at=write_instant(at),
    )
    return _address(prefix, refuse.author, body, at=at, correlation_id=None, type_prefix=type_prefix)


def rejection_envelopes(
    prefix: str, received: Received, error: BodyError, *, at: float, type_prefix: str = TYPE_PREFIX
) -> tuple[Envelope, ...]:
    """For what was not accepted: the result first, the copy to a reply address if any, the dead letter last.

    What may have been executed is no dead letter. The caller acks the message only after the first and the last are
    durable in the outbox (ADR 0010).
    """
    source = name_source(received)
    body = _describe_rejection(received, error, source, at)
    result = _address(
        prefix,
        received.author,
        body,
        at=at,
        correlation_id=None if body.sign_request_id or body.approval_request_id else received.correlation_id,
        type_prefix=type_prefix,
        otherwise=_digest(received),
    )
    told = (result, *_copy(prefix, received.author, result, received.reply_to))
    if isinstance(error, MayBeExecuted):
        return told
    return (*told, _dead_letter(prefix, received, error, source, at, type_prefix))


def name_source(received: Received) -> Source:
    """What was written to us, by the exchange it came through."""
    if received.exchange.endswith(".sign-replies"):
        return "sign_reply"
    return "approval" if received.exchange.endswith(".approvals") else "command"


def _describe_rejection(received: Received, error: BodyError, source: Source, at: float) -> ResultBody:
    channel, kind = _place(received, source)
    is_command = source == "command"
    given = readable_body(received)
    return ResultBody(
        command_id=readable_command_id(given) if is_command else None,
        sign_request_id=readable_sign_request_id(given) if source == "sign_reply" else None,
        approval_request_id=readable_approval_request_id(given) if source == "approval" else None,
        channel=channel,
        command=kind,
        outcome=Outcome.REJECTED if is_command else REFUSED,
        code=error.code,
        code_class=classify(error.code),
        sentence=clip(write_text(error.sentence)),
        path=clip(write_text(error.path)),
        executed="unknown" if isinstance(error, MayBeExecuted) else False,
        retryable=error.code.is_retryable,
        at=write_instant(at),
    )


def _place(received: Received, source: Source) -> tuple[str | None, str | None]:
    """Channel and kind of command as the routing key names them, where it names ones that could be."""
    if source == "command":
        channel, kind = split_command_key(received.routing_key)
    else:
        channel, kind = received.routing_key.rpartition(".")[2], ""
    known_kind = kind if kind in COMMANDS else None
    return (channel if CHANNEL.fullmatch(channel) else None), known_kind


def _digest(received: Received) -> str:
    """Stands for a message whose own id cannot be read; the same when the broker delivers it again."""
    return hashlib.sha256(received.routing_key.encode("utf-8", "replace") + b"\0" + received.body).hexdigest()[:32]


def _dead_letter(
    prefix: str, received: Received, error: BodyError, source: Source, at: float, type_prefix: str
) -> Envelope:
    """What arrived, byte for byte. The author stands in a header: as `user_id` it would close our channel."""
    letter = seal(
        f"{prefix}.dead-letters",
        source,
        received.body,
        source=prefix,
        event_id=f"dead-letter:{_digest(received)}",
        event_type=f"{type_prefix}.dead-letter.{source}.v1",
        subject=_place(received, source)[0] or UNKNOWN,
        at=at,
        correlation_id=received.correlation_id,
    )
    headers = DeadLetterHeaders(
        code=error.code,
        code_class=classify(error.code),
        reason=clip(write_text(error.sentence)),
        path=clip(write_text(error.path)),
        first_seen=write_instant(at),
        source_queue=write_text(received.queue),
        source_exchange=write_text(received.exchange),
        routing_key=write_text(received.routing_key),
        author=received.author,
        source_content_type=write_text(received.content_type or ""),
    )
    words = {key: str(value) for key, value in headers.model_dump(mode="json").items()}
    return replace(letter, headers={**letter.headers, **words}, content_type="application/octet-stream")


def _executed(outcome: Outcome) -> bool | Literal["unknown"]:
    if outcome is Outcome.SUCCEEDED:
        return True
    return False if outcome in (Outcome.FAILED, Outcome.REJECTED) else "unknown"


def _address(
    prefix: str,
    user: str,
    body: ResultBody,
    *,
    at: float,
    correlation_id: str | None,
    type_prefix: str,
    otherwise: str = "",
) -> Envelope:
    """The result proper. `otherwise` names the message in the stable id if it has no readable id of its own."""
    is_unknown = body.channel is None or body.code is Code.UNKNOWN_CHANNEL
    place = UNKNOWN if is_unknown else body.channel
    own_id = body.command_id or body.sign_request_id or body.approval_request_id
    words = ["result", user, place, own_id or otherwise, body.outcome, body.code, body.status]
    return seal(
        f"{prefix}.results",
        f"{user}.{place}.{body.outcome}",
        write_body(body),
        source=prefix,
        event_id=":".join(str(word) for word in words if word) + (":duplicate" if body.duplicate else ""),
        event_type=f"{type_prefix}.result.{body.outcome}.v1",
        subject=body.channel or UNKNOWN,
        at=at,
        correlation_id=correlation_id or own_id,
    )


def _copy(prefix: str, user: str, result: Envelope, reply_to: str | None) -> tuple[Envelope, ...]:
    """Through the default exchange, and never waited for: the broker returns it although it arrived."""
    if reply_to is None or not may_answer(prefix, user, reply_to):
        return ()
    return (replace(result, exchange="", routing_key=reply_to, mandatory=False),)


def may_answer(prefix: str, user: str, reply_to: str) -> bool:
    """Whether this address is the author's own: the broker's direct reply, or a queue named after him."""
    own_queue = f"{prefix}.client.{user}."
    return reply_to.startswith(DIRECT_REPLY) or (user != UNKNOWN and reply_to.startswith(own_queue))
