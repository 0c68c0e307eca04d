"""The console's side in the process: what a page shows, and a few pushes a second to each page that is open.

A page never slows a payment: nothing is done while no page is open but to keep the last events; a change only marks
its channel; `BEAT_SECONDS` later all open pages get one text, written once. Nothing queues: a page that has not taken
the last text gets a whole new picture when it has, and one that takes nothing for `PATIENCE_SECONDS` is dropped.
Shows no key, no `fsm_id` and no transaction: fields are named here one by one.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Protocol

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from bridge.app.health import Health
from bridge.app.http import JSON, Answer, Page
from bridge.app.observer import Decided, Moment
from bridge.app.relay import Relay
from bridge.channel.identifier import ChannelName
from bridge.channel.state import Operation, State
from bridge.channel.terms import Role, Terms
from bridge.errors import JournalUnavailable
from bridge.journal.journal import Journal
from bridge.journal.record import EventRow

log = logging.getLogger(__name__)

BEAT_SECONDS = 0.25
QUIET_SECONDS = 2.0
"""A push without any change, so that a page knows that we live and counts its clocks by ours."""
PATIENCE_SECONDS = 10.0
MOST_CLIENTS = 32
KEPT_EVENTS = 100
"""What a page that opens is shown."""
PUSHED_EVENTS = 50
"""The most that one push carries: two hundred a second are more than a person reads, and each costs a little."""
HISTORY_PAGE = 50
TOLD = ("amount", "code", "tag", "command", "outcome", "sentence", "own_change", "reason")
"""Fields of an event that tell its story in a line."""
STATIC = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/console.js": ("console.js", "text/javascript; charset=utf-8"),
    "/console.css": ("console.css", "text/css; charset=utf-8"),
    "/favicon.svg": ("favicon.svg", "image/svg+xml"),
}


class Watched(Protocol):
    """What it looks at in a worker."""

    terms: Terms
    state: State


class Scene(Protocol):
    """What the console looks at."""

    health: Health
    journal: Journal | None
    relay: Relay | None

    @property
    def workers(self) -> Mapping[ChannelName, Watched]: ...

    @property
    def halted(self) -> set[ChannelName]: ...


@dataclass(eq=False, slots=True)
class _Client:
    connection: ServerConnection
    is_behind: bool = True
    """Wants a whole picture: it is new, or missed a push."""
    sending: asyncio.Task[None] | None = None
    since: float = 0.0


@dataclass(slots=True)
class _Change:
    """What happened since the last push."""

    channels: set[ChannelName] = field(default_factory=set)
    events: deque[EventRow] = field(default_factory=lambda: deque(maxlen=PUSHED_EVENTS))
    counted: int = 0


class Console:
    def __init__(self, scene: Scene, nodes: Mapping[ChannelName, str], clock: Callable[[], float]) -> None:
        self._scene = scene
        self._nodes = nodes
        self._clock = clock
        self._clients: set[_Client] = set()
        self._latest: deque[EventRow] = deque(maxlen=KEPT_EVENTS)
        self._change = _Change()
        self._backlog: Mapping[ChannelName, int] = {}
        self._beating: asyncio.Task[None] | None = None
        self.dropped = 0
        """Pages that were dropped because they did not read: a counter."""

    @property
    def clients(self) -> int:
        return len(self._clients)

    def take(self, moment: Moment) -> None:
        """Subscribed to the observer."""
        if not isinstance(moment, Decided):
            return
        self._latest.extend(moment.events)
        if self._clients:
            self._change.channels.add(moment.terms.name)
            self._change.events.extend(moment.events)
            self._change.counted += len(moment.events)

    # --- pages ----------------------------------------------------------------------------------------------

    def pages(self) -> Mapping[str, Page]:
        fixed = {path: partial(_static, _read(name), kind) for path, (name, kind) in STATIC.items()}
        return {**fixed, "/snapshot": self._snapshot_page, "/history/*": self._history}

    async def _snapshot_page(self, _: str) -> Answer:
        """What a page that opens is sent, for programs."""
        await self._look_at_backlog()
        return Answer(self._whole().encode(), JSON)

    async def _history(self, rest: str) -> Answer | None:
        """`CHANNEL`, or `CHANNEL@SEQ` for what came before that event: the newest first."""
        name, _, before = rest.partition("@")
        journal, channel = self._scene.journal, ChannelName(name)
        if channel not in self._scene.workers or journal is None or not (before or "0").isdecimal():
            return None
        try:
            record = await journal.load(channel)
            newest = 0 if record is None else record.seq
            last = min(newest, int(before[:18]) - 1) if before else newest
            rows = await journal.events(channel, last - HISTORY_PAGE + 1, last)
        except JournalUnavailable as error:
            return Answer(json.dumps({"error": str(error)}).encode(), JSON, HTTPStatus.SERVICE_UNAVAILABLE)
        told = [_tell(row) for row in reversed(rows)]
        has_more = bool(rows) and rows[0].seq > 1
        return Answer(_dump({"channel": channel, "events": told, "has_more": has_more}).encode(), JSON)

    # --- the feed -------------------------------------------------------------------------------------------

    async def serve(self, connection: ServerConnection) -> None:
        """One open page, until it goes."""
        if len(self._clients) >= MOST_CLIENTS:
            await connection.close(1013, "too many consoles are open")
            return
        client = _Client(connection)
        self._clients.add(client)
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat(), name="console")
        try:
            with suppress(ConnectionClosed):
                async for _ in connection:
                    pass  # a page has nothing to say
        finally:
            self._clients.discard(client)
            if client.sending is not None:
                client.sending.cancel()

    async def _beat(self) -> None:
        """Pushes while somebody looks."""
        loop = asyncio.get_running_loop()
        looked_at = pushed_at = -QUIET_SECONDS
        while self._clients:
            now = loop.time()
            if now - looked_at >= 1.0:
                looked_at = now
                await self._look_at_backlog()
            is_due = now - pushed_at >= QUIET_SECONDS or any(client.is_behind for client in self._clients)
            if is_due or self._change.channels or self._change.counted:
                pushed_at = now
                self._push(now)
            await asyncio.sleep(BEAT_SECONDS)
        self._change = _Change()

    async def _look_at_backlog(self) -> None:
        """Kept as it was where the journal cannot be read: `missing` says that it cannot."""
        journal = self._scene.journal
        if journal is not None:
            with suppress(JournalUnavailable):
                self._backlog = await journal.backlog()

    def _push(self, now: float) -> None:
        change, self._change = self._change, _Change()
        whole = self._whole() if any(client.is_behind for client in self._clients) else ""
        part = self._part(change)
        for client in tuple(self._clients):
            if client.sending is not None and not client.sending.done():
                client.is_behind = True
                if now - client.since > PATIENCE_SECONDS:
                    self._drop(client)
                continue
            text = whole if client.is_behind else part
            if not text:
                continue  # fell behind after the picture was taken: the next beat
            client.is_behind, client.since = False, now
            client.sending = asyncio.create_task(_send(client.connection, text))

    def _drop(self, client: _Client) -> None:
        self.dropped += 1
        self._clients.discard(client)
        client.connection.transport.abort()

    # --- pictures -------------------------------------------------------------------------------------------

    def _whole(self) -> str:
        rows = [self._row(name) for name in self._scene.workers]
        return _dump({"kind": "whole", **self._totals(), "channels": rows, "events": _tell_all(self._latest)})

    def _part(self, change: _Change) -> str:
        known = self._scene.workers
        rows = [self._row(name) for name in change.channels if name in known]
        skipped = change.counted - len(change.events)
        events = _tell_all(change.events)
        return _dump({"kind": "part", **self._totals(), "channels": rows, "events": events, "skipped": skipped})

    def _totals(self) -> dict[str, Any]:
        relay = self._scene.relay
        rows, size = (0, 0) if relay is None else relay.depth
        oldest = None if relay is None else relay.oldest
        return {
            "at": self._clock(),
            "missing": self._scene.health.missing(),
            "outbox": {"rows": rows, "bytes": size, "oldest_at": oldest},
            "backlog": {name: count for name, count in self._backlog.items() if count},
        }

    def _row(self, name: ChannelName) -> dict[str, Any]:
        worker = self._scene.workers[name]
        state, terms = worker.state, worker.terms
        balances = (state.initiator_balance, state.responder_balance)
        own, peer = balances if terms.role is Role.INITIATOR else balances[::-1]
        return {
            "name": name,
            "node": self._nodes.get(name, ""),
            "role": terms.role.value,
            "dialect": terms.dialect.value,
            "channel_id": state.channel_id,
            "own": terms.own,
            "peer": terms.peer,
            "phase": state.phase.value,
            "attachment": state.attachment.value,
            "is_ready": state.is_ready,
            "is_halted": name in self._scene.halted,
            "peer_is_away": state.peer_is_away,
            "round": state.round,
            "own_balance": None if own is None else str(own),
            "peer_balance": None if peer is None else str(peer),
            "command": _show_operation(state.operation),
            "parked": [_show_operation(operation) for operation in state.parked],
            "request": _show_request(state),
            "exposures": len(state.exposures),
        }


def _show_operation(operation: Operation | None) -> dict[str, Any] | None:
    if operation is None:
        return None
    return {
        "kind": operation.command.kind,
        "command_id": operation.command.command_id,
        "stage": operation.stage.value,
        "since": operation.since,
        "doubt": None if operation.doubt is None else operation.doubt.value,
        "waits_for_approval": operation.approval is not None and operation.stage.value == "journaled",
    }


def _show_request(state: State) -> dict[str, Any] | None:
    request = state.open_request
    if request is None:
        return None
    return {
        "sign_request_id": request.sign_request_id,
        "tag": request.tag.value,
        "cause": request.cause,
        "opened_at": request.opened_at,
        "deadline": request.deadline,
        "is_asked": request.is_asked,
    }


def _tell_all(rows: Iterable[EventRow]) -> list[dict[str, Any]]:
    return [_tell(row) for row in rows]


def _tell(row: EventRow) -> dict[str, Any]:
    """An event in a line, from its body as published: amounts are strings there, and what is secret is masked."""
    data = json.loads(row.body)["data"]
    told = {key: data[key] for key in TOLD if data.get(key) is not None}
    name = row.routing_key.removeprefix(f"{row.channel}.")
    return {"channel": row.channel, "seq": row.seq, "name": name, "at": row.at, "data": told}


def _dump(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _read(name: str) -> bytes:
    return (files("bridge.app") / "web" / name).read_bytes()


async def _static(body: bytes, kind: str, _: str) -> Answer:
    return Answer(body, kind)


async def _send(connection: ServerConnection, text: str) -> None:
    with suppress(ConnectionClosed):
        await connection.send(text)
