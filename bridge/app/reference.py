"""Makes `docs/configuration.md` and `docs/errors.md` from the settings' models and the codes themselves.

`python -m bridge.app.reference docs` writes both; a test compares them with what lies there, so no option
and no code can change without its page.
"""

import sys
import typing
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bridge.app.option import Option, find_model, options
from bridge.app.settings import ENVIRONMENT_DELIMITER, ENVIRONMENT_PREFIX, Config, SignerConfig
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
keys = ["secrets/keys"]

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

MEANINGS: Mapping[Code, str] = {
    Code.MALFORMED: "The body is not one JSON object in UTF-8, or breaks a rule of JSON.",
    Code.TOO_LARGE: "The body, or a text in it, is longer than allowed.",
    Code.TOO_DEEP: "The body nests deeper, or holds more values, than allowed.",
    Code.UNSUPPORTED_VERSION: "The type names a version of the contract this bridge does not speak.",
    Code.UNKNOWN_COMMAND: "The routing key names no command.",
    Code.UNSUPPORTED_IN_DIALECT: "The channel's node has no word for this command.",
    Code.INVALID_FIELD: "A field has a value of the wrong type or form.",
    Code.MISSING_FIELD: "A required field is absent.",
    Code.UNKNOWN_FIELD: "A field is not part of this command.",
    Code.INVALID_AMOUNT: "An amount or fee is not a whole number of aettos in its range.",
    Code.INVALID_ADDRESS: "An account, channel or contract id has a wrong prefix, length or checksum.",
    Code.INVALID_TEXT: "A text is no valid UTF-8, holds U+0000, or is too long.",
    Code.UNKNOWN_CHANNEL: "The routing key names a channel that is not configured.",
    Code.FORBIDDEN: "The author may not do this, or the id belongs to another author.",
    Code.IDEMPOTENCY_CONFLICT: "The id was used before with another body or channel; the first command is untouched.",
    Code.STALE_COMMAND: "`issued_at` lies too far in the past or in the future.",
    Code.CHANNEL_BUSY: "The channel's backlog is full.",
    Code.SHUTTING_DOWN: "The bridge is stopping.",
    Code.EXPIRED: "`expires_at` passed before the command's turn came.",
    Code.ROUND_MISMATCH: "The latest co-signed round is not `expect_round`.",
    Code.CHANNEL_CLOSED: "The channel is closed, or only an operator can bring it back.",
    Code.CHANNEL_NOT_OPEN: "The channel is not open at the moment.",
    Code.POLICY_DENIED: "The channel's policy does not allow it.",
    Code.APPROVAL_DENIED: "An approver said no; who and why is attached.",
    Code.APPROVAL_TIMEOUT: "Too few approvals came before the deadline.",
    Code.INSUFFICIENT_BALANCE: "The sender's balance, less the reserve, does not suffice.",
    Code.NODE_REJECTED: "The node refused the request; its code is attached.",
    Code.SIGN_REQUEST_MISMATCH: "The node asked to sign something else than was commanded.",
    Code.TRIGGER_LOST: "The node never asked for a signature, and several tries did not help.",
    Code.SIGN_TIMEOUT: "No signer answered before the deadline.",
    Code.SIGN_REFUSED: "The signer refused; its reason is attached.",
    Code.SIGNER_MISBEHAVED: "Five replies to one sign request failed the checks.",
    Code.UNSUPPORTED_SIGNATURE: "The reply is signed with something else than Ed25519.",
    Code.CONFLICT: "The node reported a conflict and the co-signed state does not hold the transaction.",
    Code.PEER_REFUSED: "The peer refused to sign.",
    Code.NOT_APPLIED: "Both sides agree on a state without the transaction.",
    Code.SUPERSEDED: "Another transaction was co-signed at that round or above.",
    Code.ONCHAIN_REJECTED: "The chain did not take the transaction.",
    Code.PEER_TIMEOUT: "The peer did not answer after our signature was handed on; it may still hold it.",
    Code.CONNECTION_LOST: "The node's connection was lost after our signature was handed on, or there is none.",
    Code.NODE_RESTARTED: "The node lost the channel's session after our signature was handed on.",
    Code.AWAITING_CHAIN: "Signed by both, not confirmed on chain yet.",
    Code.LEGACY_NO_EVIDENCE: "The node's dialect cannot say what became of it.",
    Code.DELIVERY_UNKNOWN: "The node may or may not have taken the message.",
    Code.SIGN_REPLY_INVALID: "The reply failed a check; `reason` says which: encoding, tx_changed, signatures, key, "
    "small_order.",
    Code.SIGN_REPLY_LATE: "The request was settled or its deadline passed before the reply came.",
    Code.SIGN_REQUEST_UNKNOWN: "No such sign request was made on this channel.",
    Code.SIGN_REPLY_DUPLICATE: "The request was answered already.",
    Code.APPROVAL_UNKNOWN: "No such approval is asked for on this channel.",
    Code.APPROVAL_LATE: "The request for approval was settled or its deadline passed before this came.",
    Code.APPROVAL_MISMATCH: "The approval names another body hash than the request does.",
    Code.PROTOCOL_VIOLATION: "The node sent something that is no frame, or breaks the protocol.",
    Code.RECOVERY_REQUIRED: "The channel cannot be attached again; only a close on chain is left.",
    Code.FOREIGN_STATE: "The node holds a co-signed state this bridge never saw.",
    Code.INVARIANT_VIOLATION: "A bug in the bridge: the channel is halted.",
    Code.EXPOSURE_CLEARED: "A later round was co-signed: the failed transaction can no longer be used.",
    Code.ABANDONED_STATE_USED: "A transaction that was refused or met a conflict was co-signed after all.",
    Code.OUTCOME_CORRECTED: "A command told as failed has happened after all: the books must count it.",
    Code.OWNER_CONFLICT: "Another process owns the data directory.",
    Code.JOURNAL_UNAVAILABLE: "The journal cannot be written; the process stops and sends nothing further.",
    Code.BROKER_UNAVAILABLE: "No answer from the broker; the connection is replaced and the call repeated.",
    Code.BROKER_REFUSED: "The broker says no for good: credentials, rights, or a topology that differs.",
    Code.EVENT_UNROUTABLE: "The broker has no place for an event; it stays in the outbox.",
    Code.CONFIG_INVALID: "The configuration has mistakes; exit code 78.",
    Code.TLS_REQUIRED: "A connection beyond loopback is plain and no option allows it; exit code 78.",
    Code.TLS_REFUSED: "A TLS handshake failed: a certificate, its host, a version below 1.2, or no client certificate; "
    "nothing was sent. Of the broker: exit code 76; of a node: in `link.unreachable`, and tried again.",
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


def main(directory: Path) -> None:
    """Write both pages."""
    (directory / "configuration.md").write_text(markdown(), encoding="utf-8")
    (directory / "errors.md").write_text(errors_markdown(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
