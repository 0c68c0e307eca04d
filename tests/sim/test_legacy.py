"""The legacy dialect of the simulated node, in both profiles, from opening to mutual close."""

import pytest

from bridge.channel.terms import Dialect, SigningForm
from bridge.channel.transaction import Kind
from bridge.wire import encoding, transaction
from tests.sim.client import INITIATOR, INITIATOR_KEY, LATE, RESPONDER, SEED, Party, opened, opening, running, sign_bare

PROFILES = pytest.mark.parametrize("dialect", [LATE, SEED])
START_INITIATOR, START_RESPONDER = 70_000_000_000_000, 40_000_000_000_000


def spell(text: str, dialect: Dialect) -> str:
    return encoding.to_legacy(text) if dialect is SEED else text


@PROFILES
async def test_a_channel_opens_with_the_words_of_its_time(dialect: Dialect) -> None:
    """A legacy bridge must not wait for `fsm_up`, and finds no `version` in the seed's frames."""
    async with running() as node, opened(node, dialect) as pair:
        locked = ["own_funding_locked", "funding_locked", "open", "update"]
        assert pair.initiator.words == [
            "channel_accept",
            "sign.initiator_sign",
            "funding_signed",
            "chain",
            *locked,
        ]
        created = ["channel_open", "funding_created", "sign.responder_sign"]
        assert pair.responder.words == [*created, "chain", *locked]
        assert all(("version" in frame) == (dialect is LATE) for frame in pair.initiator.seen)
        assert all(("channel_id" in frame) == (dialect is LATE) for frame in pair.initiator.seen)


@PROFILES
async def test_both_signers_get_the_bare_transaction_and_the_node_merges(dialect: Dialect) -> None:
    """A legacy acknowledger never sees the proposer's signature; a bridge must not ask for one."""
    async with running() as node, opened(node, dialect) as pair:
        await pair.initiator.pay(5)
        await pair.both("update", 2)
        asked = await pair.responder.until("sign.update_ack")
        bare = transaction.read(asked["payload"]["tx"])
        assert (bare.wrapped, bare.kind, bare.round) == (False, Kind.OFFCHAIN, 2)
        assert [update.amount for update in bare.updates or ()] == [5]
        state = await pair.initiator.until("update", 2)
        text = state["payload"]["state"]
        assert text.startswith("tx$" if dialect is SEED else "tx_")
        assert len(transaction.read(text).signatures) == 2


@PROFILES
async def test_deposit_withdrawal_and_message(dialect: Dialect) -> None:
    """The rest of the seed document's flows."""
    async with running() as node, opened(node, dialect) as pair:
        await pair.initiator.act("deposit", {"amount": 1000})
        await pair.both("deposit_locked")
        await pair.both("update", 2)
        await pair.responder.act("withdraw", {"amount": 300})
        await pair.both("withdraw_locked")
        await pair.both("update", 3)
        await pair.initiator.act("message", {"to": spell(RESPONDER, dialect), "info": "hejsan"})
        message = (await pair.responder.until("message"))["payload"]["message"]
        assert (message["from"], message["info"]) == (spell(INITIATOR, dialect), "hejsan")


@PROFILES
async def test_a_mutual_close_pays_out_and_closes_both_sockets(dialect: Dialect) -> None:
    """protocol.md B.7: one on-chain report, `close_mutual`, `died`."""
    async with running() as node, opened(node, dialect) as pair:
        before = node.balance(INITIATOR), node.balance(RESPONDER)
        pair.forget()
        await pair.responder.act("shutdown")
        assert await pair.initiator.until_closed() == await pair.responder.until_closed() == (1000, "")
        assert pair.initiator.words == ["sign.shutdown_sign_ack", "chain", "close_mutual", "died"]
        assert pair.responder.words == ["sign.shutdown_sign", "chain", "close_mutual", "died"]
        fee = 16_900_000_000_000
        paid = START_INITIATOR + START_RESPONDER - fee
        assert node.balance(INITIATOR) + node.balance(RESPONDER) == sum(before) + paid


@PROFILES
async def test_a_second_trigger_is_an_error_and_a_conflict(dialect: Dialect) -> None:
    """Unlike today's node, which answers "ok" and then conflicts (protocol.md B.5)."""
    async with running() as node, opened(node, dialect) as pair:
        pair.initiator.is_signing = False
        await pair.initiator.pay(5)
        await pair.initiator.until("sign.update")
        await pair.initiator.pay(6)
        conflict = await pair.initiator.until("conflict")
        assert conflict["payload"]["round"] == 1
        error = await pair.initiator.until("error conflict")
        assert error["payload"]["request"]["payload"]["amount"] == 6


@PROFILES
async def test_an_error_names_its_reason_and_repeats_the_request(dialect: Dialect) -> None:
    """Legacy answers carry no id: the echo is all a bridge has."""
    async with running() as node, opened(node, dialect) as pair:
        await pair.initiator.pay(START_INITIATOR)
        error = await pair.initiator.until("error insufficient_balance")
        assert error["payload"]["request"]["action"] == "update"
        await pair.initiator.pay(-1)
        await pair.initiator.until("error negative_amount")


@PROFILES
async def test_a_lost_socket_ends_both_sessions(dialect: Dialect) -> None:
    """Nothing outlives a legacy client: whatever was asked is void."""
    async with running() as node, opened(node, dialect) as pair:
        pair.initiator.cut()
        assert await pair.responder.until_closed() == (1000, "")
        assert pair.responder.words[-1] == "died"
        assert node.registry.alive == []


async def test_the_late_profile_comes_back_by_its_latest_transaction() -> None:
    """`offchain_tx` is what a late legacy bridge must keep after every round."""
    async with running() as node, opened(node, LATE) as pair:
        await pair.initiator.pay(5)
        await pair.both("update", 2)
        channel_id = pair.channel_id
        latest = (await pair.initiator.until("update", 2))["payload"]["state"]
        pair.initiator.cut()
        await pair.responder.until_closed()
        back = {"existing_channel_id": channel_id, "offchain_tx": latest}
        responder = await Party.open(node, opening("responder", LATE, **back), dialect=LATE)
        initiator = await Party.open(node, opening("initiator", LATE, **back), dialect=LATE)
        await initiator.until("update")
        await responder.until("update")
        assert initiator.words == responder.words == ["channel_reestablished", "open", "update"]
        await initiator.pay(6)
        await responder.until("update", 2)
        await initiator.act("get", {"accounts": [INITIATOR]}, "balances")
        answer = await initiator.until("get.balances")
        assert answer["payload"] == [{"account": INITIATOR, "balance": START_INITIATOR - 11}]
        await initiator.close()
        await responder.close()


async def test_an_older_transaction_brings_nobody_back() -> None:
    """A bridge that lost its last round must learn so, not go on from the round before."""
    async with running() as node, opened(node, LATE) as pair:
        first = (await pair.initiator.until("update"))["payload"]["state"]
        await pair.initiator.pay(5)
        await pair.both("update", 2)
        back = {"existing_channel_id": pair.channel_id, "offchain_tx": first}
        pair.initiator.cut()
        await pair.responder.until_closed()
        responder = await Party.open(node, opening("responder", LATE, **back), dialect=LATE)
        assert await responder.until_closed() == (1000, "")
        assert responder.seen == []


async def test_leave_keeps_the_state_for_a_reestablish() -> None:
    """The late profile's way to go in order."""
    async with running() as node, opened(node, LATE) as pair:
        await pair.initiator.act("leave")
        await pair.initiator.until_closed()
        await pair.responder.until_closed()
        assert pair.initiator.words[-2:] == pair.responder.words[-2:] == ["leave", "died"]
        assert len(node.registry.saved) == 2


@pytest.mark.parametrize(
    ("dialect", "form"), [(LATE, SigningForm.RAW), (LATE, SigningForm.NETWORK_HASH), (SEED, SigningForm.NETWORK_RAW)]
)
async def test_a_signature_in_the_form_of_another_time_is_refused(dialect: Dialect, form: SigningForm) -> None:
    """The network id entered the signed bytes between the profiles, its hash form only later."""
    async with running() as node, opened(node, dialect) as pair:
        pair.initiator.is_signing = False
        await pair.initiator.pay(5)
        asked = await pair.initiator.until("sign.update")
        await pair.initiator.act("update", {"tx": sign_bare(asked["payload"]["tx"], INITIATOR_KEY, form)})
        await pair.initiator.until("conflict")
        await pair.initiator.until_closed()
        assert pair.initiator.words[-1] == "died"


async def test_the_seed_profile_answers_no_query() -> None:
    """Nothing may be built on `get` there: silence, not an error."""
    async with running() as node, opened(node, SEED) as pair:
        pair.forget()
        await pair.initiator.act("get", {}, "offchain_state")
        await pair.initiator.act("leave")
        await pair.initiator.pay(1)
        await pair.initiator.until("update")
        assert pair.initiator.words == ["sign.update", "update"]


async def test_dialects_do_not_meet() -> None:
    """Two parties of one channel speak to nodes of one age."""
    async with running() as node:
        responder = await Party.open(node, opening("responder", LATE), dialect=LATE)
        initiator = await Party.open(node, opening("initiator", SEED), dialect=SEED)
        assert [fsm.peer for fsm in node.registry.alive] == [None, None]
        await initiator.close()
        await responder.close()
