"""A dead-lettered command is found, understood, repaired and replayed, by the very commands of docs/operations.md."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bridge.app.cli import app
from bridge.broker.connection import Connection
from bridge.broker.consumer import Consumer
from bridge.channel.identifier import ChannelName
from bridge.journal.journal import FILE
from bridge.journal.peekaudit import read_audit
from bridge.wire.letter import Letter, read_letter
from tests.system.house import NETWORK, House, Pair, house
from tests.toml import to_toml

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "operations.md").read_text()
PAIR = Pair("today")


def commands(title: str) -> list[str]:
    """The shell blocks under a heading of the page."""
    [section] = re.findall(rf"^## {title}$(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)
    return re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


@pytest.fixture
async def home(amqp_url: str, tmp_path: Path) -> AsyncIterator[House]:
    async with house(amqp_url, tmp_path, PAIR) as made:
        await made.opened()
        config(made)
        yield made


def config(home: House) -> Path:
    """The house's configuration as the file a person has."""
    lines = [
        'data_dir = "data"',
        f'prefix = "{home.prefix}"',
        'journal.key_file = "journal.key"',
        f"[nodes.{PAIR.node}]",
        f'url = "ws://127.0.0.1:{home.node.port}/channel"',
        f'network_id = "{NETWORK}"',
    ]
    for entry in home._entries(PAIR):
        lines += ["[[channels]]", *(f"{option} = {to_toml(value)}" for option, value in entry.items())]
    path = home.directory / "bridge.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


async def shell(home: House, text: str, **variables: str) -> tuple[int, str]:
    """Typed as the page says, in the folder of the configuration, with the address in the environment."""
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-ec",
        text,
        cwd=home.directory,
        env=os.environ
        | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "200"}
        | {"AMQP_URL": home.url, "CHANNEL_BRIDGE_PREFIX": home.prefix, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def typed(home: House, *words: str) -> tuple[int, str]:
    """The same without a process of its own."""
    environ = {"AMQP_URL": home.url, "CHANNEL_BRIDGE_PREFIX": home.prefix, "COLUMNS": "200"}
    result = await asyncio.to_thread(CliRunner().invoke, app, words, env=environ)
    return result.exit_code, result.output


def payment(**changes: Any) -> bytes:
    body = {
        "command_id": "invoice-4711",
        "issued_at": datetime.now(UTC).isoformat(),
        "from": PAIR.account("initiator"),
        "to": PAIR.account("responder"),
        "amount": "5.0",
    }
    return json.dumps(body | changes).encode()


async def dead(home: House, body: bytes) -> Letter:
    """That command, refused; as it lies in the queue of dead letters."""
    assert home.client is not None
    await home.client.send_raw(PAIR.initiator, "transfer", body)
    await home.until(lambda: next(iter(home.dead_letters), None))
    return read_letter(home.received["letters"][0])


async def test_a_dead_letter_is_found_understood_repaired_and_replayed(home: House) -> None:
    """The page's own commands, in their order; at the end the payment has happened, once, and the letter is gone."""
    await dead(home, payment())
    finding, understanding, repairing, replaying, looking = commands("A dead letter")

    status, listed = await shell(home, finding)
    assert (status, "1 of 1" in listed, "invalid_amount" in listed) == (0, True, True), listed
    [letter_id] = re.findall(r"\b[0-9a-f]{8}\b", listed)

    status, shown = await shell(home, understanding, LETTER=letter_id)
    assert status == 0
    for word in (
        "code: invalid_amount",
        "path: amount",
        f"routing_key: {PAIR.initiator}.transfer",
        '"5.0"',
        "--body FILE",
    ):
        assert word in shown

    assert (await shell(home, repairing, LETTER=letter_id))[0] == 0
    dry, doing = replaying.strip().splitlines()
    status, told = await shell(home, dry, LETTER=letter_id)
    assert (status, "would be sent" in told) == (0, True), told
    assert "1 of 1" in (await shell(home, finding))[1]
    status, told = await shell(home, doing, LETTER=letter_id)
    assert (status, '"outcome": "succeeded"' in told) == (0, True), told

    assert "0 of 0" in (await shell(home, looking))[1]
    await home.event(PAIR.initiator, "transfer.succeeded", command_id="invoice-4711-repaired")
    assert home.state(PAIR.initiator).initiator_balance == PAIR.initiator_amount - 5
    with read_audit(home.directory / "data" / FILE) as audit:
        rows = [row.as_json() for row in audit.rows()]
    [row] = [row for row in rows if (row["kind"], row["verdict"]) == ("operator", "replayed")]
    assert (row["command_id"], row["channel"]) == ("invoice-4711-repaired", PAIR.initiator)
    assert row["reference"].startswith(letter_id)


async def test_what_must_not_be_sent_again_is_refused_and_stays(home: House) -> None:
    """Past its round, broken still, under the old id, or accepted since under an id the journal knows."""
    letter = await dead(home, payment())
    good = payment(amount="5", command_id="good")
    refused = {
        "invalid_amount": payment(command_id="other"),
        "new_id_needed": payment(amount="5"),
        "stale_command": payment(amount="5", command_id="old", issued_at="2020-01-01T00:00:00Z"),
        "round_mismatch": payment(amount="5", command_id="late", expect_round=7),
    }
    path = home.directory / "body.json"
    for code, body in refused.items():
        path.write_bytes(body)
        status, told = await typed(home, "dlq", "replay", letter.letter_id, "--body", str(path), "--yes")
        assert (status, told.startswith(f"{code}: ")) == (1, True), told
    assert home.client is not None
    await home.client.send_raw(PAIR.initiator, "transfer", good)
    await home.outcome("good")
    path.write_bytes(good)
    known = ("--journal", str(home.directory / "data"))
    status, told = await typed(home, "dlq", "replay", letter.letter_id, "--body", str(path), *known, "--yes")
    assert (status, told.startswith("already_accepted: ")) == (1, True), told
    assert "1 of 1" in (await typed(home, "dlq", "list"))[1]
    assert home.state(PAIR.initiator).initiator_balance == PAIR.initiator_amount - 5


async def test_a_letter_replayed_twice_runs_once(home: House) -> None:
    """The crash between the confirm and the removal: the letter is still there, and the same replay is sent again."""
    letter = await dead(home, payment())
    path = home.directory / "body.json"
    path.write_bytes(payment(amount="5", command_id="once"))
    assert home.client is not None
    body = path.read_bytes()
    await home.client.publish("commands", f"{PAIR.initiator}.transfer.replay", body)
    assert (await home.outcome("once"))["outcome"] == "succeeded"
    status, told = await typed(home, "dlq", "replay", letter.letter_id, "--body", str(path), "--yes", "--json")
    assert (status, json.loads(told)["result"]["duplicate"]) == (0, True), told
    assert len(home.find(PAIR.initiator, "transfer.succeeded")) == 1
    assert home.state(PAIR.initiator).initiator_balance == PAIR.initiator_amount - 5


async def test_a_replay_the_broker_does_not_take_leaves_the_letter(home: House) -> None:
    """Confirm first, then off the queue: there is no moment at which the command is nowhere."""
    letter = await dead(home, payment())
    path = home.directory / "body.json"
    path.write_bytes(payment(amount="5", command_id="nowhere"))
    async with Connection(home.url, "vandal") as connection:
        amqp_channel = await connection.amqp_channel()
        await (await amqp_channel.raw.get_underlay_channel()).exchange_delete(f"{home.prefix}.commands")
    status, told = await typed(home, "dlq", "replay", letter.letter_id, "--body", str(path), "--yes")
    assert (status, "broker_unavailable: " in told) == (76, True), told
    assert "1 of 1" in (await typed(home, "dlq", "list"))[1]


async def test_a_letter_is_discarded_into_a_file(home: House) -> None:
    """Off the queue only when the file has it."""
    letter = await dead(home, b"@@ no json")
    into = home.directory / "gone.jsonl"
    discard = ("dlq", "discard", letter.letter_id[:6], "--into", str(into))
    assert "would be discarded" in (await typed(home, *discard))[1]
    assert not into.exists()
    assert (await typed(home, *discard, "--yes"))[0] == 0
    kept = json.loads(into.read_text())
    assert bytes.fromhex(kept["body_hex"]) == b"@@ no json"
    status, told = await typed(home, "dlq", "show", letter.letter_id)
    assert (status, told.startswith("no_such_letter: ")) == (1, True)


async def test_the_channels_are_shown_while_the_bridge_runs(home: House) -> None:
    """As the journal has them, with the role of the configuration."""
    result = await home.run(PAIR.initiator, "transfer", **json.loads(payment(amount="5", command_id="paid")))
    assert result["outcome"] == "succeeded"
    toml = str(home.directory / "bridge.toml")
    status, told = await typed(home, "channels", "-c", toml, "--json")
    lines = {line["name"]: line for line in json.loads(told)}
    assert status == 0
    assert (lines[PAIR.responder]["own"], lines[PAIR.responder]["role"]) == (
        str(PAIR.responder_amount + 5),
        "responder",
    )
    assert lines[PAIR.initiator]["round"] == home.state(ChannelName(PAIR.initiator)).round == 2
    status, told = await typed(home, "channels", PAIR.initiator, "-c", toml)
    assert (status, "transfer.succeeded" in told) == (0, True), told
    assert (await typed(home, "channels", "nobody", "-c", toml))[0] == 74


async def test_events_are_published_again_with_the_same_ids_and_bodies(home: House) -> None:
    """A reader that lost some gets them into a queue of its own, in order, marked as coming again."""
    await home.run(PAIR.initiator, "transfer", **json.loads(payment(amount="5", command_id="paid")))
    await home.event(PAIR.initiator, "transfer.succeeded", command_id="paid")
    first = [one for one in home.received["events"] if one.routing_key.startswith(f"{PAIR.initiator}.")]
    wanted = first[1:6]
    toml = str(home.directory / "bridge.toml")
    replay = ("events", "replay", PAIR.initiator, "--seq", "2-6", "--queue", "again", "--rate", "0", "-c", toml)
    status, told = await typed(home, *replay, "--json")
    assert (status, json.loads(told)["replayed"], json.loads(told)["channels"][0]["events"]) == (0, False, 5)
    status, told = await typed(home, *replay, "--yes")
    assert (status, "published again: 5 events" in told) == (0, True), told
    async with Connection(home.url, "reader") as connection:
        queue = f"{home.prefix}.client.{connection.user}.again"
        consumer = Consumer(connection, queue)
        again = [(await anext(consumer)).received for _ in wanted]
        await consumer.close()
        amqp_channel = await connection.amqp_channel()
        await (await amqp_channel.raw.get_underlay_channel()).queue_delete(queue)
    assert [one.body for one in again] == [one.body for one in wanted]
    assert [one.routing_key for one in again] == [one.routing_key for one in wanted]
    for old, new in zip(wanted, again, strict=True):
        assert {name: value for name, value in new.headers.items() if name in old.headers} == dict(old.headers)
        assert "replayed" in new.headers
        assert (new.type, new.correlation_id) == (old.type, old.correlation_id)
