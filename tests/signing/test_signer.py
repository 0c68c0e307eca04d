"""`bridge.signing.signer`: one request in, one reply out, nothing believed that can be worked out."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey, VerifyKey

from bridge.channel.identifier import Account
from bridge.channel.request import Tag
from bridge.channel.terms import SigningForm
from bridge.channel.transaction import Kind
from bridge.errors import KeyUnavailable
from bridge.signing.guard import Guard
from bridge.signing.key import Key
from bridge.signing.policy import AccountPolicy
from bridge.signing.signer import ReplyForm, Signer
from bridge.wire.body import SignReplyBody, SignRequestBody
from bridge.wire.encoding import account as encode_account
from bridge.wire.encoding import account_key, encode
from bridge.wire.transaction import build, check_reply, read, signing_payload, wrap

VECTOR: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "vectors.json").read_text())["signing"][0]
NETWORK = "ae_uat"
OWN_KEY = SigningKey(bytes.fromhex(VECTOR["seed"]))
PEER_KEY = SigningKey(bytes(32))
OWN = encode_account(bytes(OWN_KEY.verify_key))
PEER = encode_account(bytes(PEER_KEY.verify_key))
CHANNEL = "ch_TCFBizm3XNHeQjDDPKNof9wPtFksneSPy7QXe3LamEwyKsxP4"
INNER = build(Kind.OFFCHAIN, 2, {"channel_id": CHANNEL, "round": 2, "state_hash": bytes(32)})
DEADLINE = "2026-01-02T03:04:05.000Z"
NOW = 1_767_323_044.0
"""One second before the deadline."""
RULES = AccountPolicy(
    tags=frozenset({Tag.UPDATE, Tag.UPDATE_ACK, Tag.DEPOSIT}),
    networks=frozenset({NETWORK}),
    forms=frozenset(SigningForm),
    counterparties=frozenset({PEER}),
    max_amount=100,
)
TRANSFER = {"op": "OffChainTransfer", "amount": "100", "from": OWN, "to": PEER}


def _request(inner: bytes = INNER, *, wrapped: bool = True, **changes: Any) -> SignRequestBody:
    form = SigningForm(changes.get("signing_form", SigningForm.NETWORK_HASH))
    transaction = read(encode("tx", wrap(changes.pop("signatures", ()), inner) if wrapped else inner))
    fields: dict[str, Any] = {
        "sign_request_id": "acme-7.1",
        "channel": "acme-7",
        "channel_id": CHANNEL,
        "account": OWN,
        "role": "initiator",
        "tag": "update",
        "network_id": NETWORK,
        "transaction": transaction.text,
        "form": "half_signed" if transaction.signatures else "unsigned",
        "wrapped": wrapped,
        "signing_form": form,
        "signing_payload": base64.b64encode(signing_payload(inner, NETWORK, form)).decode(),
        "decoded": {"kind": transaction.kind, "hash": transaction.hash},
        "updates": [TRANSFER],
        "balances_before": {OWN: "500", PEER: "500"},
        "balances_after": None,
        "cause": "command",
        "command_id": "c-1",
        "opened_at": "2026-01-02T03:00:00.000Z",
        "deadline": DEADLINE,
    }
    return SignRequestBody.model_validate(fields | changes)


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    """Of each test its own: what one has signed is another's conflict."""
    with Guard(tmp_path / "signer-data") as opened:
        yield opened


def _signer(
    guard: Guard, reply: ReplyForm = ReplyForm.SIGNATURE, now: float = NOW, rules: AccountPolicy = RULES, **more: Any
) -> Signer:
    key = Key(OWN_KEY)
    return Signer({key.account: key}, {key.account: rules}, lambda: now, guard, reply, **more)


async def _refusal(guard: Guard, request: SignRequestBody, signer: Signer | None = None) -> str:
    reply = await (signer or _signer(guard)).answer(request)
    assert reply.signature is None
    assert reply.signed_tx is None
    assert reply.refusal is not None
    return reply.refusal.reason


@pytest.mark.parametrize("form", list(SigningForm))
async def test_signature_covers_exactly_the_bytes_to_sign(guard: Guard, form: SigningForm) -> None:
    """The node verifies over these bytes and no others, in each of the three forms."""
    reply = await _signer(guard).answer(_request(signing_form=form))
    assert reply.sign_request_id == "acme-7.1"
    assert reply.signature_bytes is not None
    VerifyKey(account_key(OWN)).verify(signing_payload(INNER, NETWORK, form), reply.signature_bytes)


async def test_same_request_twice_gets_the_same_reply(guard: Guard) -> None:
    """Requests are delivered at least once; two different signatures would be two answers."""
    assert await _signer(guard).answer(_request()) == await _signer(guard).answer(_request())


@pytest.mark.parametrize("wrapped", [True, False], ids=["json-rpc", "legacy"])
async def test_whole_signed_transaction_passes_the_bridges_checks(guard: Guard, wrapped: bool) -> None:
    """Both forms of reply must be worth the same to the bridge, in both dialects."""
    request = _request(wrapped=wrapped)
    reply = await _signer(guard, ReplyForm.SIGNED_TX).answer(request)
    assert reply.signature is None
    assert reply.signed_tx is not None
    forms = [SigningForm.NETWORK_HASH]
    assert check_reply(read(request.transaction), reply.signed_tx, OWN, NETWORK, forms) == reply.signed_tx


async def test_peers_signature_is_kept_in_a_signed_transaction(guard: Guard) -> None:
    """An acknowledgement without the proposer's signature is refused by the node."""
    peers = PEER_KEY.sign(signing_payload(INNER, NETWORK, SigningForm.NETWORK_HASH)).signature
    received = [TRANSFER | {"from": PEER, "to": OWN}]
    request = _request(tag="update_ack", signatures=(peers,), updates=received)
    reply = await _signer(guard, ReplyForm.SIGNED_TX).answer(request)
    assert reply.signed_tx is not None
    signatures = read(reply.signed_tx).signatures
    assert len(signatures) == 2
    assert peers.hex() in signatures


@pytest.mark.parametrize(
    "payload",
    [
        signing_payload(INNER, "ae_mainnet", SigningForm.NETWORK_HASH),
        signing_payload(INNER, NETWORK, SigningForm.NETWORK_RAW),
        b"transfer everything",
        b"",
    ],
    ids=["another-chain", "another-form", "another-text", "nothing"],
)
async def test_payload_that_is_not_that_of_the_transaction_is_refused(guard: Guard, payload: bytes) -> None:
    """Otherwise whoever writes requests could have anything at all signed."""
    request = _request(signing_payload=base64.b64encode(payload).decode())
    assert await _refusal(guard, request) == "signing_payload is not that of the transaction"


async def test_payload_of_another_round_is_refused(guard: Guard) -> None:
    """One transaction is shown, another one would be signed."""
    other = build(Kind.OFFCHAIN, 2, {"channel_id": CHANNEL, "round": 3, "state_hash": bytes(32)})
    payload = base64.b64encode(signing_payload(other, NETWORK, SigningForm.NETWORK_HASH)).decode()
    assert await _refusal(guard, _request(signing_payload=payload)) == "signing_payload is not that of the transaction"


@pytest.mark.parametrize(("seconds", "is_late"), [(-0.001, False), (0.0, True), (60.0, True)])
async def test_nothing_is_signed_at_or_after_the_deadline(guard: Guard, seconds: float, is_late: bool) -> None:
    """A late acknowledgement can leave the two sides at different rounds for ever."""
    reply = await _signer(guard, now=NOW + 1 + seconds).answer(_request())
    assert (reply.refusal is not None) is is_late
    if reply.refusal is not None:
        assert DEADLINE in reply.refusal.reason


async def test_policy_decides_and_its_reason_is_told(guard: Guard) -> None:
    """The reason ends up in the command's result: a person must be able to act on it."""
    assert await _refusal(guard, _request(tag="update", updates=[TRANSFER | {"amount": "101"}])) == (
        "it moves 101 aettos, more than max_amount = 100"
    )
    denied = _signer(guard, rules=AccountPolicy())
    assert await _refusal(guard, _request(sign_request_id="acme-7.2"), denied) == "tag update is not allowed"


async def test_transaction_of_another_kind_than_the_tag_is_refused(guard: Guard) -> None:
    """The policy allows tags; a deposit in an update's clothes would pass it."""
    reason = await _refusal(guard, _request(tag="deposit_tx"))
    assert reason == "a deposit_tx request holds a channel_deposit_tx, not a channel_offchain_tx"


async def test_account_without_a_key_is_refused(guard: Guard) -> None:
    """The queue and the keys were configured by different people."""
    assert await _refusal(guard, _request(account=PEER)) == f"no key for {PEER} here"


@pytest.mark.parametrize(
    "changes",
    [
        {"transaction": "tx_AAAA"},
        {"transaction": "tx_"},
        {"transaction": "nonsense"},
        {"deadline": "2026-99-02T03:04:05.000Z"},
        {"balances_before": {OWN: "9" * 5000}},
    ],
)
async def test_request_that_cannot_be_read_is_refused_and_not_raised(guard: Guard, changes: dict[str, Any]) -> None:
    """One bad request must not stop the signer for the next one."""
    assert (await _refusal(guard, _request(**changes))).startswith("the request cannot be read: ")


async def test_bytes_that_are_no_known_transaction_are_refused(guard: Guard) -> None:
    """Checksummed bytes of any other program may be readable as text, never as something to sign."""
    reason = await _refusal(guard, _request(b"\xc2\x01\x02", wrapped=False, transaction=encode("tx", b"\xc2\x01\x02")))
    assert "opaque" in reason


async def test_signer_tells_the_accounts_it_has_keys_for(guard: Guard) -> None:
    """Its process reads one queue for each."""
    assert _signer(guard).accounts == (Account(OWN),)


async def test_signer_shows_no_key(guard: Guard) -> None:
    """A signer ends up in the repr of many things."""
    signer = _signer(guard)
    assert VECTOR["seed"] not in repr(signer) + repr(vars(signer))


class Away:
    """A key that is away so often, each time for that long, and then signs; or gives what is no signature."""

    account = Account(OWN)

    def __init__(self, clock: list[float], times: int, seconds: float, answer: bytes | None = None) -> None:
        self._clock, self._times, self._seconds, self._answer = clock, times, seconds, answer
        self.asked = 0

    async def sign(self, payload: bytes) -> bytes:
        self.asked += 1
        if self.asked <= self._times:
            self._clock[0] += self._seconds
            raise KeyUnavailable("the service is away")
        return OWN_KEY.sign(payload).signature if self._answer is None else self._answer


async def _ask(guard: Guard, key: Away, clock: list[float]) -> SignReplyBody:
    return await Signer({key.account: key}, {key.account: RULES}, lambda: clock[0], guard).answer(_request())


async def test_key_that_is_away_for_a_moment_is_waited_for(guard: Guard) -> None:
    """A refusal fails the command; an answer some seconds later does no harm."""
    clock = [NOW]
    reply = await _ask(guard, Away(clock, times=1, seconds=0.5), clock)
    assert reply.signature is not None


async def test_key_that_is_away_until_the_deadline_ends_in_a_refusal(guard: Guard) -> None:
    """A request that is never answered would come again for ever."""
    clock = [NOW]
    key = Away(clock, times=99, seconds=1.0)
    reply = await _ask(guard, key, clock)
    assert reply.refusal is not None
    assert (reply.refusal.code, key.asked) == ("key_unavailable", 1)
    assert reply.refusal.reason == "the service is away"


async def test_key_that_signs_too_late_is_not_used(guard: Guard) -> None:
    """A late acknowledgement can leave the two sides at different rounds for ever."""
    clock = [NOW]

    class Slow(Away):
        async def sign(self, payload: bytes) -> bytes:
            clock[0] += 1
            return await super().sign(payload)

    reply = await _ask(guard, Slow(clock, times=0, seconds=0), clock)
    assert reply.refusal is not None
    assert reply.refusal.code == "deadline_passed"


@pytest.mark.parametrize(
    "answer",
    [b"", bytes(64), PEER_KEY.sign(b"x").signature, OWN_KEY.sign(b"another text").signature],
    ids=["empty", "zero", "other-key", "other-text"],
)
async def test_what_a_key_gives_is_verified(guard: Guard, answer: bytes) -> None:
    """The bridge counts bad replies, and five of them fail the command as the signer's fault."""
    clock = [NOW]
    reply = await _ask(guard, Away(clock, 0, 0, answer), clock)
    assert reply.refusal is not None
    assert reply.refusal.code == "key_refused"


async def test_development_signer_signs_nothing_for_the_main_network(guard: Guard) -> None:
    """Whatever the policy says: a key that lies in the clear is no key for real money."""
    rules = RULES.model_copy(update={"networks": frozenset({"ae_mainnet"})})
    payload = base64.b64encode(signing_payload(INNER, "ae_mainnet", SigningForm.NETWORK_HASH)).decode()
    request = _request(network_id="ae_mainnet", signing_payload=payload)
    reply = await _signer(guard, rules=rules, is_development=True).answer(request)
    assert reply.refusal is not None
    assert reply.refusal.code == "development_key"
    later = request.model_copy(update={"sign_request_id": "acme-7.2"})
    assert (await _signer(guard, rules=rules).answer(later)).signature is not None


async def test_transaction_that_takes_no_place_is_refused(guard: Guard) -> None:
    """Where nothing tells alternatives apart, no guard could hold."""
    inner = build(Kind.OFFCHAIN, 2, {"channel_id": CHANNEL, "round": 2**63, "state_hash": bytes(32)})
    reply = await _signer(guard).answer(_request(inner))
    assert reply.refusal is not None
    assert reply.refusal.code == "nothing_to_guard"
