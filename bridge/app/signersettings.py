"""Every option of the signer's file, as frozen models. By the same rules as `bridge.app.settings`."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints

from bridge.app.settings import Broker, Http, Log, Number, Prefix, Seconds, Section, Settings, Tls
from bridge.signing.policy import AccountId, AccountPolicy, Unit
from bridge.signing.secret import read_secret
from bridge.signing.signer import ReplyForm


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


class SignerConfig(Settings):
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
    http: Http = Http()
    policy: dict[AccountId, AccountPolicy] = Field(default_factory=dict)

    def broker_urls(self) -> list[str]:
        return self.broker.read_urls()
