"""The command line: exit codes, findings, and no secret on the screen."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

from bridge import __version__
from bridge.app.busclient import parse_fields, stamp
from bridge.app.cli import app
from bridge.app.cli.terminal import BROKER_FAILED, JOURNAL_FAILED, WRONG_CONFIG, make_table
from bridge.signing.key import read_key

run = CliRunner().invoke
WRONG_USAGE = 2


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A small configuration without a mistake."""
    key = tmp_path / "journal.key"
    assert run(app, ["secret", str(key)]).exit_code == 0
    initiator, responder = (run(app, ["keygen", str(tmp_path / name)]).output.strip() for name in ("a", "b"))
    path = tmp_path / "bridge.toml"
    path.write_text(
        f"""
        data_dir = "data"
        journal.key_file = "{key}"
        broker.url_file = "{tmp_path / "url"}"
        [nodes.main]
        url = "ws://127.0.0.1:3014/channel"
        network_id = "ae_dev"
        [[channels]]
        name = "acme-7"
        node = "main"
        role = "initiator"
        initiator = "{initiator}"
        responder = "{responder}"
        initiator_amount = 1000
        responder_amount = 500
        [[users]]
        name = "shop"
        role = "client"
        channels = ["acme-7"]
        """
    )
    url = tmp_path / "url"
    url.touch(mode=0o600)
    url.write_text("amqp://bridge:hunter2@127.0.0.1:9/")
    return path


def test_the_version_is_printed() -> None:
    assert run(app, ["version"]).output.strip() == __version__


def test_a_good_configuration_is_told_so(config: Path) -> None:
    result = run(app, ["config", "check", "-c", str(config)])
    assert (result.exit_code, result.output.strip()) == (0, "ok: 1 channels on 1 nodes")


def test_a_bad_configuration_prints_every_mistake_and_exits_78(config: Path) -> None:
    """All at once, each with its path: nobody mends a file one error at a time."""
    text = config.read_text()
    for right, wrong in (
        ("initiator_amount = 1000", "initiator_amount = -1"),
        ('network_id = "ae_dev"', 'colour = "red"'),
        ('role = "client"', 'role = "king"'),
    ):
        text = text.replace(right, wrong)
    config.write_text(text)
    result = run(app, ["config", "check", "-c", str(config)])
    assert result.exit_code == WRONG_CONFIG
    for path in ("channels[0].initiator_amount", "nodes.main.colour", "users[0].role"):
        assert path in result.output


def test_what_is_in_force_is_shown_without_secrets(config: Path) -> None:
    result = run(app, ["config", "show", "-c", str(config)])
    assert result.exit_code == 0
    assert json.loads(result.output)["prefix"] == "channels"
    assert "hunter2" not in result.output


def test_a_key_is_written_for_its_owner_only_and_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / "key"
    result = run(app, ["keygen", str(path)])
    assert result.output.strip() == read_key(path).account
    assert path.stat().st_mode & 0o777 == 0o600
    assert run(app, ["keygen", str(path)]).exit_code != 0


def test_the_topology_is_shown_without_a_broker(config: Path) -> None:
    result = run(app, ["topology", "show", "-c", str(config), "--json"])
    names = {queue["name"] for queue in json.loads(result.output)["queues"]}
    assert {"channels.commands", "channels.sign-replies", "channels.events.log"} <= names


def test_the_users_rights_are_printed_as_definitions(config: Path) -> None:
    """One document for the broker's first start; passwords only as hashes."""
    result = run(app, ["topology", "permissions", "-c", str(config)])
    document = json.loads(result.output)
    assert [user["name"] for user in document["users"]] == ["shop"]
    assert document["topic_permissions"]


def test_no_broker_is_an_exit_code_not_a_traceback(config: Path) -> None:
    """Nothing listens there."""
    config.write_text("limits.broker_timeout_seconds = 1\n" + config.read_text())
    result = run(app, ["topology", "apply", "-c", str(config)])
    assert result.exit_code == BROKER_FAILED
    assert "hunter2" not in result.output


def test_the_kit_of_an_unknown_channel_is_an_exit_code_not_a_traceback(config: Path) -> None:
    """Whoever needs it is in a hurry: one sentence must do."""
    result = run(app, ["rescue", "acme-7", "--config", str(config)])
    assert result.exit_code == JOURNAL_FAILED
    assert "journal_unavailable" in result.output


FAMILIES = ("audit", "command", "config", "dlq", "events", "journal", "topology", "doctor", "channels", "rescue")


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield words
    for name, child in (children or {}).items():
        yield from leaves(child, (*words, name))


TREE = tuple(leaves(get_command(app)))


@pytest.mark.parametrize("words", [words for words in TREE if words[0] in FAMILIES], ids=" ".join)
def test_help_ends_with_an_example_that_is_this_very_command(words: tuple[str, ...]) -> None:
    """What is copied from the help is the command one asked about."""
    shown = " ".join(run(app, [*words, "--help"], env={"COLUMNS": "200"}).output.split())
    assert f"channel-bridge {' '.join(words)}" in shown.partition("Examples:")[2]


def test_the_shell_completes_words_and_options() -> None:
    """As bash asks for it, of the program itself."""
    program = Path(sys.executable).with_name("channel-bridge")
    asked = {"_CHANNEL_BRIDGE_COMPLETE": "complete_bash", "COMP_WORDS": "channel-bridge dlq re", "COMP_CWORD": "2"}
    answer = subprocess.run([str(program)], env=os.environ | asked, capture_output=True, text=True, check=False)
    assert answer.stdout.split() == ["replay"]
    shown = subprocess.run(
        ["bash", "-c", f"{program} --show-completion; true"], capture_output=True, text=True, check=True
    )
    assert "complete_bash" in shown.stdout


@pytest.mark.parametrize("word", ["amount", "=5", ":=5", "meta:={"])
def test_a_field_that_is_none_is_wrong_usage(word: str) -> None:
    result = run(app, ["command", "send", "acme-7", "transfer", word])
    assert result.exit_code == WRONG_USAGE
    assert word in result.output


def test_fields_are_text_unless_they_say_otherwise() -> None:
    """Amounts stay text; a round is a number, and meta a list."""
    assert parse_fields(["amount=5", "expect_round:=7", 'meta:=["a=b"]', "reason=a=b"]) == {
        "amount": "5",
        "expect_round": 7,
        "meta": ["a=b"],
        "reason": "a=b",
    }


def test_no_table_cuts_an_amount() -> None:
    """Two balances that differ in their last digits would look alike."""
    amounts = [f"12345678901234567890123456{digit}" for digit in range(3)]
    table = make_table("initiator", "responder")
    for amount in amounts:
        table.add_row(amount, amount)
    printed = io.StringIO()
    Console(width=30, file=printed).print(table)
    assert "…" not in printed.getvalue()
    assert sum(character.isdigit() for character in printed.getvalue()) == 2 * sum(map(len, amounts))


def test_a_command_keeps_the_id_and_the_instant_it_was_given() -> None:
    """With both, and the same fields, it is the same command; without, each is another one."""
    given = {"amount": "5", "command_id": "t-1", "issued_at": "2026-01-02T03:04:05Z"}
    assert stamp(given) == given
    first, second = stamp({"amount": "5"}), stamp({"amount": "5"})
    assert first["command_id"] != second["command_id"]
    assert first["issued_at"]
