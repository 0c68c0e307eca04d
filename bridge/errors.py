"""Every error of the bridge, and the stable codes operators and clients search for.

Others' mistakes are data: a code in a result, an event or a dead letter. Ours are exceptions.

    BridgeError
    ├── ConfigInvalid           ours to mend; exit 78, all findings at once
    ├── FrameError              the node's: a text that is no frame (code protocol_violation)
    ├── EncodingError           somebody's: a prefix, checksum or length that does not fit
    ├── TransactionError        somebody's: bytes that are no transaction, or not the one expected
    ├── BodyError               a client's, signer's or approver's: carries code, path and sentence
    ├── UnsupportedInDialect    a client's: the channel's node has no word for it
    ├── OwnerConflict           another process owns the data directory; exit 75
    ├── JournalUnavailable      the disk; the process stops loudly, nothing further is sent
    ├── GuardUnavailable        the same of a signer's own record (code guard_unavailable)
    ├── GuardConflict           a request for a second signature in one place: refused, with both hashes
    ├── KeyUnavailable          transient: what holds a key does not answer; asked again until the deadline
    ├── KeyRefused              final: what holds a key will not sign, or signs wrongly; the request is refused
    ├── BrokerUnavailable       transient: retried by the supervisor of the connection
    │   ├── BrokerRefused       fatal: credentials, rights, topology that differs
    │   │   └── BrokerUntrusted fatal: no TLS both sides agree on, or a certificate refused (code tls_refused)
    │   ├── Unroutable          no queue wanted the envelope: stored nowhere
    │   └── Nacked              a queue behind the exchange is full
    ├── NodeUnavailable         transient: retried by the link
    │   └── NodeUntrusted       the same for TLS: retried, since the node may mend it (code tls_refused)
    └── InvariantViolation      ours: a bug; the channel halts and says so
"""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a command ended, or stands."""

    ACCEPTED = "accepted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class Code(StrEnum):
    """Stable strings: never renamed, only added. The order is that of guarantees.md section 7."""

    # rejected: not accepted, not executed; mend it and send it under a new id
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    UNSUPPORTED_VERSION = "unsupported_version"
    UNKNOWN_COMMAND = "unknown_command"
    UNSUPPORTED_IN_DIALECT = "unsupported_in_dialect"
    INVALID_FIELD = "invalid_field"
    MISSING_FIELD = "missing_field"
    UNKNOWN_FIELD = "unknown_field"
    INVALID_AMOUNT = "invalid_amount"
    INVALID_ADDRESS = "invalid_address"
    INVALID_TEXT = "invalid_text"
    UNKNOWN_CHANNEL = "unknown_channel"
    FORBIDDEN = "forbidden"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    STALE_COMMAND = "stale_command"
    CHANNEL_BUSY = "channel_busy"
    SHUTTING_DOWN = "shutting_down"
    # failed before any signature: definitely not executed
    EXPIRED = "expired"
    ROUND_MISMATCH = "round_mismatch"
    CHANNEL_CLOSED = "channel_closed"
    CHANNEL_NOT_OPEN = "channel_not_open"
    POLICY_DENIED = "policy_denied"
    APPROVAL_DENIED = "approval_denied"
    APPROVAL_TIMEOUT = "approval_timeout"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    NODE_REJECTED = "node_rejected"
    SIGN_REQUEST_MISMATCH = "sign_request_mismatch"
    TRIGGER_LOST = "trigger_lost"
    SIGN_TIMEOUT = "sign_timeout"
    SIGN_REFUSED = "sign_refused"
    SIGNER_MISBEHAVED = "signer_misbehaved"
    UNSUPPORTED_SIGNATURE = "unsupported_signature"
    # failed after a signature: not in the agreed state, evidence attached
    CONFLICT = "conflict"
    PEER_REFUSED = "peer_refused"
    NOT_APPLIED = "not_applied"
    SUPERSEDED = "superseded"
    ONCHAIN_REJECTED = "onchain_rejected"
    # in_doubt: the outcome is open
    PEER_TIMEOUT = "peer_timeout"
    CONNECTION_LOST = "connection_lost"
    NODE_RESTARTED = "node_restarted"
    AWAITING_CHAIN = "awaiting_chain"
    LEGACY_NO_EVIDENCE = "legacy_no_evidence"
    # unknown: messages only
    DELIVERY_UNKNOWN = "delivery_unknown"
    # a sign reply refused, told to the signer
    SIGN_REPLY_INVALID = "sign_reply_invalid"
    SIGN_REPLY_LATE = "sign_reply_late"
    SIGN_REQUEST_UNKNOWN = "sign_request_unknown"
    SIGN_REPLY_DUPLICATE = "sign_reply_duplicate"
    # an approval refused, told to its author
    APPROVAL_UNKNOWN = "approval_unknown"
    APPROVAL_LATE = "approval_late"
    APPROVAL_MISMATCH = "approval_mismatch"
    # the channel or the service: events and alarms
    PROTOCOL_VIOLATION = "protocol_violation"
    RECOVERY_REQUIRED = "recovery_required"
    FOREIGN_STATE = "foreign_state"
    INVARIANT_VIOLATION = "invariant_violation"
    EXPOSURE_CLEARED = "exposure_cleared"
    ABANDONED_STATE_USED = "abandoned_state_used"
    OUTCOME_CORRECTED = "outcome_corrected"
    BOOKS_DISAGREE = "books_disagree"
    OWNER_CONFLICT = "owner_conflict"
    JOURNAL_UNAVAILABLE = "journal_unavailable"
    GUARD_UNAVAILABLE = "guard_unavailable"
    EVENT_UNROUTABLE = "event_unroutable"
    BROKER_UNAVAILABLE = "broker_unavailable"
    BROKER_REFUSED = "broker_refused"
    CONFIG_INVALID = "config_invalid"
    TLS_REQUIRED = "tls_required"
    TLS_REFUSED = "tls_refused"

    @property
    def is_retryable(self) -> bool:
        """Whether the same command, under a new id, may succeed without repair."""
        return self in _RETRYABLE


_RETRYABLE = frozenset(
    {
        Code.CHANNEL_BUSY,
        Code.SHUTTING_DOWN,
        Code.CHANNEL_NOT_OPEN,
        Code.TRIGGER_LOST,
        Code.SIGN_TIMEOUT,
        Code.CONFLICT,
        Code.NOT_APPLIED,
    }
)


class BridgeError(Exception):
    """The root. `code` is what operators search for."""

    code: Code


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake in a configuration: where, what stands there (unless secret), what should."""

    path: str
    found: str
    expected: str


class ConfigInvalid(BridgeError):
    code = Code.CONFIG_INVALID

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__(f"{len(findings)} mistakes in the configuration")
        self.findings = findings


class TlsRequired(ConfigInvalid):
    """A plain connection beyond loopback, not named in the option that allows it."""

    code = Code.TLS_REQUIRED


class FrameError(BridgeError):
    """A text from the node that is no frame. The channel lives on; the text becomes an event."""

    code = Code.PROTOCOL_VIOLATION

    def __init__(self, reason: str, excerpt: str, tag: str | None = None) -> None:
        """`tag`: the frame asks for this signature, and only what it wants signed cannot be read."""
        super().__init__(reason)
        self.reason = reason
        self.excerpt = excerpt
        self.tag = tag


class EncodingError(BridgeError):
    """A check-encoded text with the wrong prefix, checksum, alphabet or length."""

    code = Code.INVALID_ADDRESS


class TransactionError(BridgeError):
    """Bytes that are no transaction, or not the one expected. `reason` is a short stable word."""

    code = Code.SIGN_REPLY_INVALID

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class BodyError(BridgeError):
    """A body from the bus that breaks the rules: what a rejection and a dead letter say."""

    def __init__(self, code: Code, sentence: str, path: str = "") -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.path = path


class MayBeExecuted(BodyError):
    """A body that may repeat one that was accepted and forgotten: nobody may be told that nothing happened."""


class UnsupportedInDialect(BridgeError):
    code = Code.UNSUPPORTED_IN_DIALECT


class OwnerConflict(BridgeError):
    code = Code.OWNER_CONFLICT


class JournalUnavailable(BridgeError):
    code = Code.JOURNAL_UNAVAILABLE


class GuardUnavailable(BridgeError):
    """A signer's record of what it signed cannot be read or written: it signs nothing without one."""

    code = Code.GUARD_UNAVAILABLE


class GuardConflict(BridgeError):
    """Another transaction was signed in that place and still counts. Ends as a refusal."""

    code = Code.SIGN_REFUSED


class KeyUnavailable(BridgeError):
    """Transient: whatever holds the key is away, busy or slow. Asking again may help."""

    code = Code.SIGN_REFUSED


class KeyRefused(BridgeError):
    """Final: whatever holds the key says no, or what it says is no signature. Asking again cannot help."""

    code = Code.SIGN_REFUSED


class BrokerUnavailable(BridgeError):
    """Transient: the connection is replaced and the call repeated by its supervisor."""

    code = Code.BROKER_UNAVAILABLE


class BrokerRefused(BrokerUnavailable):
    """Fatal: repeating it cannot help. Credentials, rights, a queue declared otherwise."""

    code = Code.BROKER_REFUSED


class BrokerUntrusted(BrokerRefused):
    """No TLS that both sides agree on: a certificate, a version, or no client certificate."""

    code = Code.TLS_REFUSED


class Unroutable(BrokerUnavailable):
    """No queue wanted the envelope: it is stored nowhere."""


class Nacked(BrokerUnavailable):
    """A queue refused the envelope, being full. Other queues may have stored it (pitfalls.md row 30)."""


class NodeUnavailable(BridgeError):
    """Transient: no socket to the node. The link tries again."""

    code = Code.CONNECTION_LOST


class NodeUntrusted(NodeUnavailable):
    """No TLS that both sides agree on. Nothing was sent; the link tries again and says so."""

    code = Code.TLS_REFUSED


class InvariantViolation(BridgeError):
    """A bug in the bridge: the channel halts rather than guess."""

    code = Code.INVARIANT_VIOLATION
