"""A link against a real server: it connects, hands over, notices every way of ending, and comes back."""

import asyncio
import logging
import random
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from bridge.errors import Code, JournalUnavailable, NodeUnavailable
from bridge.node.handshake import HANDSHAKES
from bridge.node.link import Address, Link, Timing
from tests.node.server import QUICK, SECRET, Ear, Node, always, run_node, running

SLOW = replace(QUICK, ping=15.0, pong=10.0, closing=5.0, sending=5.0)
"""No ping comes between, where a test is not about pings."""


async def test_the_query_arrives_unharmed() -> None:
    """A credential in base64 holds `+`, `/` and `=`: one of them unescaped and the channel is lost."""
    query = {"existing_fsm_id": "ba_a+b/c=&?#%", "role": "initiator"}
    async with run_node() as node:
        link = Link(always(node.url, query), ear := Ear(), timing=SLOW)
        async with running(link):
            assert await ear.next() == ("up", False)
            parts = urlsplit(node.paths[0])
            assert parts.path == "/channel"
            assert parse_qs(parts.query, strict_parsing=True) == {name: [value] for name, value in query.items()}


@pytest.mark.parametrize("resumed", [True, False])
async def test_the_listener_learns_whether_the_channel_is_resumed(resumed: bool) -> None:
    """On a resumed channel the state is asked for, on a new one it is opened."""
    async with run_node() as node, running(Link(always(node.url, resumed=resumed), ear := Ear(), timing=SLOW)):
        assert await ear.next() == ("up", resumed)


async def test_the_address_is_asked_for_at_each_try() -> None:
    """A refused try may have rotated the credential: the one of the try before would lock us out."""
    asked = 0

    async def address() -> tuple[Address, bool]:
        nonlocal asked
        asked += 1
        return Address(node.url, {"try": str(asked)}), asked > 1

    async def refuse_first(socket: ServerConnection, request: Request) -> Response | None:
        return socket.respond(503, "not yet") if request.path.endswith("try=1") else None

    async with run_node() as node:
        node.answer = refuse_first
        async with running(Link(address, ear := Ear(), timing=SLOW)):
            assert await ear.next() == ("failed", 1, f"127.0.0.1:{node.port}: HTTP 503", Code.CONNECTION_LOST)
            assert await ear.next() == ("up", True)
            await node.socket.close()
            assert (await ear.next())[0] == "down"
            assert await ear.next() == ("up", True)
            assert node.paths == [f"/channel?try={number}" for number in (1, 2, 3)]


async def test_frames_are_handed_over_in_order_and_sent_as_they_are() -> None:
    """Nothing is decoded, joined or left out on the way; what is no UTF-8 is evidence and comes as bytes."""

    async def greet(socket: ServerConnection) -> None:
        for number in range(2000):
            await socket.send(f"frame {number}")
        await socket.send(b"\xff\xfe", text=True)
        await socket.send(b"binary")
        await socket.send("ü")

    async with run_node() as node:
        node.greet = greet
        async with running(link := Link(always(node.url), ear := Ear(), timing=SLOW)):
            assert await ear.next() == ("up", False)
            assert [await ear.next() for _ in range(2000)] == [("received", f"frame {n}") for n in range(2000)]
            assert [(await ear.next())[1] for _ in range(3)] == [b"\xff\xfe", "binary", "ü"]
            await link.send('{"a": "ü"}')
            assert await asyncio.wait_for(node.frames.get(), 5) == '{"a": "ü"}'


# --- how a link ends, and that it comes back --------------------------------------------------------------


async def test_it_comes_back_after_the_node_closed() -> None:
    """The node closes with 1000 when it has seen nothing for a minute, or was told to stop."""
    async with run_node() as node, running(Link(always(node.url), ear := Ear(), timing=SLOW)):
        assert (await ear.next())[0] == "up"
        await node.socket.close(1011, f"fsm_id={SECRET} died")
        assert await ear.next() == ("down", 1011, "fsm_id=ba_… died")
        assert (await ear.next())[0] == "up"


async def test_it_comes_back_after_the_connection_broke() -> None:
    """A second client with the same credential, or a cable: no close frame at all."""
    async with run_node() as node, running(Link(always(node.url), ear := Ear(), timing=SLOW)):
        assert (await ear.next())[0] == "up"
        node.socket.transport.abort()
        assert await ear.next() == ("down", 1006, "")
        assert (await ear.next())[0] == "up"


async def test_it_comes_back_after_the_node_fell_silent() -> None:
    """A dead machine sends nothing, not even an end: only the missing pong tells."""
    async with run_node() as node, running(Link(always(node.url), ear := Ear(), timing=QUICK)):
        assert (await ear.next())[0] == "up"
        node.socket.transport.pause_reading()
        assert await ear.next() == ("down", 1006, "keepalive ping timeout")
        assert (await ear.next())[0] == "up"


async def test_a_quiet_node_that_answers_pings_is_left_alone() -> None:
    """A channel may rest for hours."""
    async with run_node() as node, running(link := Link(always(node.url), ear := Ear(), timing=QUICK)):
        assert (await ear.next())[0] == "up"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4 * (QUICK.ping + QUICK.pong)):
                await ear.told.get()
        assert link.is_up


async def test_a_frame_beyond_the_limit_ends_the_link() -> None:
    """Memory is bounded: a node that sends without end is cut off, and told why."""
    async with run_node() as node:
        link = Link(always(node.url), ear := Ear(), timing=SLOW, max_frame_bytes=100)
        async with running(link):
            assert (await ear.next())[0] == "up"
            await node.socket.send("x" * 100)
            assert await ear.next() == ("received", "x" * 100)
            await node.socket.send("x" * 101)
            assert (await ear.next())[0] == "down"
            assert await asyncio.wait_for(node.codes.get(), 5) == 1009


async def test_it_waits_for_a_node_that_is_not_there() -> None:
    """Told at the first failure and at each doubling, and found as soon as it is there. Each outage counts anew."""
    async with run_node() as gone:
        port = gone.port
    async with running(Link(always(f"ws://127.0.0.1:{port}/channel"), ear := Ear(), timing=SLOW)):
        told = [await ear.next() for _ in range(4)]
        reason = f"127.0.0.1:{port}: ConnectionRefusedError"
        assert told == [("failed", number, reason, Code.CONNECTION_LOST) for number in (1, 2, 4, 8)]
        async with run_node(port):
            while (word := (await ear.next())[0]) == "failed":
                pass
            assert word == "up"
        assert (await ear.next())[0] == "down"
        assert await ear.next() == ("failed", 1, reason, Code.CONNECTION_LOST)


@pytest.mark.parametrize(("short_life", "expected"), [(1000.0, [0.2, 0.4, 0.8]), (0.0, [])])
async def test_a_node_that_takes_each_socket_to_close_it_is_not_hammered(
    monkeypatch: pytest.MonkeyPatch, short_life: float, expected: list[float]
) -> None:
    """Such a node refuses the attach, and each try may rotate the credential. A link that lived starts anew."""
    monkeypatch.setattr(random, "uniform", lambda _low, high: high)
    moments: list[float] = []
    pauses: list[float] = []

    async def pause(_: Link, seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(timing.first_delay)

    async def greet(socket: ServerConnection) -> None:
        moments.append(asyncio.get_running_loop().time())
        await socket.close()

    timing = replace(SLOW, first_delay=0.1, longest_delay=60.0, short_life=short_life)
    monkeypatch.setattr(Link, "_pause", pause)
    async with run_node() as node:
        node.greet = greet
        async with running(Link(always(node.url), ear := Ear(), timing=timing)):
            while len(moments) < 4:
                assert (await ear.next())[0] in ("up", "down")
    assert min(later - earlier for earlier, later in pairwise(moments)) >= timing.first_delay
    assert pauses[:3] == expected


async def test_two_sockets_never_follow_each_other_in_the_same_instant() -> None:
    """Measured on a node: a cut and a reconnect at once can lose the channel for ever."""
    timing = replace(SLOW, first_delay=0.15)
    loop = asyncio.get_running_loop()
    async with run_node() as node, running(link := Link(always(node.url), ear := Ear(), timing=timing)):
        assert (await ear.next())[0] == "up"
        await link.rest()
        down = loop.time()
        link.wake()
        assert (await ear.next())[0] == "down"
        assert (await ear.next())[0] == "up"
        assert loop.time() - down >= 0.15


# --- what others may ask of it ----------------------------------------------------------------------------


async def test_reconnect_closes_with_1000_before_the_next_socket() -> None:
    """The node must know that the old socket is over, or the two fight for the channel."""
    async with run_node() as node, running(link := Link(always(node.url), ear := Ear(), timing=SLOW)):
        assert (await ear.next())[0] == "up"
        await link.reconnect("five bad frames")
        assert await ear.next() == ("down", 1000, "")
        assert len(node.paths) == 1
        assert await asyncio.wait_for(node.codes.get(), 5) == 1000
        assert (await ear.next())[0] == "up"
        assert len(node.paths) == 2


async def test_a_close_the_node_does_not_confirm_is_bounded_and_told_as_such() -> None:
    """A stopped node must not hold up a shutdown; and 1006 says that it may still believe in the old socket."""
    timing = replace(SLOW, closing=0.2)
    async with run_node() as node, running(link := Link(always(node.url), ear := Ear(), timing=timing)):
        assert (await ear.next())[0] == "up"
        node.socket.transport.pause_reading()
        async with asyncio.timeout(3):
            await link.close()
        assert await ear.next() == ("down", 1006, "")


async def test_a_resting_link_stays_down_until_woken() -> None:
    """A closed channel has nothing to attach to; a new opening wakes it."""
    async with run_node() as node, running(link := Link(always(node.url), ear := Ear(), timing=QUICK)):
        assert (await ear.next())[0] == "up"
        await link.rest()
        await link.rest()
        assert await ear.next() == ("down", 1000, "")
        assert not link.is_up
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10 * QUICK.longest_delay):
                await ear.told.get()
        assert len(node.paths) == 1
        link.wake()
        assert (await ear.next())[0] == "up"


async def test_a_rest_asked_for_during_a_handshake_brings_no_link() -> None:
    """Otherwise a channel that was just closed is attached again."""
    begun, release = asyncio.Event(), asyncio.Event()

    async def hold(_socket: ServerConnection, _request: Request) -> None:
        begun.set()
        await release.wait()

    async with run_node() as node:
        node.answer = hold
        async with running(link := Link(always(node.url), ear := Ear(), timing=SLOW)):
            await asyncio.wait_for(begun.wait(), 5)
            await link.rest()
            release.set()
            assert await asyncio.wait_for(node.codes.get(), 5) == 1000
            assert ear.told.empty()
            link.wake()
            assert (await ear.next())[0] == "up"


async def test_a_close_asked_for_during_a_handshake_is_final() -> None:
    """A bridge that is going away must not attach once more, whoever wakes the link meanwhile."""
    begun, release = asyncio.Event(), asyncio.Event()

    async def hold(_socket: ServerConnection, _request: Request) -> None:
        begun.set()
        await release.wait()

    async with run_node() as node:
        node.answer = hold
        async with running(link := Link(always(node.url), ear := Ear(), timing=SLOW)) as run:
            await asyncio.wait_for(begun.wait(), 5)
            await link.close()
            link.wake()
            release.set()
            await asyncio.wait_for(run, 5)
            assert ear.told.empty()


async def test_close_sends_1000_and_ends_run() -> None:
    """Without a word about the channel: it lives on at the node."""
    async with run_node() as node, running(link := Link(always(node.url), ear := Ear(), timing=SLOW)) as run:
        assert (await ear.next())[0] == "up"
        await link.close()
        assert ear.told.get_nowait() == ("down", 1000, "")
        assert await asyncio.wait_for(node.codes.get(), 5) == 1000
        await asyncio.wait_for(run, 5)
        link.wake()
        await link.close()
        assert len(node.paths) == 1


@pytest.mark.parametrize("state", ["resting", "pausing"])
async def test_close_ends_run_also_without_a_socket(state: str) -> None:
    """A shutdown does not wait for a node that is away."""
    async with run_node() as gone:
        url = gone.url
    link = Link(always(url), ear := Ear(), timing=replace(SLOW, first_delay=30.0, longest_delay=60.0))
    if state == "resting":
        await link.rest()
    async with running(link) as run:
        if state == "pausing":
            assert (await ear.next())[0] == "failed"
        await asyncio.sleep(0)
        await link.close()
        await asyncio.wait_for(run, 5)


async def test_cancelling_run_leaves_no_socket_behind() -> None:
    """A halted channel's socket, kept open by its own pings, would keep every other client out."""
    async with run_node() as node, running(link := Link(always(node.url), ear := Ear(), timing=QUICK)) as run:
        assert (await ear.next())[0] == "up"
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert await ear.next() == ("down", 1006, "")
        assert await asyncio.wait_for(node.codes.get(), 5) == 1006
        assert not link.is_up


async def test_what_a_journal_says_passes_through() -> None:
    """A failed journal ends the service: it is no node that is away."""

    async def address() -> tuple[Address, bool]:
        raise JournalUnavailable("the disk is full")

    with pytest.raises(JournalUnavailable):
        await asyncio.wait_for(Link(address, Ear(), timing=QUICK).run(), 5)


# --- sending ----------------------------------------------------------------------------------------------


async def test_sending_without_a_socket_fails_at_once() -> None:
    """Frames are derived from state after the next attach, and never queued."""
    async with run_node() as node:
        link = Link(always(node.url), ear := Ear(), timing=SLOW)
        with pytest.raises(NodeUnavailable, match="no socket"):
            await link.send("{}")
        async with running(link):
            assert (await ear.next())[0] == "up"
            await link.send("{}")
            await link.rest()
            with pytest.raises(NodeUnavailable, match="no socket"):
                await link.send("{}")


async def flood(link: Link) -> None:
    while True:
        await link.send("x" * 1_000_000)


async def test_sending_to_a_node_that_does_not_read_is_bounded() -> None:
    """A stalled socket must not stop the channel's worker; the socket is dropped, so the end is known."""
    timing = replace(SLOW, sending=0.3)
    async with run_node() as node, running(link := Link(always(node.url), ear := Ear(), timing=timing)):
        assert (await ear.next())[0] == "up"
        node.socket.transport.pause_reading()
        with pytest.raises(NodeUnavailable, match="gone: TimeoutError"):
            await asyncio.wait_for(flood(link), 10)
        assert await ear.next() == ("down", 1006, "")
        assert (await ear.next())[0] == "up"


# --- many links -------------------------------------------------------------------------------------------


async def test_no_more_than_ten_handshakes_at_once_per_node() -> None:
    """A node that comes back is met by all channels at once: more it answers late or never."""
    begun, release = asyncio.Queue[None](), asyncio.Event()

    async def hold(_socket: ServerConnection, _request: Request) -> None:
        begun.put_nowait(None)
        await release.wait()

    async with AsyncExitStack() as stack:
        node, other = [await stack.enter_async_context(run_node()) for _ in range(2)]
        node.answer = hold
        ears = [Ear() for _ in range(HANDSHAKES + 15)]
        for ear in ears:
            await stack.enter_async_context(running(Link(always(node.url), ear, timing=replace(SLOW, opening=10.0))))
        async with asyncio.timeout(10):
            for _ in range(HANDSHAKES):
                await begun.get()
        # Another node is not held up, and its whole handshake is time enough for an eleventh to be seen here.
        await stack.enter_async_context(running(Link(always(other.url), elsewhere := Ear(), timing=SLOW)))
        assert (await elsewhere.next())[0] == "up"
        assert begun.empty()
        release.set()
        assert [(await ear.next())[0] for ear in ears] == ["up"] * len(ears)


# --- secrets ----------------------------------------------------------------------------------------------


async def exchange(node: Node, link: Link, ear: Ear) -> None:
    """Every moment at which something is logged: failure, opening, frames, reconnect, silence, close."""
    assert (await ear.next())[0] == "failed"
    assert (await ear.next())[0] == "up"
    await link.send(f'{{"fsm_id": "{SECRET}"}}')
    await node.socket.send(SECRET)
    assert (await ear.next()) == ("received", SECRET)
    await link.reconnect("a reason")
    assert (await ear.next())[0] == "down"
    assert (await ear.next())[0] == "up"
    node.socket.transport.pause_reading()
    assert (await ear.next())[0] == "down"
    assert (await ear.next())[0] == "up"
    await link.close()


async def test_no_credential_in_any_log_or_repr(caplog: pytest.LogCaptureFixture) -> None:
    """Who reads logs must not be able to take a channel over, even with every logger at DEBUG."""
    refused = False

    async def refuse_once(socket: ServerConnection, request: Request) -> Response | None:
        nonlocal refused
        was, refused = refused, True
        return None if was else socket.respond(500, f"no {request.path}")

    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        if name != "tests.node.server":
            caplog.set_level(logging.DEBUG, logger=name)
    async with run_node() as node:
        node.answer = refuse_once
        address = always(node.url, {"existing_fsm_id": SECRET})
        async with running(link := Link(address, ear := Ear(), timing=QUICK)):
            await exchange(node, link, ear)
        assert SECRET in node.paths[0]
        assert SECRET not in repr((await address())[0])
        assert SECRET not in repr(link) + str(vars(link))
    shown = [record.name + record.getMessage() + str(record.exc_info) for record in caplog.records]
    assert any("link_reconnects" in line for line in shown)
    assert [line for line in shown if SECRET in line] == []
    assert SECRET not in caplog.text


async def test_a_failure_names_the_node_and_not_the_address() -> None:
    """This text becomes an event that others read."""
    url = "ws://user:password@127.0.0.1:1/channel"
    async with running(Link(always(url, {"existing_fsm_id": SECRET}), ear := Ear(), timing=QUICK)):
        assert await ear.next() == ("failed", 1, "127.0.0.1:1: ConnectionRefusedError", Code.CONNECTION_LOST)


def test_default_times_keep_a_node_from_closing() -> None:
    """Ping at most every 20 s, pong within 10 s: guarantees.md, the node's rules."""
    timing = Timing()
    assert timing.ping <= 20
    assert timing.pong <= 10
    assert (timing.first_delay, timing.longest_delay) == (0.25, 8.0)
