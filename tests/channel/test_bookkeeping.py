"""The books: what each flow posts, in every dialect and from both roles, and what stays true whatever comes."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.channel.books import ACCOUNTS, EMPTY, balance
from bridge.channel.command import Command
from bridge.channel.effect import Publish
from bridge.channel.identifier import Account, FsmId, fingerprint
from bridge.channel.input import (
    Balances,
    ChainReported,
    CloseSeen,
    Conflicted,
    LinkDown,
    LinkUp,
    OffchainState,
    Proof,
)
from bridge.channel.request import AskBalances, AskProof, AskState, Tag
from bridge.channel.state import Phase, decode, encode
from bridge.channel.terms import Dialect, Role
from bridge.channel.transaction import Kind, Transaction
from tests.channel.given import (
    CHANNEL,
    FSM,
    INITIATOR,
    RESPONDER,
    Channel,
    create,
    deposit,
    moved,
    offchain,
    opened,
    proposed,
    shutdown,
    transaction,
    transfer,
    withdraw,
)

DIALECTS = pytest.mark.parametrize("dialect", Dialect)
ROLES = pytest.mark.parametrize("role", Role)
FEE = 20
Lines = list[tuple[str, int]]


def entries(channel: Channel, *, latest: bool = False) -> list[dict[str, Any]]:
    effects = channel.last if latest else channel.all
    return [dict(e.data) for e in effects if isinstance(e, Publish) and (e.family, e.name) == ("ledger", "posted")]


def written(entry: dict[str, Any]) -> Lines:
    """Debit positive."""
    return [(line["account"], line["debit"] - line["credit"]) for line in entry["lines"]]


def posted(channel: Channel) -> tuple[str, Lines]:
    """The one entry of the latest inputs."""
    (entry,) = entries(channel, latest=True)
    return entry["kind"], written(entry)


def on_chain(kind: Kind, amount: int, account: str) -> Transaction:
    return transaction(kind, f"d{amount}", round=2, amount=amount, account=account, fee=FEE, nonce=7)


def closing(initiator: int, responder: int, account: str, fee: int = FEE) -> Transaction:
    amounts = {"initiator_amount": initiator, "responder_amount": responder}
    return transaction(Kind.CLOSE_MUTUAL, "e9", account=account, fee=fee, nonce=8, **amounts)


def bare(channel: Channel, tx: Transaction) -> Transaction:
    """As this dialect asks for a signature: legacy transactions are not wrapped."""
    return replace(tx, wrapped=not channel.terms.dialect.is_legacy)


def own(channel: Channel, command: Command, tag: Tag, tx: Transaction, updates: Any = ()) -> Channel:
    return proposed(channel, command, tag, bare(channel, tx), updates).cosigned(tx)


def acknowledged(channel: Channel, tag: Tag, tx: Transaction, updates: Any = None) -> Channel:
    signed = tx if channel.terms.dialect.is_legacy else replace(tx, signatures=("s",))
    return channel.requested(tag, bare(channel, signed), updates).sign().cosigned(tx)


# --- each flow --------------------------------------------------------------------------------------------


@DIALECTS
@ROLES
def test_the_opening_takes_what_both_put_in_from_the_chain(role: Role, dialect: Dialect) -> None:
    """Both roles post the same: the initiator pays the fee of the create transaction."""
    channel = opened(role, dialect)
    (entry,) = entries(channel)
    assert written(entry) == [
        ("channel.initiator", 1000),
        ("channel.responder", 500),
        ("chain.initiator", -1000),
        ("chain.responder", -500),
        ("fee.initiator", 20_000),
        ("chain.initiator", -20_000),
    ]
    assert (entry["entry"], entry["entry_id"], entry["kind"]) == (1, "acme-7/1", "opening")
    assert entry["fact_id"] == f"{CHANNEL}:1:opening:{create().hash}"
    assert (entry["initiator_balance"], entry["responder_balance"]) == (1000, 500)
    assert [line["side"] for line in entry["lines"][:2]] == (
        ["own", "peer"] if role == "initiator" else ["peer", "own"]
    )


def test_what_is_pushed_at_the_opening_is_the_responders() -> None:
    (entry,) = entries(opened(push_amount=100))
    assert written(entry)[:2] == [("channel.initiator", 900), ("channel.responder", 600)]


@DIALECTS
@ROLES
def test_a_payment_of_ours(role: Role, dialect: Dialect) -> None:
    pair: dict[str, Any] = (
        {"from": INITIATOR, "to": RESPONDER} if role is Role.INITIATOR else {"from": RESPONDER, "to": INITIATOR}
    )
    updates = moved(5, back=role is Role.RESPONDER)
    channel = own(opened(role, dialect), transfer(**pair), Tag.UPDATE, offchain(2), updates)
    sign = -5 if role is Role.INITIATOR else 5
    assert posted(channel) == ("payment", [("channel.initiator", sign), ("channel.responder", -sign)])
    (entry,) = entries(channel, latest=True)
    assert (entry["command_id"], entry["tx_hash"], entry["entry_round"]) == ("t-1", offchain(2).hash, 2)


@DIALECTS
@ROLES
def test_a_payment_of_the_peer(role: Role, dialect: Dialect) -> None:
    updates = moved(5, back=role is Role.INITIATOR)
    channel = acknowledged(opened(role, dialect), Tag.UPDATE_ACK, offchain(2), updates)
    sign = 5 if role is Role.INITIATOR else -5
    assert posted(channel) == ("payment", [("channel.initiator", sign), ("channel.responder", -sign)])
    assert entries(channel)[-1]["command_id"] is None


@DIALECTS
@pytest.mark.parametrize("name", ["deposit", "withdraw"])
def test_a_deposit_and_a_withdrawal_with_their_fees(name: str, dialect: Dialect) -> None:
    """The fee is the depositor's, from the account on chain."""
    is_deposit = name == "deposit"
    kind, tag = (Kind.DEPOSIT, Tag.DEPOSIT) if is_deposit else (Kind.WITHDRAW, Tag.WITHDRAW)
    command = deposit(100) if is_deposit else withdraw(100)
    channel = own(opened(dialect=dialect), command, tag, on_chain(kind, 100, INITIATOR), None)
    amount = 100 if is_deposit else -100
    lines = [("channel.initiator", amount), ("chain.initiator", -amount), ("fee.initiator", FEE)]
    assert posted(channel) == (
        "deposit" if is_deposit else "withdrawal",
        [*lines, ("chain.initiator", -FEE)],
    )


@DIALECTS
@pytest.mark.parametrize(("tag", "kind"), [(Tag.DEPOSIT_ACK, Kind.DEPOSIT), (Tag.WITHDRAW_ACK, Kind.WITHDRAW)])
def test_what_the_peer_moves_on_chain_is_his(tag: Tag, kind: Kind, dialect: Dialect) -> None:
    channel = acknowledged(opened(dialect=dialect), tag, on_chain(kind, 100, RESPONDER))
    amount = 100 if kind is Kind.DEPOSIT else -100
    _, lines = posted(channel)
    assert lines == [
        ("channel.responder", amount),
        ("chain.responder", -amount),
        ("fee.responder", FEE),
        ("chain.responder", -FEE),
    ]


CLOSED = [
    ("channel.initiator", -1000),
    ("channel.responder", -500),
    ("chain.initiator", 990),
    ("chain.responder", 490),
    ("fee.initiator", 10),
    ("fee.responder", 10),
]


@DIALECTS
def test_a_mutual_close_pays_out_and_each_bears_its_share(dialect: Dialect) -> None:
    channel = opened(dialect=dialect)
    proposed(channel, shutdown(), Tag.SHUTDOWN, bare(channel, closing(990, 490, INITIATOR)), None)
    channel.info("closed_confirmed")
    assert posted(channel) == ("close", CLOSED)
    assert channel.state.books.held == (0, 0)
    channel.info("closed_confirmed").info("died")
    assert entries(channel, latest=True) == []


def test_a_close_of_the_peer_that_only_the_chain_tells_of() -> None:
    """close, X: the bridge was away; the close it had signed is on chain."""
    channel = opened()
    tx = closing(990, 490, RESPONDER)
    channel.requested(Tag.SHUTDOWN_ACK, replace(tx, signatures=("s",)), None).sign().give(LinkDown(1006, ""))
    assert posted(channel.give(CloseSeen(tx.hash))) == ("close", CLOSED)


def test_the_close_the_chain_tells_of_counts_before_the_one_we_proposed() -> None:
    """Both closed at once, with other fees: mined is mined."""
    channel = opened()
    proposed(channel, shutdown(), Tag.SHUTDOWN, closing(990, 490, INITIATOR), None)
    channel.give(ChainReported(transaction=closing(970, 470, RESPONDER, 60), info="channel_closed"))
    _, lines = posted(channel.info("closed_confirmed"))
    assert lines[2:] == [
        ("chain.initiator", 970),
        ("chain.responder", 470),
        ("fee.initiator", 30),
        ("fee.responder", 30),
    ]


def test_a_close_nobody_knows_leaves_everything_in_suspense_and_calls() -> None:
    channel = opened().info("closed_confirmed")
    assert posted(channel)[1][-1] == ("suspense", 1500)
    assert channel.event("alarm.books_disagree").data["suspense_balance"] == 1500


def test_a_round_that_moves_nothing_is_posted_without_a_line() -> None:
    """The rounds stand in the books without a gap."""
    channel = acknowledged(opened(), Tag.UPDATE_ACK, offchain(2), moved(0))
    assert posted(channel) == ("checkpoint", [])


# --- when things go wrong ---------------------------------------------------------------------------------


def reestablish(channel: Channel, agreed: Transaction) -> Channel:
    channel.give(LinkDown(1001, ""), LinkUp(resumed=True, presented=fingerprint(FSM)))
    channel.info("fsm_up", fsm_id=FsmId("ba_new")).info("channel_reestablished").info("open")
    return channel.answer(AskState, OffchainState(agreed, None)).calm()


def test_what_both_sides_went_back_behind_is_reversed_and_may_be_booked_again() -> None:
    channel = acknowledged(opened(), Tag.UPDATE_ACK, offchain(2), moved(7, back=True))
    first = entries(channel)[-1]
    kind, lines = posted(reestablish(channel, create()))
    assert (kind, lines) == ("reversal", [("channel.initiator", -7), ("channel.responder", 7)])
    reversal = entries(channel)[-1]
    assert (reversal["reverses"], reversal["tx_hash"], reversal["entry_round"]) == (
        first["fact_id"],
        first["tx_hash"],
        2,
    )
    assert channel.state.books.held == (1000, 500)


def test_a_deposit_gone_back_behind_takes_its_fee_back_too() -> None:
    channel = acknowledged(opened(), Tag.DEPOSIT_ACK, on_chain(Kind.DEPOSIT, 100, RESPONDER))
    forward = dict(posted(channel)[1])
    _, lines = posted(reestablish(channel, create()))
    assert sum(amount for _, amount in lines) == 0
    assert dict(lines)["channel.responder"] == -forward["channel.responder"]
    assert channel.state.books.totals == entries_totals(opened())


def entries_totals(channel: Channel) -> tuple[int, ...]:
    return channel.state.books.totals


def test_a_state_found_after_a_crash_is_posted_once() -> None:
    """signed, X: the report went to the lost socket; the state query tells, and a second one tells nothing more."""
    channel = proposed(opened(), transfer(), Tag.UPDATE, offchain(2), moved(5))
    channel.give(LinkDown(1006, ""), LinkUp(resumed=True, presented=fingerprint(FSM))).info("fsm_up", fsm_id=FSM)
    channel.answer(AskState, OffchainState(offchain(2), None))
    assert posted(channel)[0] == "payment"
    channel.cosigned(offchain(2))
    assert entries(channel, latest=True) == []


@DIALECTS
def test_a_payment_told_as_failed_that_happened_after_all_is_booked(dialect: Dialect) -> None:
    """Observed: a refused signature can still be used. What was signed says the amount; an answer may not count."""
    channel = opened(dialect=dialect, conflict_retries=0)
    proposed(channel, transfer(), Tag.UPDATE, bare(channel, offchain(2)), moved(5))
    channel.give(Conflicted(round=1, code=147, message="no")).calm()
    assert channel.state.exposures
    channel.cosigned(offchain(2))
    assert len(entries(channel, latest=True)) == 1
    if dialect is not Dialect.LEGACY_SEED:
        channel.answer(AskBalances, Balances(((INITIATOR, 995), (RESPONDER, 505))))
        assert entries(channel, latest=True) == []
    assert written(entries(channel)[-1]) == [("channel.initiator", -5), ("channel.responder", 5)]
    assert entries(channel)[-1]["kind"] == "payment"


def proven(channel: Channel, initiator: int, responder: int) -> Channel:
    """A moment of quiet: the node gives its proof, and then says what both have."""
    channel.wait(2).answer(AskProof, Proof("pi_1"))
    return channel.answer(AskBalances, Balances(((INITIATOR, initiator), (RESPONDER, responder))))


def test_books_that_are_the_nodes_are_left_alone() -> None:
    channel = proven(opened(), 1000, 500)
    assert channel.last == ()


def test_books_that_are_not_the_nodes_are_adjusted_with_an_alarm() -> None:
    """A finding for people; the channel goes on."""
    channel = proven(opened(), 1000, 507)
    assert channel.events() == ["alarm.books_disagree", "ledger.posted"]
    assert posted(channel) == ("adjustment", [("channel.responder", 7), ("suspense", -7)])
    alarm = channel.event("alarm.books_disagree").data
    assert (alarm["booked_responder_balance"], alarm["responder_balance"], alarm["suspense_balance"]) == (500, 507, -7)
    assert channel.state.phase is Phase.OPEN


def test_an_answer_that_a_new_state_overtook_says_nothing() -> None:
    """It may be of the state before."""
    channel = opened().wait(2).answer(AskProof, Proof("pi_1"))
    channel.now += 1
    acknowledged(channel, Tag.UPDATE_ACK, offchain(2), moved(7, back=True))
    channel.answer(AskBalances, Balances(((INITIATOR, 1000), (RESPONDER, 500))))
    assert channel.last == ()


def test_a_channel_from_before_the_books_begins_with_what_it_holds() -> None:
    """An upgrade: the stored state knows balances and no books."""
    channel = acknowledged(opened(), Tag.UPDATE_ACK, offchain(2), moved(7, back=True))
    channel.state = decode(encode(replace(channel.state, books=EMPTY)))
    channel.wait(1)
    assert posted(channel) == (
        "brought_forward",
        [("channel.initiator", 1007), ("channel.responder", 493), ("brought_forward", -1500)],
    )


def test_the_books_survive_the_journal() -> None:
    channel = acknowledged(opened(), Tag.UPDATE_ACK, offchain(2), moved(7, back=True))
    assert decode(encode(channel.state)).books == channel.state.books


# --- whatever comes ---------------------------------------------------------------------------------------

AMOUNTS = st.integers(min_value=0, max_value=100)


@given(st.lists(st.tuples(st.sampled_from(["ours", "theirs", "deposit", "withdraw", "back", "wrong"]), AMOUNTS)))
@settings(max_examples=60, deadline=None)
def test_entries_balance_and_follow_each_other_whatever_comes(life: list[tuple[str, int]]) -> None:
    channel = opened()
    for number, (what, amount) in enumerate(life, 2):
        live(channel, what, amount, f"n{number}")
    held = dict.fromkeys(ACCOUNTS, 0)
    for number, entry in enumerate(entries(channel), 1):
        assert entry["entry"] == number
        assert sum(amount for _, amount in written(entry)) == 0
        for line in entry["lines"]:
            held[line["account"]] += line["debit"] - line["credit"]
            assert line["balance"] == held[line["account"]]
            assert (line["debit"] == 0) != (line["credit"] == 0)
        assert (held["channel.initiator"], held["channel.responder"]) == (
            entry["initiator_balance"],
            entry["responder_balance"],
        )
    assert (channel.state.initiator_balance, channel.state.responder_balance) == channel.state.books.held
    assert sum(held.values()) == 0


def live(channel: Channel, what: str, amount: int, mark: str) -> None:
    """One thing that happens to a channel that is ready."""
    round_ = channel.state.round + 1
    match what:
        case "ours":
            name = f"t-{mark}"
            own(channel, transfer(amount or 1, name), Tag.UPDATE, offchain(round_, mark), moved(amount or 1))
        case "theirs":
            acknowledged(channel, Tag.UPDATE_ACK, offchain(round_, mark), moved(amount, back=True))
        case "deposit" | "withdraw":
            kind = Kind.DEPOSIT if what == "deposit" else Kind.WITHDRAW
            tag = Tag.DEPOSIT_ACK if what == "deposit" else Tag.WITHDRAW_ACK
            tx = transaction(kind, mark, round=round_, amount=amount, account=Account(RESPONDER), fee=FEE, nonce=1)
            acknowledged(channel, tag, tx)
        case "back" if channel.state.before is not None and channel.state.latest_given is not None:
            reestablish(channel, channel.state.before)
            channel.answer(AskBalances, Balances(_balances(channel)))
        case "wrong":
            before = _balances(channel)
            channel.wait(2)
            if any(asked.kind == "AskProof" for asked in channel.state.asked):
                channel.answer(AskProof, Proof("pi_1"))
                channel.answer(AskBalances, Balances((before[0], (RESPONDER, before[1][1] + amount))))
        case _:
            pass


def _balances(channel: Channel) -> tuple[tuple[Account, int], tuple[Account, int]]:
    initiator, responder = channel.state.initiator_balance, channel.state.responder_balance
    assert initiator is not None
    assert responder is not None
    return (INITIATOR, initiator), (RESPONDER, responder)


def test_what_is_missing_to_zero_goes_into_suspense() -> None:
    assert balance([("channel.initiator", 5), ("chain.initiator", -3)])[-1] == ("suspense", -2)
    assert len(balance([("channel.initiator", 5), ("chain.initiator", -5)])) == 2
