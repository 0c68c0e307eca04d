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
from bridge.app.address import is_loopback
from bridge.broker import permission
from bridge.channel.terms import Policy, Role, SigningForm
from bridge.errors import ConfigInvalid, Finding
from bridge.signing.policy import AccountId, Aettos, Counterparty, Unit
from bridge.signing.secret import read_secret

ENVIRONMENT_PREFIX = "CHANNEL_BRIDGE_"
ENVIRONMENT_DELIMITER = "__"
JOURNAL_KEY_DIGITS = 64
SHORTEST_TOKEN = 16
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


class Settings(BaseSettings):
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
    log_keep: Annotated[Number, Unit("events"), Field(ge=10)] | None = None
    """How many events the node remembers, 10 by default; of these the bridge asks for the last 10 conflicts. With 100 a
    timeout is remembered for longer while the bridge is away and the peer goes on trying.
    """
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
    """Unpublished envelopes; at 80 % intake stops, and beyond all of it the peer's messages are dropped."""
    outbox_bytes: Annotated[Bytes, Field(ge=MEBIBYTE, le=64 * 1024 * MEBIBYTE)] = 512 * MEBIBYTE
    """The same by size."""
    broker_timeout_seconds: Annotated[Seconds, Field(ge=1, le=300)] = 30.0
    """A call to the broker longer than this replaces the connection; what was unconfirmed is sent again."""
    node_frame_bytes: Annotated[Bytes, Field(ge=64 * KIBIBYTE, le=16 * MEBIBYTE)] = 4 * MEBIBYTE
    """The longest text taken from a node."""
    node_waiting_bytes: Annotated[Bytes, Field(ge=16 * MEBIBYTE, le=1024 * MEBIBYTE)] = 64 * MEBIBYTE
    """Memory for what one channel's node has sent and the journal does not hold yet. From a quarter of it on the socket
    is read ever more slowly; beyond, it is cut, and opened again once all of that is stored."""


class Http(Section):
    """The small port for probes, metrics and the console. See [observability](observability.md)."""

    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    """Where to listen. Beyond loopback without a certificate: warned of at each start."""
    port: Annotated[Number, Field(ge=0, le=65_535)] = 8090
    """Where to listen; 0: any free one, told in the log. Taken by another process: an error where it is given here,
    else a warning, and nothing is served."""
    console: bool | None = None
    """Whether the bridge serves its console page, which shows balances; absent: on loopback only."""
    names: tuple[str, ...] = ()
    """Host names under which browsers may ask for the console, besides `localhost` and plain addresses: any other is
    refused, so that no foreign page reads it by a trick with names."""
    token_file: Path | None = None
    """File of mode 0600 with a token of 16 characters or more: the console then asks for it, as the password of any
    user, or as a bearer token."""
    certificate_file: Path | None = None
    """File with the server's certificate, PEM, and what leads from it to its authority: then TLS 1.2 or later only."""
    key_file: Path | None = None
    """File of mode 0600 with the certificate's key, PEM."""

    @property
    def has_console(self) -> bool:
        return is_loopback(self.host) if self.console is None else self.console

    @property
    def is_plain_beyond_loopback(self) -> bool:
        return self.certificate_file is None and not is_loopback(self.host)

    def read_context(self) -> ssl.SSLContext | None:
        """None: plain. Raises `ConfigInvalid`."""
        if self.certificate_file is None and self.key_file is None:
            return None
        return tls.make_server_context(self.certificate_file, self.key_file)

    def renew_context(self, context: ssl.SSLContext) -> None:
        """The certificate's files again, into what `read_context` gave. Raises `ConfigInvalid`."""
        if self.certificate_file is not None and self.key_file is not None:
            tls.load_own(context, self.certificate_file, self.key_file)

    def read_token(self) -> str | None:
        """Raises `ConfigInvalid`."""
        if self.token_file is None:
            return None
        token = read_secret(self.token_file)
        if len(token) < SHORTEST_TOKEN:
            found, expected = f"{len(token)} characters", f"at least {SHORTEST_TOKEN} characters"
            raise ConfigInvalid((Finding(str(self.token_file), found, expected),))
        return token


class Config(Settings):
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
    http: Http = Http()
    limits: Limits = Limits()
    nodes: dict[str, Node] = Field(default_factory=dict)
    channels: tuple[Channel, ...] = ()
    users: tuple[User, ...] = ()

    def journal_key(self) -> bytes:
        return self.journal.read_key()

    def broker_urls(self) -> list[str]:
        return self.broker.read_urls()


class HttpConfig(Settings):
    """What a probe reads of either file."""

    http: Http = Http()


class ClientConfig(Settings):
    """What the commands that speak to the bus as a user of their own take from the environment."""

    broker: Broker = Broker()
