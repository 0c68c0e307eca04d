"""Asks a node's HTTP interface, version 3, about the chain. Reads only, never repeats, keeps nothing.

Every call is bounded in time and size. Whatever goes wrong is NodeUnavailable: ask again later; no answer is
never taken for "not there". Amounts stay integers of any size.
"""

import asyncio
import ssl
from functools import cache
from typing import Annotated, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bridge.channel.identifier import Account, ChannelId
from bridge.errors import NodeUnavailable, NodeUntrusted
from bridge.tls import explain

CALL_SECONDS = 5.0
MAX_ANSWER_BYTES = 1024 * 1024
PENDING = -1
"""Where a transaction's height stands while it waits for a block."""
NOT_FOUND = 404

Count = Annotated[int, Field(ge=0, strict=True)]


class Answer(BaseModel):
    """From outside: fields unknown to us are let pass, nodes grow."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Status(Answer):
    network_id: str


class Height(Answer):
    height: Count


class Balance(Answer):
    balance: Count
    nonce: Count = 0


class NextNonce(Answer):
    next_nonce: Count


class Mined(Answer):
    block_height: Annotated[int, Field(ge=PENDING, strict=True)]


A = TypeVar("A", bound=Answer)


@cache
def authorities() -> ssl.SSLContext:
    """The system's, as for the WebSocket. Read once: it takes tens of milliseconds, in which nothing else runs."""
    return ssl.create_default_context()


class Chain:
    """`url` is `https://host:port`, verified, or `http://…` where the configuration allows it."""

    def __init__(
        self,
        url: str,
        *,
        context: ssl.SSLContext | None = None,
        call_seconds: float = CALL_SECONDS,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        """`context` None: the system's authorities."""
        self._call_seconds = call_seconds
        self._max_answer_bytes = max_answer_bytes
        # No proxy and no password from the environment: what a node is asked shows who has channels there.
        verify = context or authorities()
        self._client = httpx.AsyncClient(base_url=url, timeout=call_seconds, trust_env=False, verify=verify)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """May be called twice."""
        await self._client.aclose()

    async def network_id(self) -> str:
        """What signatures on this chain are bound to."""
        return (await self._get("/v3/status", Status)).network_id

    async def height(self) -> int:
        """Of the newest key block."""
        return (await self._get("/v3/key-blocks/current/height", Height)).height

    async def balance(self, account: Account) -> int:
        """In aettos; 0 for an account the chain has never seen."""
        found = await self._find(f"/v3/accounts/{quote(account, safe='')}", Balance)
        return 0 if found is None else found.balance

    async def nonce(self, account: Account) -> int:
        """Of the account's latest transaction in a block; 0 before its first."""
        found = await self._find(f"/v3/accounts/{quote(account, safe='')}", Balance)
        return 0 if found is None else found.nonce

    async def has_channel(self, channel_id: ChannelId) -> bool:
        """Whether the chain knows it at this height: a closed one is forgotten."""
        return await self._find(f"/v3/channels/{quote(channel_id, safe='')}", Answer) is not None

    async def next_nonce(self, account: Account) -> int:
        """For the account's next transaction, those that wait in the node's pool counted; 1 for a new account."""
        found = await self._find(f"/v3/accounts/{quote(account, safe='')}/next-nonce", NextNonce)
        return 1 if found is None else found.next_nonce

    async def transaction(self, transaction_hash: str) -> int | None:
        """The height of the block with the transaction `th_…`; PENDING while it waits; None if not known there."""
        found = await self._find(f"/v3/transactions/{quote(transaction_hash, safe='')}", Mined)
        return None if found is None else found.block_height

    async def _get(self, path: str, model: type[A]) -> A:
        found = await self._find(path, model)
        if found is None:
            raise NodeUnavailable(f"{path}: HTTP {NOT_FOUND}")
        return found

    async def _find(self, path: str, model: type[A]) -> A | None:
        """None for 404: the node has no such thing."""
        try:
            async with asyncio.timeout(self._call_seconds):
                status, body = await self._fetch(path)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            # An alert that comes after the handshake passes the library as the bare error of the socket.
            if (reason := explain(error)) is not None:
                raise NodeUntrusted(f"{path}: {reason}") from error
            raise NodeUnavailable(f"{path}: {type(error).__name__}") from error
        if status == NOT_FOUND:
            return None
        if status != httpx.codes.OK:
            raise NodeUnavailable(f"{path}: HTTP {status}")
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            raise NodeUnavailable(f"{path}: an answer of another form") from error

    async def _fetch(self, path: str) -> tuple[int, bytes]:
        body = bytearray()
        async with self._client.stream("GET", path) as answer:
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > self._max_answer_bytes:
                    raise NodeUnavailable(f"{path}: an answer of more than {self._max_answer_bytes} bytes")
        return answer.status_code, bytes(body)
