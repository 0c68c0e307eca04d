"""`bridge.signing.guard`: no two alternatives, and one answer to one question, as the signer keeps both."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.errors import KeyRefused
from bridge.signing.guard import KEPT_ROUNDS, PRUNE_EVERY, Guard
from bridge.signing.key import Key, Signs
from bridge.signing.policy import AccountPolicy
from bridge.signing.signer import ReplyForm, Signer
from bridge.wire.body import SignReplyBody, SignRequestBody
from tests.signing.given import (
    EVERYTHING,
    NOW,
    OTHER_CHANNEL,
    OWN,
    OWN_KEY,
    ask,
    close,
    create,
    deposit,
    hash_of,
    update,
)

DAY = 24 * 3600.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


class Desk:
    """A signer on a directory; `again` is the same one after it ended."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = Clock()
        self.guard = Guard(directory)
        self.key: Signs = Key(OWN_KEY)

    def signer(self, rules: AccountPolicy = EVERYTHING, reply: ReplyForm = ReplyForm.SIGNATURE) -> Signer:
        return Signer({OWN: self.key}, {OWN: rules}, self.clock, self.guard, reply)

    async def give(self, request: SignRequestBody) -> SignReplyBody:
        return await self.signer().answer(request)

    async def signed(self, request: SignRequestBody) -> tuple[str, ...]:
        """What the signature replaces. It must be one."""
        reply = await self.give(request)
        assert reply.signature is not None, reply.refusal
        return reply.replaces or ()

    async def refused(self, request: SignRequestBody) -> tuple[str | None, str]:
        reply = await self.give(request)
        assert reply.refusal is not None
        return reply.refusal.code, reply.refusal.reason

    def again(self) -> None:
        self.guard.close()
        self.guard = Guard(self.directory)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "signer-data")
    yield made
    made.guard.close()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (update(7), update(7, 1)),
        (update(7), deposit(7)),
        (deposit(7), deposit(7, amount=6)),
        (create(4), create(4, responder_amount=6)),
        (close(10, 20), close(20, 10)),
        (close(10, 20, nonce=3), close(10, 20, nonce=4)),
    ],
    ids=["updates", "update-deposit", "deposits", "creates", "closes", "closes-by-nonce"],
)
async def test_alternative_is_refused_and_both_hashes_are_named(desk: Desk, first: bytes, second: bytes) -> None:
    """Whoever holds both could use the one that suits him; and a person must see which they are."""
    assert await desk.signed(ask("a.1", first)) == ()
    code, sentence = await desk.refused(ask("a.2", second))
    assert code == "guard_conflict"
    assert hash_of(first) in sentence
    assert hash_of(second) in sentence


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (update(7), update(8, 1)),
        (update(7), update(6, 1)),
        (update(7), close(10, 20)),
        (update(7), update(7, 1, channel=OTHER_CHANNEL)),
        (create(4), create(5)),
        (deposit(7, nonce=3), deposit(8, amount=6, nonce=3)),
    ],
    ids=["next-round", "round-before", "close", "other-channel", "other-opening", "same-nonce-later-round"],
)
async def test_what_is_no_alternative_is_signed(desk: Desk, first: bytes, second: bytes) -> None:
    """A shutdown comes at the round of the last payment, an abandoned deposit leaves its nonce to the next."""
    assert await desk.signed(ask("a.1", first)) == ()
    assert await desk.signed(ask("a.2", second)) == ()


@pytest.mark.parametrize(("first", "second"), [(update(7), update(7, 1)), (close(10, 20), close(20, 10))])
async def test_declared_abandoned_it_is_replaced_and_the_reply_says_so(desk: Desk, first: bytes, second: bytes) -> None:
    """A payment that met a conflict leaves its round to the next; who watches the events learns of both."""
    await desk.signed(ask("a.1", first))
    assert await desk.signed(ask("a.2", second, first)) == (hash_of(first),)
    assert (await desk.refused(ask("a.3", first)))[0] == "guard_conflict"
    assert await desk.signed(ask("a.4", first, second)) == (hash_of(second),)


async def test_every_other_one_must_be_declared(desk: Desk) -> None:
    """One that is left out still counts, whatever is said of the others."""
    await desk.signed(ask("a.1", update(7)))
    await desk.signed(ask("a.2", update(7, 1), update(7)))
    code, sentence = await desk.refused(ask("a.3", update(7, 2), update(7)))
    assert code == "guard_conflict"
    assert hash_of(update(7, 1)) in sentence
    replaced = await desk.signed(ask("a.4", update(7, 2), update(7), update(7, 1)))
    assert replaced == (hash_of(update(7)), hash_of(update(7, 1)))


async def test_same_transaction_under_another_id_is_the_same_signature(desk: Desk) -> None:
    """The next attempt of a payment is the same bytes; Ed25519 makes the same signature of them."""
    first, second = await desk.give(ask("a.1", update(7))), await desk.give(ask("a.2", update(7)))
    assert first.signature == second.signature is not None


async def test_fields_beside_the_transaction_move_it_to_no_other_place(desk: Desk) -> None:
    """What the bridge says is not what is signed: the bytes alone say which round of which channel they are."""
    await desk.signed(ask("a.1", update(7)))
    decoded = {"kind": "opaque", "hash": "0" * 64, "round": 8}
    lying = ask("a.2", update(7, 1), channel="other-1", channel_id=OTHER_CHANNEL, decoded=decoded)
    assert (await desk.refused(lying))[0] == "guard_conflict"


async def test_another_network_is_no_way_around(desk: Desk) -> None:
    """Which chain takes a signature is not for a request to say."""
    await desk.signed(ask("a.1", update(7)))
    assert (await desk.refused(ask("a.2", update(7, 1), network="ae_mainnet")))[0] == "guard_conflict"


async def test_all_of_it_holds_after_a_restart(desk: Desk) -> None:
    """A memory that ends with the process protects against nothing."""
    await desk.signed(ask("a.1", update(7)))
    desk.again()
    assert (await desk.refused(ask("a.2", update(7, 1))))[0] == "guard_conflict"
    desk.again()
    assert await desk.signed(ask("a.3", update(7, 1), update(7))) == (hash_of(update(7)),)


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_repeated_request_gets_the_stored_reply_whatever_changed_since(desk: Desk, is_restarted: bool) -> None:
    """Two answers to one question would be one too many: the bridge may have acted on the first."""
    request = ask("a.1", update(7))
    first = await desk.give(request)
    if is_restarted:
        desk.again()
    desk.clock.now += DAY  # the deadline has passed, the policy is another, the form of reply too
    second = await desk.signer(AccountPolicy(), ReplyForm.SIGNED_TX).answer(request)
    assert second.model_dump_json() == first.model_dump_json()
    assert first.signature is not None


async def test_refusal_stands_when_the_policy_allows_it_later(desk: Desk) -> None:
    """The bridge declares nothing abandoned that was refused: a signature behind its back would block the round."""
    request = ask("a.1", update(7))
    refused = await desk.signer(AccountPolicy()).answer(request)
    assert refused.refusal is not None
    assert await desk.give(request) == refused
    assert await desk.signed(ask("a.2", update(7, 1))) == ()


class Ended(BaseException):
    """The process ends where this is raised."""


class Fatal:
    """A key during whose use the process ends: the signature may exist, elsewhere."""

    account = OWN

    async def sign(self, payload: bytes) -> bytes:
        raise Ended


async def test_what_was_about_to_be_signed_counts_after_a_crash(desk: Desk) -> None:
    """A service that holds the key may have signed although its answer never came."""
    request, desk.key = ask("a.1", update(7)), Fatal()
    with pytest.raises(Ended):
        await desk.give(request)
    desk.again()
    desk.key = Key(OWN_KEY)
    assert (await desk.refused(ask("a.2", update(7, 1))))[0] == "guard_conflict"
    assert await desk.signed(request) == ()


class Refusing:
    """What holds the key says no."""

    account = OWN

    async def sign(self, payload: bytes) -> bytes:
        raise KeyRefused("not today")


async def test_what_was_refused_after_all_leaves_its_round_free(desk: Desk) -> None:
    """Nothing was signed, and the bridge will not declare it: it must not block the round."""
    desk.key = Refusing()
    assert await desk.refused(ask("a.1", update(7))) == ("key_refused", "not today")
    desk.key = Key(OWN_KEY)
    assert await desk.signed(ask("a.2", update(7, 1))) == ()


async def test_refusal_does_not_take_back_what_another_request_signed(desk: Desk) -> None:
    """One transaction under two ids: the signature of the one stands whatever becomes of the other."""
    first, desk.key = ask("a.1", update(7)), Fatal()
    with pytest.raises(Ended):
        await desk.give(first)
    desk.key = Key(OWN_KEY)
    await desk.signed(ask("a.2", update(7)))
    desk.clock.now += DAY
    assert (await desk.refused(first))[0] == "deadline_passed"
    desk.clock.now -= DAY
    assert (await desk.refused(ask("a.3", update(7, 1))))[0] == "guard_conflict"


async def test_id_is_good_for_one_transaction(desk: Desk) -> None:
    """Else an old answer would be taken for one to another question."""
    await desk.signed(ask("a.1", update(7)))
    assert (await desk.refused(ask("a.1", update(8))))[0] == "request_changed"
    assert (await desk.give(ask("a.1", update(7)))).signature is not None


async def test_rounds_long_gone_are_forgotten_and_refused(desk: Desk) -> None:
    """What is forgotten may have been signed otherwise; the file must not grow with every payment all the same."""
    for number in (1, 2, KEPT_ROUNDS + 1):
        await desk.signed(ask(f"a.{number}", update(number)))
    code, sentence = await desk.refused(ask("b.1", update(1)))
    assert code == "guard_conflict"
    assert "forgotten" in sentence
    assert (await desk.refused(ask("b.2", update(2, 1))))[0] == "guard_conflict"
    assert await desk.signed(ask("b.3", update(2))) == ()


async def test_a_far_round_that_is_refused_makes_nothing_forgotten(desk: Desk) -> None:
    """Else one request for a round far ahead, refused, wiped the memory: an alternative was signed and nothing said."""
    await desk.signed(ask("a.1", update(7)))
    key, desk.key = desk.key, Refusing()
    assert (await desk.give(ask("a.2", update(7 + KEPT_ROUNDS + 1)))).refusal is not None
    desk.key = key
    assert (await desk.refused(ask("a.3", update(7, 1))))[0] == "guard_conflict"


async def test_answers_are_forgotten_after_their_time_and_what_was_signed_is_not(desk: Desk) -> None:
    """The guard outlives the answers: a request that comes so late is past its deadline."""
    await desk.signed(ask("a.1", update(7)))
    desk.clock.now += 8 * DAY
    late = "2026-02-02T03:04:05.000Z"
    for number in range(PRUNE_EVERY):
        await desk.signed(ask(f"b.{number}", update(8), deadline=late))
    assert await desk.guard.find(OWN, "a.1") is None
    assert await desk.guard.find(OWN, "b.0") is not None
    assert (await desk.refused(ask("c.1", update(7, 1), deadline=late)))[0] == "guard_conflict"
