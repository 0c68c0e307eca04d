"""kill -9 of the signer's process at each durable write of a flow, over a real RabbitMQ, bridge and simulated node.

    request -> claim X signature X reply stored X -> published -> acked

Every command ends as if nothing had happened: the broker delivers the request again, and the signer gives the answer it
had stored, or makes the one it had not.
"""

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika
import pytest

from bridge.channel.request import Tag
from tests.faults.journal_home import ROOT
from tests.system.house import NETWORK, SECONDS, House, Pair, house

TAGS = [tag.value for tag in Tag]
WRITES = 4
"""Of one flow: both parties claim and answer."""


class Signers:
    """One process with both keys, killed and started again."""

    def __init__(self, made: House) -> None:
        self._config = made.directory / "signer.toml"
        pair, lines = made.pairs[0], [f'prefix = "{made.prefix}"', 'keys = ["signer-keys"]']
        (made.directory / "signer-keys").mkdir(mode=0o700)
        lines += ['guard.data_dir = "signer-data"', "[broker]", f'url = "{made.url}"']
        for role in ("initiator", "responder"):
            key = made.directory / "signer-keys" / role
            key.touch(mode=0o600)
            key.write_text(pair.key(role).hex())
            lines += [f"[policy.{pair.account(role)}]", f"tags = {TAGS}", f'networks = ["{NETWORK}"]']
            lines += [
                'counterparties = ["*"]',
                'max_amount = "1000000000000000000000"',
                'max_fee = "1000000000000000000"',
            ]
            lines += ["acknowledge_outflow = true"]
        self._config.touch(mode=0o600)
        self._config.write_text("\n".join(lines))
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, side: str = "never", number: int = 0) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.killedsigner", str(self._config), side, str(number)), cwd=ROOT
        )

    async def died(self) -> None:
        """By its own hand."""
        assert self._process is not None
        async with asyncio.timeout(SECONDS):
            assert await self._process.wait() == -9

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def overheard(made: House) -> AsyncIterator[dict[str, set[bytes]]]:
    """All bodies of sign replies, by the id of their request."""
    replies: dict[str, set[bytes]] = defaultdict(set)

    async def note(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        replies[json.loads(message.body)["sign_request_id"]].add(message.body)

    async with await aio_pika.connect(made.url) as connection:
        amqp_channel = await connection.channel()
        queue = await amqp_channel.declare_queue(exclusive=True)
        await queue.bind(f"{made.prefix}.sign-replies", "#")
        await queue.consume(note, no_ack=True)
        yield replies


async def endure(url: str, directory: Path, flow: str, places: list[tuple[str, int]]) -> None:
    pair = Pair("killed")
    async with house(url, directory, pair, signers=False) as made, overheard(made) as replies:
        signers = Signers(made)
        try:
            await signers.start()
            await made.event(pair.initiator, "info.open")
            await made.event(pair.responder, "info.open")
            for count, (side, number) in enumerate(places):
                await signers.kill()
                await signers.start(side, number)
                parties = {"from_": pair.account("initiator"), "to": pair.account("responder")}
                values = {"transfer": parties | {"amount": str(1000 + count)}, "deposit": {"amount": str(1000 + count)}}
                command_id = await made.send(pair.initiator, flow, **values.get(flow, {}))
                await signers.died()
                await signers.start()
                outcome = await made.outcome(command_id, SECONDS)
                assert outcome["outcome"] == "succeeded", (side, number, outcome)
            assert {request: len(bodies) for request, bodies in replies.items() if len(bodies) != 1} == {}
            assert len(replies) == 2 + 2 * len(places)
        finally:
            await signers.kill()


async def test_payment_outlives_a_signer_that_dies_before_its_answer_leaves(amqp_url: str, tmp_path: Path) -> None:
    """The quick share: the answer of the one who pays is stored and was told to nobody."""
    await endure(amqp_url, tmp_path, "transfer", [("after", 2)])


@pytest.mark.fault
@pytest.mark.timeout(600)
@pytest.mark.parametrize("flow", ["transfer", "deposit"])
async def test_signer_may_die_at_any_write_of_a_flow(amqp_url: str, tmp_path: Path, flow: str) -> None:
    """Both parties, each commit, from both sides."""
    places = [(side, number) for side in ("before", "after") for number in range(1, WRITES + 1)]
    await endure(amqp_url, tmp_path, flow, places)


@pytest.mark.fault
@pytest.mark.parametrize("place", [("before", 2), ("after", 4)])
async def test_signer_may_die_while_a_channel_closes(amqp_url: str, tmp_path: Path, place: tuple[str, int]) -> None:
    """There is one close a channel: each place takes a house of its own."""
    await endure(amqp_url, tmp_path, "shutdown", [place])
