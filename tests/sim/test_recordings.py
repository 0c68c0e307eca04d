"""The simulated node against recordings of a real one: the same client side, the same frames in the same order.

Compared per socket; the real node gives no order between two sockets. Every difference that is known and accepted
stands in `DIFFERENCES` with its reason; one that no longer occurs fails the test, as does any other.
"""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.sim.client import running
from tests.sim.recording import Replay, Session, blur

RECORDINGS = (
    *("open", "smoke", "idle", "conflict", "refuse", "second_client", "wrong_fsm"),
    # cut at a step, then reconnected and probed
    *("before_sign", "right_after_new", "after_sign", "after_sign_slow_ack", "ack_before", "ack_after"),
    *("ack_while_away", "dep_before", "dep_after", "dep_ack_before", "dep_ack_before_2", "shut_after", "second"),
    *("r_update", "r_update_refuse", "r_ack", "r_ack_refuse", "resp_gone", "resp_gone_2", "msg_while_away"),
    # leave, reestablish, divergence
    *("l_resp", "l_wrong", "d_dep", "d_idle", "d_leave", "d_shutdown", "peer_gone_unseen", "peer_gone_half_signed"),
    "two_fsms",
    # timers
    *("sign", "sign_ack", "accept", "idle_3", "code3_next_trigger", "code3_split", "code3_withheld"),
    # refusals, probes, stray replies, postponed triggers
    *("refuse_own", "refusal_codes", "probe_own_update", "probe_update_ack", "probe_half_update"),
    *("probe_deposit_ack", "probe_half_deposit", "probe_half_shutdown", "probe_without_id"),
    *("stray_deposit_half", "stray_shutdown_half", "second_trigger", "trigger_postponed"),
    *("trigger_postponed_lost", "trigger_while_ack", "crossing_barrier", "crossing_without_barrier"),
    "second_trigger_kinds",
    *("stray_postponed_probed", "stray_postponed_kills", "peer_gone_sign_request"),
    *("default_brick", "init_first", "l_both", "old", "second_client_reestablished_responder"),
    # messages, meta, amounts
    *("msg", "meta_and_bytes", "amount_zero"),
)
"""Those whose every step a client can repeat: nothing is cut unread, mined by hand, or waited for by the minute."""


@dataclass(frozen=True)
class Difference:
    """One place where the simulated node says something else."""

    recording: str
    session: str
    place: int | str
    """Index of the frame on its socket, or `closed`."""
    reason: str


STOPPED = "the recording stops while the node still answers"
DIFFERENCES: tuple[Difference, ...] = (
    Difference("second_trigger_kinds", "initiator at 3", 32, STOPPED),
    Difference("second_trigger_kinds", "initiator at 3", 33, STOPPED),
)


@pytest.mark.parametrize("name", RECORDINGS)
async def test_node_says_what_the_real_one_said(name: str) -> None:
    """A bridge proved on the simulated node is proved on the real one only if both say the same."""
    async with running() as node:
        replay = Replay(node, name)
        await replay.play()
    found = {(session.name, place): said for session in replay.sessions for place, said in compare(session).items()}
    known = {(known.session, known.place) for known in DIFFERENCES if known.recording == name}
    assert {key: said for key, said in found.items() if key not in known} == {}
    assert known <= found.keys(), "a listed difference no longer occurs: take it off the list"


def compare(session: Session) -> dict[int | str, tuple[Any, Any]]:
    """What was recorded and what was said, wherever they differ."""
    recorded, said = [blur(frame) for frame in session.expected], [blur(frame) for frame in session.party.seen]
    length = max(len(recorded), len(said))
    recorded += [None] * (length - len(recorded))
    said += [None] * (length - len(said))
    places: dict[int | str, tuple[Any, Any]] = {
        place: pair for place, pair in enumerate(zip(recorded, said, strict=True)) if pair[0] != pair[1]
    }
    if session.closed is not None and session.closed != session.party.closed:
        places["closed"] = (session.closed, session.party.closed)
    return places
