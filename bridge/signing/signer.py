"""A signer: takes one sign request, gives one sign reply. Pure besides its keys and its clock.

It believes nothing it can work out itself: the bytes to sign are made anew from the transaction, and a
request whose `signing_payload` differs is refused, so that nobody can slip another chain's or another
program's text under the key. The same request asked twice gets the same reply, byte for byte; a request
delivered twice is therefore harmless. Source: design.md section 4, transactions.md section 4.
"""

import base64
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from bridge.channel.check import KINDS
from bridge.channel.identifier import Account
from bridge.channel.transaction import Transaction, Update
from bridge.errors import EncodingError, TransactionError
from bridge.signing.key import KeyRing
from bridge.signing.policy import Policy, Question, decide
from bridge.wire.body import Refusal, SignReplyBody, SignRequestBody, UpdateBody
from bridge.wire.encoding import decode
from bridge.wire.transaction import attach, read, signing_payload, unwrap

MAX_REASON_CHARACTERS = 500


class ReplyForm(StrEnum):
    """What a reply carries: all the bridge needs, or the transaction as the node gets it."""

    SIGNATURE = "signature"
    SIGNED_TX = "signed_tx"


class Signer:
    """The keys and the policy of one signing service. Keeps nothing between two requests."""

    def __init__(
        self, keys: KeyRing, policy: Policy, clock: Callable[[], float], reply: ReplyForm = ReplyForm.SIGNATURE
    ) -> None:
        """`clock` gives seconds since the epoch."""
        self._keys = keys
        self._policy = policy
        self._clock = clock
        self._reply = reply

    @property
    def accounts(self) -> tuple[Account, ...]:
        return tuple(sorted(self._keys))

    def answer(self, request: SignRequestBody) -> SignReplyBody:
        """A signature, a signed transaction or a refusal; never an exception for a request's content."""
        key = self._keys.get(Account(request.account))
        if key is None:
            return _refuse(request, f"no key for {request.account} here")
        try:
            question = _question(request, read(request.transaction))
            payload = _payload(request, question.transaction)
            deadline = datetime.fromisoformat(request.deadline).timestamp()
        except (EncodingError, TransactionError, ValueError) as error:
            return _refuse(request, f"the request cannot be read: {error}")
        objection = (
            _check_deadline(request, deadline, self._clock())
            or _check_kind(question)
            or _check_payload(request, payload)
            or self._check_policy(question)
        )
        if objection is not None:
            return _refuse(request, objection)
        return self._sign(request, question.transaction, key.sign(payload))

    def _check_policy(self, question: Question) -> str | None:
        decision = decide(self._policy, question)
        return None if decision.allowed else decision.reason

    def _sign(self, request: SignRequestBody, transaction: Transaction, signature: bytes) -> SignReplyBody:
        match self._reply:
            case ReplyForm.SIGNATURE:
                text = base64.b64encode(signature).decode()
                return SignReplyBody(sign_request_id=request.sign_request_id, signature=text)
            case ReplyForm.SIGNED_TX:
                signed_tx = attach(transaction, signature)
                return SignReplyBody(sign_request_id=request.sign_request_id, signed_tx=signed_tx)
            case _:
                assert_never(self._reply)


def _refuse(request: SignRequestBody, reason: str) -> SignReplyBody:
    refusal = Refusal(reason=reason[:MAX_REASON_CHARACTERS])
    return SignReplyBody(sign_request_id=request.sign_request_id, refusal=refusal)


def _payload(request: SignRequestBody, transaction: Transaction) -> bytes:
    """The bytes to sign, made from the transaction as we read it."""
    data = decode(transaction.text, "tx")
    inner = unwrap(data).inner if transaction.wrapped else data
    return signing_payload(inner, request.network_id, request.signing_form)


def _check_payload(request: SignRequestBody, payload: bytes) -> str | None:
    given = base64.b64encode(payload).decode()
    return None if request.signing_payload == given else "signing_payload is not that of the transaction"


def _check_deadline(request: SignRequestBody, deadline: float, now: float) -> str | None:
    # A late acknowledgement can leave the two sides at different rounds for ever: never sign one.
    return f"the deadline {request.deadline} has passed" if now >= deadline else None


def _check_kind(question: Question) -> str | None:
    kind, expected = question.transaction.kind, KINDS[question.tag]
    return None if kind is expected else f"a {question.tag} request holds a {expected}, not a {kind}"


def _question(request: SignRequestBody, transaction: Transaction) -> Question:
    return Question(
        account=Account(request.account),
        tag=request.tag,
        network_id=request.network_id,
        form=request.signing_form,
        transaction=transaction,
        updates=None if request.updates is None else tuple(map(_update, request.updates)),
        balances_before=_amounts(request.balances_before),
        balances_after=_amounts(request.balances_after),
    )


def _update(body: UpdateBody) -> Update:
    return Update(
        op=body.op,
        amount=None if body.amount is None else int(body.amount),
        from_account=None if body.from_account is None else Account(body.from_account),
        to_account=None if body.to_account is None else Account(body.to_account),
        data=body.data,
    )


def _amounts(balances: dict[str, str] | None) -> dict[str, int] | None:
    return None if balances is None else {account: int(amount) for account, amount in balances.items()}
