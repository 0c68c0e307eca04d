"""Every option of the bridge, as frozen models: the typed page the reference is generated from.

The string under an option is its meaning; its type carries unit and range. Unknown options are refused.
Nothing is checked against anything else here: `bridge.app.config` loads, `bridge.app.consistency` looks at
options together. Secrets are not kept: a method reads each from its file when it is asked for, so that a
changed file counts from the next connect on. Defaults of channels are those of `bridge.channel.terms`;
limits are those of guarantees.md section 6.
"""

import ssl
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from bridge.app import tls
from bridge.broker import permission
from bridge.channel.terms import Policy, Role, SigningForm
from bridge.errors import ConfigInvalid, Finding
from bridge.signing.policy import AccountId, AccountPolicy, Aettos, Counterparty, Unit
from bridge.signing.secret import read_secret
from bridge.signing.signer import ReplyForm

ENVIRONMENT_PREFIX = "CHANNEL_BRIDGE_"
ENVIRONMENT_DELIMITER = "__"
JOURNAL_KEY_DIGITS = 64
MAX_NODE_TIMEOUT = 4_294_967_295
KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE

CommandName = Literal["transfer", "deposit", "withdraw", "message", "shutdown", "query"]
AcknowledgementTag = Literal["update_ack", "deposit_ack", "withdraw_ack", "shutdown_sign_ack"]


def _refuse_bool(value: Any) -> Any:
    # Python counts true as 1; a person who writes it meant something else.
    if isinstance(value, bool):
        raise PydanticCustomError("number", "a number")
    return value


def _split(text: str) -> list[str]:
    """URLs with commas or white space between them."""
    return text.replace(",", " ").split()


def _split_text(value: Any) -> Any:
    return _split(value) if isinstance(value, str) else value


Number = Annotated[int, BeforeValidator(_refuse_bool)]
Seconds = Annotated[float, BeforeValidator(_refuse_bool), Unit("seconds")]
Milliseconds = Annotated[Number, Unit("milliseconds"), Field(ge=1, le=MAX_NODE_TIMEOUT)]
Blocks = Annotated[Number, Unit("blocks"), Field(ge=0)]
Bytes = Annotated[Number, Unit("bytes")]
Port = Annotated[Number, Field(ge=1, le=65_535)]
Urls = Annotated[tuple[SecretStr, ...], BeforeValidator(_split_text), NoDecode]
Prefix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
EventTypePrefix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,127}$")]
ChannelNameText = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]
UserName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
NetworkId = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{0,64}$")]
PasswordHash = Annotated[SecretStr, Field(min_length=48, max_length=48)]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class _Settings(BaseSettings):
    """A whole file. Constructing one reads no environment: the loader hands it everything."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter=ENVIRONMENT_DELIMITER,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


class Log(Section):
    """What the process writes to standard error."""

    level: LogLevel = "INFO"
    """The least grave lines that are written. Environment: `LOG_LEVEL`."""
    format: Literal["json", "console"] = "console"
    """`json`: one object a line; `console`: for people. Environment: `LOG_FORMAT`."""


class Journal(Section):
    """The durable record in `data_dir`."""

    key_file: Path
    """File of mode 0600 with 64 hex digits: the key that encrypts the nodes' credentials at rest. Keep it outside
    `data_dir`; without it the open channels cannot be attached again."""

    def read_key(self) -> bytes:
        """The 32 bytes. Raises `ConfigInvalid`."""
        text = read_secret(self.key_file)
        try:
            key = bytes.fromhex(text)
        except ValueError:
            # Not chained: the cause could quote the key.
            key = b""
        if len(text) != JOURNAL_KEY_DIGITS or not key:
            found = f"{len(text)} characters that are no key"
            raise ConfigInvalid((Finding(str(self.key_file), found, f"{JOURNAL_KEY_DIGITS} hex digits"),))
        return key


class Tls(Section):
    """TLS 1.2 or later, certificate and host name always verified. Changed files count after SIGHUP."""

    ca_file: Path | None = None
    """File with the authorities to trust, PEM; absent: the system's."""
    certificate_file: Path | None = None
    """File with our client certificate, PEM, and what leads from it to its authority."""
    key_file: Path | None = None
    """File of mode 0600 with the key of our client certificate, PEM."""
    key_password_file: Path | None = None
    """File of mode 0600 with the password of that key, where it has one."""

    def read_context(self) -> ssl.SSLContext:
        """Reads the files anew. Raises `ConfigInvalid`."""
        return tls.make_context(self.ca_file, self.certificate_file, self.key_file, self.key_password_file)


class Broker(Section):
    """RabbitMQ. Exactly one of `url` and `url_file` is given."""

    url: Urls | None = None
    """`amqps://user:password@host:port/vhost`, or several, tried in turn, as a list or with commas between them.
    `amqps://user@host:port/vhost?auth=EXTERNAL` for a user whom the client certificate under `tls` names.
    Environment: `AMQP_URL`. With a password in it, the file it stands in must have mode 0600."""
    url_file: Path | None = None
    """File of mode 0600 with the same. Environment: `AMQP_URL_FILE`."""
    plain_hosts: tuple[str, ...] = ()
    """Hosts beyond loopback that may be spoken to without TLS: a private container network. Warned of at each start."""
    tls: Tls = Tls()

    def read_urls(self) -> list[str]:
        """The addresses, passwords and all: for connecting, never for showing. Raises `ConfigInvalid`."""
        if self.url_file is None:
            return [url.get_secret_value() for url in self.url or ()]
        return _split(read_secret(self.url_file))


class Node(Section):
    """One aeternity node. `<name>` is what channels call it."""

    url: str
    """Its state channel endpoint, `wss://host:port/channel`; query parameters are the bridge's."""
    chain_url: str | None = None
    """Its HTTP interface, `https://host:port`, read for heights, balances and transactions; optional."""
    dialect: Literal["json-rpc", "legacy"] = "json-rpc"
    """The node's language: `json-rpc` since 3.0, `legacy` before."""
    profile: Literal["seed", "late"] | None = None
    """Which legacy: `seed` (0.17 to 0.18) or `late` (2.3 to 2.5). Required for `legacy`, refused otherwise."""
    network_id: NetworkId = ""
    """The chain's name, to which signatures are bound: `ae_mainnet`, `ae_uat`, … Required for `json-rpc`, and
    wherever a channel's signing form needs it."""
    plain_hosts: tuple[str, ...] = ()
    """Hosts beyond loopback that may be spoken to without TLS. Warned of at each start."""
    tls: Tls = Tls()


class Opening(Section):
    """Further opening parameters, handed to the node as they are; what is absent, the node decides.

    Reports (`report_*`) are not among them: the bridge lives on them.
    """

    minimum_depth: Blocks | None = None
    """Confirmations wanted for on-chain transactions, or the factor of `txfee`."""
    minimum_depth_strategy: Literal["txfee", "plain"] | None = None
    """How `minimum_depth` is read."""
    ttl: Blocks | None = None
    """Highest block at which on-chain transactions of the channel may be mined; 0: no limit."""
    fee: Aettos | None = None
    """Fee of the create transaction."""
    gas_price: Aettos | None = None
    """Gas price of the create transaction."""
    nonce: Annotated[Number, Field(ge=1)] | None = None
    """Nonce of the create transaction."""
    timeout_idle: Milliseconds | None = None
    """How long the channel may rest; the node's default is 600,000."""
    timeout_funding_create: Milliseconds | None = None
    """How long the responder waits for the initiator's signature; the node's default is 120,000."""
    timeout_funding_sign: Milliseconds | None = None
    """How long a proposer waits for the peer's signature on an on-chain transaction; the node's default is 120,000."""
    timeout_funding_lock: Milliseconds | None = None
    """How long confirmations may take; the node's default is 360,000."""
    timeout_sign: Milliseconds | None = None
    """How long the node waits for our signature; its default is 500,000."""
    timeout_accept: Milliseconds | None = None
    """How long a proposer waits for an acknowledgement; the node's default is 120,000. Agree on it with the peer."""
    timeout_initialized: Milliseconds | None = None
    """How long the initiator waits for the responder's node; the node's default is 120,000."""
    timeout_awaiting_open: Milliseconds | None = None
    """How long the responder waits for an initiator; the node's default is 600,000."""
    bh_delta_not_newer_than: Blocks | None = None
    """Pinned block hashes: at least this old. All three `bh_delta_*` or none."""
    bh_delta_not_older_than: Blocks | None = None
    """Pinned block hashes: at most this old; not below the sum of the two others."""
    bh_delta_pick: Blocks | None = None
    """Pinned block hashes: which one the node picks."""
    keep_running: bool | None = None
    """Whether a responder's channel survives the peer's leaving."""
    msg_forwarding: bool | None = None
    """Whether the node relays messages of others."""
    log_keep: Annotated[Number, Unit("reports"), Field(ge=10)] | None = None
    """How many reports the node remembers; the bridge asks for the last 10."""
    slogan: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """A label for the node's own log."""


class ChannelPolicy(Section):
    """What the bridge lets through before a signer is asked: without an entry nothing, each empty list allows nothing.
    The signer has rules of its own. See [policy](policy.md)."""

    commands: frozenset[CommandName] = frozenset[CommandName]()
    """Commands that are taken."""
    max_amount: Aettos = 0
    """The most one transfer, deposit or withdrawal may move, and one proposal of the peer may take."""
    max_fee: Aettos = Policy().max_fee
    """The highest fee of an on-chain transaction."""
    outflow_per_hour: Aettos = 0
    """The most that may go to the peer within any hour, all that is under way or in doubt included."""
    outflow_per_day: Aettos = 0
    """The same within any 24 hours."""
    counterparties: frozenset[Counterparty] = frozenset[Counterparty]()
    """Accounts that may be paid, written to and be signed with; `*`: whoever the other party is."""
    acknowledge: frozenset[AcknowledgementTag] = frozenset[AcknowledgementTag]()
    """Proposals of the peer that may reach a signer."""
    acknowledge_only_if_not_poorer: bool = True
    """Whether a proposal is refused that lowers the own balance."""
    approval_threshold: Aettos | None = None
    """What moves more than this needs approvals first; absent: nothing does."""
    approvals: Annotated[Number, Unit("users"), Field(ge=1, le=100)] = 1
    """How many different approvers must agree. Who gave the command is not among them."""
    approvers: frozenset[UserName] = frozenset[UserName]()
    """The broker's users whose approval counts."""
    approval_timeout: Annotated[Seconds, Field(ge=1, le=86_400)] = Policy().approval_timeout
    """How long approvals are waited for; for a proposal of the peer at most half of `acknowledge_seconds`."""


class Channel(Section):
    """One role of one channel. Whoever serves both parties has two entries."""

    name: ChannelNameText
    """Our name of it: part of every routing key, so it never changes."""
    node: str
    """The name of the node it lives on."""
    role: Role
    """Which party the bridge is."""
    initiator: AccountId
    """The initiator's account, `ak_…`."""
    responder: AccountId
    """The responder's account, `ak_…`."""
    initiator_amount: Aettos
    """What the initiator puts in."""
    responder_amount: Aettos
    """What the responder puts in."""
    push_amount: Aettos = 0
    """What is moved from initiator to responder in the first state."""
    channel_reserve: Aettos = 2
    """What each party must keep."""
    lock_period: Blocks = 10
    """How long a solo close can be disputed."""
    host: Annotated[str, Field(min_length=1, max_length=255)] = "localhost"
    """Host of the responder's node, told to the initiator's node."""
    port: Port = 3015
    """The port at which the two nodes meet; not the WebSocket's."""
    signing_form: SigningForm | None = None
    """Which bytes are signed. Absent: by dialect, `network_id+hash` for json-rpc, `network_id+tx` for legacy
    late, `tx` for legacy seed."""
    opening: Opening = Opening()
    policy: ChannelPolicy = ChannelPolicy()
    sign_seconds: Annotated[Seconds, Field(ge=1)] = 300.0
    """Deadline of a signer for our own operations; below the node's `timeout_sign` (500 s)."""
    acknowledge_seconds: Annotated[Seconds, Field(ge=1)] = 60.0
    """Deadline of a signer for acknowledgements and both opening signatures; below the peer's `timeout_accept`,
    `timeout_funding_sign` and `timeout_funding_create` (120 s)."""
    trigger_seconds: Annotated[Seconds, Field(ge=1, le=60)] = 10.0
    """A request to the node without a sign request for this long is probed and made again."""
    keep_alive_seconds: Annotated[Seconds, Field(ge=1)] = 240.0
    """How often the node's idle timer is reset; below its `timeout_idle` (600 s)."""
    conflict_retries: Annotated[Number, Field(ge=0, le=20)] = 5
    """How often a transfer is made again after a reported conflict, those of a lost link not counted; 0: never."""
    proof_rounds: Annotated[Number, Field(ge=1, le=10_000)] = 100
    """Under load the node is asked for the proof of the balances after so many rounds; idle, after each one."""


class User(Section):
    """One user of the broker, for `topology permissions`. At most one of `password_file`, `password_hash`."""

    name: UserName
    """The broker's user name. Without dots: they would let one user read what belongs to another."""
    role: permission.Role
    """What the user may do."""
    channels: tuple[str, ...] = ()
    """The channels a client, approver, operator or observer is entitled to; `*` stands for all."""
    accounts: tuple[AccountId, ...] = ()
    """The accounts a signer signs for."""
    password_file: Path | None = None
    """File of mode 0600 with the password."""
    password_hash: PasswordHash | None = None
    """The password as RabbitMQ keeps it: base64 of salt and SHA-256."""

    def read_password(self) -> str | None:
        """The password; None where only its hash or nothing is configured. Raises `ConfigInvalid`."""
        return None if self.password_file is None else read_secret(self.password_file)


class Limits(Section):
    """At a limit intake slows or a command is refused with a code; nothing accepted is dropped."""

    backlog_per_channel: Annotated[Number, Unit("commands"), Field(ge=1, le=100_000)] = 1_000
    """Journaled commands of one channel; beyond: `channel_busy`."""
    backlog: Annotated[Number, Unit("commands"), Field(ge=1, le=1_000_000)] = 20_000
    """Journaled commands of all channels; beyond: `channel_busy` for any of them."""
    prefetch: Annotated[Number, Unit("deliveries"), Field(ge=1, le=1_000)] = 32
    """What the broker hands out before it is acknowledged."""
    outbox_rows: Annotated[Number, Unit("rows"), Field(ge=100, le=10_000_000)] = 100_000
    """Unpublished envelopes; at 80 % intake stops."""
    outbox_bytes: Annotated[Bytes, Field(ge=MEBIBYTE, le=64 * 1024 * MEBIBYTE)] = 512 * MEBIBYTE
    """The same by size."""
    broker_timeout_seconds: Annotated[Seconds, Field(ge=1, le=300)] = 30.0
    """A call to the broker longer than this replaces the connection; what was unconfirmed is sent again."""
    node_frame_bytes: Annotated[Bytes, Field(ge=64 * KIBIBYTE, le=16 * MEBIBYTE)] = 4 * MEBIBYTE
    """The longest text taken from a node."""


class Config(_Settings):
    """The bridge's file."""

    data_dir: Path = Path("data")
    """Directory of the journal; one bridge owns it."""
    prefix: Prefix = "channels"
    """What the names of exchanges and queues begin with."""
    event_type_prefix: EventTypePrefix = "channel-bridge"
    """What the types of events begin with, e.g. a reversed host name of yours."""
    log: Log = Log()
    journal: Journal
    broker: Broker = Broker()
    limits: Limits = Limits()
    nodes: dict[str, Node] = Field(default_factory=dict)
    channels: tuple[Channel, ...] = ()
    users: tuple[User, ...] = ()

    def journal_key(self) -> bytes:
        return self.journal.read_key()

    def broker_urls(self) -> list[str]:
        return self.broker.read_urls()


class ClientConfig(_Settings):
    """What the commands that speak to the bus as a user of their own take from the environment."""

    broker: Broker = Broker()


class CommandKey(Section):
    """A key behind a program of yours: it gets the bytes to sign on its standard input and writes the signature, 64
    bytes or their base64, to its standard output. Exit code 0: signed; 75: try again; any other: refused. It is started
    without a shell for each signature; what it writes to standard error is dropped."""

    account: AccountId
    """The account whose key it is; the program reads it as `CHANNEL_BRIDGE_ACCOUNT`."""
    argv: Annotated[tuple[str, ...], Field(min_length=1)]
    """The program, by its whole path, and its arguments."""
    environment: tuple[str, ...] = ()
    """Names of variables the program inherits besides `PATH`."""
    timeout_seconds: Annotated[Seconds, Field(ge=0.1, le=300)] = 10.0
    """How long it may take; then it and what it started are killed, and it is tried again."""


class TransitKey(Section):
    """An Ed25519 key in a service with the interface of Vault's transit engine."""

    account: AccountId
    """The account whose key it is. Of a key with several versions the one of this account signs."""
    url: str
    """Where the service is, `https://host:port`."""
    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    """The key's name there."""
    mount: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")] = "transit"
    """Where the engine is mounted."""
    token_file: Path
    """File of mode 0600 with the token; read for each request, so that a renewed one counts at once."""
    timeout_seconds: Annotated[Seconds, Field(ge=0.1, le=300)] = 10.0
    """How long one request may take; then it is made again."""
    plain_hosts: tuple[str, ...] = ()
    """Hosts beyond loopback that may be spoken to without TLS. Warned of at each start."""
    tls: Tls = Tls()


def _write_short(value: Any) -> Any:
    return {"files": value} if isinstance(value, list | tuple) else value


class Keys(Section):
    """Where the keys are, at least one. A list of paths in its place stands for `files`."""

    files: tuple[Path, ...] = ()
    """Key files of mode 0600, or secrets directories with one key a file: 64 hex digits of the Ed25519 seed, 128 of the
    secret key, or a file encrypted by `channel-bridge keygen --password-file`."""
    password_file: Path | None = None
    """File of mode 0600 with the password of the encrypted ones."""
    commands: tuple[CommandKey, ...] = ()
    transit: tuple[TransitKey, ...] = ()

    def read_password(self) -> str | None:
        """None where none is configured. Raises `ConfigInvalid`."""
        return None if self.password_file is None else read_secret(self.password_file)


class SignerGuard(Section):
    """The signer's own durable record of what it signed and answered. See [signer](signer.md)."""

    data_dir: Path = Path("signer-data")
    """Its directory; one signer owns it. A signer that lost it no longer knows what it signed."""
    reply_days: Annotated[Number, Unit("days"), Field(ge=1, le=3650)] = 7
    """How long an answer is kept, to be given again to the same request. What was signed is kept far longer."""


class SignerConfig(_Settings):
    """The file of `channel-bridge signer`, a separate process: the bridge neither reads nor needs it."""

    prefix: Prefix = "channels"
    """What the names of exchanges and queues begin with; the bridge's own."""
    reply: ReplyForm = ReplyForm.SIGNATURE
    """What a reply carries: a detached `signature`, or the whole `signed_tx`."""
    development: bool | None = None
    """Whether this signer is for development: it then signs nothing for `ae_mainnet`. Absent: it is, if a key lies
    unencrypted in a file. `false` beside such a key is your word that the file is protected otherwise."""
    keys: Annotated[Keys, BeforeValidator(_write_short)]
    guard: SignerGuard = SignerGuard()
    log: Log = Log()
    broker: Broker = Broker()
    policy: dict[AccountId, AccountPolicy] = Field(default_factory=dict)

    def broker_urls(self) -> list[str]:
        return self.broker.read_urls()
