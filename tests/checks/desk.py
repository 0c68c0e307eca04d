"""One channel between real bytes: frames and sign replies as texts go in, what the step wants done comes out.

Everything between the socket and the step is the bridge's own; only the journal, the broker and the clock are missing.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nacl.signing import SigningKey

from bridge.channel.command import Command, Deposit, Shutdown, Transfer, Withdraw
from bridge.channel.effect import AskSignature, Conclude, Effect, Publish, RecordForward, RefuseReply, Send
from bridge.channel.identifier import ChannelName, SignRequestId
from bridge.channel.input import (
    BadReply,
    CommandDue,
    InfoReported,
    Input,
    LinkUp,
    OffchainState,
    RequestAnswered,
    SignReplied,
)
from bridge.channel.request import Refuse, SendSignature, Tag
from bridge.channel.signature import asked_for
from bridge.channel.state import State
from bridge.channel.step import step
from bridge.channel.terms import Role, SigningForm, Terms
from bridge.channel.transaction import Kind
from bridge.wire import encoding
from bridge.wire.envelope import Received
from bridge.wire.incoming import read_sign_reply
from bridge.wire.jsonrpc import JsonRpc
from bridge.wire.transaction import build, channel_id, signing_payload, wrap
from bridge.wire.verdict import assess, read_input
from tests.permissive import OPEN

OWN_KEY, PEER_KEY, STRANGER_KEY = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3))
OWN, PEER, STRANGER = (encoding.account(bytes(key.verify_key)) for key in (OWN_KEY, PEER_KEY, STRANGER_KEY))
NETWORK = "ae_test"
CHANNEL, OTHER_CHANNEL = channel_id(OWN, 7, PEER), channel_id(OWN, 8, PEER)
HASH = bytes(range(32))
NOW = 1_800_000_000.0
ISSUED = datetime.fromtimestamp(NOW, UTC)
FEE = 20_000
TERMS = Terms(
    name=ChannelName("acme-7"),
    role=Role.INITIATOR,
    initiator=OWN,
    responder=PEER,
    initiator_amount=1000_000,
    responder_amount=500_000,
    network_id=NETWORK,
    policy=OPEN,
)
CREATE: Mapping[str, object] = {
    "initiator": OWN,
    "initiator_amount": 1000_000,
    "responder": PEER,
    "responder_amount": 500_000,
    "channel_reserve": 2,
    "lock_period": 10,
    "ttl": 0,
    "fee": FEE,
    "initiator_delegate_ids": (),
    "responder_delegate_ids": (),
    "state_hash": HASH,
    "nonce": 7,
}
OFFCHAIN: Mapping[str, object] = {"channel_id": CHANNEL, "round": 2, "state_hash": HASH}
_COST: Mapping[str, object] = {"ttl": 0, "fee": FEE, "state_hash": HASH, "round": 2, "nonce": 8}
DEPOSIT: Mapping[str, object] = {"channel_id": CHANNEL, "from_id": OWN, "amount": 100, **_COST}
WITHDRAW: Mapping[str, object] = {"channel_id": CHANNEL, "to_id": OWN, "amount": 100, **_COST}
CLOSE: Mapping[str, object] = {
    "channel_id": CHANNEL,
    "from_id": OWN,
    "initiator_amount_final": 990_000,
    "responder_amount_final": 490_000,
    "ttl": 0,
    "fee": FEE,
    "nonce": 8,
}


def sign(key: SigningKey, inner: bytes, form: SigningForm = SigningForm.NETWORK_HASH, network: str = NETWORK) -> bytes:
    return key.sign(signing_payload(inner, network, form)).signature


def signed(inner: bytes, *signatures: bytes) -> str:
    return encoding.encode("tx", wrap(signatures, inner))


def told(op: str, **parts: Any) -> dict[str, Any]:
    """One entry of a sign request's `updates`, as a node writes it."""
    return {"op": op, **parts}


def transfer_told(amount: int = 5, sender: str = OWN, receiver: str = PEER) -> list[dict[str, Any]]:
    return [told("OffChainTransfer", **{"from": sender, "to": receiver}, amount=amount)]


def frame(tag: str, tx: str, updates: Iterable[Mapping[str, Any]] = (), channel: str | None = CHANNEL) -> str:
    """A sign request as today's node sends it."""
    data = {"signed_tx": tx, "updates": list(updates)}
    params = {"channel_id": channel, "data": data}
    return json.dumps({"jsonrpc": "2.0", "method": f"channels.sign.{tag}", "params": params, "version": 1})


def transfer(**changes: Any) -> Transfer:
    body = {"command_id": "t-1", "issued_at": ISSUED, "from": OWN, "to": PEER, "amount": 5}
    return Transfer.model_validate(body | changes)


def deposit(**changes: Any) -> Deposit:
    return Deposit(command_id="d-1", issued_at=ISSUED, amount=100, **changes)


def withdraw(**changes: Any) -> Withdraw:
    return Withdraw(command_id="w-1", issued_at=ISSUED, amount=100, **changes)


def shutdown(**changes: Any) -> Shutdown:
    return Shutdown(command_id="s-1", issued_at=ISSUED, **changes)


@dataclass
class Desk:
    """Where the frames and replies of one channel are handled. `last`: the effects of the latest of them."""

    terms: Terms = TERMS
    state: State = field(default_factory=State)
    last: tuple[Effect, ...] = ()
    all: list[Effect] = field(default_factory=list)

    def give(self, *inputs: Input) -> "Desk":
        self.last = ()
        for input_ in inputs:
            self.state, effects = step(self.terms, self.state, input_, NOW)
            self.last += effects
            self.all += effects
        return self

    def hear(self, text: str | bytes) -> "Desk":
        """A text from the node."""
        return self.give(read_input(JsonRpc(), self.terms, text))

    def give_command(self, command: Command) -> "Desk":
        return self.give(CommandDue(command))

    def reply(self, **answer: Any) -> "Desk":
        """A signer's body on the bus, to the request that is open."""
        opened = self.state.open_request
        assert opened is not None, self.last
        body = {"sign_request_id": opened.sign_request_id, **answer}
        key = f"{self.terms.own}.{self.terms.name}"
        _, _, read = read_sign_reply(Received("sign-replies", key, json.dumps(body).encode(), user_id="signer"))
        found = asked_for(self.state, SignRequestId(read.sign_request_id))
        verdict = BadReply("") if found is None else assess(self.terms, found.transaction, read)
        return self.give(SignReplied(SignRequestId(read.sign_request_id), "signer", verdict))

    def reply_signature(self, signature: bytes) -> "Desk":
        return self.reply(signature=base64.b64encode(signature).decode())

    def cosign(self, inner: bytes) -> "Desk":
        """The node reports the state both have signed."""
        state = signed(inner, sign(OWN_KEY, inner), sign(PEER_KEY, inner))
        params = {"channel_id": CHANNEL, "data": {"state": state}}
        return self.hear(json.dumps({"jsonrpc": "2.0", "method": "channels.update", "params": params, "version": 1}))

    def stand(self) -> "Desk":
        """The node stands where we do, if it was asked for that."""
        for asked in self.state.asked:
            if asked.kind == "AskState":
                answer = OffchainState(self.state.cosigned, None)
                self.give(RequestAnswered(request_id=asked.request_id, answer=answer))
        return self

    # --- what came of it --------------------------------------------------------------------------------

    @property
    def questions(self) -> list[AskSignature]:
        return [effect for effect in self.last if isinstance(effect, AskSignature)]

    @property
    def refusals(self) -> list[int]:
        """Error codes told to the node."""
        return [e.request.code for e in self.last if isinstance(e, Send) and isinstance(e.request, Refuse)]

    @property
    def signatures_sent(self) -> list[str]:
        return [e.request.signed_tx for e in self.last if isinstance(e, Send) and isinstance(e.request, SendSignature)]

    @property
    def forwards(self) -> list[RecordForward]:
        return [effect for effect in self.last if isinstance(effect, RecordForward)]

    @property
    def refused_replies(self) -> list[tuple[str, str]]:
        """Code and reason told to the signer."""
        return [(e.code.value, e.reason) for e in self.last if isinstance(e, RefuseReply)]

    @property
    def events(self) -> list[str]:
        return [f"{e.family}.{e.name}" for e in self.last if isinstance(e, Publish)]

    @property
    def outcomes(self) -> list[tuple[str, str | None]]:
        endings = [effect for effect in self.last if isinstance(effect, Conclude)]
        return [(e.outcome.value, None if e.code is None else e.code.value) for e in endings]


def connected(terms: Terms = TERMS) -> Desk:
    """Before the opening's sign request."""
    return Desk(terms).give(LinkUp(resumed=False), InfoReported(event="fsm_up", fsm_id=None))


def opened() -> Desk:
    """Round 1, co-signed, ready; our own balance is 1,000,000 and the peer's 500,000."""
    desk = connected()
    inner = build(Kind.CREATE, 2, CREATE)
    desk.hear(frame(Tag.INITIATOR_SIGN, signed(inner), channel=None)).reply_signature(sign(OWN_KEY, inner))
    desk.give(InfoReported(event="open", channel_id=CHANNEL)).cosign(inner)
    assert desk.state.is_ready, desk.state
    return desk


def triggered(command: Command) -> Desk:
    """Our command was handed to the node, which is about to ask for the signature."""
    return opened().give(CommandDue(command))
