"""Approvals over a real RabbitMQ: approvers with the rights of their role and no more, and a bridge that restarts."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.app.busclient import BusClient, user_of
from bridge.broker.connection import Connection
from bridge.broker.package import Program
from bridge.broker.permission import Role, User, definitions
from bridge.broker.private import ADMIN, PrivateBroker
from tests.permissive import EVERYTHING
from tests.system.house import SECONDS, House, Pair, house

PREFIX = "approved"
PEOPLE = ("carol", "dave", "mallory")
APPROVERS = ["carol", "dave", ADMIN]
"""The one who gives the commands among them; mallory has the rights and is not named."""


def pair_with(**changes: Any) -> Pair:
    policy = {"approval_threshold": 10, "approvals": 2, "approvers": APPROVERS} | changes
    return Pair("acme", options={"policy": EVERYTHING | policy})


PAIR = pair_with()


@pytest.fixture(scope="module")
def broker(broker_program: Program) -> Iterator[PrivateBroker]:
    """Our own, with approvers of one channel's role."""
    users = [User(name, Role.APPROVER, channels=(PAIR.initiator,), password=f"{name}s") for name in PEOPLE]
    passwords = {name: f"{name}s" for name in PEOPLE}
    made = PrivateBroker(definitions(PREFIX, None, users), passwords=passwords, program=broker_program)
    asyncio.run(made.start())
    yield made
    asyncio.run(made.stop())


class Approver:
    """Sees what he is asked, answers, and reads what is told to him."""

    def __init__(self, client: BusClient) -> None:
        self._client = client
        self.asked: list[dict[str, Any]] = []
        self.told: list[dict[str, Any]] = []
        self._changed = asyncio.Event()

    async def collect(self, consumer: Any, into: list[dict[str, Any]]) -> None:
        async for delivery in consumer:
            into.append(json.loads(delivery.received.body))
            self._changed.set()
            await delivery.ack()

    async def question(self, number: int = 0) -> dict[str, Any]:
        """The data of the event that asks him."""
        async with asyncio.timeout(SECONDS):
            while len(self.asked) <= number:
                self._changed.clear()
                await self._changed.wait()
        data: dict[str, Any] = self.asked[number]["data"]
        return data

    async def refused(self, code: str) -> dict[str, Any]:
        async with asyncio.timeout(SECONDS):
            while (found := next((body for body in self.told if body["code"] == code), None)) is None:
                self._changed.clear()
                await self._changed.wait()
        return found

    async def answer(self, question: dict[str, Any], decision: str = "approve", **changes: Any) -> None:
        body = {name: question[name] for name in ("approval_request_id", "body_hash")} | {"decision": decision}
        await self.write(json.dumps(body | changes).encode())

    async def write(self, body: bytes) -> None:
        await self._client.publish("approvals", PAIR.initiator, body)


@asynccontextmanager
async def approver(broker: PrivateBroker, name: str) -> AsyncIterator[Approver]:
    """With the name's own user at the broker."""
    async with Connection(broker.url(name), name) as connection:
        client = BusClient(connection, PREFIX, name)
        made = Approver(client)
        asked = await client.listen("asked", [(f"{PREFIX}.events", f"{PAIR.initiator}.command.approval_requested")])
        tasks = [
            asyncio.create_task(made.collect(asked, made.asked)),
            asyncio.create_task(made.collect(await client.results(), made.told)),
        ]
        try:
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class Scene:
    """A running house, and the people."""

    def __init__(self, home: House, people: dict[str, Approver]) -> None:
        self.home = home
        self.carol, self.dave, self.mallory = (people[name] for name in PEOPLE)
        self.people = people

    async def pay(self, amount: int) -> str:
        payer, payee = PAIR.account("initiator"), PAIR.account("responder")
        return await self.home.send(PAIR.initiator, "transfer", from_=payer, to=payee, amount=str(amount))

    async def given(self, count: int) -> None:
        """The bridge has counted so many."""
        await self.home.event(PAIR.initiator, "command.approval_given", given=count)

    @property
    def balance(self) -> int | None:
        return self.home.state(PAIR.initiator).initiator_balance


@asynccontextmanager
async def scene(broker: PrivateBroker, directory: Path, pair: Pair = PAIR) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        home = await stack.enter_async_context(house(broker.url(), directory, pair, prefix=PREFIX))
        await home.opened()
        people = {name: await stack.enter_async_context(approver(broker, name)) for name in PEOPLE}
        yield Scene(home, people)


async def waiting(broker: PrivateBroker) -> int | None:
    """Answers nobody has acked."""
    async with Connection(broker.url(), "look") as connection:
        amqp_channel = await connection.amqp_channel()
        underlay = await amqp_channel.raw.get_underlay_channel()
        return (await underlay.queue_declare(f"{PREFIX}.approvals", passive=True)).message_count


async def test_two_people_agree_and_the_payment_is_made(broker: PrivateBroker, tmp_path: Path) -> None:
    """Each sees the question by his own user and answers by it; one of them twice counts once."""
    async with scene(broker, tmp_path) as on:
        command_id = await on.pay(11)
        question = await on.carol.question()
        assert (question["command_id"], question["needed"], question["requester"]) == (command_id, 2, ADMIN)
        assert question["body"]["amount"] == "11"
        await on.carol.answer(question)
        await on.given(1)
        await on.carol.answer(question)
        await on.carol.answer(question)
        assert not on.home.find(PAIR.initiator, "command.started")
        await on.dave.answer(await on.dave.question())
        assert (await on.home.outcome(command_id))["outcome"] == "succeeded"
        (started,) = on.home.find(PAIR.initiator, "command.started")
        assert started["data"]["approved_by"] == ["carol", "dave"]
        assert len(on.home.find(PAIR.initiator, "command.approval_given")) == 2
        assert on.balance == PAIR.initiator_amount - 11


async def test_a_small_payment_asks_nobody(broker: PrivateBroker, tmp_path: Path) -> None:
    async with scene(broker, tmp_path) as on:
        assert (await on.home.outcome(await on.pay(10)))["outcome"] == "succeeded"
        assert not on.home.find(PAIR.initiator, "command.approval_requested")


async def test_an_answer_that_does_not_count_is_told_to_its_author(broker: PrivateBroker, tmp_path: Path) -> None:
    """And changes nothing: the right ones afterwards make the payment."""
    async with scene(broker, tmp_path) as on:
        command_id = await on.pay(11)
        question = await on.carol.question()
        await on.mallory.answer(question)
        assert (await on.mallory.refused("forbidden"))["approval_request_id"] == question["approval_request_id"]
        await on.carol.answer(question, body_hash="0" * 64)
        await on.carol.refused("approval_mismatch")
        await on.carol.answer(question, approval_request_id="acme-i.a9.0000")
        await on.carol.refused("approval_unknown")
        assert on.home.client is not None
        own = {"approval_request_id": question["approval_request_id"], "body_hash": question["body_hash"]}
        await on.home.client.publish("approvals", PAIR.initiator, json.dumps(own | {"decision": "approve"}).encode())
        told = await on.home.until(lambda: next((r for r in on.home.results if r["outcome"] == "refused"), None))
        assert told["code"] == "forbidden"
        assert not on.home.find(PAIR.initiator, "command.approval_given")
        await on.carol.answer(question)
        await on.dave.answer(question)
        assert (await on.home.outcome(command_id))["outcome"] == "succeeded"
        await on.dave.answer(question)
        await on.dave.refused("approval_late")


async def test_an_unreadable_answer_becomes_a_dead_letter(broker: PrivateBroker, tmp_path: Path) -> None:
    """It never blocks the queue."""
    async with scene(broker, tmp_path, pair_with(approvals=1)) as on:
        await on.carol.write(b"@@")
        assert (await on.carol.refused("malformed"))["outcome"] == "refused"
        letter, headers = await on.home.until(lambda: next(iter(on.home.dead_letters), None))
        assert (letter, headers["code"], headers["author"]) == (b"@@", "malformed", "carol")
        command_id = await on.pay(11)
        await on.carol.answer(await on.carol.question())
        assert (await on.home.outcome(command_id))["outcome"] == "succeeded"


async def test_a_refusal_fails_the_command_and_the_next_one_runs(broker: PrivateBroker, tmp_path: Path) -> None:
    async with scene(broker, tmp_path) as on:
        command_id, small = await on.pay(11), await on.pay(5)
        question = await on.carol.question()
        await on.carol.answer(question)
        await on.dave.answer(question, "refuse", reason="who is that?")
        result = await on.home.outcome(command_id)
        assert (result["outcome"], result["code"]) == ("failed", "approval_denied")
        assert result["data"] == {"refused_by": "dave", "reason": "who is that?"}
        assert (await on.home.outcome(small))["outcome"] == "succeeded"


async def test_what_nobody_approves_in_time_fails_and_a_late_answer_is_refused(
    broker: PrivateBroker, tmp_path: Path
) -> None:
    async with scene(broker, tmp_path, pair_with(approval_timeout=1.0)) as on:
        result = await on.home.outcome(await on.pay(11))
        assert (result["outcome"], result["code"], result["executed"]) == ("failed", "approval_timeout", False)
        await on.carol.answer(await on.carol.question())
        await on.carol.refused("approval_late")
        assert on.balance == PAIR.initiator_amount


async def test_a_question_and_its_answers_outlive_the_bridge(broker: PrivateBroker, tmp_path: Path) -> None:
    """One approval before a restart and one while the bridge is away are two; nothing is asked again."""
    async with scene(broker, tmp_path) as on:
        command_id = await on.pay(11)
        question = await on.carol.question()
        await on.carol.answer(question)
        await on.given(1)
        await on.home.stop_bridge()
        await on.dave.answer(question)
        await on.home.start_bridge()
        assert (await on.home.outcome(command_id))["outcome"] == "succeeded"
        assert len(on.home.find(PAIR.initiator, "command.approval_requested")) == 1
        assert on.balance == PAIR.initiator_amount - 11
        await on.home.stop_bridge()
        assert await waiting(broker) == 0


async def test_a_peers_proposal_is_approved_before_its_signer_is_asked(broker: PrivateBroker, tmp_path: Path) -> None:
    """The peer asks us to pay: his transfer moves our coins."""
    pair = pair_with(acknowledge_only_if_not_poorer=False, approvals=1)
    async with scene(broker, tmp_path, pair) as on:
        payer, payee = pair.account("initiator"), pair.account("responder")
        command_id = await on.home.send(pair.responder, "transfer", from_=payer, to=payee, amount="11")
        question = await on.carol.question()
        assert (question["cause"], question["tag"]) == ("peer_proposal", "update_ack")
        assert not on.home.find(pair.initiator, "sign.requested", tag="update_ack")
        await on.carol.answer(question)
        assert (await on.home.outcome(command_id))["outcome"] == "succeeded"
        await on.home.event(pair.initiator, "transfer.received", own_change=-11)


def test_the_client_of_the_house_is_the_requester(broker: PrivateBroker) -> None:
    """Otherwise the tests above would prove nothing about his own approval."""
    assert user_of(broker.url()) == ADMIN
