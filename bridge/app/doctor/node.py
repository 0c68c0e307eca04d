"""The nodes: whether a WebSocket opens there, and whether their chain is the one signatures are meant for.

The handshake names no channel and no role, so the node opens none and closes the socket (observed).
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from bridge.app.doctor.advice import Advice, Check, error, warning
from bridge.app.settings import Node
from bridge.errors import NodeUnavailable, NodeUntrusted
from bridge.node.chain import Chain
from bridge.node.handshake import open_socket

SECONDS = 5.0
FRAME_BYTES = 64 * 1024


async def look(name: str, node: Node, context: ssl.SSLContext) -> AsyncIterator[Advice]:
    try:
        socket = await open_socket(
            node.url,
            context=context,
            max_frame_bytes=FRAME_BYTES,
            opening=SECONDS,
            closing=1.0,
            ping=SECONDS,
            pong=SECONDS,
        )
        await socket.close()
    except NodeUntrusted as untrusted:
        yield error(Check.TLS_REFUSED, f"node {name}: {untrusted}", f"the node's certificate, or nodes.{name}.tls")
    except NodeUnavailable as unavailable:
        parts = urlsplit(node.url)
        yield error(
            Check.NODE_UNREACHABLE,
            f"node {name}: no WebSocket at {node.url} ({unavailable})",
            f"start the node, or mend nodes.{name}.url; from here: nc -vz {parts.hostname} {parts.port or 80}",
        )
    if node.chain_url is not None:
        async for advice in _chain(name, node, node.chain_url, context):
            yield advice


async def _chain(name: str, node: Node, url: str, context: ssl.SSLContext) -> AsyncIterator[Advice]:
    try:
        async with asyncio.timeout(2 * SECONDS), Chain(url, context=context) as chain:
            told = await chain.network_id()
    except (NodeUnavailable, TimeoutError) as unavailable:
        yield warning(
            Check.CHAIN_UNREACHABLE,
            f"node {name}: its HTTP interface at {url} does not answer ({unavailable}); closes and nonces are not seen",
            f"start it, mend nodes.{name}.chain_url, or leave that option out",
        )
        return
    if told != node.network_id:
        yield error(
            Check.NETWORK_DIFFERS,
            f"node {name} is on {told}, the configuration says {node.network_id}: it would take no signature",
            f'nodes.{name}.network_id = "{told}", if that is the chain you mean',
        )
