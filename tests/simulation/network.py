"""Sockets in memory: pairs of asyncio transports with a drawn latency, in order each way.

The real websockets library runs on them unchanged. What was written before an end dies still arrives, as it
would from the kernel's buffers; then the other end meets a reset. Each frame passes a watcher, which may lose,
double or hold it, or kill who wrote or is about to read it.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any, Protocol

from tests.simulation.process import CURRENT, Process

LATENCY_SECONDS = (0.0002, 0.003)
APART_SECONDS = 1e-6
FIRST_PORT = 3014
Factory = Callable[[], asyncio.BaseProtocol]


class Fate(Enum):
    """What becomes of a frame."""

    PASS = "pass"
    SWALLOW = "swallow"
    DOUBLE = "double"
    GONE = "gone"
    """Who wrote it, or was about to read it, was killed."""
    LATE = "late"
    """To the node: the writer's end dies, and the frame arrives after that writer has a new socket. From the
    node: the frame and all behind it come late on the same socket, which then dies."""


class Watcher(Protocol):
    """Told each frame: on leaving for the node, on arriving from it. `then` is called once it has happened."""

    def frame(self, end: "End", data: bytes) -> tuple[Fate, Callable[[], None] | None]: ...


class _Mark(Enum):
    END = "end"
    RESET = "reset"


LATE_SECONDS = 4.0


class End(asyncio.Transport):
    """One end of a socket."""

    def __init__(self, network: "Network", name: str, process: Process | None, *, is_client: bool) -> None:
        super().__init__()
        self.network = network
        self.name = name
        self.process = process
        self.is_client = is_client
        self.who = ""
        """Which channel's socket it is, once the handshake was seen."""
        self.is_over = False
        """No protocol hears anything more."""
        self.peer: End
        self._context: Context = copy_context()
        self._protocol: Any = None
        self._is_closing = False
        self._is_paused = False
        self._inbox: deque[bytes | _Mark] = deque()
        self._random = network.random_for(name)
        self._free_at = 0.0
        self._stuck: list[bytes | _Mark] | None = None
        """What waits for the thaw; None as long as the way to the other end is free."""
        if process is not None:
            process.at_death(self.die)

    def begin(self, factory: Factory) -> Any:
        """Make the protocol, in this end's own context."""
        self._protocol = self._context.run(factory)
        self._context.run(self._protocol.connection_made, self)
        return self._protocol

    # --- asyncio.Transport: what the protocol calls -------------------------------------------------------

    def write(self, data: Any) -> None:
        if self._is_closing or self.is_over or not data:
            return
        data = bytes(data)
        if not self.is_client:
            self._send(data)  # the watcher sees it when it arrives
            return
        fate, then = self.network.watcher.frame(self, data)
        match fate:
            case Fate.PASS:
                self._send(data)
            case Fate.DOUBLE:
                self._send(data)
                self._send(data)
            case Fate.LATE:
                self.network.hold(self, data)
            case Fate.SWALLOW | Fate.GONE:
                pass
        if then is not None:
            then()

    def write_eof(self) -> None:
        self._send(_Mark.END)

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        self._send(_Mark.END)
        self._loop_call(0.0, self._lose, None)

    def abort(self) -> None:
        """At once: what was not read is lost, the other end meets a reset."""
        if self.is_over:
            return
        self._is_closing = True
        self._send(_Mark.RESET)
        self._loop_call(0.0, self._lose, None)

    def is_closing(self) -> bool:
        return self._is_closing

    def is_reading(self) -> bool:
        return not self._is_paused

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._loop_call(0.0, self._read)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered here."""

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return _Name(1) if name == "socket" else {"peername": ("127.0.0.1", 1)}.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        found: asyncio.BaseProtocol = self._protocol
        return found

    # --- the way to the other end -------------------------------------------------------------------------

    def _send(self, item: bytes | _Mark) -> None:
        if self._stuck is not None:
            self._stuck.append(item)
            return
        loop = self.network.loop
        due = loop.time() + self._random.uniform(*LATENCY_SECONDS)
        # Timers of one instant fire in no order, bytes arrive in theirs.
        self._free_at = due = max(due, self._free_at + APART_SECONDS)
        loop.call_at(due, self.peer.arrive, item, context=self.peer._context)

    def freeze(self) -> None:
        """From here on nothing leaves for the other end, not even the news that this one is gone."""
        if self._stuck is None:
            self._stuck = []

    def thaw(self) -> None:
        stuck, self._stuck = self._stuck or (), None
        for item in stuck:
            self._send(item)

    def send_late(self, data: bytes) -> None:
        """What the network held back arrives, and then the end of it."""
        self._free_at = 0.0
        self._send(data)
        self._send(_Mark.RESET)

    def arrive(self, item: bytes | _Mark) -> None:
        self._inbox.append(item)
        self._read()

    def _read(self) -> None:
        while self._inbox and not self._is_paused and not self.is_over:
            self._take(self._inbox.popleft())

    def _take(self, item: bytes | _Mark) -> None:
        if item is _Mark.RESET:
            self._is_closing = True
            self._lose(ConnectionResetError("reset by peer"))
        elif item is _Mark.END:
            if not self._protocol.eof_received():
                self.close()
        elif isinstance(item, bytes):
            self._give(item)

    def _give(self, data: bytes) -> None:
        if self.is_client:
            fate, then = self.network.watcher.frame(self, data)
        else:
            fate, then = Fate.PASS, None
        match fate:
            case Fate.PASS:
                self._protocol.data_received(data)
            case Fate.DOUBLE:
                self._protocol.data_received(data)
                self._protocol.data_received(data)
            case Fate.LATE:
                self._is_paused = True
                self._inbox.appendleft(data)
                self._loop_call(LATE_SECONDS, self._go_on_and_die)
            case Fate.SWALLOW | Fate.GONE:
                pass
        if then is not None:
            then()

    def _go_on_and_die(self) -> None:
        if self.is_over:
            return
        late, self._inbox = self._inbox, deque()
        for item in late:
            if isinstance(item, bytes):
                self._protocol.data_received(item)
        self.peer.abort()
        self._is_paused = False

    def _lose(self, error: Exception | None) -> None:
        if self.is_over:
            return
        self.is_over = True
        self._inbox.clear()
        self._protocol.connection_lost(error)

    def cut(self) -> None:
        """The network loses this socket: both ends meet a reset."""
        self.peer.abort()
        self._loop_call(0.0, self.arrive, _Mark.RESET)

    def tell(self) -> None:
        """The other end of one that was broken off meets its reset too."""
        self._send(_Mark.RESET)

    def break_off(self) -> None:
        """This end alone meets a reset; the other end knows nothing of it yet."""
        self._is_closing = True
        self._loop_call(0.0, self._lose, ConnectionResetError("reset"))

    def die(self) -> None:
        """Its process was killed: no word to the protocol, a reset to the other end."""
        if not self.is_over:
            self._is_closing = self.is_over = True
            self._inbox.clear()
            self._send(_Mark.RESET)

    def _loop_call(self, seconds: float, callback: Callable[..., None], *args: Any) -> None:
        loop = self.network.loop
        loop.call_at(loop.time() + seconds, callback, *args, context=self._context)


@dataclass(eq=False)
class Listening:
    """What `create_server` returns, as far as the websockets library asks."""

    network: "Network"
    factory: Factory
    port: int
    process: Process | None
    context: Context

    @property
    def sockets(self) -> tuple["_Name", ...]:
        return (_Name(self.port),)

    def close(self) -> None:
        self.network.listening.pop(self.port, None)

    def is_serving(self) -> bool:
        return self.network.listening.get(self.port) is self

    async def wait_closed(self) -> None:
        """Connections end by themselves."""

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self.network.loop


@dataclass(frozen=True)
class _Name:
    """What stands for a socket where a library asks for one."""

    port: int
    family: int = socket.AF_INET

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    def getpeername(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    def setsockopt(self, *_: object) -> None:
        """There is nothing to set."""


class Network:
    """All sockets of one world."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: str, watcher: Watcher) -> None:
        self.loop = loop
        self.watcher = watcher
        self.listening: dict[int, Listening] = {}
        self.ends: list[End] = []
        """Client ends, in order of their making."""
        self._seed = seed
        self._made = 0
        self._held: list[tuple[End, bytes]] = []
        self._frozen: list[tuple[str, End]] = []
        self._broken: list[End] = []

    def random_for(self, name: str) -> Random:
        """Each end draws by itself, so that one more frame here moves no latency there."""
        return Random(f"{self._seed}/{name}")  # noqa: S311  # to repeat a run

    async def connect(self, factory: Factory, port: int) -> tuple[End, Any]:
        self._made += 1
        name = f"socket {self._made}"
        random = self.random_for(f"{name} connects")
        await asyncio.sleep(random.uniform(*LATENCY_SECONDS))
        listening = self.listening.get(port)
        if listening is None:
            raise ConnectionRefusedError(port)
        process = CURRENT.get()
        if process is not None and process.is_dead:
            raise ConnectionAbortedError(port)
        ours = End(self, f"{name} ours", process, is_client=True)
        theirs = listening.context.run(End, self, f"{name} theirs", listening.process, is_client=False)
        ours.peer, theirs.peer = theirs, ours
        self.ends = [end for end in self.ends if not end.is_over] + [ours]
        theirs.begin(listening.factory)
        protocol = ours.begin(factory)
        return ours, protocol

    def listen(self, factory: Factory, port: int) -> Listening:
        port = port or FIRST_PORT
        made = Listening(self, factory, port, CURRENT.get(), copy_context())
        self.listening[port] = made
        return made

    def cut(self, who: str) -> None:
        """The sockets of that channel's role meet a reset at both ends."""
        for end in self.ends:
            if end.who == who and not end.is_over:
                end.cut()

    def freeze(self, who: str, way: str) -> None:
        """The sockets of that channel's role, those there are, carry nothing `to_node`, `from_node`, or `both`."""
        for ours in (end for end in self.ends if end.who == who and not end.is_over):
            for end, direction in ((ours, "to_node"), (ours.peer, "from_node")):
                if way in (direction, "both"):
                    end.freeze()
                    self._frozen.append((who, end))

    def thaw(self, who: str) -> None:
        """What was stuck arrives, in order; of a socket that ended meanwhile the end."""
        for _, end in (frozen for frozen in self._frozen if frozen[0] == who):
            end.thaw()
        self._frozen = [frozen for frozen in self._frozen if frozen[0] != who]

    def break_off(self, who: str) -> None:
        """The client's ends meet a reset, the node's know nothing of it: half-open, until the healing."""
        for end in (end for end in self.ends if end.who == who and not end.is_over):
            end.break_off()
            self._broken.append(end)

    # --- frames that come after the reconnect -------------------------------------------------------------

    def hold(self, end: End, data: bytes) -> None:
        """The writer meets a reset now; its frame arrives when a later socket of the same channel is up."""
        self._held.append((end, data))
        end.break_off()

    def release(self, newer: End) -> None:
        """A later socket has come so far that what an earlier one wrote may meet it."""
        due = [held for held in self._held if held[0].who == newer.who and held[0] is not newer]
        self._held = [held for held in self._held if held not in due]
        for end, data in due:
            end.send_late(data)

    def heal(self) -> None:
        """Whatever is held back or unknown arrives."""
        for end, data in self._held:
            end.send_late(data)
        self._held.clear()
        for who in dict.fromkeys(who for who, _ in self._frozen):
            self.thaw(who)
        for end in self._broken:
            end.tell()
        self._broken.clear()
