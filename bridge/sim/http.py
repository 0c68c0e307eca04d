"""The read-only part of the node's HTTP interface, on the same port as the WebSocket.

Only what a bridge asks: status, accounts, nonces, height, transactions. Everything is a GET.
"""

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from bridge.channel.identifier import Account
from bridge.errors import EncodingError
from bridge.sim.chain import Chain
from bridge.sim.tally import Tally
from bridge.wire import encoding

NODE_VERSION = "7.2.0-simulated"


def respond(chain: Chain, tally: Tally, request: Request) -> Response:
    """An answer for every path. `/sim/frames` is no node's: it tells which kinds of frame crossed."""
    parts = request.path.partition("?")[0].strip("/").split("/")
    found = tally.report() if parts == ["sim", "frames"] else _find(chain, parts)
    return _write(HTTPStatus.NOT_FOUND, {"reason": "Not found"}) if found is None else _write(HTTPStatus.OK, found)


def _find(chain: Chain, parts: list[str]) -> dict[str, Any] | None:
    match parts:
        case ["v3", "status"]:
            return _status(chain)
        case ["v3", "key-blocks", "current", "height"]:
            return {"height": chain.height}
        case ["v3", "accounts", account]:
            return _account(chain, account, lambda key: _entry(chain, key))
        case ["v3", "accounts", account, "next-nonce"]:
            return _account(chain, account, lambda key: {"next_nonce": chain.next_nonce(key)})
        case ["v3", "channels", name]:
            return {"id": name} if name in chain.ledger.channels else None
        case ["v3", "transactions", name]:
            return _transaction(chain, name)
        case _:
            return None


def _status(chain: Chain) -> dict[str, Any]:
    return {
        "network_id": chain.network_id,
        "node_version": NODE_VERSION,
        "top_block_height": chain.height,
        "syncing": False,
        "sync_progress": 100.0,
        "pending_transactions_count": len(chain.mempool),
    }


def _account(chain: Chain, text: str, tell: Callable[[Account], dict[str, Any]]) -> dict[str, Any] | None:
    try:
        account = encoding.account(encoding.account_key(text))
    except EncodingError:
        return None
    return tell(account) if chain.knows(account) else None


def _entry(chain: Chain, account: Account) -> dict[str, Any]:
    entry = chain.ledger.find(account)
    if entry is None:
        return {}
    return {"id": account, "balance": entry.balance, "nonce": entry.nonce, "kind": "basic", "payable": True}


def _transaction(chain: Chain, name: str) -> dict[str, Any] | None:
    """A transaction in the mempool has height -1, as the node writes it."""
    if name in chain.mined:
        return {"hash": name, "block_height": chain.mined[name]}
    return {"hash": name, "block_height": -1, "block_hash": "none"} if name in chain.mempool else None


def _write(status: HTTPStatus, body: dict[str, Any]) -> Response:
    data = json.dumps(body).encode()
    headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(data)), "Connection": "close"})
    return Response(status.value, status.phrase, headers, data)
