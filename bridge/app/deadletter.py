"""`channel-bridge dlq`: what lies in the dead letters, why, and how a command among it is sent again.

A letter was never executed (G7). It is judged here as the bridge will judge it, by the same code, before anything is
published; what then goes out is a replay: an operator's message under a key of its own, `<channel>.<command>.replay`,
with the author in a header, journaled and audited by the bridge like any command. The letter is taken off only after
the broker has confirmed the replay; a crash in between leaves it, and sent again it is the same command under the
same id, which runs once. Rules: guarantees.md G7, section 7 and section 8.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from bridge.app.meaning import MEANINGS
from bridge.channel.command import Command, Direct
from bridge.channel.identifier import ChannelName
from bridge.channel.state import decode
from bridge.errors import BodyError, Code
from bridge.journal.journal import FILE
from bridge.journal.survey import Survey, survey
from bridge.wire.cloudevent import unfold
from bridge.wire.envelope import Envelope, Received, write_instant
from bridge.wire.incoming import REPLAY, read_command, split_command_key
from bridge.wire.letter import AUTHOR, LETTER, REPLAYED, Letter

Remedy = Literal["repair", "replay", "none"]

NEW_ID = (Code.IDEMPOTENCY_CONFLICT.value, Code.FORBIDDEN.value)
"""Refused for the id they bear: no repair of the rest helps."""

_SENT_AGAIN = (
    "The id was used before with another body; the first command is untouched. Most likely it was sent again with"
    " another `issued_at`: then its first outcome stands, and this is discarded. Repair it, with a new id, only if it"
    " was meant as another command: else a payment would be made twice. It was not executed."
)

_KINDS: Mapping[str, str] = {
    "sign-replies": "A sign reply counts for one open request. While that is open the bridge waits for another reply of"
    " the signer, at its deadline it is closed: there is nothing to send again.",
    "sign-requests": "A sign request its signer rejected, or took too often without an answer. The bridge closes it"
    " at its deadline and asks anew if the command still runs: there is nothing to send again. Look at the signer.",
    "approvals": "An approval counts as its author's own word: he gives it again, nobody else can.",
    "results": "A result for which its reader had no queue. Nothing is lost: whoever sends the same command again, with"
    " the same id, gets the same outcome. Let him declare his queue first.",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a letter is not sent again. `code` is stable: an error code of the bridge or one of `REFUSALS`."""

    code: str
    sentence: str


REFUSALS: Mapping[str, str] = {
    "not_a_command": "only commands are sent again",
    "key_needed": "the broker moved it, and the key in its headers may be forged: name the key with --key",
    "new_id_needed": "a repaired command has a new command_id",
    "already_accepted": "a command with this id was accepted since",
    "round_unknown": "it expects a round, and nobody could say which is the present one",
}
"""What `dlq replay` refuses beyond what the bridge itself would refuse."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of the channel and of the ids involved. `round` None: not known."""

    round: int | None = None
    accepted: Mapping[str, str] | None = None
    """Ids the journal knows, with their status; None: no journal at hand."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What is about to be published."""

    letter: Letter
    channel: ChannelName
    command: Command | Direct
    body: bytes

    def envelope(self, prefix: str, now: float) -> Envelope:
        author = {AUTHOR: self.letter.author} if self.letter.author else {}
        return Envelope(
            exchange=f"{prefix}.commands",
            routing_key=f"{self.channel}.{self.command.kind}.{REPLAY}",
            body=self.body,
            headers={LETTER: self.letter.letter_id, REPLAYED: write_instant(now), **author},
            type="",
            correlation_id=self.command.command_id,
            timestamp=now,
        )


def is_command(letter: Letter) -> bool:
    """Of what the broker moved, the queue is certain and the exchange is not."""
    return letter.queue.endswith(".commands") if letter.hand == "broker" else letter.kind == "commands"


def explain(letter: Letter) -> str:
    """Why it lies there and what can be done, for a person who sees one for the first time."""
    if not is_command(letter):
        return _KINDS.get(letter.kind, "It came to an exchange the bridge does not read: ask who wrote it.")
    if letter.hand == "nobody":
        return "A command no queue took: the binding of the commands queue is missing; `topology apply` brings it back."
    if letter.hand == "broker":
        return _explain_moved(letter)
    if letter.code == Code.FORBIDDEN and not letter.author:
        return "The bridge refused it: it names no author. Publish with the property `user_id`, your broker user."
    if letter.code == Code.IDEMPOTENCY_CONFLICT:
        return _SENT_AGAIN
    meaning = next((text for code, text in MEANINGS.items() if code.value == letter.code), "")
    at = f" (at `{letter.path}`)" if letter.path else ""
    return f"The bridge refused it{at}. {meaning} It was not executed."


def _explain_moved(letter: Letter) -> str:
    if letter.code == "delivery_limit":
        return "The bridge took it again and again and never came to an end with it, most likely because it crashed."
    return (
        "It did not come straight through the exchange of commands: nobody had judged its key, and it was thrown out."
    )


def remedy(letter: Letter) -> Remedy:
    """What kind of help there is: a repaired body, the same bytes again, or none."""
    if not is_command(letter):
        return "none"
    if letter.hand != "bridge":
        return "replay"
    retryable = any(code.value == letter.code and code.is_retryable for code in Code)
    return "replay" if retryable or letter.code == Code.UNKNOWN_CHANNEL else "repair"


def judge(
    letter: Letter, prefix: str, *, key: str | None, repaired: bytes | None, standing: Standing, now: float
) -> Replay | Refusal:
    """As the bridge will judge it, and more strictly. `repaired` None: the bytes as they lie there."""
    if not is_command(letter):
        return _refuse("not_a_command", f": {explain(letter)}")
    if key is None and letter.hand == "broker":
        return _refuse("key_needed", f" (they say {letter.routing_key!r}, its author is {letter.author or 'unknown'})")
    channel, kind = split_command_key(key or letter.routing_key)
    body, content_type = (letter.body, letter.content_type) if repaired is None else (repaired, None)
    written = Received(f"{prefix}.commands", f"{channel}.{kind}", body, user_id="operator", content_type=content_type)
    try:
        received = unfold(written)
        name, command = read_command(received, channels=(channel,), now=datetime.fromtimestamp(now, UTC))
    except BodyError as error:
        at = f" at {error.path}" if error.path else ""
        return Refusal(error.code.value, f"it would be refused{at}: {error.sentence}; {_mending(error.code)}")
    found = _judge_id(letter, command, is_repaired=repaired is not None, standing=standing)
    return found or _judge_round(command, standing) or Replay(letter, name, command, received.body)


def _mending(code: Code) -> str:
    if code is Code.UNKNOWN_COMMAND:
        return "its routing key names no command: give the right one with --key CHANNEL.COMMAND"
    return "repair it and give --body FILE"


def _judge_id(letter: Letter, command: Command | Direct, *, is_repaired: bool, standing: Standing) -> Refusal | None:
    is_same = command.command_id == letter.command_id
    if is_same and (is_repaired or letter.code in NEW_ID):
        return _refuse("new_id_needed", f": {command.command_id} was refused for good")
    for command_id in {command.command_id, letter.command_id} - {None}:
        status = (standing.accepted or {}).get(str(command_id))
        if status is not None:
            return _refuse("already_accepted", f": {command_id} is {status}; ask its author before you send another")
    return None


def _judge_round(command: Command | Direct, standing: Standing) -> Refusal | None:
    expected = getattr(command, "expect_round", None)
    if expected is None:
        return None
    if standing.round is None:
        return _refuse("round_unknown", f": {expected}; give the bridge's journal with -c or --journal, or let query")
    if expected != standing.round:
        sentence = (
            f"it expects round {expected}, the channel is at round {standing.round}: it was meant for another state"
        )
        return Refusal(Code.ROUND_MISMATCH.value, sentence)
    return None


def _refuse(code: str, more: str) -> Refusal:
    return Refusal(code, REFUSALS[code] + more)


def standing_in(data_dir: Path, channel: str, command_ids: tuple[str | None, ...]) -> Standing:
    """From the journal. Raises JournalUnavailable."""
    with survey(data_dir / FILE) as found:
        rows = {row.name: row for row in found.channels()}
        row = rows.get(ChannelName(channel))
        round_ = None if row is None or row.state is None else decode(row.state).round
        return Standing(round_, dict(_accepted(found, command_ids)))


def _accepted(found: Survey, command_ids: tuple[str | None, ...]) -> list[tuple[str, str]]:
    rows = [found.command(command_id) for command_id in command_ids if command_id is not None]
    return [(row.command_id, row.status) for row in rows if row is not None]


def describe(letter: Letter) -> Mapping[str, Any]:
    """For people and programs. The body as text where it is one."""
    return {
        "id": letter.letter_id,
        "at": letter.at,
        "put_there_by": letter.hand,
        "exchange": letter.exchange,
        "routing_key": letter.routing_key,
        "queue": letter.queue,
        "author": letter.author,
        "code": letter.code,
        "reason": letter.reason,
        "path": letter.path,
        "command_id": letter.command_id,
        "explanation": explain(letter),
        "remedy": remedy(letter),
        "content_type": letter.content_type,
        "body": letter.body.decode("utf-8", "backslashreplace"),
    }
