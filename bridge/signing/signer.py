"""A signer: takes one sign request, gives one sign reply, and remembers both.

It believes nothing it can work out itself: the bytes to sign are made anew from the transaction, and a
request whose `signing_payload` differs is refused, so that nobody can slip another chain's or another
program's text under the key. What place the transaction takes is read from its bytes as well, and the guard lets
no second one take it (`bridge.signing.guard`). The same request asked twice gets the same reply, byte for byte,
also after a crash. Source: design.md section 4, transactions.md section 4.
"""

import asyncio
import base64
import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from bridge.channel.check import KINDS
from bridge.channel.identifier import Account
from bridge.channel.transaction import Transaction, Update
from bridge.errors import EncodingError, GuardConflict, KeyRefused, KeyUnavailable, TransactionError
from bridge.signing import patience
from bridge.signing.guard import Answer, Claim, Guard
from bridge.signing.key import KeyRing
from bridge.signing.policy import Policy, Question, decide
from bridge.signing.refusal import Objection, refuse
from bridge.signing.slot import slot_of
from bridge.wire.body import SignReplyBody, SignRequestBody, UpdateBody
from bridge.wire.encoding import decode
from bridge.wire.signature import verify
from bridge.wire.transaction import attach, read, signed_parts, signing_payload, unwrap

MAIN_NETWORKS = frozenset({"ae_mainnet"})
"""Where money is real. Every other network id is a test's or a company's own."""
MOST_REPLACED = 256
"""What `replaces` can hold."""

_Objected = tuple[Objection, str]


class ReplyForm(StrEnum):
    """What a reply carries: all the bridge needs, or the transaction as the node gets it."""

    SIGNATURE = "signature"
    SIGNED_TX = "signed_tx"


@dataclass(frozen=True, slots=True)
class _Judged:
    """A request that may be signed. `claim` holds its place in the guard, durably."""

    question: Question
    payload: bytes
    deadline: float
    claim: Claim
    replaces: tuple[str, ...]


class Signer:
    """The keys, the policy and the guard of one signing service."""

    def __init__(
        self,
        keys: KeyRing,
        policy: Policy,
        clock: Callable[[], float],
        guard: Guard,
        reply: ReplyForm = ReplyForm.SIGNATURE,
        *,
        is_development: bool = False,
    ) -> None:
        """`clock` gives seconds since the epoch. `is_development`: nothing is signed for a main network."""
        self._keys = keys
        self._policy = policy
        self._clock = clock
        self._guard = guard
        self._reply = reply
        self._is_development = is_development
        self._turns: defaultdict[Account | None, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def accounts(self) -> tuple[Account, ...]:
        return tuple(sorted(self._keys))

    async def answer(self, request: SignRequestBody) -> SignReplyBody:
        """A signature, a signed transaction or a refusal; never an exception for a request's content.

        It is durable when it comes back, and comes back for the same request ever after. One at a time for an account.
        Raises GuardUnavailable: then nothing may be told to anybody.
        """
        account = Account(request.account)
        async with self._turns[account if account in self._keys else None]:
            kept = await self._guard.find(account, request.sign_request_id)
            return await self._settle(request, account) if kept is None else _repeat(request, *kept)

    async def _settle(self, request: SignRequestBody, account: Account) -> SignReplyBody:
        judged = await self._judge(request)
        if isinstance(judged, _Judged):
            reply = await self._sign(request, judged)
        else:
            reply = refuse(request.sign_request_id, *judged)
        claim = judged.claim if isinstance(judged, _Judged) and reply.refusal is None else None
        body = reply.model_dump_json(exclude_none=True).encode()
        await self._guard.keep(Answer(account, request.sign_request_id, _digest(request), body, claim), self._clock())
        return reply

    async def _judge(self, request: SignRequestBody) -> _Judged | _Objected:
        if request.account not in self._keys:
            return Objection.NO_KEY, f"no key for {request.account} here"
        try:
            question = _question(request, read(request.transaction))
            payload = _payload(request, question.transaction)
            deadline = datetime.fromisoformat(request.deadline).timestamp()
        except (EncodingError, TransactionError, ValueError) as error:
            return Objection.UNREADABLE, f"the request cannot be read: {error}"
        objected = (
            _check_deadline(request, deadline, self._clock())
            or _check_kind(question)
            or _check_payload(request, payload)
            or self._check_network(question)
            or self._check_policy(question)
        )
        return objected or await self._claim(request, question, payload, deadline)

    async def _claim(
        self, request: SignRequestBody, question: Question, payload: bytes, deadline: float
    ) -> _Judged | _Objected:
        slot = slot_of(question.transaction)
        if slot is None:
            return Objection.NOTHING_TO_GUARD, "the transaction does not say what it takes the place of"
        abandoned = frozenset(request.abandoned)
        claim = Claim(question.account, slot, question.transaction.hash, request.sign_request_id, abandoned)
        try:
            replaces = await self._guard.claim(claim, self._clock())
        except GuardConflict as conflict:
            return Objection.GUARD_CONFLICT, str(conflict)
        return _Judged(question, payload, deadline, claim, replaces[-MOST_REPLACED:])

    async def _sign(self, request: SignRequestBody, judged: _Judged) -> SignReplyBody:
        key = self._keys[judged.question.account]
        try:
            signature = await patience.sign(key, judged.payload, lambda: judged.deadline - self._clock())
            _check_signature(judged.question, signature)
        except KeyUnavailable as error:
            return refuse(request.sign_request_id, Objection.KEY_UNAVAILABLE, str(error))
        except KeyRefused as error:
            return refuse(request.sign_request_id, Objection.KEY_REFUSED, str(error))
        objected = _check_deadline(request, judged.deadline, self._clock())
        if objected is not None:
            return refuse(request.sign_request_id, *objected)
        return self._write(request, judged, signature)

    def _check_network(self, question: Question) -> _Objected | None:
        if not self._is_development or question.network_id not in MAIN_NETWORKS:
            return None
        return Objection.DEVELOPMENT_KEY, f"a development signer signs nothing for {question.network_id}"

    def _check_policy(self, question: Question) -> _Objected | None:
        decision = decide(self._policy, question)
        return None if decision.allowed else (Objection.POLICY_DENIED, decision.reason)

    def _write(self, request: SignRequestBody, judged: _Judged, signature: bytes) -> SignReplyBody:
        replaces = judged.replaces or None
        match self._reply:
            case ReplyForm.SIGNATURE:
                text = base64.b64encode(signature).decode()
                return SignReplyBody(sign_request_id=request.sign_request_id, signature=text, replaces=replaces)
            case ReplyForm.SIGNED_TX:
                signed_tx = attach(judged.question.transaction, signature)
                return SignReplyBody(sign_request_id=request.sign_request_id, signed_tx=signed_tx, replaces=replaces)
            case _:
                assert_never(self._reply)


def _digest(request: SignRequestBody) -> str:
    """Of what the signature would cover, so that an id cannot be used for two things."""
    parts = (request.transaction, request.network_id, request.signing_form.value)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _repeat(request: SignRequestBody, asked: str, body: bytes) -> SignReplyBody:
    """The answer of then. What else stands in the request, a policy changed since, a deadline passed: none counts."""
    if asked != _digest(request):
        sentence = f"{request.sign_request_id} was asked before for another transaction"
        return refuse(request.sign_request_id, Objection.REQUEST_CHANGED, sentence)
    return SignReplyBody.model_validate_json(body)


def _payload(request: SignRequestBody, transaction: Transaction) -> bytes:
    """The bytes to sign, made from the transaction as we read it."""
    data = decode(transaction.text, "tx")
    inner = unwrap(data).inner if transaction.wrapped else data
    return signing_payload(inner, request.network_id, request.signing_form)


def _check_payload(request: SignRequestBody, payload: bytes) -> _Objected | None:
    if request.signing_payload == base64.b64encode(payload).decode():
        return None
    return Objection.PAYLOAD_DIFFERS, "signing_payload is not that of the transaction"


def _check_deadline(request: SignRequestBody, deadline: float, now: float) -> _Objected | None:
    # A late acknowledgement can leave the two sides at different rounds for ever: never sign one.
    return (Objection.DEADLINE_PASSED, f"the deadline {request.deadline} has passed") if now >= deadline else None


def _check_kind(question: Question) -> _Objected | None:
    kind, expected = question.transaction.kind, KINDS[question.tag]
    if kind is expected:
        return None
    return Objection.WRONG_KIND, f"a {question.tag} request holds a {expected}, not a {kind}"


def _check_signature(question: Question, signature: bytes) -> None:
    """Raises KeyRefused. The bridge would refuse it too; but what is wrong here is ours to say."""
    inner = signed_parts(question.transaction).inner
    if not verify(signature, inner, question.account, question.network_id, (question.form,)):
        raise KeyRefused(f"what holds the key gave no signature of {question.account} for this transaction")


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
