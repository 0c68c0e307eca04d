"""Loads the configuration: one TOML file and the environment, checked as a whole, all mistakes told at once.

`load` for the bridge, `load_signer` for the signer, which is another process with a file of its own: the
bridge's file neither holds nor names a signing key. What comes out is frozen and complete; secrets are read
from their files when needed. Source: guarantees.md 5.5, 5.6 and section 8, rule 7.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError

from bridge.app import credential, keyring
from bridge.app.address import (
    BROKER_SCHEMES,
    CHAIN_SCHEMES,
    NODE_SCHEMES,
    PlainFinding,
    has_password,
    is_plain_beyond_loopback,
    mask,
)
from bridge.app.consistency import Parts, check_parts, dialect_of, form_of, own_account
from bridge.app.finding import find_mistakes
from bridge.app.settings import (
    Broker,
    Channel,
    ClientConfig,
    Config,
    Http,
    HttpConfig,
    Journal,
    Limits,
    Node,
    Opening,
    User,
)
from bridge.app.signersettings import SignerConfig
from bridge.app.source import Table, merge, read_environment, read_file
from bridge.channel.identifier import ChannelName
from bridge.channel.terms import Policy, Terms
from bridge.errors import ConfigInvalid, Finding, TlsRequired

STARS = "**********"

__all__ = [
    "Config",
    "SignerConfig",
    "load",
    "load_client",
    "load_http",
    "load_signer",
    "masked",
    "plain_connections",
    "terms",
]

_Model = TypeVar("_Model", bound=BaseModel)


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The bridge's configuration. Raises `ConfigInvalid` with every finding there is.

    `TlsRequired` instead, if nothing is wrong but plain connections that no option allows.
    """
    file = read_file(path)
    table = merge(file, read_environment(Config, environ))
    config, mistakes = _validate(Config, table)
    broker, journal = _valid(Broker, table.get("broker", {})), _valid(Journal, table.get("journal"))
    users = _items(User, table.get("users"))
    findings = chain(
        mistakes,
        check_parts(_parts(table)),
        () if broker is None else credential.check_broker(broker),
        credential.check_file_mode(path, file),
        () if journal is None else credential.check_journal(journal, Path(str(table.get("data_dir", "data")))),
        *(_check_password(index, user) for index, user in users),
        _check_http(table),
        credential.check_nodes(_parts(table).nodes.items()),
    )
    return _conclude(config, findings)


def load_signer(path: Path | None, environ: Mapping[str, str]) -> SignerConfig:
    """The signer's configuration, its key files tried. Raises as `load` does."""
    file = read_file(path)
    table = merge(file, read_environment(SignerConfig, environ))
    config, mistakes = _validate(SignerConfig, table)
    broker = _valid(Broker, table.get("broker", {}))
    findings = chain(
        mistakes,
        () if broker is None else credential.check_broker(broker),
        credential.check_file_mode(path, file),
        () if config is None else keyring.check_keys(config),
        _check_http(table),
    )
    return _conclude(config, findings)


def load_client(url: str | None, environ: Mapping[str, str]) -> Broker:
    """The broker as the caller of a command sees it: `url` as given on the command line, else the environment.

    Raises as `load` does, and for a password among the arguments, which everybody on the machine can read.
    """
    table = read_environment(ClientConfig, environ)
    if url:
        if has_password(url):
            found = "a password among the arguments"
            raise ConfigInvalid((Finding("--url", found, "AMQP_URL or AMQP_URL_FILE in the environment"),))
        table = merge(table, {"broker": {"url": url}})
    config, mistakes = _validate(ClientConfig, table)
    broker = _valid(Broker, table.get("broker", {}))
    return _conclude(config, chain(mistakes, () if broker is None else credential.check_broker(broker))).broker


def load_http(path: Path | None, environ: Mapping[str, str]) -> Http:
    """The port of a bridge or a signer, and nothing else of its file. Raises as `load` does."""
    table = merge(read_file(path), read_environment(HttpConfig, environ))
    config, mistakes = _validate(HttpConfig, {name: value for name, value in table.items() if name == "http"})
    return _conclude(config, mistakes).http


def _validate(model: type[_Model], table: Table) -> tuple[_Model | None, tuple[Finding, ...]]:
    try:
        return model(**table), ()
    except ValidationError as error:
        return None, find_mistakes(error, model)


def _conclude(config: _Model | None, found: Iterable[Finding]) -> _Model:
    findings = tuple(dict.fromkeys(found))
    if config is not None and not findings:
        return config
    if findings and all(isinstance(finding, PlainFinding) for finding in findings):
        raise TlsRequired(findings)
    raise ConfigInvalid(findings)


def _valid(model: type[_Model], table: object) -> _Model | None:
    """The section if it is right by itself; what is wrong with it was found before."""
    try:
        return model.model_validate(table)
    except ValidationError:
        return None


def _items(model: type[_Model], tables: object) -> tuple[tuple[int, _Model], ...]:
    items = tables if isinstance(tables, list) else []
    valid = ((index, _valid(model, item)) for index, item in enumerate(items))
    return tuple((index, item) for index, item in valid if item is not None)


def _parts(table: Table) -> Parts:
    """The valid parts of the file, so that what they hold together is checked although others are wrong."""
    nodes, listed = table.get("nodes"), table.get("channels")
    declared = nodes if isinstance(nodes, dict) else {}
    entries = listed if isinstance(listed, list) else []
    channels = _items(Channel, listed)
    valid = {name: _valid(Node, node) for name, node in declared.items()}
    return Parts(
        nodes={name: node for name, node in valid.items() if node is not None},
        channels=channels,
        users=_items(User, table.get("users")),
        limits=_valid(Limits, table.get("limits", {})),
        node_names=frozenset(declared),
        channel_names=frozenset(str(entry.get("name")) for entry in entries if isinstance(entry, dict)),
        own_accounts=frozenset(own_account(one) for _, one in channels) if len(channels) == len(entries) else None,
    )


def _check_password(index: int, user: User) -> Iterable[Finding]:
    return credential.check_secret(f"users[{index}].password_file", user.read_password)


def _check_http(table: Table) -> Iterable[Finding]:
    http = _valid(Http, table.get("http", {}))
    return () if http is None else credential.check_http(http)


def plain_connections(config: Config | SignerConfig) -> tuple[str, ...]:
    """Addresses beyond loopback spoken to without TLS, as an option allows: to be warned of at each start."""
    urls = [(url, BROKER_SCHEMES) for url in config.broker_urls()]
    for node in config.nodes.values() if isinstance(config, Config) else ():
        urls += [(node.url, NODE_SCHEMES), (node.chain_url or "", CHAIN_SCHEMES)]
    for key in config.keys.transit if isinstance(config, SignerConfig) else ():
        urls.append((key.url, CHAIN_SCHEMES))
    scheme = f"http://{config.http.host}:{config.http.port}"
    own = (scheme,) if config.http.is_plain_beyond_loopback else ()
    return own + tuple(mask(url) for url, schemes in urls if is_plain_beyond_loopback(url, schemes))


def masked(config: Config | SignerConfig) -> dict[str, Any]:
    """The effective configuration, JSON-ready: of a URL what is no secret, of other secrets nothing."""
    shown: dict[str, Any] = _show(config)
    return shown


def _show(value: object) -> Any:
    match value:
        case BaseModel():
            return {name: _show(getattr(value, name)) for name in type(value).model_fields}
        case Mapping():
            return {name: _show(item) for name, item in value.items()}
        case frozenset():
            return sorted(_show(item) for item in value)
        case tuple():
            return [_show(item) for item in value]
        case SecretStr():
            text = value.get_secret_value()
            return mask(text) if "://" in text else STARS
        case StrEnum() | Path():
            return str(value)
        case _:
            return value


def terms(config: Config) -> tuple[tuple[Terms, Node], ...]:
    """The terms of each configured channel, with its node."""
    nodes = ((channel, config.nodes[channel.node]) for channel in config.channels)
    return tuple((_terms(channel, node), node) for channel, node in nodes)


def _terms(channel: Channel, node: Node) -> Terms:
    return Terms(
        name=ChannelName(channel.name),
        role=channel.role,
        initiator=channel.initiator,
        responder=channel.responder,
        initiator_amount=channel.initiator_amount,
        responder_amount=channel.responder_amount,
        network_id=node.network_id,
        dialect=dialect_of(node),
        push_amount=channel.push_amount,
        channel_reserve=channel.channel_reserve,
        lock_period=channel.lock_period,
        host=channel.host,
        port=channel.port,
        signing_form=form_of(channel, node),
        opening=_opening(channel.opening),
        policy=Policy(**dict(channel.policy)),
        sign_seconds=channel.sign_seconds,
        acknowledge_seconds=channel.acknowledge_seconds,
        trigger_seconds=channel.trigger_seconds,
        keep_alive_seconds=channel.keep_alive_seconds,
        conflict_retries=channel.conflict_retries,
        proof_rounds=channel.proof_rounds,
    )


def _opening(opening: Opening) -> Mapping[str, str]:
    """The parameters that were given, as the node's URL wants them."""
    given = opening.model_dump(exclude_none=True)
    words = {True: "true", False: "false"}
    return MappingProxyType(
        {name: words[value] if isinstance(value, bool) else str(value) for name, value in given.items()}
    )
