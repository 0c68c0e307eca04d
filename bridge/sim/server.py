"""The simulated node as a whole: one port for WebSockets and HTTP, a chain, and the channels' memory.

A stop in order keeps every channel's state, in the object and, with a state directory, on disk; a kill loses it,
as a real node does. No TLS, loopback by default: it holds no coins and no secrets worth any.
"""

import logging
import random
import secrets
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as serve_websocket
from websockets.http11 import Request, Response

from bridge.channel.identifier import Account
from bridge.channel.terms import Dialect, Role
from bridge.errors import EncodingError, TransactionError
from bridge.sim import http, memory
from bridge.sim.chain import Chain
from bridge.sim.endpoint import IDLE_SECONDS, Endpoint, Fittings, Socket
from bridge.sim.fsm import Fsm
from bridge.sim.gate import Gate
from bridge.sim.jsonrpc import JsonRpc
from bridge.sim.ledger import GENESIS, Ledger
from bridge.sim.legacy import Legacy
from bridge.sim.parameter import Return, dialect_of, is_return, read_opening, read_return
from bridge.sim.registry import Registry
from bridge.sim.request import ClientDropped, RequestRefused
from bridge.sim.skin import Skin
from bridge.sim.tally import Tally

CHANNEL_PATH = "/channel"
CLOSE_SECONDS = 1.0
log = logging.getLogger(__name__)


class SimulatedNode:
    """A node to open channels on, in this process or behind `serve`."""

    def __init__(
        self,
        *,
        network_id: str = "ae_dev",
        host: str = "127.0.0.1",
        port: int = 0,
        accounts: Mapping[str, int] | None = None,
        genesis: int = GENESIS,
        auto_mine: bool = True,
        seed: int | None = None,
        state_dir: Path | None = None,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """`accounts` given: only these exist, with these aettos; else every account starts with `genesis`.

        `seed` makes the ids of the FSMs repeatable. `idle_seconds` is the limit of a silent WebSocket.
        """
        known = None if accounts is None else {Account(account): balance for account, balance in accounts.items()}
        self.chain = Chain(network_id, Ledger(known, genesis), auto_mine=auto_mine)
        self.registry = Registry(self.chain, _source(seed))
        self._host = host
        self._port = port
        self._state_dir = state_dir
        self._idle_seconds = idle_seconds
        self.tally = Tally()
        self.gate = Gate()
        self._server: Server | None = None
        self._endpoints: dict[Endpoint, Socket] = {}

    @property
    def port(self) -> int:
        """Where it listens; kept over stop and start."""
        return self._port

    @property
    def is_listening(self) -> bool:
        return self._server is not None

    @property
    def url(self) -> str:
        return f"ws://{self._host}:{self._port}{CHANNEL_PATH}"

    # --- life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. May be called again after `stop` or `kill`; the port stays the same."""
        if self._state_dir is not None:
            memory.load(self._state_dir, self.chain, self.registry)
        self._server = await serve_websocket(
            self._serve,
            self._host,
            self._port,
            process_request=self._answer_http,
            create_connection=Socket,
            compression=None,
            ping_interval=None,
            close_timeout=CLOSE_SECONDS,
            max_size=None,
            max_queue=None,
        )
        self._port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        """In order: every channel can be reestablished with the ids its clients have."""
        await self._go_down()
        if self._state_dir is not None:
            memory.store(self._state_dir, self.chain, self.registry.saved)

    async def kill(self) -> None:
        """As if the process were killed: the chain survives, no channel does."""
        for endpoint in list(self._endpoints):
            endpoint.evict()
        await self._go_down()
        self.registry.forget()
        if self._state_dir is not None:
            memory.store(self._state_dir, self.chain, self.registry.saved)

    async def _go_down(self) -> None:
        self.registry.stop()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    # --- controls -----------------------------------------------------------------------------------------

    def mine(self, blocks: int = 1) -> None:
        self.chain.mine(blocks)

    def cut(self, channel_id: str, role: Role) -> None:
        """Tear down the client's connection without a frame. Nothing happens if there is none."""
        fsm = self.registry.find(channel_id, role)
        if fsm is not None and fsm.client is not None:
            fsm.client.evict()

    def inject(self, channel_id: str, role: Role, text: str) -> None:
        """Write a text to the client that no node would. Nothing happens if there is none."""
        fsm = self.registry.find(channel_id, role)
        for endpoint in self._endpoints:
            if fsm is not None and endpoint is fsm.client:
                endpoint.inject(text)

    def endpoints(self) -> Iterator[tuple[Endpoint, Fsm]]:
        """Every admitted socket and its FSM."""
        for endpoint in list(self._endpoints):
            if endpoint.fsm is not None:
                yield endpoint, endpoint.fsm

    def cut_all(self) -> None:
        for endpoint in list(self._endpoints):
            endpoint.evict()

    def round(self, channel_id: str, role: Role) -> int | None:
        """The latest co-signed round that side holds; None if no FSM of it runs."""
        fsm = self.registry.find(channel_id, role)
        return None if fsm is None else fsm.round

    def balance(self, account: str) -> int:
        """On chain, in aettos."""
        entry = self.chain.ledger.find(Account(account))
        return 0 if entry is None else entry.balance

    # --- one connection -----------------------------------------------------------------------------------

    def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        return None if request.path.partition("?")[0] == CHANNEL_PATH else http.respond(self.chain, self.tally, request)

    async def _serve(self, connection: ServerConnection) -> None:
        if not isinstance(connection, Socket) or connection.request is None:
            raise TypeError("the server makes sockets of its own kind")
        query = dict(parse_qsl(urlsplit(connection.request.path).query, keep_blank_values=True))
        try:
            dialect = dialect_of(query)
            note = partial(self.tally.note, dialect)
            fittings = Fittings(note, self.gate, self.registry.book, self._idle_seconds)
            endpoint = Endpoint(connection, _skin(dialect), fittings)
            self._endpoints[endpoint] = connection
            await self._attend(endpoint, query)
        except ClientDropped as dropped:
            await connection.close(dropped.code)
        finally:
            self._endpoints = {kept: socket for kept, socket in self._endpoints.items() if socket is not connection}

    async def _attend(self, endpoint: Endpoint, query: Mapping[str, str]) -> None:
        try:
            fsm = self._admit(endpoint, query)
        except RequestRefused as refusal:
            await endpoint.refuse(refusal)
        else:
            await endpoint.run(fsm)

    def _admit(self, endpoint: Endpoint, query: Mapping[str, str]) -> Fsm:
        dialect = dialect_of(query)
        if not is_return(query):
            return self.registry.open(read_opening(query), endpoint)
        back = read_return(query)
        try:
            fsm = self._resume(back, dialect, endpoint)
        except (RequestRefused, ClientDropped):
            self.registry.book.note_return(back.channel_id, back.role, is_admitted=False)
            raise
        self.registry.book.note_return(back.channel_id, back.role, is_admitted=True)
        return fsm

    def _resume(self, back: Return, dialect: Dialect, endpoint: Endpoint) -> Fsm:
        if dialect is Dialect.JSON_RPC:
            return self.registry.resume(back, endpoint)
        try:
            return self.registry.resume_by_state(back, dialect, endpoint)
        except (EncodingError, TransactionError) as error:
            raise ClientDropped from error


def _skin(dialect: Dialect) -> Skin:
    return JsonRpc() if dialect is Dialect.JSON_RPC else Legacy(dialect)


def _source(seed: int | None) -> Callable[[int], bytes]:
    return secrets.token_bytes if seed is None else random.Random(seed).randbytes  # noqa: S311  # to repeat a test
