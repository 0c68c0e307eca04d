"""What the documents name exists in the program, and what the program has is named: commands, options, codes, events.

Reads both sides as they are: the tree of commands, the settings' models, the codes, the list of events, the names of
metrics in the source, and every page. A word in a page that the program does not know is a promise nobody keeps.
"""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from bridge.app.asyncapi.message import MESSAGES
from bridge.app.cli import page as cli
from bridge.app.cli import terminal
from bridge.app.metric import METRICS
from bridge.app.option import find_model
from bridge.app.settings import ENVIRONMENT_DELIMITER, ENVIRONMENT_PREFIX, Config
from bridge.app.signersettings import SignerConfig
from bridge.app.source import KNOWN_NAMES
from bridge.channel.command import COMMANDS
from bridge.errors import Code
from bridge.wire.event import EVENTS, find_event
from tools.docs.check import pages
from tools.docs.page import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = pages(ROOT)
README = next(page for page in PAGES if page.path.name == "README.md" and page.path.parent == ROOT)
CONTRACT = next(page for page in PAGES if page.path == ROOT / "docs" / "contract.md")
FAMILIES = {event.family for event in EVENTS}
COMMANDS_BY_WORDS = dict(cli.commands())


def spans(page: Page) -> Iterator[str]:
    """What stands between backticks outside of blocks."""
    yield from re.findall(r"`([^`\n]+)`", page.prose)


def everywhere() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for span in spans(page):
            yield page.path.name, span


def source() -> Iterator[ast.AST]:
    for path in sorted((ROOT / "bridge").rglob("*.py")):
        yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


# --- the command line ---------------------------------------------------------------------------------------


def calls() -> Iterator[tuple[str, str]]:
    """Every `channel-bridge …` in a page, as one would type it."""
    for page in PAGES:
        blocks = "\n".join(block.text for block in page.blocks)
        indented = "\n".join(re.findall(r"^ {4,}(.+)$", page.prose, re.MULTILINE))
        for text in (*spans(page), *blocks.splitlines(), *indented.splitlines()):
            for found in re.findall(r"(?:^|[\s$(])channel-bridge ([a-z-][^|<>&;)#]*)", text):
                yield page.path.name, found.strip()


def complaint(call: str) -> str:
    """What in this call the program does not know. A name in capitals, `…` or `[…]` stands for something."""
    words = [word for word in shlex.split(call.replace("…", "").replace("'", "")) if word != "\\"]
    if words[0].startswith("--"):
        return "" if words[0] in ("--help", "--install-completion", "--version") else f"no option {words[0]}"
    for size in (2, 1):
        command = COMMANDS_BY_WORDS.get(" ".join(words[:size]))
        if command is not None:
            known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
            given = [word.partition("=")[0] for word in words[size:] if re.match(r"--?[a-z]", word)]
            return ", ".join(f"no option {name}" for name in given if name not in known)
    is_family = any(name.startswith(f"{words[0]} ") for name in COMMANDS_BY_WORDS) and len(words) == 1
    return "" if is_family else "no such command"


def test_every_call_in_the_pages_works() -> None:
    """Commands and options, as a reader would copy them."""
    found = [one for one in calls() if one != ("audit.md", "audit 1")]  # the text that the audit's first hash is of
    assert len(found) > 20
    assert [(page, call, complaint(call)) for page, call in found if complaint(call)] == []


def test_wrong_call_is_found() -> None:
    for call in ("fly", "config fly", "run --fast", "events tail --config x", "--fast"):
        assert complaint(call), call
    for call in ("run", "run -c FILE", "config check", "command send acme-7 query what=balances", "audit", "--help"):
        assert not complaint(call), call


def test_every_command_and_option_is_on_its_page() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    for words, command in COMMANDS_BY_WORDS.items():
        section = page.partition(f"## `{words}`\n")[2].partition("\n## ")[0]
        assert section, words
        for one in cli.options_of(command):
            assert f"`{one.opts[0]}`" in section, (words, one.opts)
            assert one.help, f"{words} {one.opts[0]} has no help text"


@pytest.mark.parametrize("words", sorted(cli.EXAMPLES))
def test_example_of_a_command_can_be_typed(words: str) -> None:
    """It is parsed by the command itself, not run."""
    text = cli.EXAMPLES[words]
    assert text.startswith(words)
    arguments = shlex.split(text.removeprefix(words))
    COMMANDS_BY_WORDS[words].make_context(words, arguments)


def test_exit_codes_of_the_pages_are_those_of_the_program() -> None:
    named = {value for name, value in vars(terminal).items() if name.isupper() and isinstance(value, int)}
    assert set(cli.EXIT_MEANINGS) == named | {2}
    table = re.search(r"\| exit code \| means \|\n\| --- \| --- \|\n((?:\|.*\n)+)", README.text)
    assert table is not None
    assert {int(row) for row in re.findall(r"^\| (\d+) \|", table[1], re.MULTILINE)} == set(cli.EXIT_MEANINGS)


# --- metrics ------------------------------------------------------------------------------------------------


def metric(name: str) -> str:
    """Its name without what the exposition adds, so that both spellings are one."""
    return re.sub(r"_(?:total|bucket|sum|count|created|info)$", "", name)


def test_metrics_of_the_pages_are_those_of_the_program() -> None:
    """An alert on a name that is not there never fires."""
    text = re.compile(r"channel_bridge_[a-z0-9_]+[a-z0-9]")
    built = {metric(one.full_name) for one in METRICS}
    named = {metric(name) for page in PAGES for name in text.findall(page.text)}
    assert named == built


# --- options ------------------------------------------------------------------------------------------------


def has_option(model: type[BaseModel], path: tuple[str, ...]) -> bool:
    """Whether a path of a file leads to an option or a section; a table of named sections takes any name."""
    if not path:
        return True
    field = model.model_fields.get(path[0])
    if field is None:
        return False
    inner = find_model(field.annotation)
    if inner is None:
        return len(path) == 1 or "dict" in str(field.annotation)
    is_table = str(field.annotation).startswith(("dict", "collections.abc.Mapping", "typing.Annotated[dict"))
    return has_option(inner, path[2:] if is_table else path[1:])


def knows(path: tuple[str, ...]) -> bool:
    return has_option(Config, path) or has_option(SignerConfig, path)


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of a file, those of a list's entries without their number."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from leaves(child, (*path, key))
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for child in value:
            yield from leaves(child, path)
    else:
        yield path


def test_options_in_the_pages_blocks_are_options() -> None:
    """Whoever copies a block must not be told that an option is unknown."""
    found = [
        (page.path.name, path)
        for page in PAGES
        for block in page.blocks
        if block.language == "toml" and not block.text.startswith("steps")  # a scenario
        for path in leaves(tomllib.loads(block.text))
    ]
    assert len(found) > 20
    assert [one for one in found if not knows(one[1])] == []
    assert not knows(("limits", "no_such_option"))
    assert not knows(("no_such_section", "prefetch"))


def test_sections_the_pages_name_are_sections() -> None:
    named = [
        (name, span) for name, span in everywhere() if re.fullmatch(r"\[{1,2}[a-z_]+(?:\.[a-z_<>]+)*\]{1,2}", span)
    ]
    assert named
    assert [one for one in named if not knows(tuple(one[1].strip("[]").split(".")))] == []


def test_environment_variables_the_pages_name_are_read() -> None:
    words = {node.value for node in source() if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names = {name for page in PAGES for name in re.findall(rf"\b{ENVIRONMENT_PREFIX}[A-Z0-9_]+", page.text)}
    unknown = []
    for name in sorted(names):
        path = tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split(ENVIRONMENT_DELIMITER))
        in_directory = (*path[:-1], f"{path[-1]}_file")  # what a file of the secrets directory is called
        is_known = knows(path) or knows(in_directory) or name in KNOWN_NAMES
        if name not in words and not is_known and name not in TESTS_OWN:
            unknown.append(name)
    assert unknown == []


TESTS_OWN = {"CHANNEL_BRIDGE_REQUIRE_BROKER"}
"""Read by the tests, not by the program."""


# --- codes, commands and events -----------------------------------------------------------------------------


def test_codes_the_pages_name_are_codes() -> None:
    """After the word code; and everything under such a column stands in errors.md, which is made from them."""
    group = re.compile(r"\bcodes? ((?:`[a-z_]+`(?:, | and | or )?)+)")
    found = [
        (page.path.name, code)
        for page in PAGES
        for codes in group.findall(" ".join(page.prose.split()))
        for code in re.findall(r"`([a-z_]+)`", codes)
    ]
    assert found
    assert [one for one in found if one[1] not in set(Code)] == []


def test_every_code_is_on_its_page() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(Code)


def test_commands_of_the_contract_are_those_of_the_bus() -> None:
    table = re.search(r"\| command \| fields \| what it does \|\n\| --- .*\n((?:\|.*\n)+)", CONTRACT.text)
    assert table is not None
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (.*?) ?\| ", table[1], re.MULTILINE))
    assert set(rows) == set(COMMANDS)
    common = {"command_id", "issued_at", "expires_at", "expect_round", "allow_exposed"}
    for kind, cell in rows.items():
        names = {field.alias or name for name, field in COMMANDS[kind].model_fields.items()} - common
        assert set(re.findall(r"`([a-z_]+)`", cell.partition("=")[0])) == names, kind


def test_events_the_pages_name_are_events() -> None:
    """`family.name` in backticks."""
    named = [(name, span) for name, span in everywhere() if re.fullmatch(r"[a-z_]+\.[a-z_]+", span)]
    nodes = {"simulated-node.md", "coverage.md", "protocol-sources.md"}  # these speak of the node's own frames too
    events = [(page, span) for page, span in named if span.partition(".")[0] in FAMILIES and page not in nodes]
    assert len(events) > 10
    others = {message.subject for message in MESSAGES} | {"command.py", "message.py", "chain.py", "policy.py"}
    unknown = [one for one in events if find_event(*one[1].split(".")) is None and one[1] not in others]
    assert unknown == []


def test_every_event_stands_in_the_contracts_table() -> None:
    table = re.search(r"\| family \| names \|\n\| --- .*\n((?:\|.*\n)+)", CONTRACT.text)
    assert table is not None
    told: set[tuple[str, str]] = set()
    for row in table[1].splitlines():
        _, families, names, _ = (cell.strip() for cell in row.split("|"))
        words = re.findall(r"`([a-z_]+)`", names)
        told |= {(family, name) for family in re.findall(r"`([a-z]+)`", families) for name in words}
    assert {(event.family, event.name) for event in EVENTS if not event.is_open} - told == set()
    assert {family for family, _ in told} <= FAMILIES


def test_every_message_is_on_the_page_of_messages() -> None:
    headings = re.findall(r"^### `(.+)`$", (ROOT / "docs" / "messages.md").read_text(), re.MULTILINE)
    assert headings == [message.subject for exchange in _ORDER for message in MESSAGES if message.exchange == exchange]


_ORDER = ("commands", "results", "sign-requests", "sign-replies", "approvals", "events", "dead-letters")


def test_targets_of_make_that_the_pages_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = [
        (page.path.name, target) for page in PAGES for target in re.findall(r"`make ([a-z]+(?:-[a-z]+)*)", page.text)
    ]
    assert named
    assert [one for one in named if one[1] not in targets] == []
