"""One WebSocket of one client: frames to the FSM, answers and reports back.

Works like the node's handler: what was received is dealt with before what is to be sent, one request at a time. A
request that must wait in the FSM blocks the socket wholly: no frame is read, no ping answered, no report sent.
What was received is dealt with even if the socket ended meanwhile; what was not yet sent is lost with it. Each frame
passes the gate, where faults are.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from bridge.sim import reuse
from bridge.sim.book import Book
from bridge.sim.event import Call, Event
from bridge.sim.fsm import Fsm
from bridge.sim.gate import FREE, Gate, Passage
from bridge.sim.jsonrpc import PONG
from bridge.sim.report import Report, SignWanted
from bridge.sim.request import OK, Abort, AskState, ClientDropped, Message, Ping, Reply, RequestRefused
from bridge.sim.skin import NO_ID, Asked, Skin
from bridge.sim.tally import Direction

IDLE_SECONDS = 60.0
"""The node closes a socket from which nothing came for so long; a ping counts."""
FINISHED = 1000
CATCH_UP_TURNS = 4
"""Turns of the loop from a readable socket to a frame in the inbox: select, read, wake the reader, append."""


class Socket(ServerConnection):
    """A WebSocket that knows when it last heard anything, control frames included."""

    heard_at: float = 0.0

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        super().data_received(data)


@dataclass(frozen=True, slots=True)
class Fittings:
    """What the node gives each handler."""

    note: Callable[[Direction, str | bytes], None]
    """Told every frame, either way."""
    gate: Gate
    book: Book
    idle_seconds: float = IDLE_SECONDS


class Endpoint:
    """The handler of one socket; implements `event.Client`."""

    def __init__(self, socket: Socket, skin: Skin, fittings: Fittings) -> None:
        self._socket = socket
        self._skin = skin
        self._fittings = fittings
        self._frames: deque[tuple[str | bytes, Passage]] = deque()
        self._reports: deque[tuple[Report, str | None]] = deque()
        self._injected: deque[str] = deque()
        self._work = asyncio.Event()
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._is_blocked = False
        self._has_ended = False
        """Nothing more will come; what came is still dealt with."""
        self._is_over = False
        self._close_code: int | None = None
        self._fsm: Fsm | None = None
        self.has_spoken = False

    # --- the FSM's side -----------------------------------------------------------------------------------

    def deliver(self, report: Report, channel_id: str | None) -> None:
        self._reports.append((report, channel_id))
        self._work.set()

    def finish(self, code: int) -> None:
        self._close_code = code
        self._work.set()

    def inject(self, text: str) -> None:
        """Write a text that no FSM asked for: a test's way to send what a node should not."""
        self._injected.append(text)
        self._work.set()

    def evict(self) -> None:
        self._is_over = True
        self._socket.transport.abort()
        self._thawed.set()
        self._work.set()

    # --- faults -------------------------------------------------------------------------------------------

    @property
    def fsm(self) -> Fsm | None:
        """Whose socket it is; None until it is admitted."""
        return self._fsm

    @property
    def is_busy(self) -> bool:
        """More is written than the client has taken."""
        return self._socket.transport.get_write_buffer_size() > 0

    def write(self, data: bytes) -> None:
        """Raw bytes of the WebSocket, past handler and gate. For floods: look at `is_busy`."""
        if not self._socket.transport.is_closing():
            self._socket.transport.write(data)

    def freeze(self) -> None:
        """Read and send nothing. May be called twice."""
        self._thawed.clear()
        self._socket.transport.pause_reading()

    def thaw(self) -> None:
        """May be called twice."""
        self._thawed.set()
        self._read_again()

    def _read_again(self) -> None:
        if self._thawed.is_set() and not self._is_blocked:
            self._socket.transport.resume_reading()

    # --- the socket's side --------------------------------------------------------------------------------

    async def refuse(self, refusal: RequestRefused) -> None:
        """The connection itself is refused: one error frame, then the end."""
        await self._send(self._skin.refuse(None, refusal, None))
        await self._socket.close(FINISHED)

    async def run(self, fsm: Fsm) -> None:
        """Until the socket or the FSM ends."""
        self._fsm = fsm
        if self._fittings.gate.is_frozen(fsm):
            self.freeze()
        tasks = [asyncio.create_task(self._read(fsm)), asyncio.create_task(self._watch_idle())]
        try:
            await self._work_off(fsm)
        except ConnectionClosed:
            pass  # found while writing: the reader sees the same
        finally:
            self._detach(fsm)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _detach(self, fsm: Fsm) -> None:
        late = self._fittings.gate.notice_seconds
        if late:
            asyncio.get_running_loop().call_later(late, fsm.detach, self)
        else:
            fsm.detach(self)

    async def _work_off(self, fsm: Fsm) -> None:
        while not self._is_over:
            await self._work.wait()
            self._work.clear()
            await self._thawed.wait()
            while self._injected and not self._is_over:
                await self._socket.send(self._injected.popleft())
            while self._frames and not self._is_over:
                await self._take(fsm, *self._frames.popleft())
            if self._has_ended:
                return
            while self._reports and not self._is_over and not self._frames and self._thawed.is_set():
                await self._show(fsm, *self._reports.popleft())
            if self._frames or self._reports:
                self._work.set()
            elif self._close_code is not None:
                await self._socket.close(self._close_code)
                return

    async def _read(self, fsm: Fsm) -> None:
        try:
            async for frame in self._socket:
                passage = self._fittings.gate.judge(fsm, "to_node", frame)
                if passage.seconds:
                    await asyncio.sleep(passage.seconds)
                self._frames.extend([(frame, passage)] * passage.copies)
                if passage.cuts and not passage.copies:
                    self.evict()
                self._work.set()
        finally:
            self._has_ended = True
            self._thawed.set()
            self._work.set()

    async def _watch_idle(self) -> None:
        loop = asyncio.get_running_loop()
        self._socket.heard_at = loop.time()
        left = self._fittings.idle_seconds
        while left > 0:
            await asyncio.sleep(left)
            left = self._socket.heard_at + self._fittings.idle_seconds - loop.time()
        self.finish(FINISHED)

    # --- requests -----------------------------------------------------------------------------------------

    async def _take(self, fsm: Fsm, frame: str | bytes, passage: Passage) -> None:
        """Binary frames and what is no request are met with silence."""
        self.has_spoken = True
        self._note(fsm, "to_node", frame)
        if passage.cuts:
            self._socket.transport.abort()  # it arrived; its answer has nowhere to go
        if isinstance(frame, bytes):
            return
        incoming = self._skin.read(frame)
        answers = [await self._serve(fsm, asked, passage) for asked in incoming.asked]
        frames = [answer for answer in answers if answer is not None]
        if len(frames) == 1:
            await self._send(frames[0])
        elif frames:
            await self._send(frames)

    async def _serve(self, fsm: Fsm, asked: Asked, passage: Passage) -> Any | None:
        request = asked.request
        try:
            if isinstance(request, RequestRefused):
                raise request
            if isinstance(request, Ping):
                return self._skin.answer(asked, PONG, fsm.channel_id)
            if isinstance(request, Reply | Abort):
                self._fittings.book.note_answered(fsm, request)
            if isinstance(request, Reply):
                fsm.post(self._keep(fsm, request, passage))  # an "ok" proves nothing
                return None if asked.id is NO_ID else self._skin.answer(asked, OK, fsm.channel_id)
            value = await self._call(fsm, request)
            self._note_value(fsm, request, value)
        except RequestRefused as refusal:
            return self._skin.refuse(asked, refusal, fsm.channel_id)
        except ClientDropped as dropped:
            self.finish(dropped.code)
            return None
        return self._skin.answer(asked, value, fsm.channel_id)

    def _keep(self, fsm: Fsm, reply: Reply, passage: Passage) -> Event:
        """A dishonest client signs, says that it refuses, and has both signatures."""
        if passage.untold is None or not reuse.keep(fsm, reply):
            return reply
        return _unheard(Abort(reply.tag, passage.untold))

    def _note_value(self, fsm: Fsm, request: Any, value: Any) -> None:
        """What the book wants to know of a request that went well."""
        if isinstance(request, AskState):
            self._fittings.book.note_state_answer(fsm, value)
        elif isinstance(request, Message):
            self._fittings.book.note_taken(fsm, request.text)

    async def _call(self, fsm: Fsm, request: Any) -> Any:
        """Blocks as long as the FSM does. Nothing is read from the socket meanwhile."""
        call = Call(request, asyncio.get_running_loop().create_future())
        fsm.post(call)
        await asyncio.sleep(0)
        if call.answer.done():
            return call.answer.result()
        self._is_blocked = True
        self._socket.transport.pause_reading()
        try:
            return await call.answer
        finally:
            self._is_blocked = False
            self._read_again()
            await self._catch_up()

    async def _catch_up(self) -> None:
        """What came while the socket was blocked is dealt with before anything further is sent."""
        for _ in range(CATCH_UP_TURNS):
            await asyncio.sleep(0)

    # --- to the client ------------------------------------------------------------------------------------

    async def _show(self, fsm: Fsm, report: Report, channel_id: str | None) -> None:
        if isinstance(report, SignWanted):
            self._fittings.book.note_asked(fsm, report.tag, report.inner)
        refusal = await self._send(self._skin.report(report, channel_id))
        if refusal is not None and isinstance(report, SignWanted):
            self._refuse_for_client(fsm, Abort(report.tag, refusal))

    def _refuse_for_client(self, fsm: Fsm, abort: Abort) -> None:
        """As if the client had; the request may be void by then, which is nobody's error."""
        self._fittings.book.note_answered(fsm, abort)
        fsm.post(_unheard(abort))

    async def _send(self, frame: Any | None) -> int | None:
        """Through the gate. Returns the code a sign request is to be refused with instead, if it is."""
        if frame is None:
            return None
        text = json.dumps(frame, ensure_ascii=False, separators=(",", ":"))
        passage = FREE if self._fsm is None else self._fittings.gate.judge(self._fsm, "from_node", text)
        if passage.seconds:
            await asyncio.sleep(passage.seconds)
        for _ in range(passage.copies):
            await self._socket.send(text)
            self._note(self._fsm, "from_node", text)
        if passage.cuts:
            self.evict()
        return passage.refusal

    def _note(self, fsm: Fsm | None, direction: Direction, frame: str | bytes) -> None:
        self._fittings.note(direction, frame)
        if fsm is not None:
            self._fittings.gate.note(fsm, direction, frame)


def _unheard(abort: Abort) -> Call:
    """A refusal that nobody waits for: whether it came too late is not told."""
    call = Call(abort, asyncio.get_running_loop().create_future())
    call.answer.add_done_callback(lambda answer: answer.exception())
    return call
