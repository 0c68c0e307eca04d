"""What the simulated node refuses, and how: the errors of observed.md, one by one."""

from typing import Any

import pytest

from tests.sim.client import INITIATOR, INITIATOR_KEY, RESPONDER, RESPONDER_KEY, Party, opened, opening, running, sign

STRANGER = "ak_9bgfELcfQv8YdQRpVCiSZCtnZzEadzxPbpmZn4S4hX5ZZzwd4"
PAY = {"from": INITIATOR, "to": RESPONDER, "amount": 1}


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("update.new", PAY | {"amount": -1}, 1002),
        ("update.new", PAY | {"amount": 1.5}, 1008),
        ("update.new", PAY | {"amount": "5"}, 1008),
        ("update.new", PAY | {"amount": None}, 1008),
        ("update.new", PAY | {"amount": True}, 1008),
        ("update.new", PAY | {"amount": 10**30}, 1001),
        ("update.new", PAY | {"amount": 69_999_999_999_999}, 1001),
        ("update.new", PAY | {"from": STRANGER}, 1003),
        ("update.new", PAY | {"to": INITIATOR}, 1003),
        ("update.new", PAY | {"from": "ak_x"}, 1005),
        ("update.new", PAY | {"meta": "x"}, 1014),
        ("update.new", {"from": INITIATOR, "to": RESPONDER}, -32601),
        ("update.new", PAY | {"block_hash": "kh_xxx"}, -32603),
        ("deposit", {"amount": -1}, 1002),
        ("withdraw", {"amount": 10**18}, -32603),
        ("message", {"to": INITIATOR, "info": "self"}, -32603),
        ("message", {"to": STRANGER, "info": "third"}, -32603),
        ("message", {"to": "ak_bad", "info": "x"}, 1005),
        ("message", {"to": RESPONDER, "info": 5}, -32000),
        ("message", {"to": RESPONDER, "info": "z" * 65_001}, -32000),
        ("update", {"signed_tx": "tx_abc"}, 1010),
        ("update", {"error": 4}, 1018),
        ("update", {"error": 65_536}, -32603),
        ("update", {"error": "abc"}, -32603),
        ("get.balances", {}, -32601),
        ("get.poi", {"accounts": [STRANGER]}, 100),
        ("history.fetch", {"tag": ["nonsense"]}, -32603),
        ("nope", {}, -32601),
    ],
)
async def test_a_bad_request_gets_the_real_nodes_code(method: str, params: Any, code: int) -> None:
    """The bridge turns these codes into results; a wrong one here would hide a wrong one there."""
    async with running() as node, opened(node) as pair:
        assert await pair.initiator.ask(method, params) == code
        assert await pair.initiator.ask("system", {"action": "ping"}) == {"action": "system", "tag": "pong"}


async def test_what_is_no_request_is_met_with_silence() -> None:
    """Garbage, other versions and binary frames are not even refused; the socket lives on."""
    async with running() as node, opened(node) as pair:
        pair.forget()
        for text in (
            "garbage",
            "{}",
            "[]",
            "5",
            '{"jsonrpc":"1.0","method":"channels.leave"}',
            '{"jsonrpc":"2.0","id":1}',
        ):
            await pair.initiator.connection.send(text)
        await pair.initiator.connection.send(b"\x00")
        await pair.initiator.ask("system", {"action": "ping"})
        assert len(pair.initiator.seen) == 1


async def test_a_batch_is_answered_as_an_array_and_ids_are_echoed() -> None:
    """observed.md "Errors": ids of any JSON type."""
    async with running() as node, opened(node) as pair:
        pings = ",".join(
            f'{{"jsonrpc":"2.0","method":"channels.system","params":{{"action":"ping"}},"id":{name}}}'
            for name in ('{"a":1}', "null")
        )
        pair.forget()
        await pair.initiator.connection.send(f"[{pings}]")
        await pair.initiator.ask("system", {"action": "ping"})
        assert [answer["id"] for answer in pair.initiator.seen[0]] == [{"a": 1}, None]


async def test_a_foreign_signature_is_a_conflict_for_whoever_knew() -> None:
    """Code 1: the proposer alone for his own, both for an acknowledgement."""
    async with running() as node, opened(node) as pair:
        pair.initiator.is_signing = pair.responder.is_signing = False
        await pair.initiator.pay(1)
        asked = (await pair.initiator.until("sign.update"))["params"]["data"]["signed_tx"]
        assert await pair.initiator.ask("update", {"signed_tx": sign(asked, RESPONDER_KEY)}) == "ok"
        await pair.initiator.until("conflict 1")
        assert "conflict 1" not in pair.responder.words
        await pair.initiator.pay(1)
        asked = (await pair.initiator.until("sign.update", 2))["params"]["data"]["signed_tx"]
        await pair.initiator.send("update", {"signed_tx": sign(asked, INITIATOR_KEY)})
        asked = (await pair.responder.until("sign.update_ack"))["params"]["data"]["signed_tx"]
        await pair.responder.send("update_ack", {"signed_tx": sign(asked, INITIATOR_KEY)})
        await pair.responder.until("conflict 1")
        await pair.initiator.until("conflict 1", 2)


async def test_a_refused_signature_can_be_used_later() -> None:
    """observed.md "A signature cannot be taken back": the refused payment happens while its payer is away."""
    async with running() as node, opened(node) as pair:
        pair.responder.is_signing = False
        await pair.initiator.pay(5)
        half = (await pair.responder.until("sign.update_ack"))["params"]["data"]["signed_tx"]
        await pair.responder.send("update_ack", {"error": 147})
        await pair.initiator.until("conflict 147")
        pair.initiator.cut()
        await pair.initiator.until_closed()
        await pair.responder.pay(5, take=True)
        await pair.responder.until("sign.update")
        await pair.responder.send("update", {"signed_tx": sign(half, RESPONDER_KEY)})
        await pair.responder.until("update", 3)  # opening, announcement of the first, and now the state
        held = await pair.responder.ask("get.balances", {"accounts": [INITIATOR]})
        assert held == [{"account": INITIATOR, "balance": 69_999_999_999_995}]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"initiator_amount": 1}, 105),
        ({"initiator_amount": -1}, 105),
        ({"channel_reserve": -1}, 105),
        ({"push_amount": -1}, 105),
        ({"lock_period": -1}, 105),
    ],
)
async def test_an_opening_with_too_low_values_is_refused(changes: dict[str, Any], code: int) -> None:
    """One error frame, then close 1000."""
    async with running() as node:
        party = await Party.open(node, opening("initiator", **changes))
        assert await party.until_closed() == (1000, "")
        assert party.words == [f"error {code}"]


@pytest.mark.parametrize("missing", ["role", "port", "host", "responder_id", "lock_period"])
async def test_a_missing_parameter_closes_without_a_word(missing: str) -> None:
    """A bridge cannot tell this from a lost channel: its own checks must come first."""
    async with running() as node:
        query = {name: value for name, value in opening("initiator").items() if name != missing}
        party = await Party.open(node, query)
        assert await party.until_closed() == (1000, "")
        assert party.seen == []


async def test_an_unknown_account_opens_nothing() -> None:
    """With configured accounts only these exist; without, everybody has coins."""
    async with running(accounts={INITIATOR: 10**20}) as node:
        party = await Party.open(node, opening("initiator"))
        assert await party.until_closed() == (1000, "")
        assert party.words == ["error 1011"]
