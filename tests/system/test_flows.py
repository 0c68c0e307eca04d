"""Each flow of the seed document through a real RabbitMQ, in every dialect and from both roles.

The client, the signers and the bridge know one another only by the bus; the node is simulated and checks
every signature.
"""

import asyncio

import pytest

from bridge.errors import Code
from tests.system.house import House, Pair

BOTH_ROLES = pytest.mark.parametrize("role", ["initiator", "responder"])


def sides(pair: Pair, role: str) -> tuple[str, str]:
    """Our channel name and the other's."""
    names = (pair.initiator, pair.responder)
    return names if role == "initiator" else names[::-1]


def parties(pair: Pair, role: str) -> tuple[str, str]:
    """Our account and the other's."""
    accounts = (pair.account("initiator"), pair.account("responder"))
    return accounts if role == "initiator" else accounts[::-1]


def own(pair: Pair, role: str) -> int:
    return pair.initiator_amount if role == "initiator" else pair.responder_amount


async def balances(home: House, channel: str) -> dict[str, int]:
    result = await home.run(channel, "query", what="balances")
    assert result["outcome"] == "succeeded", result
    return {account: int(amount) for account, amount in result["data"]["balances"].items()}


async def pay(home: House, pair: Pair, role: str, amount: int = 5) -> dict[str, object]:
    payer, payee = parties(pair, role)
    return await home.run(sides(pair, role)[0], "transfer", from_=payer, to=payee, amount=str(amount))


@BOTH_ROLES
async def test_update_new_sign_reply_and_acknowledgement(home: House, pair: Pair, role: str) -> None:
    """Seed rows 1 to 5: one transfer crosses the bus both ways and both sides' books agree."""
    us, them = sides(pair, role)
    payer, payee = parties(pair, role)
    result = await pay(home, pair, role, 5)
    assert (result["outcome"], result["round"], result["executed"]) == ("succeeded", 2, True)
    received = await home.event(them, "transfer.received")
    assert (received["data"]["amount"], received["round"]) == ("5", 2)
    assert [e["data"]["tag"] for e in home.find(us, "sign.requested")][-1] == "update"
    assert [e["data"]["tag"] for e in home.find(them, "sign.requested")][-1] == "update_ack"
    for channel in (us, them):
        known = await balances(home, channel)
        assert known[payer] == own(pair, role) - 5
        assert sum(known.values()) == pair.initiator_amount + pair.responder_amount
        assert payee in known


async def test_update_conflict(home: House, pair: Pair) -> None:
    """Seed row 6: both propose at once; the node voids both, the bridge tries again, both succeed once."""
    first, second = sides(pair, "initiator")
    for _ in range(20):
        sent = [
            await home.send(
                sides(pair, role)[0],
                "transfer",
                from_=parties(pair, role)[0],
                to=parties(pair, role)[1],
                amount=amount,
            )
            for role, amount in (("initiator", "3"), ("responder", "4"))
        ]
        outcomes = [await home.outcome(command_id) for command_id in sent]
        assert [outcome["outcome"] for outcome in outcomes] == ["succeeded", "succeeded"]
        if home.find(first, "conflict.reported") or home.find(second, "conflict.reported"):
            break
    reported = home.find(first, "conflict.reported") + home.find(second, "conflict.reported")
    assert reported, "twenty crossing payments and no conflict"
    assert reported[0]["data"]["code"] == 2
    known = await balances(home, first)
    rounds = len(home.find(first, "transfer.succeeded"))
    assert known[pair.account("initiator")] == pair.initiator_amount + rounds


@BOTH_ROLES
async def test_update_error_insufficient_balance_shows_the_failed_request(home: House, pair: Pair, role: str) -> None:
    """Seed row 7: the reason is a stable code, and the refused request is in the event."""
    us, _ = sides(pair, role)
    result = await pay(home, pair, role, 10**15)
    assert (result["outcome"], result["code"]) == ("failed", "insufficient_balance")
    error = await home.event(us, "error.request")
    assert "insufficient_balance" in error["data"]["reasons"]
    assert str(10**15) in error["data"]["request"]
    assert (await pay(home, pair, role, 1))["outcome"] == "succeeded"


@BOTH_ROLES
async def test_deposit_and_its_acknowledgement(home: House, pair: Pair, role: str) -> None:
    """Seed rows 8 to 12 and 26."""
    us, them = sides(pair, role)
    result = await home.run(us, "deposit", amount="1000")
    assert result["outcome"] == "succeeded", result
    assert (await home.event(them, "deposit.acknowledged"))["data"]["amount"] == "1000"
    await home.event(us, "info.own_deposit_locked")
    assert (await balances(home, us))[parties(pair, role)[0]] == own(pair, role) + 1000
    assert (await balances(home, them))[parties(pair, role)[0]] == own(pair, role) + 1000


@BOTH_ROLES
async def test_withdrawal_and_its_acknowledgement(home: House, pair: Pair, role: str) -> None:
    """Seed rows 13 to 17."""
    us, them = sides(pair, role)
    result = await home.run(us, "withdraw", amount="700")
    assert result["outcome"] == "succeeded", result
    assert (await home.event(them, "withdraw.acknowledged"))["data"]["amount"] == "700"
    await home.event(us, "info.own_withdraw_locked")
    assert (await balances(home, them))[parties(pair, role)[0]] == own(pair, role) - 700


@BOTH_ROLES
async def test_generic_message_out_and_in(home: House, pair: Pair, role: str) -> None:
    """Seed rows 18 and 19. The oldest dialect never says whether the node took it: `unknown`."""
    us, them = sides(pair, role)
    result = await home.run(us, "message", to=parties(pair, role)[1], info="hejsan ü")
    assert result["outcome"] == ("unknown" if pair.profile == "seed" else "succeeded")
    received = await home.event(them, "message.received")
    assert received["data"]["info"] == "hejsan ü"


@BOTH_ROLES
async def test_a_letter_arrives_without_its_head_and_with_its_number(home: House, pair: Pair, role: str) -> None:
    """A message that is said at least once, over every dialect."""
    us, them = sides(pair, role)
    fields = {"to": parties(pair, role)[1], "info": "hejsan ü", "delivery": "at_least_once"}
    result = await home.run(us, "message", **fields)
    assert result["outcome"] == ("unknown" if pair.profile == "seed" else "succeeded")
    received = await home.event(them, "message.received")
    assert received["data"]["info"] == "hejsan ü"
    assert received["data"]["message_id"] == result["command_id"]


@BOTH_ROLES
async def test_close_mutual_and_its_acknowledgement(home: House, pair: Pair, role: str) -> None:
    """Seed rows 20 to 24: closed on chain, and later commands are told so."""
    us, them = sides(pair, role)
    await pay(home, pair, role, 5)
    result = await home.run(us, "shutdown")
    assert result["outcome"] == "succeeded", result
    await home.event(them, "shutdown.acknowledged")
    assert (await home.event(us, "chain.close_mutual_tx"))["data"]["type"] == "channel_close_mutual_tx"
    later = await pay(home, pair, role, 5)
    assert (later["outcome"], later["code"]) == ("failed", "channel_closed")


@BOTH_ROLES
async def test_on_chain_transactions_are_events(home: House, pair: Pair, role: str) -> None:
    """Seed row 25: the funding transaction, decoded, with its hash as evidence."""
    us, _ = sides(pair, role)
    chain = await home.event(us, "chain.create_tx")
    assert len(chain["data"]["tx_hash"]) == 64
    assert chain["data"]["tx"].startswith("tx_")
    assert chain["raw"]


@BOTH_ROLES
async def test_info_messages_are_events(home: House, pair: Pair, role: str) -> None:
    """Seed row 26: the node's own words, with the frame they came in and no credential in it."""
    us, _ = sides(pair, role)
    for word in ("own_funding_locked", "funding_locked", "open"):
        event = await home.event(us, f"info.{word}")
        assert word in event["raw"]
    frames = [event["raw"] for event in home.events if event["raw"]]
    assert all("fsm_id" not in frame or "ba_…" in frame for frame in frames)


async def test_events_are_gap_free_and_chained(home: House, pair: Pair) -> None:
    """G3: a reader who drops what it has seen sees each event once, in order, and could prove an edit."""
    await pay(home, pair, "initiator")
    await home.event(pair.responder, "transfer.received")
    for name in (pair.initiator, pair.responder):
        numbers = [event["seq"] for event in home.events if event["channel"] == name]
        assert numbers == list(range(1, len(numbers) + 1))
        links = [event["prev"] for event in home.events if event["channel"] == name]
        assert len(set(links)) == len(links)


async def test_a_sign_request_is_all_a_signer_needs(home: House, pair: Pair) -> None:
    """The bytes to sign, what they mean, and until when."""
    await pay(home, pair, "initiator")
    requested = home.find(pair.initiator, "sign.requested")[-1]
    assert requested["data"]["command_id"]
    assert requested["data"]["deadline"] > requested["at"]


@pytest.mark.parametrize("what", ["state", "balances"])
async def test_queries_are_answered_and_say_by_whom(home: House, pair: Pair, what: str) -> None:
    """The node where it can say, else the journal."""
    result = await home.run(pair.initiator, "query", what=what)
    assert result["outcome"] == "succeeded"
    assert result["data"]["source"] == ("journal" if pair.profile == "seed" else "node")
    assert result["data"]["round"] == 1


async def test_a_proof_of_inclusion_comes_from_the_node_only(home: House, pair: Pair) -> None:
    result = await home.run(pair.initiator, "query", what="poi")
    if pair.profile == "seed":
        assert result["code"] == Code.UNSUPPORTED_IN_DIALECT
    else:
        assert result["data"]["poi"].startswith("pi_")


async def test_twenty_transfers_one_direction_after_the_other(home: House, pair: Pair) -> None:
    """Order within a channel, given all at once."""
    for role in ("initiator", "responder"):
        us, _ = sides(pair, role)
        payer, payee = parties(pair, role)
        sent = [await home.send(us, "transfer", from_=payer, to=payee, amount=str(100 + n)) for n in range(20)]
        outcomes = await asyncio.gather(*(home.outcome(command_id) for command_id in sent))
        assert {outcome["outcome"] for outcome in outcomes} == {"succeeded"}
        rounds = [outcome["round"] for outcome in outcomes]
        assert rounds == sorted(rounds)
