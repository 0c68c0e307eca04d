"""Sign requests as the bridge would put them, with keys of which the seeds are known to everybody."""

import base64
from typing import Any

from nacl.signing import SigningKey

from bridge.channel.request import Tag
from bridge.channel.terms import SigningForm
from bridge.channel.transaction import Kind
from bridge.signing.policy import AccountPolicy
from bridge.wire.body import SignRequestBody
from bridge.wire.encoding import account as encode_account
from bridge.wire.encoding import encode
from bridge.wire.transaction import build, read, signing_payload, wrap

NETWORK = "ae_uat"
OWN_KEY, PEER_KEY = SigningKey(bytes([1]) * 32), SigningKey(bytes([2]) * 32)
OWN, PEER = (encode_account(bytes(key.verify_key)) for key in (OWN_KEY, PEER_KEY))
CHANNEL = "ch_TCFBizm3XNHeQjDDPKNof9wPtFksneSPy7QXe3LamEwyKsxP4"
OTHER_CHANNEL = "ch_" + encode_account(bytes(32)).removeprefix("ak_")
OPENED, DEADLINE = "2026-01-02T03:00:00.000Z", "2026-01-02T03:04:05.000Z"
NOW = 1_767_323_044.0
"""One second before the deadline."""
EVERYTHING = AccountPolicy(
    tags=frozenset(Tag),
    networks=frozenset({NETWORK, "ae_mainnet"}),
    forms=frozenset(SigningForm),
    counterparties=frozenset({PEER}),
    max_amount=10**27,
    max_fee=10**24,
    acknowledge_outflow=True,
)


def update(round_: int, mark: int = 0, channel: str = CHANNEL) -> bytes:
    """Of one round; `mark` tells alternatives apart."""
    return build(Kind.OFFCHAIN, 2, {"channel_id": channel, "round": round_, "state_hash": bytes([mark]) * 32})


def deposit(round_: int, amount: int = 5, nonce: int = 3) -> bytes:
    fields = {"channel_id": CHANNEL, "from_id": OWN, "amount": amount, "ttl": 0, "fee": 1, "nonce": nonce}
    return build(Kind.DEPOSIT, 1, fields | {"round": round_, "state_hash": bytes(32)})


def close(initiator: int, responder: int, nonce: int = 3) -> bytes:
    fields = {"channel_id": CHANNEL, "from_id": OWN, "ttl": 0, "fee": 1, "nonce": nonce}
    shares = {"initiator_amount_final": initiator, "responder_amount_final": responder}
    return build(Kind.CLOSE_MUTUAL, 1, fields | shares)


def create(nonce: int, responder_amount: int = 5) -> bytes:
    return build(
        Kind.CREATE,
        2,
        {
            "initiator": OWN,
            "responder": PEER,
            "initiator_amount": 5,
            "responder_amount": responder_amount,
            "channel_reserve": 2,
            "lock_period": 10,
            "ttl": 0,
            "fee": 1,
            "initiator_delegate_ids": (),
            "responder_delegate_ids": (),
            "state_hash": bytes(32),
            "nonce": nonce,
        },
    )


TAGS = {
    Kind.OFFCHAIN: Tag.UPDATE,
    Kind.DEPOSIT: Tag.DEPOSIT,
    Kind.CLOSE_MUTUAL: Tag.SHUTDOWN,
    Kind.CREATE: Tag.INITIATOR_SIGN,
}


def ask(request: str, inner: bytes, *abandoned: bytes, network: str = NETWORK, **changes: Any) -> SignRequestBody:
    """`abandoned`: the transactions declared so."""
    transaction = read(encode("tx", wrap((), inner)))
    payload = signing_payload(inner, network, SigningForm.NETWORK_HASH)
    is_update = transaction.kind is Kind.OFFCHAIN
    fields: dict[str, Any] = {
        "sign_request_id": request,
        "channel": "acme-7",
        "channel_id": CHANNEL,
        "account": OWN,
        "role": "initiator",
        "tag": TAGS[transaction.kind],
        "network_id": network,
        "transaction": transaction.text,
        "form": "unsigned",
        "wrapped": True,
        "signing_form": SigningForm.NETWORK_HASH,
        "signing_payload": base64.b64encode(payload).decode(),
        "decoded": {"kind": transaction.kind, "hash": transaction.hash},
        "updates": [{"op": "OffChainTransfer", "amount": "1", "from": OWN, "to": PEER}] if is_update else None,
        "balances_before": {OWN: "500", PEER: "500"},
        "balances_after": None,
        "cause": "command",
        "command_id": "c-1",
        "abandoned": [hash_of(one) for one in abandoned],
        "opened_at": OPENED,
        "deadline": DEADLINE,
    }
    return SignRequestBody.model_validate(fields | changes)


def hash_of(inner: bytes) -> str:
    return read(encode("tx", wrap((), inner))).hash
