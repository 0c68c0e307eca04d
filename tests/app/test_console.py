"""`bridge.app.console`: what a page is told, and that nothing piles up for one that does not read."""

import asyncio
import json
import socket
from pathlib import Path
from unittest.mock import patch

from websockets.asyncio.client import connect

from bridge.app.console import KEPT_EVENTS, MOST_CLIENTS, PUSHED_EVENTS
from bridge.errors import JournalUnavailable
from tests.console.stage import SECRET, people, shown

UPGRADE = (
    "GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def test_page_that_does_not_read_is_dropped_and_nothing_queues_for_it(tmp_path: Path) -> None:
    """A phone in a tunnel must not fill the memory of what makes payments."""
    async with shown(tmp_path) as (show, server):
        names = [show.seat(number) for number in range(200)]
        deaf = socket.create_connection(("127.0.0.1", server.port))
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(UPGRADE.encode())
        async with asyncio.timeout(30):
            while not show.console.clients:  # noqa: ASYNC110  # turns of the loop, not time
                await asyncio.sleep(0)
            (client,) = show.console._clients
            later = asyncio.get_running_loop().time()
            while not show.console.dropped:
                show.console._change.channels.update(names)
                later += 1
                show.console._push(later)
                await asyncio.sleep(0)
                if not show.console.dropped and client.sending is not None and not client.sending.done():
                    held = client.connection.transport.get_write_buffer_size()
                    assert held < 2**20, "more than one text waits"
            while show.console.clients:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0)
        deaf.close()


async def test_pages_beyond_the_most_are_turned_away(tmp_path: Path) -> None:
    """Whoever opens pages for ever must not make the bridge write for ever."""
    async with shown(tmp_path) as (show, server):
        url = f"ws://127.0.0.1:{server.port}/live"
        feeds = [await connect(url, proxy=None) for _ in range(MOST_CLIENTS)]
        assert all([await feed.recv() for feed in feeds])
        async with connect(url, proxy=None) as beyond:
            await beyond.wait_closed()
            assert beyond.close_code == 1013
        assert show.console.clients == MOST_CLIENTS
        await asyncio.gather(*(feed.close() for feed in feeds))


async def test_rush_is_told_by_its_end_and_its_number(tmp_path: Path) -> None:
    """More happens between two pushes than a person reads: the last of it is shown, all of it is counted."""
    async with shown(tmp_path) as (show, server):
        name = show.seat(0)
        async with connect(f"ws://127.0.0.1:{server.port}/live", proxy=None) as feed:
            assert json.loads(await feed.recv())["kind"] == "whole"
            show.console._change.counted = 1000  # as if they had come since the last push
            for _ in range(KEPT_EVENTS + 1):
                await show.pay(name)
            seen, skipped = 0, 0
            while not (seen and skipped):
                async with asyncio.timeout(30):
                    told = json.loads(await feed.recv())
                assert len(told["events"]) <= PUSHED_EVENTS
                seen, skipped = seen + len(told["events"]), skipped + told.get("skipped", 0)
        assert skipped >= 1000 - PUSHED_EVENTS


async def test_no_secret_and_no_transaction_is_shown(tmp_path: Path) -> None:
    """A page is looked at by people who may not attach a channel or close one."""
    async with shown(tmp_path) as (show, _):
        await people(show)
        answer = await show.console.pages()["/snapshot"]("")
        assert answer is not None
        text = answer.body.decode()
        assert str(SECRET) not in text
        assert "tx_" not in text
        assert {row["name"] for row in json.loads(text)["channels"]} == set(show.workers)


async def test_journal_that_cannot_be_read_does_not_take_the_page_with_it(tmp_path: Path) -> None:
    """Who looks then wants to see the channels, and that the journal is what is missing."""
    async with shown(tmp_path) as (show, _):
        await show.pay(show.seat(0))
        assert show.journal is not None
        with patch.object(show.journal, "backlog", side_effect=JournalUnavailable("the disk is gone")):
            answer = await show.console.pages()["/snapshot"]("")
        assert answer is not None
        assert {row["name"] for row in json.loads(answer.body)["channels"]} == set(show.workers)
