"""Both parties of a channel as plain WebSocket clients of a simulated node: send, expect, sign.

No part of the bridge takes part but the transaction codec. Every wait is bounded.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from nacl.signing import SigningKey
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bridge.channel.terms import Dialect, SigningForm
from bridge.sim.server import SimulatedNode
from bridge.wire import encoding, transaction

NETWORK = "ae_dev"
SECONDS = 5.0
"""Bound of every wait: a test that needs longer has failed."""

INITIATOR_KEY = SigningKey(sha256(b"init").digest())
RESPONDER_KEY = SigningKey(sha256(b"resp").digest())
INITIATOR = encoding.account(bytes(INITIATOR_KEY.verify_key))
RESPONDER = encoding.account(bytes(RESPONDER_KEY.verify_key))

JSON_RPC, LATE, SEED = Dialect.JSON_RPC, Dialect.LEGACY_LATE, Dialect.LEGACY_SEED


def sign(text: str, key: SigningKey, form: SigningForm = SigningForm.NETWORK_HASH) -> str:
    """A JSON-RPC client's reply: the same transaction with one signature more."""
    signed = transaction.unwrap(encoding.decode(text, "tx"))
    added = key.sign(transaction.signing_payload(signed.inner, NETWORK, form)).signature
    return encoding.encode("tx", transaction.wrap((*signed.signatures, added), signed.inner))


def sign_bare(text: str, key: SigningKey, form: SigningForm) -> str:
    """A legacy client's reply: a signed_tx with his own signature only."""
    inner = encoding.decode(text, "tx")
    own = key.sign(transaction.signing_payload(inner, NETWORK, form)).signature
    wrapped = transaction.wrap((own,), inner)
    return encoding.encode_legacy("tx", wrapped) if "$" in text[:3] else encoding.encode("tx", wrapped)


def opening(role: str, dialect: Dialect = JSON_RPC, **changes: Any) -> dict[str, str]:
    """The query of a party that opens the recordings' channel."""
    initiator, responder = changes.pop("initiator", INITIATOR), changes.pop("responder", RESPONDER)
    query: dict[str, Any] = {
        "role": role,
        "port": 12341,
        "initiator_id": initiator,
        "responder_id": responder,
        "lock_period": 10,
        "push_amount": 0,
        "initiator_amount": 70_000_000_000_000,
        "responder_amount": 40_000_000_000_000,
        "channel_reserve": 2,
    }
    if role == "initiator":
        query["host"] = "localhost"
    match dialect:
        case Dialect.JSON_RPC:
            query |= {"protocol": "json-rpc", "minimum_depth": 1, "minimum_depth_strategy": "plain"}
        case Dialect.LEGACY_LATE:
            query |= {"protocol": "legacy"}
        case Dialect.LEGACY_SEED:
            query["initiator"] = encoding.to_legacy(str(query.pop("initiator_id")))
            query["responder"] = encoding.to_legacy(str(query.pop("responder_id")))
    return {name: str(value) for name, value in (query | changes).items()}


def summary(frame: Any) -> str:
    """A frame in a word or two, the same in both dialects."""
    if "method" in frame:
        word, data = frame["method"].removeprefix("channels."), frame["params"]["data"]
    elif "result" in frame:
        return "ok" if frame["result"] == "ok" else "result"
    elif frame.get("action") is None:
        codes = [entry["code"] for entry in frame["error"].get("data", [frame["error"]])]
        return f"error {codes[0]}"
    else:
        word = ".".join(part for part in (frame["action"], frame.get("tag")) if part)
        data = frame.get("payload") or {}
    match word:
        case "info":
            return str(data["event"])
        case "on_chain_tx":
            return f"chain {data.get('info', '')}".strip()
        case "conflict":
            return f"conflict {data.get('error_code', '')}".strip()
        case "error":
            return f"error {data.get('reason', data.get('message'))}"
        case _:
            return str(word)


@dataclass(eq=False)
class Party:
    """One socket and everything that came through it."""

    connection: ClientConnection
    key: SigningKey
    dialect: Dialect = JSON_RPC
    seen: list[Any] = field(default_factory=list)
    closed: tuple[int, str] | None = None
    is_signing: bool = True
    """Whether sign requests are answered by themselves."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _reader: asyncio.Task[None] | None = None
    _ids: int = 0

    @classmethod
    async def open(
        cls,
        node: SimulatedNode,
        query: Mapping[str, str],
        key: SigningKey | None = None,
        *,
        dialect: Dialect = JSON_RPC,
        signs: bool = True,
    ) -> "Party":
        url = f"{node.url}?{urlencode(query)}"
        connection = await connect(
            url, compression=None, ping_interval=None, max_size=None, max_queue=None, close_timeout=1, proxy=None
        )
        own = key or (INITIATOR_KEY if query.get("role") == "initiator" else RESPONDER_KEY)
        party = cls(connection, own, dialect, is_signing=signs)
        party._reader = asyncio.create_task(party._read())
        return party

    async def _read(self) -> None:
        try:
            async for text in self.connection:
                frame = json.loads(text)
                self.seen.append(frame)
                if self.is_signing and isinstance(frame, dict):
                    await self.sign(frame)
                self._changed.set()
        except ConnectionClosed:
            pass  # also while signing: what was seen before counts
        self.closed = (self.connection.close_code or 1006, self.connection.close_reason or "")
        self._changed.set()

    # --- what came ----------------------------------------------------------------------------------------

    @property
    def words(self) -> list[str]:
        return [summary(frame) for frame in self.seen if isinstance(frame, dict)]

    async def until(self, word: str, count: int = 1) -> Any:
        """The frame with this summary, the `count`th of them."""
        async with asyncio.timeout(SECONDS):
            while len(found := [frame for frame in self.seen if summary(frame) == word]) < count:
                if self.closed is not None:
                    raise AssertionError(f"closed with {self.closed} before {word!r}: {self.words}")
                self._changed.clear()
                await self._changed.wait()
        return found[count - 1]

    async def until_closed(self) -> tuple[int, str]:
        async with asyncio.timeout(SECONDS):
            while self.closed is None:
                self._changed.clear()
                await self._changed.wait()
        return self.closed

    def forget(self) -> None:
        self.seen.clear()

    # --- what is said -------------------------------------------------------------------------------------

    async def send(self, method: str, params: Any, **extra: Any) -> None:
        """A JSON-RPC request without an id, unless `id=` is given."""
        frame = {"jsonrpc": "2.0", "method": f"channels.{method}", "params": params, **extra}
        await self.connection.send(json.dumps(frame))

    async def ask(self, method: str, params: Any) -> Any:
        """A JSON-RPC request and its answer: the result, or the code of the error."""
        self._ids += 1
        wanted = f"ask-{self._ids}"
        await self.send(method, params, id=wanted)
        async with asyncio.timeout(SECONDS):
            while True:
                for frame in self.seen:
                    if isinstance(frame, dict) and frame.get("id") == wanted:
                        return frame["result"] if "result" in frame else int(summary(frame).split()[1])
                if self.closed is not None:
                    raise AssertionError(f"closed with {self.closed} without an answer to {method}")
                self._changed.clear()
                await self._changed.wait()

    async def act(self, action: str, payload: Any = None, tag: str | None = None) -> None:
        """A legacy request."""
        frame = (
            {"action": action}
            | ({} if tag is None else {"tag": tag})
            | ({} if payload is None else {"payload": payload})
        )
        await self.connection.send(json.dumps(frame))

    async def pay(self, amount: int, *, take: bool = False) -> None:
        """Trigger an update from this party to the other, or the other way round."""
        own = encoding.account(bytes(self.key.verify_key))
        other = RESPONDER if own == INITIATOR else INITIATOR
        sender, receiver = (other, own) if take else (own, other)
        parties = {"from": sender, "to": receiver, "amount": amount}
        if self.dialect is JSON_RPC:
            await self.send("update.new", parties)
        elif self.dialect is LATE:
            await self.act("update", parties, "new")
        else:
            old = {"from": encoding.to_legacy(sender), "to": encoding.to_legacy(receiver)}
            await self.act("update", parties | old, "new")

    async def sign(self, frame: Any) -> None:
        """Answer a sign request; anything else is left alone."""
        method, action = frame.get("method", ""), frame.get("action")
        if method.startswith("channels.sign."):
            reply = sign(frame["params"]["data"]["signed_tx"], self.key)
            await self.send(method.removeprefix("channels.sign."), {"signed_tx": reply})
        elif action == "sign":
            form = SigningForm.RAW if self.dialect is SEED else SigningForm.NETWORK_RAW
            await self.act(frame["tag"], {"tx": sign_bare(frame["payload"]["tx"], self.key, form)})

    # --- the end ------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """The connection is gone without a word."""
        self.connection.transport.abort()

    async def close(self) -> None:
        await self.connection.close()
        if self._reader is not None:
            await self._reader


@dataclass
class Pair:
    """One open channel, both parties."""

    node: SimulatedNode
    initiator: Party
    responder: Party

    @property
    def channel_id(self) -> str:
        found = [fsm.channel_id for fsm in self.node.registry.alive if fsm.channel_id is not None]
        return found[-1] if found else next(iter(self.node.registry.saved))[0]

    def fsm_id(self, role: str) -> str:
        """The id in the last `fsm_up` that role saw."""
        party = self.initiator if role == "initiator" else self.responder
        ups = [f["params"]["data"]["fsm_id"] for f in party.seen if isinstance(f, dict) and summary(f) == "fsm_up"]
        return str(ups[-1])

    async def both(self, word: str, count: int = 1) -> None:
        await asyncio.gather(self.initiator.until(word, count), self.responder.until(word, count))

    def forget(self) -> None:
        self.initiator.forget()
        self.responder.forget()


async def turn() -> None:
    """Let everything else in the loop run once."""
    await asyncio.sleep(0)


async def until_true(look: Callable[[], bool]) -> None:
    """Turn the loop, in which the node lives too, until it is so."""
    async with asyncio.timeout(SECONDS):
        while not look():
            await turn()


def returning(role: str, channel_id: str, fsm_id: str, port: int = 12341) -> dict[str, str]:
    query = {"protocol": "json-rpc", "role": role, "port": str(port), "existing_channel_id": channel_id}
    return query | {"existing_fsm_id": fsm_id} | ({"host": "localhost"} if role == "initiator" else {})


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[SimulatedNode]:
    node = SimulatedNode(network_id=NETWORK, **options)
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


@asynccontextmanager
async def opened(
    node: SimulatedNode,
    dialect: Dialect = JSON_RPC,
    *,
    both: Mapping[str, Any] | None = None,
    **changes: Mapping[str, Any],
) -> AsyncIterator[Pair]:
    """An open channel at round 1. `both` and `initiator=`, `responder=` change the opening parameters."""
    shared = dict(both or {})
    async with joined(node, dialect, shared, changes) as pair:
        await pair.both("update")
        yield pair


@asynccontextmanager
async def joined(
    node: SimulatedNode, dialect: Dialect, shared: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]]
) -> AsyncIterator[Pair]:
    """Both parties connected, nothing waited for."""
    parties = [
        await Party.open(node, opening(role, dialect, **shared, **changes.get(role, {})), dialect=dialect)
        for role in ("responder", "initiator")
    ]
    try:
        yield Pair(node, parties[1], parties[0])
    finally:
        for party in parties:
            await party.close()
