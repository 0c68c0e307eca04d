"""Makes `docs/configuration.md` and `docs/errors.md` from the settings' models and the codes themselves.

`python -m bridge.app.reference docs` writes them, and the pages about commands and messages that are made elsewhere;
a test compares all with what lies there, so no option, code, command or message can change without its page.
"""

import sys
import typing
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bridge.app.asyncapi import page as messages
from bridge.app.cli import page
from bridge.app.meaning import MEANINGS
from bridge.app.option import Option, find_model, options
from bridge.app.settings import ENVIRONMENT_DELIMITER, ENVIRONMENT_PREFIX, Config
from bridge.app.signersettings import SignerConfig
from bridge.app.source import KNOWN_NAMES
from bridge.errors import Code
from bridge.wire.body import CodeClass, classify

BRIDGE_EXAMPLE = """\
data_dir = "data"

[journal]
key_file = "secrets/journal_key"

[broker]
url_file = "secrets/amqp_url"

[nodes.main]
url = "ws://127.0.0.1:3014/channel"
network_id = "ae_devnet"

[[channels]]
name = "acme-7"
node = "main"
role = "initiator"
initiator = "ak_2U5uowyre6aqU1gz3Pkd1VtMkBVc2rquvr3oPWynbPNYozaLhv"
responder = "ak_9UUfv5MBBZRKsS82REfUw4xLxrGVrEtjxuiEHiZDgraJg27Sn"
initiator_amount = "70000000000000"
responder_amount = "40000000000000"
opening = { minimum_depth = 0, minimum_depth_strategy = "plain" }

[channels.policy]
commands = ["transfer", "shutdown", "query"]
max_amount = "70000000000000"
outflow_per_hour = "100000000000000"
outflow_per_day = "500000000000000"
counterparties = ["ak_9UUfv5MBBZRKsS82REfUw4xLxrGVrEtjxuiEHiZDgraJg27Sn"]
acknowledge = ["update_ack", "shutdown_sign_ack"]

[[users]]
name = "shop"
role = "client"
channels = ["acme-7"]
"""

SIGNER_EXAMPLE = """\
[keys]
files = ["secrets/keys"]

[guard]
data_dir = "signer-data"

[broker]
url_file = "secrets/amqp_url"

[policy.ak_2U5uowyre6aqU1gz3Pkd1VtMkBVc2rquvr3oPWynbPNYozaLhv]
tags = ["initiator_sign", "update", "update_ack", "shutdown_sign", "shutdown_sign_ack"]
networks = ["ae_devnet"]
counterparties = ["ak_9UUfv5MBBZRKsS82REfUw4xLxrGVrEtjxuiEHiZDgraJg27Sn"]
max_amount = "100000000000000"
max_fee = "1000000000000000"
"""

_INTRODUCTION = f"""\
# Configuration

Made from the program itself by `python -m bridge.app.reference docs`; do not edit.

The bridge reads one TOML file and the environment; the environment wins. `{ENVIRONMENT_PREFIX}LIMITS\
{ENVIRONMENT_DELIMITER}PREFETCH=64` sets `prefetch` under `[limits]`; lists and tables are written as JSON.
An empty variable counts as absent. A directory of secrets, as Docker and Kubernetes mount them, is named by
`CHANNEL_BRIDGE_SECRETS_DIR`: a file `NAME` in it is the same as the variable `NAME_FILE` with its path, so `AMQP_URL`
holds the broker's URL and `CHANNEL_BRIDGE_JOURNAL__KEY` the journal's key; small letters do as well, a variable
wins over its file. Names that are known elsewhere work too:

{{names}}

Unknown options are refused. All mistakes are told at once, each with its path, what stands there (unless it is a
secret) and what should; the exit code is then 78. Relative paths in a file count from the file's directory.

A secret file (`key_file`, `url_file`, `password_file`, signing keys) must be readable by its owner only, mode
0600. To a process that is not root, root may give one by its group (0440, 0640), as Kubernetes does.

Connections beyond loopback need TLS, with certificates verified; `plain_hosts` names exceptions.

Amounts are whole numbers of aettos (10^18 make one AE), as a number or as a string of digits.
"""

_CLASS_TEXTS: Mapping[CodeClass, tuple[str, str]] = {
    CodeClass.REJECTED: ("rejected", "Not accepted, not executed. Mend it and send it under a new id."),
    CodeClass.FAILED_UNSIGNED: (
        "failed, before any signature",
        "Definitely not executed. It may be sent again under a new id.",
    ),
    CodeClass.FAILED_SIGNED: (
        "failed, after a signature",
        "Not in the agreed state, evidence attached. `exposure` is set if the peer holds our half-signed transaction.",
    ),
    CodeClass.IN_DOUBT: ("in_doubt", "The outcome is open. It is settled by evidence, never guessed or repeated."),
    CodeClass.UNKNOWN: ("unknown", "Messages only."),
    CodeClass.SIGN_REPLY_REFUSED: ("sign reply refused", "Told to the signer; the reply was not used."),
    CodeClass.APPROVAL_REFUSED: ("approval refused", "Told to the approver; it was not counted."),
    CodeClass.SERVICE: ("channel and service", "Events, alarms, and reasons for the process to stop."),
}


def markdown() -> str:
    """The page about configuration."""
    names = "\n".join(f"- `{name}`: `{option}` under `[{section}]`" for name, (section, option) in KNOWN_NAMES.items())
    return "\n".join(
        [
            _INTRODUCTION.format(names=names),
            "## The bridge's file\n",
            f"```toml\n{BRIDGE_EXAMPLE}```\n",
            *_sections(Config, ()),
            "## The signer's file\n",
            _describe(SignerConfig),
            f"```toml\n{SIGNER_EXAMPLE}```\n",
            *_sections(SignerConfig, ()),
        ]
    )


def errors_markdown() -> str:
    """The page about codes."""
    lines = [
        "# Codes\n",
        "Made from the program itself by `python -m bridge.app.reference docs`; do not edit. Codes are stable: never",
        "renamed, only added. A retryable code may succeed without repair, always under a new `command_id`.\n",
    ]
    for code_class, (title, sentence) in _CLASS_TEXTS.items():
        lines += [f"## {title}\n", f"{sentence}\n", "| code | meaning | retryable |", "| --- | --- | --- |"]
        codes = (code for code in Code if classify(code) is code_class)
        lines += [f"| `{code}` | {MEANINGS[code]} | {'yes' if code.is_retryable else 'no'} |" for code in codes]
        lines.append("")
    return "\n".join(lines)


def _sections(model: type[BaseModel], place: tuple[str, ...]) -> Iterator[str]:
    """One table for the options of a section, then those of the sections inside it."""
    if place:
        yield f"### `{_heading(place)}`\n"
        yield _describe(model)
    yield from _table(options(model))
    for name, field in model.model_fields.items():
        inner = find_model(field.annotation)
        if inner is not None:
            yield from _sections(inner, (*place, _mark(name, field.annotation)))


def _mark(name: str, annotation: Any) -> str:
    """`[[name]]` for a list of tables, `[name.<name>]` for a table of tables, `[name]` for one."""
    origin = typing.get_origin(annotation)
    if origin is tuple:
        return f"[{name}]"
    if origin is dict:
        key = typing.get_args(annotation)[0]
        return f"{name}.<name>" if key is str else f"{name}.<account>"
    return name


def _heading(place: tuple[str, ...]) -> str:
    if len(place) == 1:
        return f"[{place[0]}]"
    return f"[{'.'.join(part.strip('[]') for part in place)}]"


def _describe(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split()) + "\n"


def _table(rows: tuple[Option, ...]) -> Iterator[str]:
    yield "| option | form | unit | default | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for row in rows:
        form = f"{row.form}; {row.range}" if row.range else row.form
        yield f"| `{row.name}` | {form} | {row.unit or '-'} | {_default(row)} | {row.meaning} |"
    yield ""


def _default(row: Option) -> str:
    if row.is_required:
        return "**required**"
    match row.default:
        case None:
            return "-"
        case bool():
            return f"`{str(row.default).lower()}`"
        case tuple() | frozenset():
            return ", ".join(f"`{item}`" for item in sorted(row.default)) or "none"
        case StrEnum() | Path() | str():
            return f"`{row.default}`" if str(row.default) else "-"
        case _:
            return f"`{row.default}`"


def pages() -> dict[str, str]:
    """Every generated page by its file's name."""
    return {
        "configuration.md": markdown(),
        "errors.md": errors_markdown(),
        "cli.md": page.markdown(),
        "messages.md": messages.markdown(),
    }


def main(directory: Path) -> None:
    """Write all pages."""
    for name, text in pages().items():
        (directory / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
