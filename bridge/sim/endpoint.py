"""One WebSocket of one client: frames to the FSM, answers and reports back.

Works like the node's handler: what was received is dealt with before what is to be sent, one request at a time. A
request that must wait in the FSM blocks the socket wholly: no frame is read, no ping answered, no report sent.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from bridge.sim.event import Call
from bridge.sim.fsm import Fsm
from bridge.sim.jsonrpc import PONG
from bridge.sim.report import Report
from bridge.sim.request import OK, ClientDropped, Ping, Reply, RequestRefused
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


class Endpoint:
    """The handler of one socket; implements `event.Client`."""

    def __init__(
        self, socket: Socket, skin: Skin, note: Callable[[Direction, str | bytes], None], idle_seconds: float
    ) -> None:
        """`note` is told every frame, either way."""
        self._socket = socket
        self._note = note
        self._skin = skin
        self._idle_seconds = idle_seconds
        self._frames: deque[str | bytes] = deque()
        self._reports: deque[tuple[Report, str | None]] = deque()
        self._injected: deque[str] = deque()
        self._work = asyncio.Event()
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
        self._work.set()

    # --- the socket's side --------------------------------------------------------------------------------

    async def refuse(self, refusal: RequestRefused) -> None:
        """The connection itself is refused: one error frame, then the end."""
        await self._send(self._skin.refuse(None, refusal, None))
        await self._socket.close(FINISHED)

    async def run(self, fsm: Fsm) -> None:
        """Until the socket or the FSM ends."""
        self._fsm = fsm
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._watch_idle())]
        try:
            await self._work_off(fsm)
        except ConnectionClosed:
            pass  # found while writing: the reader sees the same
        finally:
            fsm.detach(self)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work_off(self, fsm: Fsm) -> None:
        while not self._is_over:
            await self._work.wait()
            self._work.clear()
            while self._injected and not self._is_over:
                await self._socket.send(self._injected.popleft())
            while self._frames and not self._is_over:
                await self._take(fsm, self._frames.popleft())
            while self._reports and not self._is_over and not self._frames:
                await self._send(self._skin.report(*self._reports.popleft()))
            if self._frames or self._reports:
                self._work.set()
            elif self._close_code is not None:
                await self._socket.close(self._close_code)
                return

    async def _read(self) -> None:
        try:
            async for frame in self._socket:
                self._frames.append(frame)
                self._work.set()
        finally:
            self._is_over = True
            self._work.set()

    async def _watch_idle(self) -> None:
        loop = asyncio.get_running_loop()
        self._socket.heard_at = loop.time()
        left = self._idle_seconds
        while left > 0:
            await asyncio.sleep(left)
            left = self._socket.heard_at + self._idle_seconds - loop.time()
        self.finish(FINISHED)

    # --- requests -----------------------------------------------------------------------------------------

    async def _take(self, fsm: Fsm, frame: str | bytes) -> None:
        """Binary frames and what is no request are met with silence."""
        self.has_spoken = True
        self._note("to_node", frame)
        if isinstance(frame, bytes):
            return
        incoming = self._skin.read(frame)
        answers = [await self._serve(fsm, asked) for asked in incoming.asked]
        frames = [answer for answer in answers if answer is not None]
        if len(frames) == 1:
            await self._send(frames[0])
        elif frames:
            await self._send(frames)

    async def _serve(self, fsm: Fsm, asked: Asked) -> Any | None:
        request = asked.request
        try:
            if isinstance(request, RequestRefused):
                raise request
            if isinstance(request, Ping):
                return self._skin.answer(asked, PONG, fsm.channel_id)
            if isinstance(request, Reply):
                fsm.post(request)  # an "ok" proves nothing
                return None if asked.id is NO_ID else self._skin.answer(asked, OK, fsm.channel_id)
            value = await self._call(fsm, request)
        except RequestRefused as refusal:
            return self._skin.refuse(asked, refusal, fsm.channel_id)
        except ClientDropped as dropped:
            self.finish(dropped.code)
            return None
        return self._skin.answer(asked, value, fsm.channel_id)

    async def _call(self, fsm: Fsm, request: Any) -> Any:
        """Blocks as long as the FSM does. Nothing is read from the socket meanwhile."""
        call = Call(request, asyncio.get_running_loop().create_future())
        fsm.post(call)
        await asyncio.sleep(0)
        if call.answer.done():
            return call.answer.result()
        transport = self._socket.transport
        transport.pause_reading()
        try:
            return await call.answer
        finally:
            transport.resume_reading()
            await self._catch_up()

    async def _catch_up(self) -> None:
        """What came while the socket was blocked is dealt with before anything further is sent."""
        for _ in range(CATCH_UP_TURNS):
            await asyncio.sleep(0)

    async def _send(self, frame: Any | None) -> None:
        if frame is not None:
            text = json.dumps(frame, ensure_ascii=False, separators=(",", ":"))
            self._note("from_node", text)
            await self._socket.send(text)
