"""A key in a service with the interface of Vault's transit engine: the bytes go there, the signature comes back.

`GET /v1/<mount>/keys/<key>` tells the public key of each version, `POST /v1/<mount>/sign/<key>` signs. Which version is
the account's is asked once and then named in each request, so that a rotated key signs on with the version whose
account it is. No redirect is followed, no proxy of the environment used, no answer believed that is not a signature of
the account. Neither the token nor a text of the service enters an error.
Source: Vault's HTTP API, "Transit secrets engine".
"""

import asyncio
import base64
import binascii
import json
import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from bridge.channel.identifier import Account
from bridge.errors import ConfigInvalid, KeyRefused, KeyUnavailable
from bridge.tls import explain
from bridge.wire.encoding import account_key
from bridge.wire.signature import SIGNATURE_BYTES

MAX_ANSWER_BYTES = 256 * 1024
TRANSIENT = frozenset({408, 412, 429, 500, 502, 503, 504})
"""Busy, sealed, a standby, or not up to date yet. What is in neither list is final."""
_SIGNATURE = re.compile(r"vault:v(?P<version>[0-9]{1,9}):(?P<signature>[A-Za-z0-9+/]{86}==)")


class TransitKey:
    """`token` reads the token anew. Belongs to the event loop that first uses it; `close` ends its connections."""

    def __init__(
        self,
        account: Account,
        url: str,
        mount: str,
        name: str,
        token: Callable[[], str],
        seconds: float,
        context: ssl.SSLContext,
    ) -> None:
        self.account = account
        self._keys = f"/v1/{mount}/keys/{name}"
        self._sign = f"/v1/{mount}/sign/{name}"
        self._token = token
        self._seconds = seconds
        self._url = url
        self._version: int | None = None
        self._client = self._connect(context)
        self._retired: list[httpx.AsyncClient] = []
        self._asking = 0

    def _connect(self, context: ssl.SSLContext) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._url, timeout=self._seconds, verify=context, trust_env=False, follow_redirects=False
        )

    def __repr__(self) -> str:
        return f"TransitKey({self.account})"

    def renew(self, context: ssl.SSLContext) -> None:
        """Takes other certificates: for the next request. Who waits for an answer keeps his connection."""
        self._retired.append(self._client)
        self._client = self._connect(context)

    async def close(self) -> None:
        await self._close_retired()
        await self._client.aclose()

    async def _close_retired(self) -> None:
        while self._retired:
            await self._retired.pop().aclose()

    async def sign(self, payload: bytes) -> bytes:
        if self._version is None:
            self._version = self._find_version(await self._ask("GET", self._keys))
        asked = {"input": base64.b64encode(payload).decode(), "key_version": self._version}
        return self._read_signature(await self._ask("POST", self._sign, asked))

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """The `data` of the answer."""
        self._asking += 1
        try:
            return await self._exchange(self._client, method, path, body)
        finally:
            self._asking -= 1
            if not self._asking:
                await self._close_retired()

    async def _exchange(
        self, client: httpx.AsyncClient, method: str, path: str, body: Mapping[str, Any] | None
    ) -> Mapping[str, Any]:
        try:
            headers = {"X-Vault-Token": self._token(), "X-Vault-Request": "true"}
            async with (
                asyncio.timeout(self._seconds),  # the library's own bounds each step, not the whole
                client.stream(method, path, headers=headers, json=body) as answer,
            ):
                _check_status(answer.status_code)
                return _read_data(await _read_bounded(answer))
        except TimeoutError:
            raise KeyUnavailable(f"the service that holds the key took longer than {self._seconds:g} s") from None
        except ConfigInvalid as invalid:  # while it is being replaced a token may be missing for a moment
            (finding,) = invalid.findings
            raise KeyUnavailable(f"the token cannot be read: {finding.found}") from None
        except httpx.InvalidURL:
            raise KeyRefused("the service's address is no URL") from None
        except httpx.HTTPError as error:
            refused = explain(error)
            what = type(error).__name__ if refused is None else refused
            raise KeyUnavailable(f"the service that holds the key cannot be reached: {what}") from None

    def _find_version(self, data: Mapping[str, Any]) -> int:
        """The newest version whose public key is the account's."""
        wanted = base64.b64encode(account_key(self.account)).decode()
        versions = data.get("keys")
        found = [
            int(number)
            for number, key in (versions.items() if isinstance(versions, dict) else ())
            if isinstance(key, dict) and key.get("public_key") == wanted and str(number).isdecimal()
        ]
        if not found:
            raise KeyRefused(f"no version of the service's key is that of {self.account}")
        return max(found)

    def _read_signature(self, data: Mapping[str, Any]) -> bytes:
        found = _SIGNATURE.fullmatch(str(data.get("signature", "")))
        if found is None or int(found["version"]) != self._version:
            raise KeyRefused("the service's answer holds no signature of the version that was asked")
        try:
            signature = base64.b64decode(found["signature"], validate=True)
        except binascii.Error:
            signature = b""
        if len(signature) != SIGNATURE_BYTES:
            raise KeyRefused("the service's answer holds no signature of 64 bytes")
        return signature


def _check_status(status: int) -> None:
    if status in TRANSIENT or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise KeyUnavailable(f"the service that holds the key answered with status {status}")
    if status != httpx.codes.OK:
        raise KeyRefused(f"the service that holds the key answered with status {status}")


async def _read_bounded(answer: httpx.Response) -> bytes:
    content = b""
    async for piece in answer.aiter_bytes():
        content += piece
        if len(content) > MAX_ANSWER_BYTES:
            raise KeyRefused(f"the service's answer is longer than {MAX_ANSWER_BYTES} bytes")
    return content


def _read_data(content: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        # Not chained: the cause carries the text.
        raise KeyRefused("the service's answer is no JSON") from None
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        raise KeyRefused("the service's answer holds no data")
    return data
