"""What our programs publish besides results: sign requests, sign replies, commands and events, built.

Pure and repeatable: the same facts give the same bytes. Nothing here decides whether something is published,
or when; the journal keeps the envelopes until the broker has them. Contract: design.md section 4.
"""

import base64
from collections.abc import Mapping
from typing import Any

from bridge.channel.command import Command, Direct
from bridge.channel.effect import Publish, SignRequest
from bridge.channel.identifier import Account, ChannelId, ChannelName
from bridge.channel.terms import Terms
from bridge.channel.transaction import Transaction, Update
from bridge.wire.body import EventBody, SignReplyBody, SignRequestBody, TransactionBody, UpdateBody
from bridge.wire.encoding import decode
from bridge.wire.envelope import (
    TYPE_PREFIX,
    Envelope,
    seal,
    write_body,
    write_data,
    write_instant,
    write_json,
    write_text,
    write_word,
)
from bridge.wire.transaction import signing_payload, unwrap


def sign_request_envelope(
    prefix: str, terms: Terms, request: SignRequest, *, type_prefix: str = TYPE_PREFIX
) -> Envelope:
    """The question for the signers of `request.account`. A repeat is byte-identical, body and headers."""
    return seal(
        f"{prefix}.sign-requests",
        f"{request.account}.{request.tag.value}",
        write_body(_describe_request(terms, request)),
        source=prefix,
        event_id=f"sign-request:{request.sign_request_id}",
        event_type=f"{type_prefix}.sign-request.{request.tag.value}.v1",
        subject=terms.name,
        at=request.opened_at,
        correlation_id=request.sign_request_id,
    )


def _describe_request(terms: Terms, request: SignRequest) -> SignRequestBody:
    transaction = request.transaction
    payload = signing_payload(_inner_bytes(transaction), terms.network_id, terms.signing_form)
    return SignRequestBody(
        sign_request_id=request.sign_request_id,
        channel=terms.name,
        channel_id=request.channel_id,
        account=request.account,
        role=terms.role,
        tag=request.tag,
        network_id=terms.network_id,
        transaction=transaction.text,
        form="half_signed" if transaction.signatures else "unsigned",
        wrapped=transaction.wrapped,
        signing_form=terms.signing_form,
        signing_payload=base64.b64encode(payload).decode(),
        decoded=_describe_transaction(transaction),
        updates=None if request.updates is None else tuple(map(_describe_update, request.updates)),
        balances_before=_describe_balances(request.balances_before),
        balances_after=_describe_balances(request.balances_after),
        cause=request.cause,
        command_id=request.command_id,
        abandoned=request.abandoned,
        opened_at=write_instant(request.opened_at),
        deadline=write_instant(request.deadline),
    )


def _inner_bytes(transaction: Transaction) -> bytes:
    data = decode(transaction.text, "tx")
    return unwrap(data).inner if transaction.wrapped else data


def _describe_transaction(transaction: Transaction) -> TransactionBody:
    return TransactionBody(
        kind=transaction.kind,
        hash=transaction.hash,
        channel_id=transaction.channel_id,
        round=transaction.round,
        amount=_aettos(transaction.amount),
        account=transaction.account,
        fee=_aettos(transaction.fee),
        nonce=transaction.nonce,
        ttl=transaction.ttl,
        initiator=transaction.initiator,
        responder=transaction.responder,
        initiator_amount=_aettos(transaction.initiator_amount),
        responder_amount=_aettos(transaction.responder_amount),
        channel_reserve=_aettos(transaction.channel_reserve),
        lock_period=transaction.lock_period,
        state_hash=transaction.state_hash,
        signatures=transaction.signatures,
    )


def _describe_update(update: Update) -> UpdateBody:
    return UpdateBody(
        op=write_text(update.op),
        amount=_aettos(update.amount),
        from_account=update.from_account,
        to_account=update.to_account,
        data=None if update.data is None else write_text(update.data),
    )


def _describe_balances(balances: Mapping[str, int] | None) -> dict[str, str] | None:
    return None if balances is None else {account: str(amount) for account, amount in balances.items()}


def _aettos(amount: int | None) -> str | None:
    return None if amount is None else str(amount)


def sign_reply_envelope(
    prefix: str, account: Account, channel: ChannelName, reply: SignReplyBody, *, at: float
) -> Envelope:
    """A signer's answer. The same answer given again has the same id: the bridge uses one."""
    return seal(
        f"{prefix}.sign-replies",
        f"{account}.{channel}",
        write_json(reply.model_dump(mode="json", exclude_none=True)),
        source=prefix,
        event_id=f"sign-reply:{reply.sign_request_id}",
        event_type=f"{TYPE_PREFIX}.sign-reply.v1",
        subject=channel,
        at=at,
        correlation_id=reply.sign_request_id,
    )


def command_envelope(
    prefix: str, channel: ChannelName, command: Command | Direct, *, at: float, reply_to: str | None = None
) -> Envelope:
    """A command as our own clients (the command line, the demo) write it. Amounts as strings of digits."""
    values = command.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    return seal(
        f"{prefix}.commands",
        f"{channel}.{command.kind}",
        write_json(write_data(values)),
        source=prefix,
        event_id=f"command:{command.command_id}",
        event_type=f"{TYPE_PREFIX}.command.{command.kind}.v1",
        subject=channel,
        at=at,
        correlation_id=command.command_id,
        reply_to=reply_to,
    )


def event_envelope(
    prefix: str,
    channel: ChannelName,
    publish: Publish,
    *,
    seq: int,
    prev: str,
    round: int | None,  # noqa: A002  # the word of the glossary and of the body
    channel_id: ChannelId | None,
    epoch: int,
    at: float,
    type_prefix: str = TYPE_PREFIX,
) -> tuple[Envelope, str]:
    """One fact about a channel, and its stable id. `prev` is the `body_digest` of the event before it."""
    family, name = write_word(publish.family), write_word(publish.name)
    body = EventBody(
        channel=channel,
        channel_id=channel_id,
        seq=seq,
        prev=prev,
        round=round,
        epoch=epoch,
        at=write_instant(at),
        family=family,
        name=name,
        data=write_data(publish.data),
        raw=write_text(publish.raw) or None,
    )
    event_id = f"event:{channel}:{seq}"
    envelope = seal(
        f"{prefix}.events",
        f"{channel}.{family}.{name}",
        write_body(body),
        source=prefix,
        event_id=event_id,
        event_type=f"{type_prefix}.{family}.{name}.v1",
        subject=channel,
        at=at,
        correlation_id=_correlate(publish.data),
    )
    return envelope, event_id


def _correlate(data: Mapping[str, Any]) -> str | None:
    command_id = data.get("command_id")
    return command_id if isinstance(command_id, str) else None
