"""`channel-bridge channels`: how the channels stand, from the journal, while a bridge runs or after it.

Prints nothing itself. Shows what was last committed: whether a bridge runs at this moment, the journal does not say.
Amounts in aettos, as text; instants as RFC 3339.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bridge.app.config import Config, terms
from bridge.channel.identifier import ChannelName
from bridge.channel.state import Operation, State, decode
from bridge.channel.terms import Role
from bridge.errors import JournalUnavailable
from bridge.journal.journal import FILE
from bridge.journal.survey import ChannelRow, survey
from bridge.wire.envelope import write_instant


@dataclass(frozen=True, slots=True)
class Place:
    """What the configuration says of a channel; the journal does not repeat it."""

    role: Role
    node: str


@dataclass(frozen=True, slots=True)
class Line:
    """One channel. `own` and `peer` are balances; without a configuration they are the initiator's and responder's."""

    name: str
    role: str
    node: str
    phase: str
    link: str
    round: int
    own: str
    peer: str
    doing: str
    """The command that left the line, and how far it is."""
    sign: str
    """The open sign request."""
    sign_deadline: str
    in_doubt: tuple[str, ...]
    exposed: int
    backlog: int
    outbox: int

    def as_json(self) -> Mapping[str, Any]:
        return asdict(self)


def places(config: Config | None) -> Mapping[str, Place]:
    if config is None:
        return {}
    nodes = {channel.name: channel.node for channel in config.channels}
    return {name.name: Place(name.role, nodes[name.name]) for name, _ in terms(config)}


def overview(data_dir: Path, known: Mapping[str, Place]) -> tuple[Line, ...]:
    """All channels: those of the configuration too of which nothing is kept yet. Raises JournalUnavailable."""
    with survey(data_dir / FILE) as found:
        rows = {row.name: row for row in found.channels()}
    names = sorted({*rows, *known})
    return tuple(_line(name, rows.get(ChannelName(name)), known.get(name)) for name in names)


def _line(name: str, row: ChannelRow | None, place: Place | None) -> Line:
    state = State() if row is None or row.state is None else decode(row.state)
    balances = (_amount(state.initiator_balance), _amount(state.responder_balance))
    own, peer = balances if place is None or place.role is Role.INITIATOR else balances[::-1]
    asked = state.open_request or state.suspended
    return Line(
        name=name,
        role="" if place is None else place.role.value,
        node="" if place is None else place.node,
        phase=state.phase.value,
        link=state.attachment.value,
        round=state.round,
        own=own,
        peer=peer,
        doing=_doing(state.operation),
        sign="" if asked is None else f"{asked.tag.value} {asked.sign_request_id}",
        sign_deadline="" if asked is None else write_instant(asked.deadline),
        in_doubt=() if row is None else row.in_doubt,
        exposed=len(state.exposures),
        backlog=0 if row is None else row.backlog,
        outbox=0 if row is None else row.outbox,
    )


def _doing(operation: Operation | None) -> str:
    if operation is None:
        return ""
    return f"{operation.command.kind} {operation.command.command_id} ({operation.stage.value})"


def _amount(aettos: int | None) -> str:
    return "" if aettos is None else str(aettos)


def detail(data_dir: Path, channel: str, known: Mapping[str, Place], events: int) -> Mapping[str, Any]:
    """One channel with what else is kept of it, and its last so many events. Raises JournalUnavailable."""
    with survey(data_dir / FILE) as found:
        row = next((row for row in found.channels() if row.name == channel), None)
        if row is None and channel not in known:
            raise JournalUnavailable(f"the journal in {data_dir} knows no channel {channel}")
        latest = found.latest_events(ChannelName(channel), events)
    state = State() if row is None or row.state is None else decode(row.state)
    return {
        **_line(channel, row, known.get(channel)).as_json(),
        "channel_id": state.channel_id,
        "peer_is_away": state.peer_is_away,
        "cosigned_tx_hash": None if state.cosigned is None else state.cosigned.hash,
        "proven_round": None if state.proven is None else state.proven.round,
        "exposures": [
            {"command_id": one.command_id, "round": one.round, "tx_hash": one.hash} for one in state.exposures
        ],
        "seq": 0 if row is None else row.seq,
        "events": [_event(json.loads(event.body)) for event in latest],
    }


def _event(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without the node's frame: `events tail` and an export have it."""
    return {
        "seq": body["seq"],
        "at": body["at"],
        "event": f"{body['family']}.{body['name']}",
        "round": body["round"],
        "data": body["data"],
    }


def summarize(data: Mapping[str, Any]) -> Iterator[str]:
    """What of an event's data fits into a line of a table."""
    for name in ("command_id", "tag", "code", "amount", "round", "sentence"):
        if data.get(name) not in (None, ""):
            yield f"{name}={data[name]}"
