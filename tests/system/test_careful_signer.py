"""The signer of docs/writing-a-signer.md: it remembers, refuses what it should, and serves a whole bridge."""

import asyncio
import json
import os
import re
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bridge.app.clock import SteadyClock
from bridge.broker.connection import Connection
from bridge.broker.consumer import Consumer
from bridge.broker.publisher import Publisher
from bridge.broker.topology import apply, plan
from bridge.channel.effect import SignRequest
from bridge.channel.identifier import CommandId, SignRequestId, TransactionHash
from bridge.channel.input import Signed
from bridge.channel.request import Tag
from bridge.channel.terms import Dialect, SigningForm
from bridge.channel.transaction import Kind, Transaction
from bridge.wire import encoding
from bridge.wire import transaction as codec
from bridge.wire.body import SignReplyBody
from bridge.wire.incoming import read_sign_reply
from bridge.wire.outgoing import sign_request_envelope
from bridge.wire.serialization import build
from bridge.wire.verdict import assess
from tests.system.house import House, Pair, house
from tests.system.test_handwritten_signer import NAME, OURS, PEER, SECONDS, SEED, terms

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "careful_signer.py"
LISTENER = ROOT / "docs" / "examples" / "refused_replies.py"
PAGE = ROOT / "docs" / "writing-a-signer.md"
MOST = 10**15
"""Room for a share of the fee of a close, and for payments."""
TERMS = terms(Dialect.JSON_RPC, SigningForm.NETWORK_HASH)


def update(round_: int, mark: int = 0) -> Transaction:
    """An off-chain update of ours; `mark` tells one of a round from another."""
    channel_id = codec.channel_id(PEER, 1, OURS)
    inner = build(Kind.OFFCHAIN, 2, {"channel_id": channel_id, "round": round_, "state_hash": bytes([mark] * 32)})
    return codec.read(encoding.encode("tx", codec.wrap([], inner)))


@asynccontextmanager
async def careful(
    url: str, prefix: str, account: str, seed: bytes, directory: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The example as a process of its own. Its memory outlives it."""
    key_file, state_file = directory / f"{account}.key", directory / f"{account}.db"
    key_file.touch(mode=0o600)
    key_file.write_text(seed.hex())
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE),
        account,
        str(key_file),
        str(state_file),
        str(MOST),
        env={**os.environ, "AMQP_URL": url, "PREFIX": prefix},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
        assert process.returncode in (None, -9), (await process.communicate())[1].decode()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


@dataclass
class Questions:
    """Puts questions to the signer as the bridge does, and reads what it answers as the bridge reads it."""

    prefix: str
    publisher: Publisher
    replies: Consumer

    async def ask(self, name: str, transaction: Transaction, **changes: Any) -> bytes:
        now = SteadyClock()()
        request = SignRequest(
            SignRequestId(name),
            OURS,
            Tag.UPDATE,
            transaction,
            "command",
            CommandId("t-1"),
            now,
            now + 60,
            balances_before={OURS: 2 * MOST, PEER: MOST},
            balances_after={OURS: MOST, PEER: 2 * MOST},
        )
        await self.publisher.publish(sign_request_envelope(self.prefix, TERMS, replace(request, **changes)))
        async with asyncio.timeout(SECONDS):
            delivery = await anext(self.replies)
        await delivery.ack()
        _, channel, reply = read_sign_reply(delivery.received)
        assert (channel, reply.sign_request_id) == (NAME, name)
        return delivery.received.body


@asynccontextmanager
async def questions(url: str) -> AsyncIterator[Questions]:
    prefix = f"t{uuid.uuid4().hex[:10]}"
    await apply(url, plan(prefix, [OURS]))
    async with Connection(url, "test") as connection:
        replies = Consumer(connection, f"{prefix}.sign-replies", source=f"{prefix}.sign-replies")
        yield Questions(prefix, Publisher(connection), replies)
        await replies.close()


def refusal(body: bytes) -> str:
    return str(json.loads(body)["refusal"]["code"])


async def test_the_same_question_gets_the_same_answer_after_a_kill(amqp_url: str, tmp_path: Path) -> None:
    """A repeat is normal; a signer that answers it anew could answer it otherwise."""
    async with questions(amqp_url) as asked:
        async with careful(amqp_url, asked.prefix, OURS, SEED, tmp_path) as process:
            first = await asked.ask("q.1", update(2))
            process.kill()
            await process.wait()
        async with careful(amqp_url, asked.prefix, OURS, SEED, tmp_path):
            again = await asked.ask("q.1", update(2))
            late = await asked.ask("q.1", update(2), deadline=SteadyClock()() - 1)
    assert "signature" in json.loads(first)
    assert first == again == late


async def test_a_second_transaction_of_a_round_needs_the_first_abandoned(amqp_url: str, tmp_path: Path) -> None:
    """Two signatures of one round are two payments: only the bridge's evidence against the first allows it."""
    first, second = update(2, 1), update(2, 2)
    async with questions(amqp_url) as asked, careful(amqp_url, asked.prefix, OURS, SEED, tmp_path):
        await asked.ask("q.1", first)
        refused = await asked.ask("q.2", second)
        other = await asked.ask("q.3", second, abandoned=(TransactionHash("0" * 64),))
        allowed = json.loads(await asked.ask("q.4", second, abandoned=(first.hash,)))
        next_round = json.loads(await asked.ask("q.5", update(3)))
    assert (refusal(refused), refusal(other)) == ("another_signed", "another_signed")
    assert allowed["replaces"] == [first.hash]
    assert "replaces" not in next_round
    assert "signature" in next_round


async def test_what_is_late_dear_or_unknown_is_refused(amqp_url: str, tmp_path: Path) -> None:
    """Each refusal has a code a program can know, and leaves the round free."""
    now = SteadyClock()()
    async with questions(amqp_url) as asked, careful(amqp_url, asked.prefix, OURS, SEED, tmp_path):
        late = await asked.ask("q.1", update(2, 1), opened_at=now - 90, deadline=now - 30)
        dear = await asked.ask("q.2", update(2, 2), balances_after={OURS: MOST - 1, PEER: 2 * MOST + 1})
        blind = await asked.ask("q.3", update(2, 3), balances_after=None)
        lied = await asked.ask("q.4", replace(update(2, 4), hash=TransactionHash("0" * 64)))
        good = json.loads(await asked.ask("q.5", update(2, 5)))
    assert list(map(refusal, (late, dear, blind, lied))) == [
        "deadline_passed",
        "over_limit",
        "over_limit",
        "unrecognised",
    ]
    assert "signature" in good
    assert "replaces" not in good


async def test_the_careful_signers_reply_passes_the_bridges_checks(amqp_url: str, tmp_path: Path) -> None:
    transaction = update(2)
    async with questions(amqp_url) as asked, careful(amqp_url, asked.prefix, OURS, SEED, tmp_path):
        body = await asked.ask("q.1", transaction)
    reply = json.loads(body)
    assert isinstance(assess(TERMS, transaction, SignReplyBody.model_validate(reply)), Signed)


@asynccontextmanager
async def served(url: str, directory: Path, pair: Pair) -> AsyncIterator[House]:
    """A house where nobody signs but two of these."""
    async with house(url, directory, pair, signers=False) as home, AsyncExitStack() as stack:
        for role in ("initiator", "responder"):
            await stack.enter_async_context(careful(url, home.prefix, pair.account(role), pair.key(role), directory))
        await home.opened()
        yield home


async def pay(home: House, pair: Pair, amount: int) -> dict[str, Any]:
    payer, payee = pair.account("initiator"), pair.account("responder")
    return await home.run(pair.initiator, "transfer", from_=payer, to=payee, amount=str(amount))


@pytest.mark.parametrize("profile", [None, "late"])
async def test_the_careful_signer_serves_a_whole_bridge(amqp_url: str, tmp_path: Path, profile: str | None) -> None:
    """The channel opens, pays within the limit and closes, in both dialects."""
    dialect = "json-rpc" if profile is None else "legacy"
    pair = Pair("care", dialect, profile, initiator_amount=3 * MOST, responder_amount=MOST)
    async with served(amqp_url, tmp_path, pair) as home:
        paid = await pay(home, pair, MOST)
        closed = await home.run(pair.initiator, "shutdown")
    assert (paid["outcome"], closed["outcome"]) == ("succeeded", "succeeded")


async def test_its_refusal_ends_up_in_the_result(amqp_url: str, tmp_path: Path) -> None:
    """Code and reason; and the channel goes on."""
    pair = Pair("dear", initiator_amount=5 * MOST, responder_amount=MOST)
    async with served(amqp_url, tmp_path, pair) as home:
        refused = await pay(home, pair, MOST + 1)
        paid = await pay(home, pair, MOST)
    assert (refused["outcome"], refused["code"]) == ("failed", "sign_refused")
    assert "over_limit" in refused["sentence"]
    assert (paid["outcome"], paid["round"]) == ("succeeded", 2)


async def test_its_author_hears_which_replies_were_not_used(amqp_url: str, tmp_path: Path) -> None:
    """Without this a signer that is late each time looks as if it worked."""
    pair = Pair("heard", initiator_amount=3 * MOST, responder_amount=MOST)
    async with served(amqp_url, tmp_path, pair) as home:
        listener = await asyncio.create_subprocess_exec(
            sys.executable,
            str(LISTENER),
            env={**os.environ, "AMQP_URL": amqp_url, "PREFIX": home.prefix},
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert home.client is not None
            assert listener.stdout is not None
            async with asyncio.timeout(SECONDS):
                assert b".refused" in await listener.stdout.readline()
                key = f"{pair.account('initiator')}.{pair.initiator}"
                stray = {"sign_request_id": "nobody.1", "refusal": {"code": "no", "reason": "no"}}
                for body in (json.dumps(stray).encode(), b"@@"):
                    await home.client.publish("sign-replies", key, body)
                told = [(await listener.stdout.readline()).decode() for _ in range(2)]
        finally:
            listener.kill()
            await listener.wait()
    assert told[0].startswith(f"{pair.initiator} nobody.1 sign_request_unknown: ")
    assert told[1].startswith(f"{pair.initiator} (no id could be read) malformed: ")


def test_the_page_shows_exactly_this_signer() -> None:
    """An example in a document that nobody runs is wrong by the next release."""
    shown = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert EXAMPLE.read_text() in shown


@pytest.mark.parametrize("example", [EXAMPLE, LISTENER], ids=lambda path: path.stem)
def test_the_examples_need_nothing_of_ours(example: Path) -> None:
    assert not re.search(r"^\s*(?:from|import) bridge\b", example.read_text(), re.MULTILINE)
