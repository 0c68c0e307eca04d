"""A home whose bridge reaches node and broker only through proxies; both links can be watched and hurt."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from bridge.channel.terms import Role
from tests.faults.journal_home import Home, home
from tests.faults.proxy import Connection, Proxy, Watch, broker_link, forward, node_link, proxied
from tests.system.house import Pair

BROKER_SECONDS = 3
"""The bridge's bound of a broker call here: the default of 30 s only makes runs longer."""


@dataclass
class Wired:
    made: Home
    node: Proxy
    broker: Proxy

    def channel(self, connection: Connection) -> str:
        """Our name of the channel and role a node's connection belongs to, from the request that opened it."""
        query = parse_qs(urlsplit(connection.head.split(b" ")[1].decode()).query)
        role, known = query["role"][0], query.get("existing_channel_id")
        for pair in self.made.house.pairs:
            name = pair.initiator if role == Role.INITIATOR.value else pair.responder
            if known is None and query["initiator_id"][0] == pair.account("initiator"):
                return name
            if known is not None and self.made.state(name).channel_id == known[0]:
                return name
        raise AssertionError(f"no channel of ours opened {connection.head[:200]!r}")

    def check(self) -> None:
        """Raises what a watch raised."""
        for error in (*self.node.errors, *self.broker.errors):
            raise error


@asynccontextmanager
async def wired(
    url: str,
    directory: Path,
    *pairs: Pair,
    node_watch: Watch = forward,
    broker_watch: Watch = forward,
    channel_lines: Sequence[str] = (),
    signers: bool = True,
    is_forked: bool = False,
) -> AsyncIterator[Wired]:
    """The home without its bridge; client and signers keep their own straight way to the broker.

    `channel_lines`: configuration of every channel. `signers`: whether the house's own sign. `is_forked`: see `Home`.
    """
    port = urlsplit(url).port
    assert port is not None
    async with (
        home(url, directory, *pairs, signers=signers, is_forked=is_forked) as made,
        proxied(made.house.node.port, node_link, node_watch) as node,
        proxied(port, broker_link, broker_watch) as broker,
    ):
        text = made.config.read_text().replace(f":{made.house.node.port}/channel", f":{node.port}/channel")
        text = text.replace(f":{port}/", f":{broker.port}/")
        text = text.replace("[[channels]]", "\n".join(["[[channels]]", *channel_lines]))
        made.config.write_text(f"limits.broker_timeout_seconds = {BROKER_SECONDS}\n{text}")
        made.doubled, made.swallowed = node.doubled, node.swallowed
        yield Wired(made, node, broker)
