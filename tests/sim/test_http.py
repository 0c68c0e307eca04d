"""The read-only HTTP answers of the simulated node, on the port of its WebSocket."""

import httpx

from bridge.sim.server import SimulatedNode
from tests.sim.client import INITIATOR, RESPONDER, opened, running

STRANGER = "ak_9bgfELcfQv8YdQRpVCiSZCtnZzEadzxPbpmZn4S4hX5ZZzwd4"


def asking(node: SimulatedNode) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{node.port}/v3", trust_env=False)


async def test_status_height_and_accounts() -> None:
    """All a bridge asks of the chain before it opens a channel."""
    rich = {INITIATOR: 10**20, RESPONDER: 10**20}
    async with running(accounts=rich) as node, asking(node) as http:
        status = (await http.get("/status")).json()
        assert (status["network_id"], status["top_block_height"]) == ("ae_dev", node.chain.height)
        assert (await http.get("/key-blocks/current/height")).json() == {"height": node.chain.height}
        account = (await http.get(f"/accounts/{INITIATOR}")).json()
        assert (account["balance"], account["nonce"]) == (10**20, 0)
        assert (await http.get(f"/accounts/{INITIATOR}/next-nonce")).json() == {"next_nonce": 1}
        for path in (f"/accounts/{STRANGER}", "/accounts/ak_x", "/nonsense", "/transactions/th_x"):
            assert (await http.get(path)).status_code == 404


async def test_a_transaction_is_pending_then_mined_and_paid() -> None:
    """How a bridge tells "posted" from "mined" when a report was lost."""
    async with running() as node, opened(node) as pair, asking(node) as http:
        before = (await http.get(f"/accounts/{INITIATOR}")).json()
        node.chain.auto_mine = False
        await pair.initiator.ask("deposit", {"amount": 1000})
        await pair.initiator.until("chain deposit_signed")
        name = next(iter(node.chain.mempool))
        assert (await http.get(f"/transactions/{name}")).json()["block_height"] == -1
        assert (await http.get(f"/accounts/{INITIATOR}/next-nonce")).json() == {"next_nonce": 3}
        node.mine()
        mined = (await http.get(f"/transactions/{name}")).json()
        assert mined["block_height"] == node.chain.height
        after = (await http.get(f"/accounts/{INITIATOR}")).json()
        assert before["balance"] - after["balance"] == 1000 + 17_360_000_000_000
        await pair.initiator.until("chain channel_changed", 2)
        assert "own_deposit_locked" not in pair.initiator.words
        node.mine()
        await pair.both("deposit_locked")
