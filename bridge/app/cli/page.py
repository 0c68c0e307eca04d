"""`docs/cli.md`: every command with its arguments, options and an example, made from the program itself.

Reads the same tree of commands that the shell calls, so a command or an option cannot be missing from the page.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import typer

from bridge.app.cli import app, terminal

NAME = "channel-bridge"
EXIT_MEANINGS: Mapping[int, str] = {
    terminal.OK: "done",
    terminal.FAILED: "failed while running; `command send`: the outcome was not `succeeded`; `audit verify`: "
    "something is wrong",
    2: "wrong usage",
    terminal.JOURNAL_FAILED: "the journal cannot be read or written",
    terminal.OWNED: "another process owns the data directory",
    terminal.BROKER_FAILED: "the broker refused us or its TLS is refused, or it is out of reach",
    terminal.WRONG_CONFIG: "the configuration is wrong",
}
EXAMPLES: Mapping[str, str] = {
    "run": "run --config bridge.toml",
    "signer": "signer --config signer.toml",
    "simulate": "simulate --port 3014 --state-dir state",
    "demo": "demo --keep demo-files",
    "rescue": "rescue acme-7 --config bridge.toml",
    "keygen": "keygen keys/alice",
    "secret": "secret journal.key",
    "asyncapi": "asyncapi --prefix channels",
    "version": "version",
    "config check": "config check --config bridge.toml",
    "config show": "config show --config bridge.toml",
    "topology apply": "topology apply --config bridge.toml",
    "topology show": "topology show --config bridge.toml --json",
    "topology permissions": "topology permissions --config bridge.toml",
    "command send": "command send acme-7 query what=balances",
    "events tail": "events tail acme-7.#",
    "audit verify": "audit verify --config bridge.toml",
    "audit export": "audit export --config bridge.toml",
    "audit head": "audit head --config bridge.toml",
    "transaction show": "transaction show --network-id ae_uat -",
}

_HEAD = """\
# The command line

Made from the program itself by `python -m bridge.app.reference docs`; do not edit. `channel-bridge --help`, and
`--help` behind every command, says the same. `--install-completion` makes the shell complete commands and options.

The configuration is one TOML file and the environment ([configuration](configuration.md)). A client's commands take the
broker from `--url`, without a password in it, or from `AMQP_URL` or `AMQP_URL_FILE`.

## Exit codes

| exit code | means |
| --- | --- |
"""

Command = Any
"""typer's command, group or parameter: it brings its own copy of click and exports no type for them."""


def commands() -> Iterator[tuple[str, Command]]:
    """Every command that does something, by the words one types, in the order of the help."""
    yield from _walk(typer.main.get_command(app), ())


def _walk(command: Command, words: tuple[str, ...]) -> Iterator[tuple[str, Command]]:
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            yield from _walk(child, (*words, name))
    if not hasattr(command, "commands"):
        yield " ".join(words), command


def options_of(command: Command) -> tuple[Command, ...]:
    return tuple(one for one in command.params if one.param_type_name == "option")


def markdown() -> str:
    lines = [_HEAD + "\n".join(f"| {code} | {meaning} |" for code, meaning in sorted(EXIT_MEANINGS.items())) + "\n"]
    for words, command in commands():
        lines += _section(words, command)
    return "\n".join(lines)


def _section(words: str, command: Command) -> Iterator[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    usage = " ".join([NAME, words, *map(_usage, arguments), *(["[OPTIONS]"] if options_of(command) else [])])
    yield f"## `{words}`\n"
    yield f"    {usage}\n"
    yield (command.help or "").replace("\b", "").strip() + "\n"
    rows = [*arguments, *options_of(command)]
    if rows:
        yield "| name | default | meaning |"
        yield "| --- | --- | --- |"
        for one in rows:
            yield f"| {_names(one)} | {_default(one)} | {_meaning(one)} |"
        yield ""
    if words in EXAMPLES:
        yield f"For example: `{NAME} {EXAMPLES[words]}`\n"


def _usage(argument: Command) -> str:
    word = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return word if argument.required else f"[{word}]"


def _names(one: Command) -> str:
    if one.param_type_name == "argument":
        return f"`{one.name.upper()}`"
    return ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))


def _default(one: Command) -> str:
    if one.required:
        return "**required**"
    if one.default is None or callable(one.default):
        return "-"
    return f"`{str(one.default).lower() if isinstance(one.default, bool) else one.default}`"


def _meaning(one: Command) -> str:
    text = (one.help or "").replace("|", "\\|")
    return f"{text} Also `{one.envvar}` in the environment.".strip() if one.envvar else text
