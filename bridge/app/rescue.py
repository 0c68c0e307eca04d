"""The rescue kit of a channel, read from the journal: what its owner needs to close on chain without the bridge.

The same facts stand in the alarm `recovery_required`; this is for when the bus, the bridge or the node are gone.
How to use them: docs/recovery.md.
"""

from pathlib import Path
from typing import Any

from bridge.channel.identifier import ChannelName
from bridge.channel.state import decode
from bridge.errors import JournalUnavailable
from bridge.journal.journal import FILE
from bridge.journal.peek import read_state


def kit(data_dir: Path, channel: ChannelName) -> dict[str, Any]:
    """Amounts in aettos, as strings. Raises JournalUnavailable if nothing is kept of that channel."""
    stored = read_state(data_dir / FILE, channel)
    if stored is None:
        raise JournalUnavailable(f"the journal in {data_dir} knows no channel {channel}")
    state = decode(stored)
    held, proven = state.cosigned, state.proven
    return {
        "channel": channel,
        "channel_id": state.channel_id,
        "phase": state.phase.value,
        "round": state.round,
        "signed_tx": None if held is None else held.text,
        "initiator_balance": None if state.initiator_balance is None else str(state.initiator_balance),
        "responder_balance": None if state.responder_balance is None else str(state.responder_balance),
        "proven_round": None if proven is None else proven.round,
        "proven_signed_tx": None if proven is None else proven.signed_tx,
        "poi": None if proven is None else proven.poi,
    }
