"""A signer that can be late, dead, doubled, or answer another request: the real one, with a mood that a test sets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path

from bridge.app.access import Access
from bridge.app.bus import Delivery, Publishes
from bridge.app.clock import SteadyClock
from bridge.app.settings import Broker
from bridge.app.signer import SignerService
from bridge.channel.identifier import Account, ChannelName
from bridge.channel.request import Tag
from bridge.channel.terms import SigningForm
from bridge.signing.guard import Guard
from bridge.signing.key import load_keys
from bridge.signing.policy import AccountPolicy
from bridge.signing.signer import Signer
from bridge.wire.body import SignReplyBody
from bridge.wire.incoming import read_sign_request
from bridge.wire.outgoing import sign_reply_envelope
from tests.system.house import NETWORK, Pair

LATE_SECONDS = 6.0


class Mood(StrEnum):
    GOOD = "good"
    LATE = "late"
    """Every acknowledgement comes after its deadline."""
    LATE_OWN = "late own"
    """Every other answer does: what a command of ours needs."""
    DEAD = "dead"
    """Takes requests and is never heard of again."""
    DOUBLED = "doubled"
    """Two of them read the queue, so to say: each answer comes twice."""
    OTHER = "other"
    """First the answer to an earlier request, under this one's name; then its own."""
    STUBBORN = "stubborn"
    """Never anything but the earlier answer, six times."""


class MoodySigner(SignerService):
    mood = Mood.GOOD

    def __init__(self, prefix: str, signer: Signer, urls: list[str]) -> None:
        super().__init__(prefix, signer, Access(Broker(url=urls)))
        self._earlier: dict[str, SignReplyBody] = {}
        self._late: set[asyncio.Task[None]] = set()
        self.moods: dict[Mood, int] = dict.fromkeys(Mood, 0)
        """How many requests met each."""

    async def _answer(self, delivery: Delivery, publisher: Publishes) -> None:
        request = read_sign_request(delivery.received)
        account, channel = Account(request.account), ChannelName(request.channel)
        reply = await self._signer.answer(request)
        earlier = self._earlier.get(request.account)
        other = {True: Mood.LATE_OWN, False: Mood.LATE}[request.tag.endswith("_ack")]
        mood = Mood.GOOD if self.mood is other else self.mood
        self.moods[mood] += 1

        async def give(given: SignReplyBody) -> None:
            await publisher.publish(sign_reply_envelope(self._prefix, account, channel, given, at=self._clock()))

        async def give_late() -> None:
            await asyncio.sleep(LATE_SECONDS)
            await give(reply)

        wrong = None if earlier is None else replace_id(earlier, reply)
        match mood:
            case Mood.GOOD:
                await give(reply)
                self._earlier[request.account] = reply
            case Mood.LATE | Mood.LATE_OWN:
                task = asyncio.create_task(give_late())
                self._late.add(task)
                task.add_done_callback(self._late.discard)
            case Mood.DEAD:
                pass
            case Mood.DOUBLED:
                await give(reply)
                await give(reply)
            case Mood.OTHER:
                assert wrong is not None
                await give(wrong)
                await give(reply)
            case Mood.STUBBORN:
                assert wrong is not None
                for _ in range(6):
                    await give(wrong)
        await delivery.ack()

    async def caught_up(self) -> None:
        """Every late answer was given."""
        await asyncio.gather(*self._late)


def replace_id(earlier: SignReplyBody, reply: SignReplyBody) -> SignReplyBody:
    return earlier.model_copy(update={"sign_request_id": reply.sign_request_id})


@asynccontextmanager
async def moody(url: str, prefix: str, directory: Path, pairs: tuple[Pair, ...]) -> AsyncIterator[MoodySigner]:
    """In place of the house's own, with the same keys and the widest policy."""
    folder = directory / "moody"
    folder.mkdir(mode=0o700)
    for pair in pairs:
        for role in ("initiator", "responder"):
            path = folder / f"{pair.name}-{role}"
            path.touch(mode=0o600)
            path.write_text(pair.key(role).hex())
    keys = load_keys([folder])
    everything = AccountPolicy(
        tags=frozenset(Tag),
        networks=frozenset({NETWORK}),
        forms=frozenset(SigningForm),
        counterparties=frozenset({"*"}),
        max_amount=10**27,
        max_fee=10**24,
        acknowledge_outflow=True,
    )
    with Guard(directory / "moody-data") as guard:
        service = MoodySigner(prefix, Signer(keys, dict.fromkeys(keys, everything), SteadyClock(), guard), [url])
        task = asyncio.create_task(service.run(), name="moody signer")
        await service.ready.wait()
        try:
            yield service
        finally:
            service.stop()
            await task
