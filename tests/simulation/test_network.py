"""Sockets in memory behave as sockets do: in order, late, and honest about their end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.simulation.network import End, Fate, Network
from tests.simulation.process import Process
from tests.simulation.test_loop import make_loop

PORT = 3014


class Watch:
    """Lets pass, unless told otherwise about the next frames."""

    def __init__(self) -> None:
        self.fates: list[Fate] = []

    def frame(self, end: End, data: bytes) -> tuple[Fate, Callable[[], None] | None]:
        return (self.fates.pop(0) if self.fates else Fate.PASS), None


class Ear(asyncio.Protocol):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.is_lost = False
        self.lost: Exception | None = None
        self.transport: End

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard.append(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost, self.lost = True, error


class Line:
    """A connected pair, `ours` the client's."""

    def __init__(self, watch: Watch, network: Network, ours: Ear, theirs: Ear) -> None:
        self.watch, self.network, self.ours, self.theirs = watch, network, ours, theirs


def on_a_line(test: Callable[[Line], Awaitable[None]]) -> None:
    loop, watch = make_loop(), Watch()
    network = Network(loop, "seed", watch)

    async def go() -> None:
        ears: list[Ear] = []
        network.listen(lambda: ears.append(Ear()) or ears[-1], PORT)  # type: ignore[func-returns-value]
        _, ours = await network.connect(Ear, PORT)
        await test(Line(watch, network, ours, ears[0]))

    loop.run_until_complete(go())
    loop.close()


def test_bytes_arrive_late_and_in_order() -> None:
    """A stream that turned two frames round would make faults no network makes."""

    async def test(line: Line) -> None:
        words = [bytes([number]) for number in range(50)]
        for word in words:
            line.ours.transport.write(word)
        assert line.theirs.heard == []
        await asyncio.sleep(1)
        assert line.theirs.heard == words

    on_a_line(test)


def test_nothing_is_heard_while_reading_is_paused() -> None:
    """Back-pressure: the simulated node stops reading while a call blocks it."""

    async def test(line: Line) -> None:
        line.theirs.transport.pause_reading()
        line.ours.transport.write(b"1")
        line.ours.transport.write(b"2")
        await asyncio.sleep(1)
        assert line.theirs.heard == []
        line.theirs.transport.resume_reading()
        await asyncio.sleep(1)
        assert line.theirs.heard == [b"1", b"2"]

    on_a_line(test)


def test_closing_gives_everything_written_and_then_the_end() -> None:
    """A close in order is no reset."""

    async def test(line: Line) -> None:
        line.ours.transport.write(b"last")
        line.ours.transport.close()
        line.ours.transport.write(b"too late")
        await asyncio.sleep(1)
        assert line.theirs.heard == [b"last"]
        assert (line.theirs.is_lost, line.ours.is_lost) == (True, True)
        assert (line.theirs.lost, line.ours.lost) == (None, None)

    on_a_line(test)


def test_an_abort_is_a_reset_for_the_other_end() -> None:
    """The websockets library turns it into 1006."""

    async def test(line: Line) -> None:
        line.ours.transport.abort()
        await asyncio.sleep(1)
        assert isinstance(line.theirs.lost, ConnectionResetError)
        assert line.ours.is_lost
        assert line.ours.lost is None

    on_a_line(test)


@pytest.mark.parametrize(("fate", "heard"), [(Fate.SWALLOW, [b"2"]), (Fate.DOUBLE, [b"1", b"1", b"2"])])
def test_a_frame_may_be_lost_or_doubled(fate: Fate, heard: list[bytes]) -> None:
    """One write is one frame, so the next one is untouched."""

    async def test(line: Line) -> None:
        line.watch.fates = [fate]
        line.ours.transport.write(b"1")
        line.ours.transport.write(b"2")
        await asyncio.sleep(1)
        assert line.theirs.heard == heard

    on_a_line(test)


def test_a_late_frame_arrives_when_its_writer_has_another_socket() -> None:
    """What a dead socket had sent may still reach the node, after the reconnect."""

    async def test(line: Line) -> None:
        line.watch.fates = [Fate.LATE]
        line.ours.transport.write(b"late")
        await asyncio.sleep(1)
        assert isinstance(line.ours.lost, ConnectionResetError)
        assert not line.theirs.is_lost
        newer, _ = await line.network.connect(Ear, PORT)
        line.network.release(newer)
        await asyncio.sleep(1)
        assert line.theirs.heard == [b"late"]
        assert isinstance(line.theirs.lost, ConnectionResetError)

    on_a_line(test)


@pytest.mark.parametrize("way", ["to_node", "from_node", "both"])
def test_a_frozen_socket_carries_nothing_until_it_thaws(way: str) -> None:
    """The other way goes on; what was stuck arrives in order, also the end of a socket that ended meanwhile."""

    async def test(line: Line) -> None:
        line.ours.transport.who = "initiator"
        line.network.freeze("initiator", way)
        line.ours.transport.write(b"1")
        line.ours.transport.write(b"2")
        line.theirs.transport.write(b"3")
        await asyncio.sleep(100)
        assert line.theirs.heard == ([b"1", b"2"] if way == "from_node" else [])
        assert line.ours.heard == ([b"3"] if way == "to_node" else [])
        line.ours.transport.abort()
        await asyncio.sleep(1)
        assert line.theirs.is_lost == (way == "from_node")
        line.network.thaw("initiator")
        await asyncio.sleep(1)
        assert line.theirs.heard == [b"1", b"2"]
        assert isinstance(line.theirs.lost, ConnectionResetError)

    on_a_line(test)


def test_a_half_open_socket_is_known_to_one_end_until_it_heals() -> None:
    """The node holds the old socket while its client is long back."""

    async def test(line: Line) -> None:
        line.ours.transport.who = "initiator"
        line.network.break_off("initiator")
        await asyncio.sleep(100)
        assert isinstance(line.ours.lost, ConnectionResetError)
        assert not line.theirs.is_lost
        line.network.heal()
        await asyncio.sleep(1)
        assert isinstance(line.theirs.lost, ConnectionResetError)

    on_a_line(test)


def test_what_a_killed_process_writes_goes_nowhere() -> None:
    """It may unwind; nothing it does then leaves it. What it wrote before is on its way."""

    async def test(line: Line) -> None:
        process = Process("bridge")

        async def live() -> None:
            _, ours = await line.network.connect(Ear, PORT)
            ours.transport.write(b"before")
            process.kill()
            ours.transport.write(b"after")

        heard = line.theirs.heard
        server = line.network.listening[PORT]
        ears: list[Ear] = []
        server.factory = lambda: ears.append(Ear()) or ears[-1]  # type: ignore[func-returns-value]
        await process.spawn(live(), "live")
        await asyncio.sleep(1)
        assert ears[0].heard == [b"before"]
        assert isinstance(ears[0].lost, ConnectionResetError)
        assert heard == []

    on_a_line(test)


def test_nobody_listening_refuses_the_connection() -> None:
    """A node that is down."""

    async def test(line: Line) -> None:
        with pytest.raises(ConnectionRefusedError):
            await line.network.connect(Ear, PORT + 1)

    on_a_line(test)
