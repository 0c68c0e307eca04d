"""What this signer has signed and answered, so that it signs no two alternatives and answers no question in two ways.

Two promises, both kept over any crash. A second transaction is signed for a round, or as the close of a channel, only
if the request declares every other one abandoned that was signed there before. And a question that was answered gets
that answer again, refusals too: the bridge counts on it that what was refused has no signature.

The order makes them true: what is to be signed is durable before the key is touched, and the answer before it leaves.
A crash in between signs the same bytes again or nothing. Nothing here can know that a declaration is a lie.
See docs/adr/0019.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from bridge.channel.identifier import Account, TransactionHash
from bridge.errors import GuardConflict
from bridge.signing.slot import Place, Slot
from bridge.signing.store import Store

KEPT_ROUNDS = 256
"""So many rounds below the highest signed one are remembered. What lies lower is refused: it may have been signed."""
REPLY_SECONDS = 7 * 24 * 3600.0
"""How long an answer is given again. A question that comes later is past its deadline, and refused for that."""
PRUNE_EVERY = 64
"""Answers between two looks for what may be forgotten."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Claim:
    """Leave to sign one transaction is asked for. `abandoned` is the request's own word."""

    account: Account
    slot: Slot
    hash: TransactionHash
    request: str
    abandoned: frozenset[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question is answered with. `claim` is that of a signature; None refuses."""

    account: Account
    request: str
    asked: str
    """A digest of what was to be signed."""
    body: bytes
    claim: Claim | None


class Guard:
    """`with Guard(directory) as guard`. Blocks while it opens. Raises OwnerConflict and GuardUnavailable."""

    def __init__(self, directory: Path, reply_seconds: float = REPLY_SECONDS) -> None:
        self._store = Store(directory)
        self._thread = ThreadPoolExecutor(1, "signer-guard")
        self._reply_seconds = reply_seconds
        self._answers = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Waits for what is being written. May be called twice."""
        self._thread.shutdown()
        self._store.close()

    async def find(self, account: Account, request: str) -> tuple[str, bytes] | None:
        """What was asked under that id, and the answer it got."""
        return await self._do(self._store.find_reply, account, request)

    async def claim(self, claim: Claim, at: float) -> tuple[TransactionHash, ...]:
        """Leave to sign, durable: what was signed in its place before, all of it declared abandoned, oldest first.

        Raises GuardConflict, whose sentence names the two hashes; then nothing has changed.
        """
        return await self._do(self._commit, lambda: self._claim(claim, at))

    async def keep(self, answer: Answer, at: float) -> None:
        """The answer is durable; now it may leave. One that refuses takes the request's claim back."""
        await self._do(self._commit, lambda: self._keep(answer, at))

    async def _do(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _commit(self, job: Callable[[], T]) -> T:
        """In the guard's own thread: a disk that is slow holds up no heartbeat."""
        with self._store.transaction():
            return job()

    def _claim(self, claim: Claim, at: float) -> tuple[TransactionHash, ...]:
        if claim.slot.place is Place.ROUND:
            self._check_height(claim)
        earlier = self._store.find_signed(claim.account, claim.slot)
        others = tuple(one for one in earlier if one != claim.hash)
        standing = [one for one in others if one not in claim.abandoned]
        if standing:
            raise GuardConflict(
                f"for {claim.slot} {standing[-1]} was signed and is not declared abandoned: {claim.hash} is refused"
            )
        self._store.add_signed(claim.account, claim.slot, claim.hash, claim.request, at)
        return others

    def _check_height(self, claim: Claim) -> None:
        """Forgets nothing: a claim may be taken back."""
        highest = self._store.highest_round(claim.account, claim.slot.channel)
        if highest is not None and claim.slot.number <= highest - KEPT_ROUNDS:
            raise GuardConflict(
                f"{claim.slot} lies {highest - claim.slot.number} below the highest signed: what was signed for it is"
                f" forgotten, and {claim.hash} may be another"
            )

    def _confirm(self, claim: Claim) -> None:
        """Its signature is about to leave. Only now is what lies far below it forgotten: from here on it is refused."""
        self._store.confirm_signed(claim.account, claim.slot, claim.hash)
        if claim.slot.place is Place.ROUND:
            self._store.forget_rounds(claim.account, claim.slot.channel, claim.slot.number - KEPT_ROUNDS)

    def _keep(self, answer: Answer, at: float) -> None:
        if answer.claim is None:
            self._store.take_back(answer.account, answer.request)
        else:
            self._confirm(answer.claim)
        self._store.add_reply(answer.account, answer.request, answer.asked, answer.body, at)
        self._answers += 1
        if self._answers % PRUNE_EVERY == 1:
            self._store.forget_replies(at - self._reply_seconds)
