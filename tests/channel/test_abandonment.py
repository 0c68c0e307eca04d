"""`bridge.channel.abandonment`: what a signer may have signed is declared when its round is signed anew."""

from bridge.channel.abandonment import MOST_PUT_ASIDE
from bridge.channel.attempt import RETURN_SECONDS
from bridge.channel.identifier import FsmId, TransactionHash, fingerprint
from bridge.channel.input import CommandDue, Conflicted, Declined, LinkDown, LinkUp, OffchainState, Signed, SignReplied
from bridge.channel.request import AskState, Tag
from bridge.channel.state import PutAside, decode, encode
from bridge.channel.transaction import Kind, Transaction
from tests.channel.given import (
    FSM,
    INITIATOR,
    Channel,
    checkpoint,
    create,
    moved,
    offchain,
    opened,
    proposed,
    shutdown,
    transaction,
    transfer,
)

EXPIRED = 301.0
"""Longer than a signer has for a payment of ours."""


def asked(channel: Channel, transaction: Transaction, amount: int, name: str) -> Channel:
    """A payment of ours is with the signer."""
    channel.give(CommandDue(transfer(amount, name))).wait(1)
    return channel.requested(Tag.UPDATE, transaction, moved(amount))


def declared(channel: Channel) -> tuple[TransactionHash, ...]:
    """In the latest question to the signer."""
    (question,) = channel.questions()
    return question.request.abandoned


def test_first_question_of_a_round_declares_nothing() -> None:
    """Nothing was asked for this round: whatever a signer signed for it came from elsewhere."""
    assert declared(asked(opened(), offchain(2), 5, "t-1")) == ()


def test_request_that_expired_is_declared_with_the_next() -> None:
    """The signer may have signed and be late: without this word it would refuse the round for ever."""
    channel = asked(opened(), offchain(2), 5, "t-1").wait(EXPIRED)
    assert declared(asked(channel, offchain(2, "b"), 6, "t-2")) == (offchain(2).hash,)


def test_signature_that_met_a_conflict_is_declared_with_the_next() -> None:
    """It was handed over, and the node has given it up: the ledger has the evidence."""
    channel = proposed(opened(conflict_retries=0), transfer(5), Tag.UPDATE, offchain(2), moved(5))
    channel.give(Conflicted(round=1, code=2)).calm().wait(10)
    assert declared(asked(channel, offchain(2, "b"), 6, "t-2")) == (offchain(2).hash,)


def test_proposal_of_the_peer_that_lapsed_is_declared_with_our_own() -> None:
    """A round is a round, whoever proposed what was signed for it."""
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, "p", signatures=1), moved(7, back=True)).wait(61)
    assert declared(asked(channel, offchain(2), 5, "t-1")) == (offchain(2, "p").hash,)


def test_request_that_was_suspended_and_never_came_back_is_declared() -> None:
    """Its socket was lost while the signer was busy; the node asks for something else afterwards."""
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, "p", signatures=1), moved(7, back=True))
    channel.give(LinkDown(1006, ""), LinkUp(resumed=True, presented=fingerprint(FSM))).info("fsm_up", fsm_id=FSM)
    channel.answer(AskState, OffchainState(channel.state.cosigned, None)).calm()
    channel.requested(Tag.UPDATE_ACK, offchain(2, "q", signatures=1), moved(8, back=True))
    assert declared(channel) == (offchain(2, "p").hash,)


def test_same_transaction_again_is_not_declared_against_itself() -> None:
    """The next attempt of one payment is the same bytes: both are the one signature of that round."""
    channel = asked(opened(), offchain(2), 5, "t-1").wait(EXPIRED)
    assert declared(asked(channel, offchain(2), 5, "t-2")) == ()


def test_what_the_signer_refused_is_not_declared() -> None:
    """There is no signature of it; a flood of refusals must not push out what there is one of."""
    channel = asked(opened(), offchain(2), 5, "t-1")
    assert channel.state.open_request is not None
    channel.give(SignReplied(channel.state.open_request.sign_request_id, "signer", Declined("no"))).wait(10)
    assert declared(asked(channel, offchain(2, "b"), 6, "t-2")) == ()


def test_checkpoint_past_a_doubt_declares_what_is_in_doubt() -> None:
    """The one case in which an operator's word stands for the node's evidence."""
    channel = proposed(opened(), transfer(5), Tag.UPDATE, offchain(2), moved(5))
    channel.give(Conflicted(round=1, code=3)).calm().rest(RETURN_SECONDS).give(CommandDue(checkpoint()))
    channel.requested(Tag.UPDATE, offchain(2, "zero"), moved(0))
    assert declared(channel) == (offchain(2).hash,)


def test_round_that_a_reestablish_undid_is_declared() -> None:
    """It was co-signed once, and both sides came back to the state before."""
    channel = opened().requested(Tag.UPDATE_ACK, offchain(2, signatures=1), moved(7, back=True)).sign()
    channel.cosigned(offchain(2)).give(LinkDown(1001, ""), LinkUp(resumed=True, presented=fingerprint(FSM)))
    channel.info("fsm_up", fsm_id=FsmId("ba_new")).info("channel_reestablished").info("open")
    channel.answer(AskState, OffchainState(create(), None)).calm()
    assert declared(asked(channel, offchain(2, "b"), 5, "t-1")) == (offchain(2).hash,)


def test_rounds_below_the_co_signed_one_are_forgotten() -> None:
    """Nobody asks for them again, and the state is stored with each step."""
    channel = asked(opened(), offchain(2), 5, "t-1").wait(EXPIRED)
    proposed(channel, transfer(6, "t-2"), Tag.UPDATE, offchain(2, "b"), moved(6)).cosigned(offchain(2, "b"))
    assert {entry.round for entry in channel.state.put_aside} == {2}
    proposed(channel, transfer(7, "t-3"), Tag.UPDATE, offchain(3), moved(7)).cosigned(offchain(3))
    assert channel.state.put_aside == (PutAside(3, offchain(3).hash),)


def closing(channel: Channel, mark: str, initiator: int, responder: int) -> Channel:
    """A shutdown of ours is with the signer."""
    shares = {"initiator_amount": initiator, "responder_amount": responder, "fee": 0, "nonce": 1, "account": INITIATOR}
    channel.give(CommandDue(shutdown(f"s-{mark}"))).wait(1)
    return channel.requested(Tag.SHUTDOWN, transaction(Kind.CLOSE_MUTUAL, mark, **shares), None)


def test_close_that_lapsed_is_declared_with_the_next_close_and_with_no_round() -> None:
    """A close has no round: it stays usable at every later one, so no later state makes it forgotten."""
    channel = closing(opened(), "a", 1000, 500).wait(EXPIRED)
    assert declared(asked(channel, offchain(2), 5, "t-1")) == ()
    channel.sign().cosigned(offchain(2)).wait(1)
    proposed(channel, transfer(5, "t-2"), Tag.UPDATE, offchain(3), moved(5)).cosigned(offchain(3)).wait(1)
    assert declared(closing(channel, "b", 990, 510)) == (transaction(Kind.CLOSE_MUTUAL, "a").hash,)


def test_newest_are_kept_of_too_many() -> None:
    """G6: a signer that never answers must not make the state grow without end."""
    channel = opened()
    for number in range(MOST_PUT_ASIDE + 1):
        asked(channel, offchain(2, f"{number:x}x"), 5, f"t-{number}").wait(EXPIRED)
    assert len(channel.state.put_aside) == MOST_PUT_ASIDE
    assert channel.state.put_aside[-1].hash == offchain(2, f"{MOST_PUT_ASIDE:x}x").hash


def test_what_was_put_aside_survives_in_the_stored_state() -> None:
    """Declared after a crash as before it."""
    state = asked(opened(), offchain(2), 5, "t-1").wait(EXPIRED).state
    assert state.put_aside
    assert decode(encode(state)) == state


def test_signers_word_that_it_signed_before_is_published() -> None:
    """Who watches the events learns that a round has two signatures."""
    channel = asked(opened(), offchain(2), 5, "t-1")
    opened_ = channel.state.open_request
    assert opened_ is not None
    earlier = TransactionHash("e" * 64)
    channel.give(
        SignReplied(opened_.sign_request_id, "signer", Signed("tx_s", opened_.transaction.hash, replaces=(earlier,)))
    )
    assert channel.event("sign.forwarded").data["replaces"] == [earlier]
