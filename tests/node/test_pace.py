"""How fast a link reads: the sum, with the clock moved by hand, and a link that obeys it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from websockets.asyncio.server import ServerConnection

from bridge.node.link import ABNORMAL, NO_ROOM, Link, Timing
from bridge.node.pace import (
    FRAME_COST,
    FRAMES_PER_SECOND,
    MAX_WAITING_BYTES,
    SHORTEST_PAUSE_SECONDS,
    WINDOW_SECONDS,
    Backlog,
    Pace,
    Room,
)
from tests.broker.conftest import until
from tests.node.server import QUICK, Ear, always, run_node, running

BURST = int(FRAMES_PER_SECOND * WINDOW_SECONDS)
STEADY = replace(QUICK, ping=15.0, pong=10.0)


def take(pace: Pace, frames: int, now: float) -> float:
    """The last answer after so many frames in one instant."""
    return [pace.note(now) for _ in range(frames)][-1]


def read(pace: Pace, offered_per_second: float, seconds: float) -> tuple[int, float]:
    """A reader who obeys: frames it read, and its longest pause."""
    now, longest, frames = 1000.0, 0.0, 0
    end = now + seconds
    while now < end:
        pause = pace.note(now)
        frames += 1
        longest = max(longest, pause)
        now += max(pause, 1 / offered_per_second)
    return frames, longest


def test_a_burst_of_one_window_costs_nothing() -> None:
    """Ten seconds' worth at once is an ordinary reconnect, not a flood."""
    pace = Pace(longest=5.0)
    assert take(pace, BURST, 1000.0) == 0.0
    assert take(pace, int(FRAMES_PER_SECOND * SHORTEST_PAUSE_SECONDS) + 1, 1000.0) > 0.0


def test_a_flood_is_read_at_the_rate_it_may_have() -> None:
    """60 frames a millisecond, as a broken node might send: memory and journal see a twelfth of them."""
    frames, _ = read(Pace(longest=5.0), offered_per_second=60_000, seconds=60)
    assert frames == pytest.approx(BURST + 60 * FRAMES_PER_SECOND, rel=0.01)


def test_a_channel_at_its_rate_is_never_paused() -> None:
    """The limit is an average, and reached only beyond it."""
    _, longest = read(Pace(longest=5.0), offered_per_second=FRAMES_PER_SECOND * 0.99, seconds=60)
    assert longest == 0.0


@pytest.mark.parametrize("longest", [5.0, 0.25])
def test_no_pause_is_longer_than_half_the_pong_deadline(longest: float) -> None:
    """Longer, and the link itself would give up a node that only talks too much."""
    pace = Pace(longest=longest)
    assert take(pace, 10 * BURST, 1000.0) == longest


def test_a_quiet_time_is_not_saved_up_for_ever() -> None:
    """An hour of silence buys one window, no more."""
    pace = Pace(longest=5.0)
    take(pace, BURST, 1000.0)
    assert take(pace, BURST, 4600.0) == 0.0
    assert take(pace, BURST, 4600.0) == 5.0


def test_the_default_bound_is_half_the_default_pong_deadline() -> None:
    """guarantees.md section 6."""
    link = Link(always("ws://127.0.0.1:1/channel"), Ear(), timing=Timing())
    assert link._pace.longest == Timing().pong / 2
    assert link._pace.rate == 5_000


class Counting(Pace):
    """A pace that asks for a pause when it is told to, and remembers."""

    def __init__(self, wants: Callable[[int], float]) -> None:
        super().__init__(longest=1.0)
        self.count = 0
        self.wants = wants

    def note(self, now: float) -> float:
        self.count += 1
        return self.wants(self.count)


async def send_many(socket: ServerConnection) -> None:
    for number in range(600):
        await socket.send(f"frame {number}")


async def test_a_paused_link_takes_nothing_from_the_network_and_loses_nothing() -> None:
    """The frames wait at the node, in their order, and the socket lives on."""
    async with run_node() as node:
        node.greet = send_many
        pace = Counting(lambda count: 0.3 if count == 100 else 0.0)
        async with running(link := Link(always(node.url), ear := Ear(), timing=STEADY, pace=pace)):
            assert (await ear.next())[0] == "up"
            assert link._life is not None
            transport = link._life.socket.transport
            assert [await ear.next() for _ in range(600)] == [("received", f"frame {n}") for n in range(600)]
            await link.send("still here")
            assert transport.is_reading()


async def test_during_a_pause_the_network_is_not_read() -> None:
    """Else memory, not the node, would take what is too much."""
    async with run_node() as node:
        pace = Counting(lambda count: 100.0 if count == 1 else 0.0)
        async with running(link := Link(always(node.url), ear := Ear(), timing=STEADY, pace=pace)):
            assert (await ear.next())[0] == "up"
            assert link._life is not None
            transport = link._life.socket.transport
            await node.socket.send("first")
            assert await ear.next() == ("received", "first")
            await asyncio.sleep(0)
            assert not transport.is_reading()
            await node.socket.send("second")
            transport.resume_reading()  # in place of the end of the pause
            assert await ear.next() == ("received", "second")


async def test_a_flooding_node_keeps_its_link_and_its_pings(caplog: pytest.LogCaptureFixture) -> None:
    """Many pauses one after another: reading never stops long enough for a pong to be missed. Told once."""
    timing = replace(QUICK, ping=0.05, pong=1.0)
    lines = "".join(f"{number:05}\n" for number in range(20_000))

    async def flood(socket: ServerConnection) -> None:
        for line in lines.splitlines():
            await socket.send(line)

    async with run_node() as node:
        node.greet = flood
        pace = Pace(longest=timing.pong / 2, rate=10_000, window=0.01)
        async with running(link := Link(always(node.url), ear := Ear(), timing=timing, pace=pace)):
            assert (await ear.next())[0] == "up"
            assert [await ear.next() for _ in range(20_000)] == [("received", line) for line in lines.splitlines()]
            assert link.is_up
            assert [entry.message for entry in caplog.records].count("link_reads_slowly") == 1


async def test_closing_ends_a_pause() -> None:
    """A stop of the bridge does not wait for a node that floods."""
    async with run_node() as node:
        node.greet = send_many
        pace = Counting(lambda count: 100.0 if count == 600 else 0.0)
        slow_close = replace(STEADY, closing=60.0)
        async with running(link := Link(always(node.url), ear := Ear(), timing=slow_close, pace=pace)) as task:
            for _ in range(601):
                await ear.next()
            async with asyncio.timeout(5):
                await link.close()
                await task


# --- what waited at the node meanwhile --------------------------------------------------------------------


def test_what_is_read_after_a_pause_may_be_as_old_as_its_beginning() -> None:
    """And before any pause nothing is old."""
    backlog = Backlog()
    assert (backlog.is_behind, backlog.waited(1000.0)) == (False, 0.0)
    backlog.pause(1000.0, 1005.0)
    backlog.pause(1005.5, 1010.0)
    assert (backlog.is_behind, backlog.waited(1012.0)) == (True, 12.0)


def test_a_pong_shows_how_far_the_reading_is() -> None:
    """What follows it was sent after its ping; one that was asked for after the last pause has passed it all."""
    backlog = Backlog()
    backlog.pause(1000.0, 1005.0)
    backlog.pause(1005.5, 1010.0)
    backlog.ponged(1004.0)
    assert backlog.waited(1012.0) == 8.0
    backlog.ponged(1010.0)
    assert (backlog.is_behind, backlog.waited(1013.0)) == (False, 0.0)


@dataclass(slots=True)
class Ages(Ear):
    """Each frame says when it was sent; the two ends share a clock."""

    ages: list[float] = field(default_factory=list)
    untold: list[float] = field(default_factory=list)
    """How much older each frame is than was told."""

    def received(self, text: str | bytes, waited: float) -> None:
        Ear.received(self, text, waited)
        age = asyncio.get_running_loop().time() - float(text)
        self.ages.append(age)
        self.untold.append(age - waited)


async def test_no_frame_is_older_than_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A deadline that counts from the reading alone lets an acknowledgement leave after the peer has given up.

    node ---more than is read, for a while---> reader
    """
    timing = replace(QUICK, ping=15.0, pong=0.4)

    async def flood(socket: ServerConnection) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(600):
            await socket.send(f"{loop.time()}" + " " * 4_000)

    async with run_node() as node:
        node.greet = flood
        pace = Pace(longest=timing.pong / 2, rate=200, window=0.01)
        async with running(link := Link(always(node.url), ear := Ages(), timing=timing, pace=pace)):
            await until(lambda: len(ear.ages) == 600, 30)
            assert link._life is not None
            backlog = link._life.backlog
            await until(lambda: not backlog.is_behind, 10)
            assert max(ear.ages) > 1.0, "nothing waited for long"
            assert max(ear.untold) < 0.5
            await node.socket.send(f"{asyncio.get_running_loop().time()}")
            await until(lambda: len(ear.ages) == 601, 10)
            assert ear.waited[-1] == 0.0
    assert "link_reads_slowly" in [entry.message for entry in caplog.records]


MEBIBYTE = 1024 * 1024


def fill(room: Room, text: str) -> int:
    """How many of them fit."""
    count = 0
    while room.take(text):
        count += 1
    return count


@pytest.mark.parametrize(("text", "most"), [("x" * MEBIBYTE, 63), ("é" * MEBIBYTE, 63), ("\U0001f600" * MEBIBYTE, 15)])
def test_what_waits_never_takes_more_memory_than_it_may(text: str, most: int) -> None:
    """Memory counts, not what crossed the network: one sign beyond Latin-1 makes a text of Python two or four times
    as large."""
    room = Room(64 * MEBIBYTE)
    assert fill(room, text) == most
    assert room.held <= 64 * MEBIBYTE


def test_empty_frames_are_not_free() -> None:
    """Two bytes on the network, and some hundred here."""
    room = Room(MEBIBYTE)
    assert fill(room, "") < MEBIBYTE / FRAME_COST


def test_what_is_done_with_makes_room() -> None:
    """And as much as it took, though a text that was encoded since has grown."""
    room = Room(MEBIBYTE)
    assert fill(room, "é" * 400_000) == 2
    room.give()
    assert room.take("é" * 400_000)
    room.give()
    room.give()
    assert room.held == 0


def test_one_frame_alone_always_fits() -> None:
    """Its size has a limit of its own; refused here it would be sent again for ever."""
    room = Room(1000)
    assert room.take("x" * 5000)
    assert not room.take("")
    room.give()
    assert room.take("x" * 5000)


def test_the_fuller_the_slower_and_never_longer_than_half_the_pong_deadline() -> None:
    """What a busy moment leaves waiting costs nothing; a disk that stalls slows the node down before it is dropped."""
    room, pauses = Room(100 * MEBIBYTE), []
    while room.take("x" * MEBIBYTE):
        pauses.append(room.pause(5.0))
    assert pauses[:24] == [0.0] * 24
    assert pauses == sorted(pauses)
    assert 4.8 < pauses[-1] <= 5.0


def test_a_pause_is_bounded_though_one_frame_is_larger_than_the_room() -> None:
    """Else the frame that always fits would make the link miss its pongs."""
    room = Room(1000)
    room.take("x" * 100_000)
    assert room.pause(5.0) == 5.0


async def test_a_node_that_sends_more_than_may_wait_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """A definite bound: nobody stores what came, so at some point no more is taken, and the listener is told why."""

    async def flood(socket: ServerConnection) -> None:
        for _ in range(100):
            await socket.send("x" * 100_000)

    async with run_node() as node:
        node.greet = flood
        room = Room(MEBIBYTE)
        link = Link(always(node.url), ear := Ear(), timing=replace(STEADY, pong=0.4, first_delay=60.0), room=room)
        async with running(link):
            told = [await ear.next() for _ in range(12)]
            assert [one[0] for one in told] == ["up", *["received"] * 10, "down"]
            assert told[-1] == ("down", ABNORMAL, NO_ROOM)
            assert room.held <= MEBIBYTE
            assert not link.is_up
    assert "link_has_no_room" in [entry.message for entry in caplog.records]


async def test_a_full_room_is_filled_slowly() -> None:
    """The node, not memory, keeps what cannot be stored, as long as its patience and our pongs allow."""

    async def talk(socket: ServerConnection) -> None:
        for number in range(80):
            await socket.send(f"{number}" + "x" * 10_000)

    async with run_node() as node:
        node.greet = talk
        room = Room(MEBIBYTE)
        async with running(link := Link(always(node.url), ear := Ear(), timing=replace(STEADY, pong=1.0), room=room)):
            assert (await ear.next())[0] == "up"
            assert link._life is not None
            transport = link._life.socket.transport
            await until(lambda: not transport.is_reading(), 10)
            for _ in range(80):
                await ear.next()
                room.give()
            assert link.is_up


def test_a_link_and_a_channel_hold_no_more_than_the_configuration_says() -> None:
    """64 MiB unless somebody chose."""
    assert Link(always("ws://127.0.0.1:1/channel"), Ear())._room.most == MAX_WAITING_BYTES == 64 * MEBIBYTE
