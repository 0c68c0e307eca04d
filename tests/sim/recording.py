"""A recording of a real node, replayed: its clients' side is played again, what the node says is written down.

Signatures are made afresh with the recordings' keys, and each `fsm_id` and channel id of the recording is
translated to the one the simulated node gave in its place.
"""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.errors import EncodingError
from bridge.sim.ledger import GENESIS, AccountEntry
from bridge.sim.server import SimulatedNode
from bridge.wire import encoding, transaction
from tests.sim.client import SECONDS, Party, sign

FOLDER = Path(__file__).parent.parent / "data" / "recordings"
PAUSE_SECONDS, TURNS = 0.1, 50
"""Where the recorded clients paused, the loop turns so often before the next step: both ends live in it."""
SAME_SECONDS = 0.002
NORMAL = 1000
HASTE = 4
"""The recorded clients shortened some of the node's timers; here they are this much shorter still."""
COMPARED = (
    "channel_id",
    "nonce",
    "round",
    "amount",
    "fee",
    "initiator_amount",
    "responder_amount",
    "lock_period",
    "channel_reserve",
    "ttl",
    "state_hash",
)
"""Fields of a transaction that do not depend on what else happened on the chain."""


@dataclass(frozen=True, slots=True)
class Step:
    seq: int
    at: float
    """Seconds since the recording began."""
    who: str | None
    kind: str
    data: Any


def read(name: str) -> list[Step]:
    lines = (json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines())
    return [Step(line["seq"], line["t"], line["who"], line["kind"], line["data"]) for line in lines]


@dataclass
class Session:
    """One socket of the recording, from its connect to its close."""

    name: str
    party: Party
    expected: list[Any] = field(default_factory=list)
    """Frames of the recording so far."""
    closed: tuple[int, str] | None = None
    """How it ended in the recording."""


@dataclass
class Replay:
    """Plays one recording against a node."""

    node: SimulatedNode
    name: str
    sessions: list[Session] = field(default_factory=list)
    current: dict[str, Session] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    """The node's fsm and channel ids by the recording's."""
    aborting: bool = False

    async def play(self) -> None:
        steps = read(self.name)
        self._prime(steps)
        for position, step in enumerate(steps):
            if position and step.at - steps[position - 1].at > PAUSE_SECONDS:
                await _settle()
            rest = steps[position:]
            if len(rest) > 1 and not any(later.kind in ("connect", "to_node") for later in rest):
                await self._hang_up(rest)
            await self._take(step, is_last=not any(later.kind == "from_node" for later in rest))
        for session in self.sessions:
            await session.party.close()

    def _prime(self, steps: list[Step]) -> None:
        """Both accounts stand where they stood: channel id, nonces and fees come out the same."""
        for step in steps:
            method = str(_at(step.data, ("method",)))
            if step.kind != "from_node" or step.who is None or not method.startswith("channels.sign."):
                continue
            first = transaction.read(step.data["params"]["data"]["signed_tx"])
            payer = first.initiator or first.account
            if payer is not None and payer not in self.node.chain.ledger.entries and first.nonce is not None:
                self.node.chain.ledger.entries[payer] = AccountEntry(GENESIS, first.nonce - 1)

    async def _hang_up(self, rest: list[Step]) -> None:
        """The node's word on a client's close may stand before it in the recording, at the same moment."""
        word, close = rest[0], rest[1]
        if word.kind == "from_node" and close.kind == "closed" and close.at - word.at < SAME_SECONDS:
            session = self.current[str(close.who)]
            if close.who != word.who and close.data[0] == NORMAL and not _ended_by_node(session):
                await session.party.close()

    async def _take(self, step: Step, *, is_last: bool) -> None:
        if step.who is None:
            self.aborting = "TCP abort" in str(step.data)
            return
        match step.kind:
            case "connect":
                await self._connect(step)
            case "from_node":
                await self._wait(self.current[step.who], step.data)
            case "to_node":
                await self._say(self.current[step.who], step.data)
            case "to_node_raw":
                await self.current[step.who].party.connection.send(step.data)
            case "closed":
                await self._close(self.current[step.who], step.data, is_last=is_last)
            case "note":
                pass  # a heading of the recording
            case _:
                raise AssertionError(f"unknown step {step.kind}")

    async def _connect(self, step: Step) -> None:
        query = {name: self.ids.get(str(value), str(value)) for name, value in step.data.items()}
        for name in [name for name in query if name.startswith("timeout_")]:
            query[name] = str(int(query[name]) // HASTE)
        party = await Party.open(self.node, query, signs=False)
        session = Session(f"{step.who} at {step.seq}", party)
        self.sessions.append(session)
        self.current[str(step.who)] = session

    async def _wait(self, session: Session, frame: Any) -> None:
        """Until as many frames came as in the recording; they are compared at the end."""
        session.expected.append(frame)
        party, count = session.party, len(session.expected)
        try:
            async with asyncio.timeout(SECONDS):
                while len(party.seen) < count and party.closed is None:
                    party._changed.clear()
                    await party._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{self.name}, {session.name}: still waiting for {frame}") from None
        if len(party.seen) >= count:
            self._learn(frame, party.seen[count - 1])

    def _learn(self, recorded: Any, seen: Any) -> None:
        for path in (("params", "channel_id"), ("params", "data", "fsm_id")):
            pair = _at(recorded, path), _at(seen, path)
            if all(isinstance(value, str) for value in pair):
                self.ids[str(pair[0])] = str(pair[1])

    async def _say(self, session: Session, frame: Any) -> None:
        """A signed reply answers the last request with its tag that this side had seen, on whichever socket."""
        tag, party = frame["method"].removeprefix("channels."), session.party
        text = frame["params"].get("signed_tx", "")
        asked = [
            seen["params"]["data"]["signed_tx"]
            for other in self.sessions
            for seen in other.party.seen[: len(other.expected)]
            if other.party.key is party.key and _at(seen, ("method",)) == f"channels.sign.{tag}"
        ]
        if asked and is_transaction(text):
            frame = frame | {"params": {"signed_tx": sign(asked[-1], party.key)}}
        await party.connection.send(json.dumps(frame))

    async def _close(self, session: Session, data: list[Any], *, is_last: bool) -> None:
        """By the node, or by the client: then a cut, or the handshake at the end of the recording."""
        session.closed = (data[0], data[1])
        if self.aborting:
            session.party.cut()
            self.aborting = False
        elif not _ended_by_node(session) and (is_last or data[0] == NORMAL):
            await session.party.close()
        await session.party.until_closed()


async def _settle() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


def _ended_by_node(session: Session) -> bool:
    """After `died`, or an error about the connection itself (which repeats no request), or nothing at all."""
    last = session.expected[-1] if session.expected else {"error": {"request": {}}}
    return bool(_at(last, ("error", "request")) == {} or _at(last, ("params", "data", "event")) == "died")


def _at(frame: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        frame = frame.get(name) if isinstance(frame, dict) else None
    return frame


def blur(value: Any, key: str = "") -> Any:
    """A frame without what differs from run to run: FSM ids and the bytes of transactions, which hold signatures."""
    if isinstance(value, dict):
        return {name: blur(part, name) for name, part in value.items()}
    if isinstance(value, list):
        return [blur(part) for part in value]
    if key == "fsm_id" and isinstance(value, str):
        return value[:3]
    if is_transaction(value):
        return describe(value)
    return value


def is_transaction(value: Any) -> bool:
    try:
        return isinstance(value, str) and len(encoding.decode(value, "tx")) > 0
    except EncodingError:
        return False


def describe(text: str) -> dict[str, Any]:
    read = transaction.read(text)
    fields = {name: getattr(read, name) for name in COMPARED}
    return {"kind": read.kind, "signatures": len(read.signatures), **fields}
