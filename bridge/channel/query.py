"""`query`: what is known, from the node where it can say, else from the journal, and the answer says which.

A query waits for nothing: while something is outstanding, or the link is down, the journal answers at once.
"""

from typing import Any

from bridge.channel.command import Query
from bridge.channel.effect import Conclude
from bridge.channel.identifier import CommandId
from bridge.channel.input import Answer, Balances, OffchainState, Proof
from bridge.channel.operation import is_busy
from bridge.channel.request import AskBalances, AskProof, AskState
from bridge.channel.state import Asked, Purpose, Stage
from bridge.channel.terms import Dialect
from bridge.channel.turn import Turn
from bridge.errors import Code, Outcome


def begin(turn: Turn, query: Query) -> Turn:
    if query.kind not in turn.terms.policy.commands:
        sentence = "the policy of this channel allows no query"
        return turn.do(_ending(turn, query, Outcome.FAILED, {}, Code.POLICY_DENIED, sentence))
    moving = turn.operation is not None and turn.operation.stage is not Stage.JOURNALED
    if not turn.state.is_ready or moving or is_busy(turn) or turn.terms.dialect is Dialect.LEGACY_SEED:
        return from_journal(turn, query)
    parties = (turn.terms.initiator, turn.terms.responder)
    match query.what:
        case "state":
            return turn.ask(AskState, Purpose.QUERY, query)
        case "balances":
            return turn.ask(lambda request_id: AskBalances(request_id, parties), Purpose.QUERY, query)
        case "poi":
            return turn.ask(lambda request_id: AskProof(request_id, parties), Purpose.QUERY, query)


def from_journal(turn: Turn, query: Query) -> Turn:
    """What we know ourselves. A proof of inclusion only the node can make."""
    if query.what == "poi":
        code = Code.UNSUPPORTED_IN_DIALECT if turn.terms.dialect is Dialect.LEGACY_SEED else Code.CHANNEL_NOT_OPEN
        sentence = "only the node can make a proof of inclusion, and it cannot be asked at the moment"
        return turn.do(_ending(turn, query, Outcome.FAILED, {}, code, sentence))
    return turn.do(_ending(turn, query, Outcome.SUCCEEDED, {"source": "journal", **_known(turn)}))


def answered(turn: Turn, asked: Asked, answer: Answer) -> Turn:
    if asked.query is None:
        return turn
    data = _known(turn) | {"source": "node"}
    match answer:
        case Balances(entries):
            data["balances"] = dict(entries)
        case OffchainState(signed, half_signed):
            data["signed_tx"] = None if signed is None else signed.text
            data["half_signed_tx"] = None if half_signed is None else half_signed.text
        case Proof(poi):
            data["poi"] = poi
        case _:
            return from_journal(turn, asked.query)
    return turn.do(_ending(turn, asked.query, Outcome.SUCCEEDED, data))


def refused(turn: Turn, asked: Asked, reasons: tuple[str, ...]) -> Turn:
    if asked.query is None:
        return turn
    sentence = f"the node refused the query: {', '.join(reasons)}"
    return turn.do(_ending(turn, asked.query, Outcome.FAILED, {}, Code.NODE_REJECTED, sentence))


def _known(turn: Turn) -> dict[str, Any]:
    state, terms = turn.state, turn.terms
    balances: dict[str, int] = {}
    if state.initiator_balance is not None and state.responder_balance is not None:
        balances = {terms.initiator: state.initiator_balance, terms.responder: state.responder_balance}
    return {
        "phase": state.phase.value,
        "attachment": state.attachment.value,
        "channel_id": state.channel_id,
        "role": terms.role.value,
        "round": state.round,
        "tx_hash": None if state.cosigned is None else state.cosigned.hash,
        "signed_tx": None if state.cosigned is None else state.cosigned.text,
        "balances": balances,
        "in_flight": None if state.operation is None else state.operation.command.command_id,
        "exposed": [exposure.command_id for exposure in state.exposures],
    }


def _ending(
    turn: Turn,
    query: Query,
    outcome: Outcome,
    data: dict[str, Any],
    code: Code | None = None,
    sentence: str = "",
) -> Conclude:
    return Conclude(
        command_id=CommandId(query.command_id),
        command=query,
        outcome=outcome,
        code=code,
        sentence=sentence,
        round=turn.state.round or None,
        data=data,
    )
