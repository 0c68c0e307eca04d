"""`channel-bridge demo`: the whole life of state channels over a real RabbitMQ, before your eyes.

A business client sends commands, two signers with keys of their own sign, and an accountant, the consumer of the
documents, fills a table of his own with what is posted. Three channels are served by one bridge, both roles of each:
one with today's nodes' dialect, two with the legacy dialect of 2018 in its two profiles. In the middle of payments the
bridge and the accountant are killed and the broker restarted. At the end his table is added up and compared with what
the node says, and one line sums up.
Exit code 0 only if everything was as promised.
"""

import asyncio
import json
import logging
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
from rich.console import Console

from bridge.app.busclient import FINAL, BusClient
from bridge.app.live import Board, describe
from bridge.app.stage import ROLES, Act, Stage
from bridge.broker.connection import Connection
from bridge.broker.consumer import Consumer
from bridge.errors import BridgeError, BrokerUnavailable

STEP_SECONDS = 60.0
PAYMENTS = 5
UNDER_FIRE = 20
"""Payments sent at once before the bridge is killed, and as many again before the broker is restarted."""
AGAIN_SECONDS = 0.5
SEED_KINDS = 26
"""Example frames in the seed document, each of a kind of its own."""
T = TypeVar("T")


class DemoFailed(Exception):
    """Something was not as promised; the sentence says what."""


@dataclass
class Audience:
    """Everybody who listens: the shop's results, the accountant's events."""

    board: Board
    events: list[dict[str, Any]] = field(default_factory=list)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    posted: dict[str, int] = field(default_factory=dict)
    """Channel to the number of its latest entry: so many must be in the accountant's table."""
    seen: dict[str, int] = field(default_factory=dict)
    """Channel to the number of its latest event: what comes again has one that was seen."""
    repeats: int = 0
    refused: str | None = None
    """What the accountant cannot accept: a number that was left out."""

    async def until(self, look: Callable[[], T | None], what: str) -> T:
        try:
            async with asyncio.timeout(STEP_SECONDS):
                while (found := look()) is None:
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError as error:
            raise DemoFailed(f"waited {STEP_SECONDS:g} s for {what}") from error
        return found

    async def event(self, channel: str, name: str, what: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            return next((e for e in self.events if e["channel"] == channel and _name(e) == name), None)

        return await self.until(look, what)

    def ended(self, command_ids: Iterable[str]) -> int:
        """How many of these have their outcome."""
        return sum(command_id in self.results for command_id in command_ids)

    async def outcome(self, command_id: str) -> dict[str, Any]:
        return await self.until(lambda: self.results.get(command_id), f"the outcome of {command_id}")

    def take_event(self, body: dict[str, Any]) -> None:
        """Each once: an event comes at least once, numbered without a gap."""
        seq, latest = body["seq"], self.seen.get(body["channel"], 0)
        if seq <= latest:
            self.repeats += 1
            return
        if seq != latest + 1:
            self.refused = f"{body['channel']}: event {seq} came after {latest}"
        self.seen[body["channel"]] = seq
        self.events.append(body)
        name, data = _name(body), body["data"]
        kind = "sign" if body["family"] == "sign" else "event"
        if name == "sign.requested":
            self.board.counts["signing"] += 1
        self.board.note(kind, f"{body['channel']}.{name}", describe(data))
        self.board.set(body["channel"], latest=name, round=str(body["round"] or ""))
        if name == "link.attached" and self.board.channels[body["channel"]].get("state") == "bridge killed":
            self.board.set(body["channel"], state="open")
        if name == "ledger.posted":
            self.posted[body["channel"]] = data["entry"]
            role = body["channel"].rpartition("-")[2]
            self.board.set(body["channel"], **{"own balance": f"{int(data[f'{role}_balance']):,}"})
        self.changed.set()

    def take_result(self, body: dict[str, Any]) -> None:
        if body.get("command_id") and body["outcome"] in FINAL:
            self.results[body["command_id"]] = body
        code = f" {body['code']}" if body.get("code") else ""
        self.board.note("result", f"{body['channel']}.{body['outcome']}", f"{body.get('command') or ''}{code}")
        self.changed.set()


def _name(event: dict[str, Any]) -> str:
    return f"{event['family']}.{event['name']}"


@dataclass
class Shop:
    """The business client: writes commands, waits for outcomes."""

    client: BusClient
    audience: Audience
    outcomes: dict[str, str] = field(default_factory=dict)

    async def send(self, channel: str, kind: str, **fields: Any) -> str:
        """Until the broker has it: given again under the same id, a command is still one command."""
        body = {name.rstrip("_"): value for name, value in fields.items()}  # `from` is a word of Python's
        body["command_id"] = str(uuid.uuid4())
        self.audience.board.note("command", f"{channel}.{kind}", describe(body))
        while True:
            try:
                return await self.client.send(channel, kind, body)
            except BrokerUnavailable:
                await asyncio.sleep(AGAIN_SECONDS)

    async def run(self, channel: str, kind: str, expected: str = "succeeded", **fields: Any) -> dict[str, Any]:
        """One command; its outcome must be the expected one."""
        command_id = await self.send(channel, kind, **fields)
        return await self.expect(command_id, expected)

    async def expect(self, command_id: str, expected: str) -> dict[str, Any]:
        result = await self.audience.outcome(command_id)
        self.outcomes[command_id] = result["outcome"]
        if expected not in (result["outcome"], result.get("code")):
            raise DemoFailed(f"{result['channel']} {result['command']}: {result['outcome']} {result.get('code')}")
        return result


async def _perform(stage: Stage, shop: Shop, audience: Audience, act: Act) -> None:
    """One channel's life: every flow of the seed, from both sides."""
    board = audience.board
    sides = {role: f"{act.name}-{role}" for role in ROLES}
    accounts = {role: stage.accounts[name] for role, name in sides.items()}
    for name in sides.values():
        board.set(name, dialect=act.node, state="opening")
    for name in sides.values():
        await audience.event(name, "info.open", f"{name} to open")
        board.set(name, state="open")
    for payer, payee in (ROLES, ROLES[::-1]):
        for number in range(PAYMENTS):
            fields = {"from_": accounts[payer], "to": accounts[payee], "amount": str(1000 + number)}
            await shop.run(sides[payer], "transfer", **fields)
    for role, other in (ROLES, ROLES[::-1]):
        await shop.run(sides[role], "deposit", amount="500000")
        await shop.run(sides[role], "withdraw", amount="200000")
        said = "unknown" if act.profile == "seed" else "succeeded"
        await shop.run(sides[role], "message", said, to=accounts[other], info=f"hello from the {role}")
        await audience.event(sides[other], "message.received", "the message to arrive")
    await _collide(shop, audience, sides, accounts)
    everything = act.initiator_amount + act.responder_amount  # more than one side has
    too_much = {"from_": accounts["initiator"], "to": accounts["responder"], "amount": str(everything)}
    await shop.run(sides["initiator"], "transfer", "insufficient_balance", **too_much)
    await shop.run(sides["initiator"], "query", what="balances")


async def _collide(shop: Shop, audience: Audience, sides: dict[str, str], accounts: dict[str, str]) -> None:
    """Both sides propose at once until the node calls it a conflict; the bridge tries again by itself."""
    for _ in range(20):
        sent = [
            await shop.send(sides[role], "transfer", from_=accounts[role], to=accounts[other], amount="7")
            for role, other in (ROLES, ROLES[::-1])
        ]
        for command_id in sent:
            await shop.expect(command_id, "succeeded")
        if any(e["channel"] in sides.values() and _name(e) == "conflict.reported" for e in audience.events):
            return
    raise DemoFailed("twenty crossing payments and no conflict")


async def _close(shop: Shop, audience: Audience, act: Act) -> None:
    closer, other = (act.initiator, act.responder) if act.profile != "late" else (act.responder, act.initiator)
    await shop.run(closer, "shutdown")
    await audience.event(other, "shutdown.acknowledged", f"{other} to see the close")
    for name in (closer, other):
        audience.board.set(name, state="closed")


async def _compare_books(stage: Stage, shop: Shop, audience: Audience, acts: Iterable[Act]) -> None:
    """The accountant's table, line by line added up, against what the node says when asked."""
    if audience.refused is not None:
        raise DemoFailed(audience.refused)
    for act in acts:
        for role in ROLES:
            name = f"{act.name}-{role}"
            result = await shop.run(name, "query", what="balances")
            told = [int(result["data"]["balances"][stage.accounts[f"{act.name}-{party}"]]) for party in ROLES]
            sums = await _read_table(stage, audience, name)
            found = [sums.get(f"channel.{party}", 0) for party in ROLES]
            if found != told or sum(sums.values()) != 0 or sums.get("suspense"):
                raise DemoFailed(f"{name}: the books say {sums}, the channel {told}")


async def _read_table(stage: Stage, audience: Audience, channel: str) -> dict[str, int]:
    """Account to the sum of its lines, once all is booked that the audience has heard of."""
    wanted = audience.posted[channel]
    book = await _read_book(stage, channel)
    try:
        async with asyncio.timeout(STEP_SECONDS):
            while book["entries"] < wanted:
                book = await _read_book(stage, channel)
    except TimeoutError as error:
        raise DemoFailed(f"waited {STEP_SECONDS:g} s for entry {wanted} of {channel}") from error
    accounts: dict[str, int] = book["accounts"]
    return accounts


async def _read_book(stage: Stage, channel: str) -> dict[str, Any]:
    books = await stage.read_books()
    return dict(books.get(channel, {"entries": 0}))


async def _count_seed_kinds(stage: Stage) -> int:
    """How many of the seed document's 26 kinds of frame the node saw in the seed's own dialect."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://127.0.0.1:{stage.node_port}/sim/frames", timeout=5)
    return len(answer.json()["seed_kinds"])


@asynccontextmanager
async def _audience(stage: Stage, board: Board) -> AsyncIterator[tuple[Shop, Audience]]:
    async with AsyncExitStack() as stack:
        shop_side = await stack.enter_async_context(Connection(stage.url("shop"), "shop"))
        books_side = await stack.enter_async_context(Connection(stage.url("accounting"), "accounting"))
        audience = Audience(board)
        client = BusClient(shop_side, stage.prefix, stage.user("shop"))
        accountant = BusClient(books_side, stage.prefix, stage.user("accounting"))
        names = [name for act in stage.acts for name in (act.initiator, act.responder)]
        # Queues that outlive the broker; on somebody else's broker, none that outlive us.
        is_temporary = not stage.has_own_broker
        bindings = [(f"{stage.prefix}.events", f"{name}.#") for name in names]
        events = await accountant.listen("books", bindings, is_temporary=is_temporary)
        results = await client.results(is_temporary=is_temporary)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        readers = [
            group.create_task(_read(events, audience.take_event)),
            group.create_task(_read(results, audience.take_result)),
        ]
        try:
            yield Shop(client, audience), audience
        finally:
            for reader in readers:
                reader.cancel()


async def _read(consumer: Consumer, take: Callable[[dict[str, Any]], None]) -> None:
    async for delivery in consumer:
        take(json.loads(delivery.received.body))
        await delivery.ack()


async def _play(directory: Path | None, board: Board) -> str:
    board.say("starting RabbitMQ, the simulated node, two signers and the bridge")
    async with Stage(directory) as stage:
        if not stage.is_least_privilege:
            board.say("AMQP_URL is set: all parts share its user, least privilege is not shown")
        async with _audience(stage, board) as (shop, audience):
            board.say(f"the console: http://127.0.0.1:{stage.http_port}/")
            watch = asyncio.create_task(_watch(stage))
            try:
                await _race(watch, _scenes(stage, shop, audience))
            finally:
                watch.cancel()
            kinds = await _count_seed_kinds(stage)
        return _sum_up(stage, shop, board, kinds)


async def _scenes(stage: Stage, shop: Shop, audience: Audience) -> None:
    audience.board.say("three channels, both roles of each: open, pay, deposit, withdraw, talk, collide")
    async with asyncio.TaskGroup() as group:
        for act in stage.acts:
            group.create_task(_perform(stage, shop, audience, act))
    lasting = [act for act in stage.acts if act.profile != "seed"]
    # The oldest dialect has no word to come back with: its channel ends before the bridge is killed.
    audience.board.say(
        "the accountant's table against the channels, and the channel that cannot outlive the bridge closes"
    )
    await _compare_books(stage, shop, audience, stage.acts)
    for act in stage.acts:
        if act not in lasting:
            await _close(shop, audience, act)
    await _pay_under_fire(stage, shop, audience, lasting)
    audience.board.say("the accountant's table against the channels again")
    await _compare_books(stage, shop, audience, lasting)
    audience.board.say("closing")
    for act in lasting:
        await _close(shop, audience, act)


async def _pay_under_fire(stage: Stage, shop: Shop, audience: Audience, acts: Sequence[Act]) -> None:
    """The bridge is killed, then the broker restarted, each in the middle of payments; every outcome is awaited."""
    today = acts[0]
    sent = await _pay_many(stage, shop, today, ROLES)
    await audience.until(lambda: audience.ended(sent) >= UNDER_FIRE // 5 or None, "the first of these payments")
    audience.board.say(f"SIGKILL for the bridge, {audience.ended(sent)} of {len(sent)} payments done")
    await _kill_bridge(stage, audience)
    audience.board.say("SIGKILL for the accountant, who starts again on the same table")
    await stage.kill_accountant()
    stage.start_accountant()
    sent += await _pay_many(stage, shop, today, ROLES)
    await audience.until(lambda: audience.ended(sent) > UNDER_FIRE or None, "payments to go on")
    if stage.has_own_broker:
        audience.board.say(f"the broker stops, {audience.ended(sent)} of {len(sent)} payments done")
        await stage.stop_broker()
        audience.board.say("the broker starts again")
        await stage.start_broker()
        audience.board.counts["broker restarted"] += 1
    else:
        audience.board.say("the broker is not ours (AMQP_URL): it is not restarted")
    for command_id in sent:
        await shop.expect(command_id, "succeeded")
    for act in acts:
        for command_id in await _pay_many(stage, shop, act, ROLES[::-1], 3):
            await shop.expect(command_id, "succeeded")


async def _kill_bridge(stage: Stage, audience: Audience) -> None:
    await stage.kill_bridge()
    audience.board.counts["bridge killed"] += 1
    for name in sorted(audience.board.channels):
        if audience.board.channels[name].get("state") != "closed":
            audience.board.set(name, state="bridge killed")
    stage.start_bridge()
    audience.board.say("the bridge starts again on the same journal")


async def _pay_many(stage: Stage, shop: Shop, act: Act, way: Sequence[str], times: int = UNDER_FIRE) -> list[str]:
    """All at once: they wait in the channel's line, where they are journaled."""
    payer, payee = (stage.accounts[f"{act.name}-{role}"] for role in way)
    name = f"{act.name}-{way[0]}"
    return [
        await shop.send(name, "transfer", from_=payer, to=payee, amount=str(10_000 + number)) for number in range(times)
    ]


async def _watch(stage: Stage) -> None:
    """A part that ends by itself ends the demo, with its last words."""
    while True:
        stage.check()
        await asyncio.sleep(0.2)


async def _race(watch: asyncio.Task[None], scenes: Awaitable[None]) -> None:
    task = asyncio.ensure_future(scenes)
    try:
        await asyncio.wait({watch, task}, return_when=asyncio.FIRST_COMPLETED)
        if watch.done():
            watch.result()
        await task
    finally:
        task.cancel()


def _sum_up(stage: Stage, shop: Shop, board: Board, kinds: int) -> str:
    dialects = len({act.node for act in stage.acts})
    endings = sorted(set(shop.outcomes.values()))
    told = ", ".join(f"{sum(v == one for v in shop.outcomes.values())} {one}" for one in endings)
    line = (
        f"demo: ok  channels {len(stage.acts)} (both roles)  dialects {dialects}  commands {board.counts['command']}"
        f"  outcomes {len(shop.outcomes)} ({told})  sign requests {board.counts['signing']}"
        f"  events {board.counts['event'] + board.counts['sign']}  seed frames {kinds} of {SEED_KINDS}"
        f"  bridge killed {board.counts['bridge killed']}  broker restarted {board.counts['broker restarted']}"
        "  books balance"
    )
    if kinds != SEED_KINDS:
        raise DemoFailed(f"only {kinds} of {SEED_KINDS} kinds of seed frame were seen")
    return line


def play(directory: Path | None) -> int:
    """Runs the demo; returns the exit code. Ctrl-C cleans up and gives 130."""
    console = Board().console
    logging.getLogger().addHandler(logging.NullHandler())  # losses are part of the play; what counts is told by it

    async def main() -> str:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # inside a task
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        with Board(console) as board:
            return await _play(directory, board)

    try:
        line = asyncio.run(main())
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("demo: stopped", highlight=False)
        return 130
    except BaseExceptionGroup as group:
        return _fail(console, _leaf(group))
    except (DemoFailed, BridgeError, RuntimeError) as error:
        return _fail(console, error)
    console.print(line, highlight=False, soft_wrap=True)
    return 0


def _leaf(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def _fail(console: Console, error: BaseException) -> int:
    console.print(f"demo: failed  {type(error).__name__}: {error}", markup=False, highlight=False, soft_wrap=True)
    return 1
