"""`bridge.app.config`: one file and the environment become one checked, frozen whole, or all findings at once."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bridge.app.config import load, load_client, load_signer, masked, plain_connections, terms
from bridge.app.settings import Channel, Config, Limits
from bridge.channel.terms import Dialect, Policy, Role, SigningForm, Terms
from bridge.errors import Code, ConfigInvalid, Finding, TlsRequired
from bridge.signing.key import generate
from bridge.signing.signer import ReplyForm
from tests.toml import to_toml

INITIATOR = "ak_2U5uowyre6aqU1gz3Pkd1VtMkBVc2rquvr3oPWynbPNYozaLhv"
RESPONDER = "ak_9UUfv5MBBZRKsS82REfUw4xLxrGVrEtjxuiEHiZDgraJg27Sn"
STRANGER = "ak_mLjWgLbapr5CiVD2Q248aS2TQj9itXnoPv5tteXvZaJ8tdD2C"
PASSWORD = "correct-horse"
JOURNAL_KEY = "5a" * 32

PAYING = {"commands": ["transfer"], "max_amount": 5, "counterparties": ["*"]}
APPROVED = {"approval_threshold": 5, "approvals": 2, "approvers": ["carol", "dave"]}

Write = Callable[..., Path]


def _channel(**changes: Any) -> dict[str, Any]:
    fields = {
        "name": "acme-7",
        "node": "main",
        "role": "initiator",
        "initiator": INITIATOR,
        "responder": RESPONDER,
        "initiator_amount": "70000000000000",
        "responder_amount": 40_000_000_000_000,
    }
    return {name: value for name, value in (fields | changes).items() if value is not None}


def _node(**changes: Any) -> dict[str, Any]:
    fields = {"url": "ws://127.0.0.1:3014/channel", "network_id": "ae_uat"}
    return {name: value for name, value in (fields | changes).items() if value is not None}


def _legacy(profile: str | None, **changes: Any) -> dict[str, Any]:
    return _node(**({"dialect": "legacy", "profile": profile, "network_id": None} | changes))


@pytest.fixture(name="write")
def _write(tmp_path: Path) -> Write:
    """Writes a file that is right but for the given tables."""

    def write(**tables: Any) -> Path:
        (tmp_path / "secrets").mkdir(exist_ok=True)
        for name, text in {
            "journal_key": JOURNAL_KEY,
            "amqp_url": f"amqp://bridge:{PASSWORD}@localhost/%2F",
            "password": "battery-staple",
        }.items():
            secret = tmp_path / "secrets" / name
            secret.write_text(text + "\n")
            secret.chmod(0o600)
        whole = {
            "journal": {"key_file": "secrets/journal_key"},
            "broker": {"url_file": "secrets/amqp_url"},
            "nodes": {"main": _node()},
            "channels": [_channel()],
        } | tables
        path = tmp_path / "bridge.toml"
        path.write_text("\n".join(f"{name} = {to_toml(table)}" for name, table in whole.items() if table is not None))
        return path

    return write


def _findings(path: Path, environ: Mapping[str, str] | None = None) -> tuple[Finding, ...]:
    with pytest.raises(ConfigInvalid) as caught:
        load(path, environ or {})
    return caught.value.findings


def _paths(findings: Iterable[Finding]) -> list[str]:
    return [finding.path for finding in findings]


def _terms(path: Path) -> Terms:
    ((only, _),) = terms(load(path, {}))
    return only


# --- what is right -------------------------------------------------------------------------------------


def test_smallest_file_is_complete_with_its_defaults(write: Write) -> None:
    """Nobody should have to write what everybody writes."""
    config = load(write(), {})
    assert (config.prefix, config.event_type_prefix) == ("channels", "channel-bridge")
    assert config.limits == Limits()
    assert (config.limits.prefetch, config.limits.outbox_bytes) == (32, 512 * 1024 * 1024)
    assert config.broker_urls() == [f"amqp://bridge:{PASSWORD}@localhost/%2F"]
    assert config.journal_key() == bytes.fromhex(JOURNAL_KEY)


def test_defaults_of_a_channel_are_those_of_its_terms(write: Write) -> None:
    """Two places that say the same must not drift apart."""
    built = _terms(write())
    assert built == Terms(
        name=built.name,
        role=Role.INITIATOR,
        initiator=built.initiator,
        responder=built.responder,
        initiator_amount=70_000_000_000_000,
        responder_amount=40_000_000_000_000,
        network_id="ae_uat",
    )
    assert built.policy == Policy()


def test_every_field_of_a_channel_reaches_its_terms(write: Write) -> None:
    """An option that is read and forgotten is worse than one that is refused."""
    policy = {
        "commands": ["transfer"],
        "max_amount": "1" + "0" * 27,
        "max_fee": 5,
        "outflow_per_hour": "6",
        "outflow_per_day": 7,
        "counterparties": ["*"],
        "acknowledge": ["update_ack"],
        "acknowledge_only_if_not_poorer": False,
        "approval_threshold": 8,
        "approvals": 2,
        "approvers": ["carol", "dave"],
        "approval_timeout": 9.5,
    }
    changes = {
        "role": "responder",
        "push_amount": 3,
        "channel_reserve": 4,
        "lock_period": 5,
        "host": "peer.example",
        "port": 3999,
        "signing_form": "network_id+tx",
        "policy": policy,
        "sign_seconds": 100,
        "acknowledge_seconds": 30.5,
        "trigger_seconds": 7,
        "keep_alive_seconds": 50,
        "conflict_retries": 0,
    }
    built = _terms(write(channels=[_channel(**changes)]))
    for name in changes.keys() - {"role", "policy", "signing_form"}:
        assert getattr(built, name) == changes[name], name
    assert (built.role, built.signing_form) == (Role.RESPONDER, SigningForm.NETWORK_RAW)
    assert built.policy == Policy(
        commands=frozenset({"transfer"}),
        max_amount=10**27,
        max_fee=5,
        outflow_per_hour=6,
        outflow_per_day=7,
        counterparties=frozenset({"*"}),
        acknowledge=frozenset({"update_ack"}),
        acknowledge_only_if_not_poorer=False,
        approval_threshold=8,
        approvals=2,
        approvers=frozenset({"carol", "dave"}),
        approval_timeout=9.5,
    )
    assert built.own == RESPONDER


def test_opening_parameters_are_handed_on_verbatim(write: Write) -> None:
    """The node reads them from a URL: as text, and only those that were given."""
    opening = {"minimum_depth": 0, "minimum_depth_strategy": "plain", "keep_running": False, "timeout_idle": 900_000}
    assert _terms(write(channels=[_channel(opening=opening)])).opening == {
        "minimum_depth": "0",
        "minimum_depth_strategy": "plain",
        "keep_running": "false",
        "timeout_idle": "900000",
    }


@pytest.mark.parametrize(
    ("node", "dialect", "form"),
    [
        (_node(), Dialect.JSON_RPC, SigningForm.NETWORK_HASH),
        (_legacy("late", network_id="ae_uat"), Dialect.LEGACY_LATE, SigningForm.NETWORK_RAW),
        (_legacy("seed"), Dialect.LEGACY_SEED, SigningForm.RAW),
    ],
)
def test_signing_form_follows_the_dialect(
    write: Write, node: dict[str, Any], dialect: Dialect, form: SigningForm
) -> None:
    """Each kind of node verifies other bytes; nobody should have to know."""
    built = _terms(write(nodes={"main": node}))
    assert (built.dialect, built.signing_form) == (dialect, form)


def test_relative_paths_count_from_the_file(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the program was started from must not change what it reads."""
    path = write()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load(path, {"CHANNEL_BRIDGE_DATA_DIR": "here"}).data_dir == Path("here")
    assert load(write(data_dir="d"), {}).data_dir == tmp_path / "d"


def test_environment_wins_over_the_file(write: Write) -> None:
    """Containers are configured by environment; the names everybody knows work."""
    environ = {
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": "json",
        "CHANNEL_BRIDGE_LIMITS__PREFETCH": "64",
        "CHANNEL_BRIDGE_BROKER__PLAIN_HOSTS": '["rabbit"]',
        "AMQP_URL": "amqp://a:b@rabbit/one, amqps://a:b@other/one",
        "UNRELATED": "x",
    }
    config = load(write(log={"level": "ERROR"}, limits={"prefetch": 5, "backlog": 2000}), environ)
    assert (config.log.level, config.log.format) == ("DEBUG", "json")
    assert (config.limits.prefetch, config.limits.backlog) == (64, 2000)
    assert config.broker_urls() == ["amqp://a:b@rabbit/one", "amqps://a:b@other/one"]
    long_name = load(write(), {"CHANNEL_BRIDGE_BROKER__URL": "amqp://localhost/one"})
    assert long_name.broker_urls() == ["amqp://localhost/one"]


def test_empty_variable_counts_as_absent(write: Write) -> None:
    """Compose files pass on variables nobody set as empty texts."""
    assert load(write(), {"AMQP_URL": "", "LOG_LEVEL": ""}).broker_urls() == [f"amqp://bridge:{PASSWORD}@localhost/%2F"]


def _secrets(tmp_path: Path, **texts: str) -> dict[str, str]:
    """The environment that names a directory with these files in it."""
    directory = tmp_path / "mounted"
    directory.mkdir()
    for name, text in texts.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o600)
    return {"CHANNEL_BRIDGE_SECRETS_DIR": str(directory)}


def test_a_secrets_directory_names_the_files_of_secrets(write: Write, tmp_path: Path) -> None:
    """What Docker and Kubernetes mount needs no option each; and the files are read again like all secret files."""
    environ = _secrets(tmp_path, amqp_url="amqps://mounted@rabbit", CHANNEL_BRIDGE_JOURNAL__KEY="ab" * 32)
    (tmp_path / "mounted" / "..data").mkdir()
    config = load(write(), environ)
    assert config.broker_urls() == ["amqps://mounted@rabbit"]
    assert config.journal_key() == bytes.fromhex("ab" * 32)
    (tmp_path / "mounted" / "amqp_url").write_text("amqps://rotated@rabbit")
    assert config.broker_urls() == ["amqps://rotated@rabbit"]


def test_a_variable_wins_over_the_secrets_directory(write: Write, tmp_path: Path) -> None:
    environ = _secrets(tmp_path, AMQP_URL="amqps://mounted@rabbit") | {"AMQP_URL": "amqps://given@rabbit"}
    assert load(write(), environ).broker_urls() == ["amqps://given@rabbit"]


def test_a_secrets_directory_that_is_none_is_a_finding(write: Write, tmp_path: Path) -> None:
    findings = _findings(write(), {"CHANNEL_BRIDGE_SECRETS_DIR": str(tmp_path / "absent")})
    assert [finding.path for finding in findings] == ["CHANNEL_BRIDGE_SECRETS_DIR"]


def test_a_file_of_the_secrets_directory_that_others_can_read_is_refused(write: Write, tmp_path: Path) -> None:
    environ = _secrets(tmp_path, amqp_url="amqps://mounted@rabbit")
    (tmp_path / "mounted" / "amqp_url").chmod(0o644)
    assert [finding.path for finding in _findings(write(), environ)] == ["broker.url_file"]


def test_environment_alone_is_enough_for_a_broker(write: Write, tmp_path: Path) -> None:
    """A file without secrets can be committed."""
    path = write(broker=None)
    assert load(path, {"AMQP_URL_FILE": str(tmp_path / "secrets" / "amqp_url")}).broker_urls()


def test_secret_is_read_anew_each_time(write: Write, tmp_path: Path) -> None:
    """A rotated password counts from the next connect on, without a restart."""
    config = load(write(), {})
    (tmp_path / "secrets" / "amqp_url").write_text("amqp://bridge:other@localhost\n")
    assert config.broker_urls() == ["amqp://bridge:other@localhost"]


def test_configuration_is_frozen(write: Write) -> None:
    """Nothing changes under a running bridge."""
    config = load(write(), {})
    with pytest.raises(ValueError, match="frozen"):
        config.limits.prefetch = 1  # type: ignore[misc]


# --- what is wrong -------------------------------------------------------------------------------------


def test_all_mistakes_are_told_at_once(write: Write) -> None:
    """One wrong value must not hide another, nor what does not fit together (guarantees.md section 8, rule 7)."""
    path = write(
        prefix="no spaces",
        limits={"prefetch": 0, "backlog": 10},
        nodes={"main": _node(network_id=None), "old": _legacy(None)},
        channels=[_channel(), _channel(initiator="ak_x"), _channel(node="none", extra=1)],
        users=[{"name": "a.b", "role": "client", "channels": ["acme-7"]}, {"name": "guest", "role": "signer"}],
    )
    assert sorted(_paths(_findings(path))) == [
        "channels[1].initiator",
        "channels[2].extra",
        "limits.prefetch",
        "nodes.main.network_id",
        "nodes.old.profile",
        "prefix",
        "users[0].name",
        "users[1].accounts",
        "users[1].name",
    ]


@pytest.mark.parametrize(
    ("tables", "path", "found", "expected"),
    [
        ({"journal": None}, "journal", "nothing", "The durable record"),
        ({"prefx": "x"}, "prefx", "an unknown option", "perhaps prefix"),
        ({"prefix": "a b"}, "prefix", '"a b"', "match pattern"),
        ({"limits": {"prefetch": True}}, "limits.prefetch", "true", "a number"),
        ({"limits": {"prefetch": "many"}}, "limits.prefetch", '"many"', "a whole number"),
        ({"limits": {"node_frame_bytes": 1024}}, "limits.node_frame_bytes", "1024", "65536"),
        ({"limits": {"backlog": 999}}, "limits.backlog", "999", "backlog_per_channel = 1000"),
        ({"log": {"level": "loud"}}, "log.level", '"LOUD"', "'DEBUG'"),
        ({"channels": "none"}, "channels", '"none"', "a list"),
        ({"nodes": {"main": _node(dialect="xml")}}, "nodes.main.dialect", '"xml"', "'json-rpc' or 'legacy'"),
        ({"nodes": {"main": _node(profile="seed")}}, "nodes.main.profile", '"seed"', "no profile"),
        ({"nodes": {"main": _node(url="http://a")}}, "nodes.main.url", '"http://a"', "wss://"),
        ({"nodes": {"main": _node(url="ws://localhost:99999")}}, "nodes.main.url", '"no URL"', "wss://"),
        ({"nodes": {"main": _node(chain_url="ws://localhost")}}, "nodes.main.chain_url", '"ws://localhost"', "https"),
        ({"nodes": {"main": _node(url="ws://localhost/channel?role=x")}}, "nodes.main.url", "…", "without user"),
        ({"nodes": {"main": _legacy("late")}}, "nodes.main.network_id", "nothing", "channels[0] signs network_id+tx"),
    ],
)
def test_mistake_is_told_with_its_place_what_is_there_and_what_should_be(
    write: Write, tables: dict[str, Any], path: str, found: str, expected: str
) -> None:
    """The three things a person needs to mend it."""
    (finding,) = _findings(write(**tables))
    assert finding.path == path
    assert found in finding.found
    assert expected in finding.expected


@pytest.mark.parametrize(
    ("changes", "path", "expected"),
    [
        ({"name": "Acme"}, "name", "match pattern"),
        ({"name": "a" * 65}, "name", "match pattern"),
        ({"name": None}, "name", "Our name of it"),
        ({"node": "other"}, "node", "under [nodes]: main"),
        ({"role": "both"}, "role", "'initiator' or 'responder'"),
        ({"initiator": INITIATOR[:-1] + "w"}, "initiator", ""),
        ({"initiator": "ch_" + INITIATOR[3:]}, "initiator", ""),
        ({"initiator": INITIATOR.replace("_", "$")}, "initiator", INITIATOR),
        ({"responder": INITIATOR}, "responder", "another account"),
        ({"initiator_amount": -1}, "initiator_amount", "between 0 and 10^27"),
        ({"initiator_amount": 1.5}, "initiator_amount", "an integer"),
        ({"initiator_amount": True}, "initiator_amount", "an integer"),
        ({"initiator_amount": "1" * 29}, "initiator_amount", "1 to 28 digits"),
        ({"initiator_amount": 1}, "initiator_amount", "channel_reserve = 2"),
        ({"push_amount": 69_999_999_999_999}, "initiator_amount", "after the push"),
        ({"responder_amount": 1}, "responder_amount", "channel_reserve = 2"),
        ({"lock_period": -1}, "lock_period", "0"),
        ({"port": 65_536}, "port", "65535"),
        ({"signing_form": "hash"}, "signing_form", "network_id+hash"),
        ({"opening": {"report_info": False}}, "opening.report_info", "minimum_depth"),
        ({"opening": {"timout_idle": 1}}, "opening.timout_idle", "perhaps timeout_idle"),
        ({"opening": {"timeout_idle": 2**32}}, "opening.timeout_idle", "4294967295"),
        ({"opening": {"log_keep": 9}}, "opening.log_keep", "10"),
        ({"opening": {"bh_delta_pick": 1}}, "opening", "all three"),
        (
            {"opening": {"bh_delta_not_newer_than": 5, "bh_delta_not_older_than": 9, "bh_delta_pick": 5}},
            "opening.bh_delta_not_older_than",
            "at least 10",
        ),
        ({"policy": {"max_amount": "1e3"}}, "policy.max_amount", "digits"),
        ({"policy": {"commands": ["steal"]}}, "policy.commands[0]", "'transfer'"),
        ({"policy": {"acknowledge": ["update"]}}, "policy.acknowledge[0]", "'update_ack'"),
        ({"policy": {"counterparties": ["ak_1"]}}, "policy.counterparties[0]", ""),
        ({"policy": {"outflow_per_hour": -1}}, "policy.outflow_per_hour", "between 0 and 10^27"),
        ({"policy": PAYING | {"max_amount": 0}}, "policy.max_amount", "the most one transfer may move"),
        ({"policy": PAYING | {"counterparties": []}}, "policy.counterparties", f"{RESPONDER} or *"),
        ({"policy": PAYING | {"counterparties": [INITIATOR]}}, "policy.counterparties", "transfer is allowed"),
        ({"policy": {"acknowledge": ["update_ack"]}}, "policy.counterparties", "update_ack is allowed"),
        ({"policy": {"approval_threshold": 5}}, "policy.approvers", "at least approvals = 1"),
        ({"policy": APPROVED | {"approvals": 3}}, "policy.approvers", "at least approvals = 3"),
        ({"policy": APPROVED | {"approval_threshold": None}}, "policy.approval_threshold", "an amount above which"),
        ({"policy": APPROVED | {"approvals": 0}}, "policy.approvals", "1"),
        ({"policy": APPROVED | {"approvers": ["a.b", "dave"]}}, "policy.approvers[0]", "match pattern"),
        ({"policy": APPROVED | {"approval_timeout": 0.5}}, "policy.approval_timeout", "1"),
        ({"acknowledge_seconds": 120}, "acknowledge_seconds", "timeout_accept, 120 seconds"),
        ({"acknowledge_seconds": 0}, "acknowledge_seconds", "1"),
        ({"sign_seconds": 500}, "sign_seconds", "timeout_sign, 500 seconds"),
        ({"keep_alive_seconds": 600}, "keep_alive_seconds", "timeout_idle, 600 seconds"),
        ({"trigger_seconds": 61}, "trigger_seconds", "60"),
        ({"conflict_retries": -1}, "conflict_retries", "0"),
        ({"opening": {"timeout_accept": 60_000}}, "acknowledge_seconds", "timeout_accept, 60 seconds"),
        ({"opening": {"timeout_funding_sign": 60_000}}, "acknowledge_seconds", "timeout_funding_sign"),
        ({"opening": {"timeout_funding_create": 5_000}}, "acknowledge_seconds", "timeout_funding_create"),
        ({"opening": {"timeout_sign": 300_000}}, "sign_seconds", "timeout_sign, 300 seconds"),
        ({"opening": {"timeout_idle": 240_000}}, "keep_alive_seconds", "timeout_idle, 240 seconds"),
    ],
)
def test_mistake_in_a_channel_is_told_at_its_place(
    write: Write, changes: dict[str, Any], path: str, expected: str
) -> None:
    """A channel with a wrong amount, account or deadline costs money or hangs: it must not start."""
    (finding,) = _findings(write(channels=[_channel(**changes)]))
    assert finding.path == f"channels[0].{path}"
    assert expected in finding.expected


@pytest.mark.parametrize(
    ("dave", "is_right"),
    [
        ({"role": "approver", "channels": ["acme-7"]}, True),
        ({"role": "approver", "channels": ["*"]}, True),
        ({"role": "approver", "channels": ["acme-8"]}, False),
        ({"role": "client", "channels": ["acme-7"]}, False),
    ],
)
def test_an_approver_is_a_user_who_may_write_approvals_of_the_channel(
    write: Write, dave: dict[str, Any], is_right: bool
) -> None:
    """An approver the broker lets nowhere would let every question run out of time."""
    channels = [_channel(policy=APPROVED), _channel(name="acme-8")]
    users = [{"name": "carol", "role": "approver", "channels": ["*"]}, {"name": "dave", **dave}]
    path = write(channels=channels, users=users)
    if is_right:
        load(path, {})
    else:
        (finding,) = _findings(path)
        assert (finding.path, finding.found) == ("channels[0].policy.approvers", '"dave"')


def test_without_users_nobody_knows_the_approvers_and_the_file_is_taken(write: Write) -> None:
    """The broker's users may be kept elsewhere."""
    load(write(channels=[_channel(policy=APPROVED)]), {})


def test_deadlines_may_grow_with_the_channels_timers(write: Write) -> None:
    """Whoever agreed on longer timers may use them."""
    opening = {
        "timeout_sign": 900_000,
        "timeout_accept": 400_000,
        "timeout_funding_sign": 400_000,
        "timeout_funding_create": 400_000,
        "timeout_idle": 4_294_967_295,
    }
    channel = _channel(opening=opening, sign_seconds=899, acknowledge_seconds=399, keep_alive_seconds=3_600)
    assert _terms(write(channels=[channel])).sign_seconds == 899


def test_repeated_names_are_told_at_the_repetition(write: Write) -> None:
    """Two channels of one name would share routing keys and a journal."""
    user = {"name": "shop", "role": "client", "channels": ["acme-7"]}
    findings = _findings(write(channels=[_channel(), _channel()], users=[user, user]))
    assert [(finding.path, finding.expected) for finding in findings] == [
        ("channels[1].name", "a name unlike channels[0]'s"),
        ("users[1].name", "a name unlike users[0]'s"),
    ]


@pytest.mark.parametrize(
    ("user", "path"),
    [
        ({"name": "a.b", "role": "client", "channels": ["*"]}, "name"),
        ({"name": "guest", "role": "client", "channels": ["*"]}, "name"),
        ({"name": "a", "role": "admin"}, "role"),
        ({"name": "a", "role": "client"}, "channels"),
        ({"name": "a", "role": "observer"}, "channels"),
        ({"name": "a", "role": "client", "channels": ["acme-7", "acme-8"]}, "channels[1]"),
        ({"name": "a", "role": "signer"}, "accounts"),
        ({"name": "a", "role": "signer", "accounts": [RESPONDER]}, "accounts[0]"),
        ({"name": "a", "role": "signer", "accounts": ["ak_1"]}, "accounts[0]"),
        ({"name": "a", "role": "client", "channels": ["*"], "accounts": [INITIATOR]}, "accounts"),
        ({"name": "a", "role": "bridge", "password_file": "secrets/absent"}, "password_file"),
        ({"name": "a", "role": "bridge", "password_hash": "short"}, "password_hash"),
        ({"name": "a", "role": "bridge", "password_file": "secrets/password", "password_hash": "A" * 48}, ""),
    ],
)
def test_mistake_in_a_user_is_told_at_its_place(write: Write, user: dict[str, Any], path: str) -> None:
    """A user with a wrong name or channel gets rights nobody meant, or none."""
    (finding,) = _findings(write(users=[user]))
    assert finding.path == f"users[0].{path}".removesuffix(".")


def test_users_of_every_role_are_taken(write: Write) -> None:
    """The roles of guarantees.md 5.4, and the one that creates the topology."""
    users: list[dict[str, Any]] = [
        {"name": "bridge", "role": "bridge", "password_file": "secrets/password"},
        {"name": "topology", "role": "topology"},
        {"name": "signer", "role": "signer", "accounts": [INITIATOR]},
        *({"name": role, "role": role, "channels": ["*"]} for role in ("client", "approver", "operator", "observer")),
    ]
    config = load(write(users=users), {})
    assert [user.role.value for user in config.users] == [user["role"] for user in users]
    assert [user.read_password() for user in config.users[:2]] == ["battery-staple", None]


def test_account_of_a_user_is_not_doubted_while_a_channel_cannot_be_read(write: Write) -> None:
    """The unreadable channel may be the one with that account: one mistake, one finding."""
    users = [{"name": "signer", "role": "signer", "accounts": [STRANGER]}]
    assert _paths(_findings(write(channels=[_channel(initiator="?")], users=users))) == ["channels[0].initiator"]


@pytest.mark.parametrize(
    ("content", "found"),
    [("a = = 1", "line 1"), (b"\xff", "no UTF-8"), (None, "No such file or directory")],
)
def test_unreadable_file_is_one_finding(tmp_path: Path, content: str | bytes | None, found: str) -> None:
    """The first mistake people make."""
    path = tmp_path / "bridge.toml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (finding,) = _findings(path)
    assert finding.path == str(path)
    assert found in finding.found


def test_environment_that_is_no_json_is_a_finding_that_hides_the_value(write: Write) -> None:
    """A list in the environment is JSON; what was written instead may be a secret."""
    (finding,) = _findings(write(), {"CHANNEL_BRIDGE_USERS": "hunter2"})
    assert finding.path == "environment"
    assert "users" in finding.found
    assert "hunter2" not in repr(finding)


# --- secrets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["journal_key", "amqp_url", "password"])
def test_secret_file_open_to_others_is_refused(write: Write, tmp_path: Path, name: str) -> None:
    """guarantees.md 5.6: a secret file readable by others is refused."""
    path = write(users=[{"name": "b", "role": "bridge", "password_file": "secrets/password"}])
    (tmp_path / "secrets" / name).chmod(0o640)
    (finding,) = _findings(path)
    assert finding.path.endswith("_file")
    assert f"{name}: mode 0640" in finding.found


@pytest.mark.parametrize("text", ["", "5a" * 31, "zz" * 32, "5a " * 31 + "5a"])
def test_journal_key_of_another_form_is_refused_without_being_shown(write: Write, tmp_path: Path, text: str) -> None:
    """A key cut short by an editor must not be padded, guessed or printed."""
    path = write()
    (tmp_path / "secrets" / "journal_key").write_text(text)
    (finding,) = _findings(path)
    assert finding.path == "journal.key_file"
    assert text == "" or text not in repr(finding)


def test_journal_key_inside_the_data_directory_is_refused(write: Write) -> None:
    """Whoever copies the directory would have the key to it."""
    (finding,) = _findings(write(data_dir="secrets"))
    assert finding.path == "journal.key_file"
    assert "outside data_dir" in finding.expected


@pytest.mark.parametrize(("mode", "is_refused"), [(0o644, True), (0o600, False)])
def test_file_with_a_password_in_it_is_a_secret_file(write: Write, mode: int, is_refused: bool) -> None:
    """The rule is about the secret, not about the name of the file."""
    path = write(broker={"url": f"amqp://u:{PASSWORD}@localhost"})
    path.chmod(mode)
    if is_refused:
        (finding,) = _findings(path)
        assert finding.path == "broker.url"
        assert PASSWORD not in repr(finding)
    else:
        assert load(path, {}).broker_urls() == [f"amqp://u:{PASSWORD}@localhost"]


@pytest.mark.parametrize(
    ("broker", "environ", "found"),
    [
        (None, {}, "neither"),
        ({"url": "amqp://localhost", "url_file": "secrets/amqp_url"}, {}, "both"),
        (None, {"AMQP_URL": "amqp://localhost", "AMQP_URL_FILE": "x"}, "both"),
        ({"url": []}, {}, "nothing"),
        ({"url": "http://localhost"}, {}, "http://localhost"),
        ({"url": "amqp:///"}, {}, "no URL"),
        ({"url": "amqps://rabbit?no_verify_ssl=1"}, {}, "switches verification off"),
    ],
)
def test_broker_has_exactly_one_usable_address_or_list(
    write: Write, broker: dict[str, Any] | None, environ: dict[str, str], found: str
) -> None:
    """Two places for one thing leave it to chance which counts."""
    (finding,) = _findings(write(broker=broker), environ)
    assert finding.path.startswith("broker")
    assert found in finding.found


def test_no_secret_is_in_any_finding(write: Write) -> None:
    """Findings are printed, logged and pasted into tickets."""
    secret = "hunter2"
    path = write(
        broker={"url": f"amqp://u:{secret}@far.example", "pasword": secret},
        nodes={"main": _node(url=f"ws://u:{secret}@localhost/channel")},
        users=[{"name": "a", "role": "bridge", "password_hash": secret, "password": secret}, secret],
        password=secret,
    )
    path.chmod(0o644)
    findings = _findings(path, {"AMQP_URL": f"redis://u:{secret}@far.example/?p={secret}"})
    assert len(findings) >= 6
    assert [finding.path for finding in findings if secret in repr(finding)] == []


def test_shown_configuration_holds_no_secret_and_is_json(write: Write) -> None:
    """`config` prints it; people paste it."""
    digest = "B" * 48
    path = write(users=[{"name": "b", "role": "bridge", "password_hash": digest}])
    shown = masked(load(path, {"AMQP_URL": f"amqps://u:{PASSWORD}@rabbit/vhost?secret={PASSWORD}"}))
    text = json.dumps(shown)
    assert PASSWORD not in text
    assert digest not in text
    assert shown["broker"]["url"] == ["amqps://u@rabbit/vhost?…"]
    assert shown["channels"][0]["policy"]["commands"] == sorted(Policy().commands)
    assert shown["channels"][0]["initiator_amount"] == 70_000_000_000_000
    assert set(shown) == set(Config.model_fields)
    assert set(shown["channels"][0]) == set(Channel.model_fields)


def test_configuration_does_not_show_secrets_in_its_repr(write: Write) -> None:
    """It ends up in tracebacks."""
    assert PASSWORD not in repr(load(write(), {"AMQP_URL": f"amqps://u:{PASSWORD}@rabbit"}))


# --- transport -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_plain_connections_to_loopback_are_allowed(write: Write, host: str) -> None:
    """Nobody listens there who is not on the machine."""
    path = write(nodes={"main": _node(url=f"ws://{host}:3014/channel", chain_url=f"http://{host}:3013")})
    assert plain_connections(load(path, {"AMQP_URL": f"amqp://{host}"})) == ()


@pytest.mark.parametrize("host", ["rabbit", "10.0.0.1", "localhost.example", "127.0.0.1.example"])
def test_plain_connection_beyond_loopback_needs_tls(write: Write, host: str) -> None:
    """guarantees.md 5.5: the process refuses to start."""
    path = write(nodes={"main": _node(url=f"ws://{host}/channel", chain_url=f"http://{host}")})
    with pytest.raises(TlsRequired) as caught:
        load(path, {"AMQP_URL": f"amqp://u:{PASSWORD}@{host}"})
    assert caught.value.code is Code.TLS_REQUIRED
    assert sorted(_paths(caught.value.findings)) == ["broker.url", "nodes.main.chain_url", "nodes.main.url"]
    assert PASSWORD not in repr(caught.value.findings)


def test_plain_connection_beside_another_mistake_is_an_invalid_configuration(write: Write) -> None:
    """`tls_required` promises that TLS is all that is missing."""
    with pytest.raises(ConfigInvalid) as caught:
        load(write(prefix="?"), {"AMQP_URL": "amqp://rabbit"})
    assert caught.value.code is Code.CONFIG_INVALID
    assert sorted(_paths(caught.value.findings)) == ["broker.url", "prefix"]


def test_named_plain_hosts_are_allowed_and_told(write: Write) -> None:
    """A private container network is the owner's choice, and is warned of at each start."""
    node = _node(url="ws://node:3014/channel", chain_url="http://node:3013", plain_hosts=["node"])
    path = write(nodes={"main": node}, broker={"url": "amqp://rabbit", "plain_hosts": ["rabbit"]})
    assert plain_connections(load(path, {})) == ("amqp://rabbit", "ws://node:3014/channel", "http://node:3013")


def test_tls_connections_go_anywhere(write: Write) -> None:
    """The usual case needs no option."""
    path = write(nodes={"main": _node(url="wss://node.example/channel", chain_url="https://node.example")})
    assert plain_connections(load(path, {"AMQP_URL": "amqps://rabbit.example"})) == ()


# --- the signer's file ---------------------------------------------------------------------------------


def _signer_file(directory: Path, account: str, **tables: Any) -> Path:
    whole: dict[str, Any] = {
        "keys": ["keys"],
        "broker": {"url": "amqp://localhost"},
        "policy": {account: {"tags": ["update"], "networks": ["ae_uat"], "counterparties": ["*"], "max_amount": "5"}},
    }
    path = directory / "signer.toml"
    path.write_text("\n".join(f"{name} = {to_toml(table)}" for name, table in (whole | tables).items()))
    return path


def test_signer_has_a_file_of_its_own(tmp_path: Path) -> None:
    """The bridge's file names no key, and the signer's no channel."""
    (tmp_path / "keys").mkdir()
    account = generate(tmp_path / "keys" / "one")
    config = load_signer(_signer_file(tmp_path, account, reply="signed_tx"), {"LOG_LEVEL": "ERROR"})
    assert config.keys == (tmp_path / "keys",)
    assert config.reply is ReplyForm.SIGNED_TX
    assert config.policy[account].max_amount == 5
    assert config.log.level == "ERROR"
    assert config.broker_urls() == ["amqp://localhost"]
    assert masked(config)["policy"][account]["tags"] == ["update"]


def test_mistakes_in_the_signers_file_are_told_at_once(tmp_path: Path) -> None:
    """The same care as for the bridge's file."""
    (tmp_path / "keys").mkdir()
    generate(tmp_path / "keys" / "one")
    policy = {"ak_wrong": {}, INITIATOR: {"tags": ["all"]}}
    path = _signer_file(tmp_path, INITIATOR, policy=policy, reply="both", broker={"url": "amqp://far"})
    with pytest.raises(ConfigInvalid) as caught:
        load_signer(path, {})
    assert sorted(_paths(caught.value.findings)) == [
        "broker.url",
        f"policy.{INITIATOR}.tags[0]",
        "policy.ak_wrong",
        "reply",
    ]


def test_policy_without_a_key_and_keys_open_to_others_are_findings(tmp_path: Path) -> None:
    """A signer that cannot sign should say so at its start, not at the first deadline."""
    (tmp_path / "keys").mkdir()
    generate(tmp_path / "keys" / "one")
    path = _signer_file(tmp_path, INITIATOR)
    with pytest.raises(ConfigInvalid) as caught:
        load_signer(path, {})
    assert _paths(caught.value.findings) == [f"policy.{INITIATOR}"]
    (tmp_path / "keys" / "one").chmod(0o644)
    with pytest.raises(ConfigInvalid) as caught:
        load_signer(path, {})
    assert _paths(caught.value.findings) == ["keys"]
    assert "mode 0644" in caught.value.findings[0].found


# --- TLS --------------------------------------------------------------------------------------------------


def test_files_of_tls_are_tried_at_the_start(write: Write, tmp_path: Path) -> None:
    """Better now than at the first reconnect, at night; all of them at once, broker and nodes."""
    missing = str(tmp_path / "missing.pem")
    path = write(nodes={"main": _node(tls={"ca_file": missing})}, broker={"tls": {"ca_file": missing}})
    with pytest.raises(ConfigInvalid) as caught:
        load(path, {"AMQP_URL": "amqps://rabbit.example"})
    assert {finding.path for finding in caught.value.findings} == {"broker.tls", "nodes.main.tls"}


@pytest.mark.parametrize(
    ("url", "paths"),
    [
        ("amqps://bridge@rabbit.example/?auth=EXTERNAL", {"broker.tls.certificate_file"}),
        ("amqps://rabbit.example/?auth=external", {"broker.tls.certificate_file", "broker.url"}),
        ("amqp://bridge@localhost/?auth=EXTERNAL", {"broker.tls.certificate_file", "broker.url"}),
        ("amqps://bridge@rabbit.example/?cafile=ca.pem", {"broker.url"}),
    ],
)
def test_a_user_known_by_a_certificate_needs_one(write: Write, url: str, paths: set[str]) -> None:
    """Otherwise the broker would be asked without one and answer with a riddle."""
    with pytest.raises(ConfigInvalid) as caught:
        load(write(), {"AMQP_URL": url})
    assert {finding.path for finding in caught.value.findings} == paths


@pytest.mark.parametrize("url", ["ws://user:s3cret@localhost:3014/channel", "ws://:s3cret@localhost:3014/channel"])
def test_a_nodes_url_with_a_password_is_refused_and_not_shown(write: Write, url: str) -> None:
    """The address of a node is shown in logs and by `config show`: it must hold no secret."""
    with pytest.raises(ConfigInvalid) as caught:
        load(write(nodes={"main": _node(url=url)}), {"AMQP_URL": "amqp://localhost"})
    assert [finding.path for finding in caught.value.findings] == ["nodes.main.url"]
    assert "s3cret" not in str(caught.value.findings)


def test_commands_of_the_bus_keep_the_rules_of_the_services() -> None:
    """A client's password is worth as much as the bridge's."""
    assert load_client(None, {"AMQP_URL": "amqp://localhost"}).read_urls() == ["amqp://localhost"]
    assert load_client("amqp://shop@localhost", {"AMQP_URL": "amqp://x"}).read_urls() == ["amqp://shop@localhost"]
    with pytest.raises(TlsRequired):
        load_client("amqp://rabbit.example", {})
    allowed = {"CHANNEL_BRIDGE_BROKER__PLAIN_HOSTS": '["rabbit.example"]'}
    assert load_client("amqp://rabbit.example", allowed).read_urls()
    with pytest.raises(ConfigInvalid) as caught:
        load_client(None, {})
    assert [finding.path for finding in caught.value.findings] == ["broker"]


def test_a_password_among_the_arguments_is_refused() -> None:
    """Everybody on the machine reads the arguments of every process."""
    with pytest.raises(ConfigInvalid) as caught:
        load_client("amqp://shop:s3cret@localhost", {})
    assert [finding.path for finding in caught.value.findings] == ["--url"]
    assert "s3cret" not in str(caught.value.findings)
