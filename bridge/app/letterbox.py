"""The dead letters on the broker: looked at, one of them sent again, or taken off into a file.

The order of work is what keeps a letter: publish, confirm, and only then off the queue. Needs the rights of an
operator. Decides nothing about a letter: `deadletter` does.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from bridge.app.busclient import BusClient
from bridge.app.deadletter import Refusal, Replay, Standing, describe
from bridge.broker.connection import Connection
from bridge.broker.publisher import Publisher
from bridge.broker.shelf import MOST, Held, Look, look
from bridge.errors import BrokerUnavailable
from bridge.wire.letter import Letter, read_letter

Box = Literal["dead-letters", "unrouted"]

QUERY_SECONDS = 10.0


class NoSuchLetter(Exception):
    """No letter has this id, or several begin with it."""


@dataclass(frozen=True, slots=True)
class Listing:
    letters: tuple[Letter, ...]
    total: int
    """How many lie there; more than were looked at, perhaps."""


class Letterbox:
    """`connection` is an operator's."""

    def __init__(self, connection: Connection, prefix: str, box: Box) -> None:
        self._connection = connection
        self._prefix = prefix
        self._queue = f"{prefix}.{box}"

    async def read(self, most: int = MOST) -> Listing:
        """The oldest first. They stay where they are."""
        async with look(self._connection, self._queue, most) as seen:
            return Listing(tuple(read_letter(held.received) for held in seen.held), seen.total)

    async def find(self, letter_id: str) -> Letter:
        """By its id or the beginning of it. Raises NoSuchLetter."""
        async with look(self._connection, self._queue) as seen:
            return _pick(seen, letter_id)[1]

    async def send_again(
        self,
        letter_id: str,
        judge: Callable[[Letter], Replay | Refusal],
        seconds: float,
    ) -> Mapping[str, Any] | Refusal:
        """The replay's outcome, or why there is none: judged anew, on what lies there at this moment.

        Raises TimeoutError if the outcome does not come in time: the replay is with the bridge, the letter is off.
        """
        async with look(self._connection, self._queue) as seen:
            held, letter = _pick(seen, letter_id)
            verdict = judge(letter)
            if isinstance(verdict, Refusal):
                return verdict
            envelope = verdict.envelope(self._prefix, datetime.now(UTC).timestamp())

            async def send() -> None:
                await Publisher(self._connection).publish(envelope)
                await seen.take(held)

            client = BusClient(self._connection, self._prefix, self._connection.user)
            return await client.outcome(verdict.command.command_id, send, seconds)

    async def discard(self, letter_id: str, into: Path) -> Letter:
        """Off the queue, once it is in the file for good, as one line of JSON."""
        async with look(self._connection, self._queue) as seen:
            held, letter = _pick(seen, letter_id)
            _append(into, {**describe(letter), "body_hex": letter.body.hex()})
            await seen.take(held)
            return letter

    async def round_of(self, channel: str) -> Standing:
        """By asking the bridge; nothing known if it does not answer in time, or its policy allows no query."""
        client = BusClient(self._connection, self._prefix, self._connection.user)
        try:
            answer = await client.command(channel, "query", {"what": "state"}, QUERY_SECONDS)
        except (TimeoutError, BrokerUnavailable):
            return Standing()
        return Standing(answer["data"].get("round") if answer["outcome"] == "succeeded" else None)


def _pick(seen: Look, letter_id: str) -> tuple[Held, Letter]:
    letters = [(held, read_letter(held.received)) for held in seen.held]
    found = [one for one in letters if letter_id and one[1].letter_id.startswith(letter_id)]
    if len({letter.letter_id for _, letter in found}) == 1:
        return found[0]
    told = "several letters begin with" if found else f"none of the {len(letters)} letters has the id"
    raise NoSuchLetter(f"{told} {letter_id!r}")


def _append(path: Path, line: Mapping[str, Any]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8") as file:
        file.write(json.dumps(dict(line), ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
