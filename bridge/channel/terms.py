"""What one role of one channel was configured with. Never changes while the process runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from bridge.channel.identifier import Account, ChannelName


class Role(StrEnum):
    INITIATOR = "initiator"
    RESPONDER = "responder"


class Dialect(StrEnum):
    """The node's language. The two legacy profiles are design.md section 1: seed 0.17-0.18, late 2.3-2.5."""

    JSON_RPC = "json-rpc"
    LEGACY_SEED = "legacy-seed"
    LEGACY_LATE = "legacy-late"

    @property
    def is_legacy(self) -> bool:
        return self is not Dialect.JSON_RPC


class SigningForm(StrEnum):
    """Which bytes are signed: `transactions.md` section 4."""

    NETWORK_HASH = "network_id+hash"
    NETWORK_RAW = "network_id+tx"
    RAW = "tx"


ANYBODY = "*"
"""Among the counterparties: whoever the peer is."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the bridge lets through before anybody is asked to sign. Amounts in aettos. Without an entry: nothing.

    `policy` says what each line means for a command or a proposal, `outflow` how the two limits are counted.
    """

    commands: frozenset[str] = frozenset()
    max_amount: int = 0
    max_fee: int = 10**18
    outflow_per_hour: int = 0
    outflow_per_day: int = 0
    counterparties: frozenset[str] = frozenset()
    acknowledge: frozenset[str] = frozenset()
    """Peer proposals that may reach a signer at all."""
    acknowledge_only_if_not_poorer: bool = True
    approval_threshold: int | None = None
    """Above it people must agree first. None: never."""
    approvals: int = 1
    """How many of them."""
    approvers: frozenset[str] = frozenset()
    """The broker's users whose approval counts."""
    approval_timeout: float = 120.0
    """Seconds."""

    def is_counterparty(self, account: Account) -> bool:
        return account in self.counterparties or ANYBODY in self.counterparties


@dataclass(frozen=True, slots=True)
class Terms:
    """One entry of the configuration: one role of one channel.

    Timeouts named `timeout_*` are the node's and in milliseconds, as its query parameters are; everything
    named `*_seconds` is ours.
    """

    name: ChannelName
    role: Role
    initiator: Account
    responder: Account
    initiator_amount: int
    responder_amount: int
    network_id: str
    dialect: Dialect = Dialect.JSON_RPC
    push_amount: int = 0
    channel_reserve: int = 2
    lock_period: int = 10
    host: str = "localhost"
    """Host of the responder's node, told to the initiator's node."""
    port: int = 3015
    """The port at which the two nodes meet (not the WebSocket's)."""
    signing_form: SigningForm = SigningForm.NETWORK_HASH
    opening: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Further opening parameters of protocol.md A.2, verbatim: `minimum_depth`, `timeout_idle`, `ttl`, …"""
    policy: Policy = Policy()
    sign_seconds: float = 300.0
    """Deadline for our own operations; below the node's `timeout_sign` (500 s)."""
    acknowledge_seconds: float = 60.0
    """Deadline for acknowledgements and both opening signatures; below the peer's `timeout_accept` (120 s)."""
    trigger_seconds: float = 10.0
    """A trigger without a sign request for this long is probed and asked again (rule 6)."""
    keep_alive_seconds: float = 240.0
    """How often the node's idle timer is answered by a `get.balances`; below `timeout_idle` (600 s)."""
    conflict_retries: int = 5
    proof_rounds: int = 100
    """Under load the proof of inclusion is asked for after so many rounds; an idle channel always has one."""

    @property
    def answers_live(self) -> bool:
        """Whether the node can be asked for the state at any time."""
        return self.dialect is not Dialect.LEGACY_SEED

    @property
    def own(self) -> Account:
        return self.initiator if self.role is Role.INITIATOR else self.responder

    @property
    def peer(self) -> Account:
        return self.responder if self.role is Role.INITIATOR else self.initiator
