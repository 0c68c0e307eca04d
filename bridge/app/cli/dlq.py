"""`dlq`: the dead letters and what was unrouted - seen, understood, sent again."""

import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from bridge.app import config as configuration
from bridge.app import deadletter
from bridge.app.access import Access
from bridge.app.cli.terminal import (
    FAILED,
    OK,
    AsJson,
    ConfigPath,
    JournalPath,
    Prefix,
    Url,
    Yes,
    dial,
    err,
    exits,
    load,
    make_table,
    out,
    run,
)
from bridge.app.letterbox import Box, Letterbox, NoSuchLetter
from bridge.errors import Code
from bridge.wire.incoming import readable_command_id, split_command_key
from bridge.wire.letter import Letter

app = typer.Typer(help="The dead letters: seen, understood, sent again. As an operator.", no_args_is_help=True)

LIST_EXAMPLES = """
Examples:

    channel-bridge dlq list

    channel-bridge dlq list --queue unrouted --json
"""
SHOW_EXAMPLES = """
Examples:

    channel-bridge dlq show 3f9a

    channel-bridge dlq show 3f9a --raw > repaired.json
"""
REPLAY_EXAMPLES = """
Examples:

    channel-bridge dlq replay 3f9a

    channel-bridge dlq replay 3f9a --body repaired.json -c bridge.toml --yes
"""
DISCARD_EXAMPLES = """
Examples:

    channel-bridge dlq discard 3f9a --into discarded.jsonl --yes
"""

Queue = Annotated[Box, typer.Option(help="Which of the two.")]
LetterId = Annotated[str, typer.Argument(help="The letter's id, or the beginning of it.")]

T = TypeVar("T")


@app.command("list", epilog=LIST_EXAMPLES)
def dlq_list(
    queue: Queue = "dead-letters",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the oldest.")] = 100,
    url: Url = None,
    prefix: Prefix = "channels",
    as_json: AsJson = False,
) -> None:
    """List them, the oldest first. Nothing is taken off, and their order stays.

    Exit codes: 0; 76 the broker refused us or is away; 78 the address is wrong.
    """
    with exits():
        listing = _at(url, prefix, queue, lambda box: box.read(limit))
        if as_json:
            letters = [deadletter.describe(letter) for letter in listing.letters]
            out.print_json(json.dumps({"total": listing.total, "letters": letters}))
            return
        table = make_table("id", "since", "was", "code", "author", "remedy")
        for letter in listing.letters:
            was = letter.routing_key if letter.kind == "commands" else f"{letter.kind} {letter.routing_key}"
            table.add_row(letter.letter_id[:8], letter.at, was, letter.code, letter.author, deadletter.remedy(letter))
        out.print(table)
        out.print(f"{len(listing.letters)} of {listing.total}", markup=False)


@app.command("show", epilog=SHOW_EXAMPLES)
def dlq_show(
    letter: LetterId,
    queue: Queue = "dead-letters",
    raw: Annotated[
        bool,
        typer.Option("--raw", help="The body alone, out of the CloudEvent it may stand in: to be repaired."),
    ] = False,
    url: Url = None,
    prefix: Prefix = "channels",
    as_json: AsJson = False,
) -> None:
    """Show one with its body, and explain why it lies there and what can be done.

    Exit codes: 0; 1 there is no such letter; 76 the broker; 78 the address.
    """
    with exits(), _named():
        found = _at(url, prefix, queue, lambda box: box.find(letter))
        if raw:
            sys.stdout.buffer.write(found.plain)
        elif as_json:
            out.print_json(json.dumps(deadletter.describe(found)))
        else:
            for name, value in deadletter.describe(found).items():
                if value not in (None, ""):
                    out.print(f"{name}: {value}", markup=False, soft_wrap=True)
            out.print(f"next: {_next(found, queue)}", markup=False, soft_wrap=True)


_LAST = "-c BRIDGE.toml (with --yes it is sent)"


def _next(letter: Letter, queue: Box) -> str:
    which = f"{letter.letter_id[:8]}" + ("" if queue == "dead-letters" else f" --queue {queue}")
    match deadletter.remedy(letter):
        case "repair" if letter.code == Code.UNKNOWN_COMMAND:
            return f"its key names no command: channel-bridge dlq replay {which} --key CHANNEL.COMMAND {_LAST}"
        case "repair":
            repair = "write the repaired body, with a new command_id, to a file"
            return f"{repair}, then: channel-bridge dlq replay {which} --body FILE {_LAST}"
        case "replay":
            key = " --key CHANNEL.COMMAND" if letter.hand == "broker" else ""
            return f"channel-bridge dlq replay {which}{key} {_LAST}"
        case _:
            return f"nothing to send again; channel-bridge dlq discard {which} --into FILE takes it off"


@app.command("replay", epilog=REPLAY_EXAMPLES)
def dlq_replay(
    letter: LetterId,
    queue: Queue = "dead-letters",
    body: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A file with the repaired body; a new command_id in it."),
    ] = None,
    key: Annotated[str | None, typer.Option(help="CHANNEL.COMMAND, where the letter's own is wrong.")] = None,
    yes: Yes = False,
    seconds: Annotated[float, typer.Option(help="How long to wait for the outcome.")] = 60.0,
    config: ConfigPath = None,
    journal: JournalPath = None,
    url: Url = None,
    prefix: Prefix = "channels",
    as_json: AsJson = False,
) -> None:
    """Send a command again that came to the dead letters; without --yes only say what would happen.

    Refused here, before anything is sent: what the bridge would refuse again, a command for a round that is past, an
    id that was accepted since (with the journal at hand, by -c or --journal). What is sent is an operator's replay:
    the outcome comes to you, the audit names you and the letter. It is off the queue once the broker has confirmed it.
    Exit codes: 0 succeeded, or would be sent; 1 refused, or another outcome; 74, 76, 78 as everywhere.
    """
    with exits(), _named():
        repaired = None if body is None else body.read_bytes()
        directory = journal or (None if config is None else Path(load(config).data_dir))

        async def work(box: Letterbox) -> deadletter.Refusal | deadletter.Replay | dict[str, Any]:
            def judge(found: Letter, standing: deadletter.Standing) -> deadletter.Replay | deadletter.Refusal:
                now = datetime.now(UTC).timestamp()
                return deadletter.judge(found, prefix, key=key, repaired=repaired, standing=standing, now=now)

            found = await box.find(letter)
            standing = await _standing(box, directory, found, judge(found, deadletter.Standing()), key, repaired)
            verdict = judge(found, standing)
            if not yes or isinstance(verdict, deadletter.Refusal):
                return verdict
            outcome = await box.send_again(letter, lambda present: judge(present, standing), seconds)
            return outcome if isinstance(outcome, deadletter.Refusal) else dict(outcome)

        try:
            result = _at(url, prefix, queue, work)
        except TimeoutError as error:
            err.print(f"no outcome within {seconds:g} s; the bridge has the command, it may still run", markup=False)
            raise typer.Exit(FAILED) from error
        raise typer.Exit(_tell(result, as_json=as_json))


async def _standing(
    box: Letterbox,
    directory: Path | None,
    letter: Letter,
    first: deadletter.Replay | deadletter.Refusal,
    key: str | None,
    repaired: bytes | None,
) -> deadletter.Standing:
    """From the journal where it is at hand; else the bridge is asked, if the command expects a round."""
    channel = split_command_key(key or letter.routing_key)[0]
    if directory is not None:
        own = None if repaired is None else readable_command_id(repaired)
        return deadletter.standing_in(directory, channel, (own, letter.command_id))
    if isinstance(first, deadletter.Refusal) and first.code == "round_unknown":
        return await box.round_of(channel)
    return deadletter.Standing()


def _tell(result: deadletter.Refusal | deadletter.Replay | dict[str, Any], *, as_json: bool) -> int:
    match result:
        case deadletter.Refusal(code, sentence):
            told: dict[str, Any] = {"sent": False, "code": code, "sentence": sentence}
            text, status = f"{code}: {sentence}", FAILED
        case deadletter.Replay(letter, channel, command, body):
            told = {"sent": False, "channel": channel, "command": command.kind, "command_id": command.command_id}
            text = f"would be sent to {channel} as {command.kind} for {letter.author or 'somebody'}; --yes does it"
            text, status = f"{text}\n{body.decode()}", OK
        case _:
            told = {"sent": True, "result": result}
            text, status = json.dumps(result, indent=2), OK if result["outcome"] == "succeeded" else FAILED
    if as_json:
        out.print_json(json.dumps(told))
    else:
        out.print(text, markup=False, soft_wrap=True)
    return status


@app.command("discard", epilog=DISCARD_EXAMPLES)
def dlq_discard(
    letter: LetterId,
    into: Annotated[Path, typer.Option(help="A file that gets it first, as one line of JSON.")],
    queue: Queue = "dead-letters",
    yes: Yes = False,
    url: Url = None,
    prefix: Prefix = "channels",
) -> None:
    """Take one off that nobody needs any more, into a file. Without --yes only show which.

    Exit codes: 0; 1 there is no such letter; 76 the broker; 78 the address.
    """
    with exits(), _named():
        found = _at(
            url, prefix, queue, (lambda box: box.discard(letter, into)) if yes else (lambda box: box.find(letter))
        )
        done = f"discarded into {into}" if yes else "would be discarded; --yes does it"
        out.print(f"{found.letter_id[:8]} {found.routing_key}: {done}", markup=False, soft_wrap=True)


def _at(url: str | None, prefix: str, queue: Box, work: Callable[[Letterbox], Awaitable[T]]) -> T:
    """One piece of work at the letterbox, as the caller's user."""
    access = Access(configuration.load_client(url, os.environ))
    results: list[T] = []

    async def go() -> None:
        async with dial(access, "dlq") as connection:
            results.append(await work(Letterbox(connection, prefix, queue)))

    run(go())
    return results[0]


@contextmanager
def _named() -> Iterator[None]:
    """A letter that is not there: one sentence and exit code 1."""
    try:
        yield
    except NoSuchLetter as error:
        err.print(f"no_such_letter: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(FAILED) from error
    except OSError as error:
        err.print(f"not_written: {error}; the letter stays where it is", markup=False, soft_wrap=True)
        raise typer.Exit(FAILED) from error
