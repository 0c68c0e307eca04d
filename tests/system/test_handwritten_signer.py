"""The signer of the README, written by hand without a line of the bridge, answers what the bridge asks."""

import asyncio
import os
import re
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from bridge.app.clock import SteadyClock
from bridge.broker.connection import Connection
from bridge.broker.consumer import Consumer
from bridge.broker.publisher import Publisher
from bridge.broker.topology import apply, plan
from bridge.channel.effect import SignRequest
from bridge.channel.identifier import ChannelName, SignRequestId
from bridge.channel.input import Signed
from bridge.channel.request import Tag
from bridge.channel.terms import Dialect, Role, SigningForm, Terms
from bridge.channel.transaction import Kind, Transaction
from bridge.wire import encoding
from bridge.wire import transaction as codec
from bridge.wire.body import SignReplyBody
from bridge.wire.incoming import read_sign_reply
from bridge.wire.outgoing import sign_request_envelope
from bridge.wire.serialization import build
from bridge.wire.verdict import assess
from tests.system.house import Pair, house

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "docs" / "examples" / "handwritten_signer.py"
SECONDS = 60.0
SEED, PEER_SEED = sha256(b"by hand").digest(), sha256(b"the peer").digest()
OURS = encoding.account(bytes(SigningKey(SEED).verify_key))
PEER = encoding.account(bytes(SigningKey(PEER_SEED).verify_key))
NAME = ChannelName("by-hand")


def terms(dialect: Dialect, form: SigningForm) -> Terms:
    return Terms(
        name=NAME,
        role=Role.RESPONDER,
        initiator=PEER,
        responder=OURS,
        initiator_amount=1_000_000,
        responder_amount=500_000,
        network_id="ae_dev",
        dialect=dialect,
        signing_form=form,
    )


def inner() -> bytes:
    """An off-chain update, as both dialects have it."""
    channel_id = codec.channel_id(PEER, 1, OURS)
    return build(Kind.OFFCHAIN, 2, {"channel_id": channel_id, "round": 2, "state_hash": bytes(32)})


def half_signed() -> Transaction:
    """As today's node asks an acknowledger: a signed transaction with the peer's signature in it."""
    payload = codec.signing_payload(inner(), "ae_dev", SigningForm.NETWORK_HASH)
    signature = SigningKey(PEER_SEED).sign(payload).signature
    return codec.read(encoding.encode("tx", codec.wrap([signature], inner())))


def bare() -> Transaction:
    """As a legacy node asks: the transaction alone, in the encoding of its time."""
    return codec.read(encoding.encode_legacy("tx", inner()))


CASES = {
    "json-rpc": (Dialect.JSON_RPC, SigningForm.NETWORK_HASH, half_signed()),
    "legacy-late": (Dialect.LEGACY_LATE, SigningForm.NETWORK_RAW, bare()),
    "legacy-seed": (Dialect.LEGACY_SEED, SigningForm.RAW, bare()),
}


@asynccontextmanager
async def by_hand(url: str, prefix: str, account: str, seed: bytes, directory: Path) -> AsyncIterator[None]:
    """The example as a process of its own: it gets the broker, one account and one key."""
    key_file = directory / f"{account}.key"
    key_file.touch(mode=0o600)
    key_file.write_text(seed.hex())
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE),
        account,
        str(key_file),
        env={**os.environ, "AMQP_URL": url, "PREFIX": prefix},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield
        assert process.returncode is None, (await process.communicate())[1].decode()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


@pytest.mark.parametrize("case", list(CASES))
async def test_reply_of_the_handwritten_signer_is_accepted(amqp_url: str, tmp_path: Path, case: str) -> None:
    """Whoever follows the README ends with a signer whose signature goes to the node, in each dialect."""
    dialect, form, transaction = CASES[case]
    prefix = f"t{uuid.uuid4().hex[:10]}"
    await apply(amqp_url, plan(prefix, [OURS]))
    now = SteadyClock()()
    request = SignRequest(
        SignRequestId("by-hand.1.ab"), OURS, Tag.UPDATE_ACK, transaction, "peer_proposal", None, now, now + 60
    )
    async with (
        Connection(amqp_url, "test") as connection,
        by_hand(amqp_url, prefix, OURS, SEED, tmp_path),
        asyncio.timeout(SECONDS),
    ):
        await Publisher(connection).publish(sign_request_envelope(prefix, terms(dialect, form), request))
        reply = await _first_reply(connection, prefix)
    assert reply.sign_request_id == request.sign_request_id
    assert isinstance(assess(terms(dialect, form), transaction, reply), Signed)


async def test_a_late_request_is_refused_by_the_handwritten_signer(amqp_url: str, tmp_path: Path) -> None:
    """A signature given after the deadline can cost the channel, so the example shows where to say no."""
    dialect, form, transaction = CASES["json-rpc"]
    prefix = f"t{uuid.uuid4().hex[:10]}"
    await apply(amqp_url, plan(prefix, [OURS]))
    now = SteadyClock()()
    request = SignRequest(
        SignRequestId("by-hand.2.ab"), OURS, Tag.UPDATE_ACK, transaction, "peer_proposal", None, now - 90, now - 30
    )
    async with (
        Connection(amqp_url, "test") as connection,
        by_hand(amqp_url, prefix, OURS, SEED, tmp_path),
        asyncio.timeout(SECONDS),
    ):
        await Publisher(connection).publish(sign_request_envelope(prefix, terms(dialect, form), request))
        reply = await _first_reply(connection, prefix)
    assert reply.refusal is not None
    assert "deadline" in reply.refusal.reason


async def test_the_handwritten_signer_serves_a_whole_bridge(amqp_url: str, tmp_path: Path, pair: Pair) -> None:
    """Nothing else signs here: the channel opens and a payment goes through, in each dialect."""
    async with house(amqp_url, tmp_path, pair, signers=False) as home, AsyncExitStack() as stack:
        for role in ("initiator", "responder"):
            await stack.enter_async_context(
                by_hand(amqp_url, home.prefix, pair.account(role), pair.key(role), tmp_path)
            )
        await home.opened()
        payer, payee = pair.account("initiator"), pair.account("responder")
        result = await home.run(pair.initiator, "transfer", from_=payer, to=payee, amount="5")
        received = await home.event(pair.responder, "transfer.received")
    assert (result["outcome"], result["round"]) == ("succeeded", 2)
    assert (received["data"]["amount"], received["round"]) == ("5", 2)


async def _first_reply(connection: Connection, prefix: str) -> SignReplyBody:
    """What the bridge would read, by the rules by which it reads."""
    replies = Consumer(connection, f"{prefix}.sign-replies", source=f"{prefix}.sign-replies")
    async for delivery in replies:
        account, channel, reply = read_sign_reply(delivery.received)
        await delivery.ack()
        await replies.close()
        assert (account, channel) == (OURS, NAME)
        return reply
    raise AssertionError("the replies ended")


def test_the_readme_shows_exactly_this_signer() -> None:
    """An example in a document that nobody runs is wrong by the next release."""
    text = (ROOT / "README.md").read_text()
    shown = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert EXAMPLE.read_text() in shown


def test_the_handwritten_signer_is_short_and_needs_nothing_of_ours() -> None:
    """It proves that the contract is small: under 40 lines, and no import of the bridge."""
    source = EXAMPLE.read_text()
    assert len(source.splitlines()) < 40
    assert not re.search(r"^\s*(?:from|import) bridge\b", source, re.MULTILINE)
