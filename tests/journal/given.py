"""What the tests of this room are given: rows with every field set, and journals at a clock of the test's."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bridge.channel.identifier import ChannelName, CommandId, FsmId
from bridge.journal.journal import Journal
from bridge.journal.record import AuditEntry, EventRow, InboxRow, LedgerRow
from bridge.wire.envelope import Envelope

ACME, BETA = ChannelName("acme-7"), ChannelName("beta-1")
KEY = b"k" * 32
FSM_ID = FsmId("ba_SecretOfTheNodeSecretOfTheNodeSecretOfTheNode000")
OTHER_FSM_ID = FsmId("ba_AnotherSecretAnotherSecretAnotherSecretAnother11")


@dataclass(slots=True)
class Clock:
    """Moved by the test."""

    now: float = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


def open_journal(directory: Path, clock: Callable[[], float] | None = None, key: bytes = KEY) -> "Opening":
    return Opening(directory, clock or Clock(), key)


@dataclass(slots=True)
class Opening:
    """`async with` a journal."""

    directory: Path
    clock: Callable[[], float]
    key: bytes
    journal: Journal | None = None

    async def __aenter__(self) -> Journal:
        self.journal = await Journal.open(self.directory, self.key, self.clock)
        return self.journal

    async def __aexit__(self, *_: object) -> None:
        assert self.journal is not None
        await self.journal.close()


def command(name: str, channel: ChannelName = ACME, *, status: str = "journaled", at: float = 5.0) -> InboxRow:
    return InboxRow(
        command_id=CommandId(name),
        channel=channel,
        kind="transfer",
        author="alice",
        body_hash="hash of " + name,
        body=b"body of " + name.encode(),
        received_at=at,
        reply_to="channels.client.alice.answers",
        correlation_id="correlation of " + name,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        tracestate="a=1",
        status=status,
    )


def envelope(body: bytes = b"{}") -> Envelope:
    """No field has its default, so that one which is not kept shows."""
    return Envelope(
        exchange="channels.events",
        routing_key="acme-7.transfer.succeeded",
        body=body,
        headers={"ce-id": "event 1", "ce-source": "/acme-7"},
        type="transfer.succeeded.v1",
        correlation_id="correlation",
        timestamp=1234.5,
        reply_to="somewhere",
        content_type="application/octet-stream",
        mandatory=False,
    )


def event(seq: int, channel: ChannelName = ACME, *, at: float = 7.0) -> EventRow:
    return EventRow(channel, seq, f"event {seq}", "acme-7.link.attached", "link.attached.v1", b"\x00{}", {"a": "b"}, at)


def ledger_row(hash_: str) -> LedgerRow:
    return LedgerRow(ACME, 3, hash_, "command 1", "update", "tx_signed", 1, 9.0)


def audit_entry(name: str, channel: ChannelName = ACME) -> AuditEntry:
    """No field is empty, so that one which is not kept or not hashed shows."""
    return AuditEntry(
        kind="outcome",
        verdict="failed",
        at=1_000_000_000.000_001,
        author="alice",
        command_id=name,
        channel=channel,
        round=7,
        tx_hash="hash of " + name,
        code="conflict",
        reference="request of " + name,
    )
