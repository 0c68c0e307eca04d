"""The seed document's dialect in both profiles, and the promise that both dialects say the same to the channel.

The frames of late nodes are made from recordings of today's node by a translator that knows protocol.md B.4;
the seed's own frames have their own file.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.channel.identifier import Account, ChannelId, ChannelName, FsmId, RequestId
from bridge.channel.input import (
    Accepted,
    Answer,
    Balances,
    ChainReported,
    ChannelErrored,
    ChannelLeft,
    Conflicted,
    InfoReported,
    MessageReceived,
    NodeInput,
    OffchainState,
    OtherAnswer,
    Proof,
    RequestAnswered,
    RequestRefused,
    SignRequested,
    StateUpdated,
    Unhandled,
)
from bridge.channel.request import (
    AskBalances,
    AskDeposit,
    AskHistory,
    AskProof,
    AskShutdown,
    AskState,
    AskTransfer,
    AskWithdraw,
    Leave,
    NodeRequest,
    Refuse,
    SendMessage,
    SendSignature,
    Tag,
)
from bridge.channel.terms import Dialect, Role, Terms
from bridge.channel.transaction import Kind, Update
from bridge.errors import EncodingError, FrameError, UnsupportedInDialect
from bridge.wire import encoding, transaction
from bridge.wire.dialect import Resume
from bridge.wire.jsonrpc import JsonRpc
from bridge.wire.legacy import Legacy
from bridge.wire.reason import write_reason
from tests.wire.mutation import mutated, one_of_each, outcome
from tests.wire.recorded import Recorded, corpus, from_node, recording

SEED, LATE = Legacy(Dialect.LEGACY_SEED), Legacy(Dialect.LEGACY_LATE)
BOTH = pytest.mark.parametrize("codec", [SEED, LATE], ids=["seed", "late"])
ALICE, BOB = (Account(recording("open")[0].frame[name]) for name in ("initiator_id", "responder_id"))
ANY_ID = RequestId(7)


# --- from today's frames to those of then ---------------------------------------------------------------


def translate(frame: dict[str, Any], *, is_seed: bool) -> dict[str, Any] | None:
    """The frame a legacy node would have sent here; None where it has no word (fsm_up, ok, pong)."""
    legacy = _translate_body(frame)
    if legacy is None:
        return None
    if is_seed:
        legacy["payload"] = _spell_old(legacy["payload"])
        return legacy
    channel_id = frame["params"]["channel_id"] if "params" in frame else frame["channel_id"]
    return legacy | {"version": 1, "channel_id": channel_id}


def _translate_body(frame: dict[str, Any]) -> dict[str, Any] | None:
    if "error" in frame:
        return _translate_error(frame["error"])
    if "result" in frame:
        return _translate_result(frame["result"])
    word = frame["method"].removeprefix("channels.")
    data = dict(frame["params"]["data"])
    if word.startswith("sign."):
        inner = transaction.unwrap(encoding.decode(data["signed_tx"], "tx")).inner
        payload = {"tx": encoding.encode("tx", inner)}
        return {"action": "sign", "tag": word.removeprefix("sign."), "payload": payload}
    if data.get("event") == "fsm_up" or word == "system.pong":
        return None
    unknown_then = {"fsm_id", "error_code", "error_msg", "type"} | ({"info"} if word == "on_chain_tx" else set())
    return {"action": word, "payload": {key: data[key] for key in data if key not in unknown_then}}


def _translate_error(error: dict[str, Any]) -> dict[str, Any]:
    codes = [detail["code"] for detail in error.get("data", [])] or [error["code"]]
    reason = "broken_encoding: accounts" if codes == [1005] else write_reason(codes[0])
    return {"action": "error", "payload": {"reason": reason, "request": error["request"]}}


def _translate_result(result: Any) -> dict[str, Any] | None:
    match result:
        case list():
            return {"action": "get", "tag": "balances", "payload": result}
        case {"signed_tx": _}:
            return {"action": "get", "tag": "offchain_state", "payload": result}
        case {"poi": _}:
            return {"action": "get", "tag": "poi", "payload": result}
    return None


def _spell_old(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _spell_old(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_spell_old(part) for part in value]
    if isinstance(value, str) and value[:3] in {"ak_", "ch_", "tx_"}:
        with suppress(EncodingError):  # an echoed request may hold the broken key that was refused
            return encoding.to_legacy(value)
    return value


# --- both dialects of one flow --------------------------------------------------------------------------


def without_differences(found: NodeInput, *, is_seed: bool) -> NodeInput:
    """An input without what a legacy node cannot know. The whole list of documented differences."""
    if is_seed:  # the seed's frames have no channel id but in two payloads
        found = replace(found, channel_id=None)
    match found:
        case InfoReported():  # no fsm_id: those nodes have nothing to reconnect to
            return replace(found, fsm_id=None)
        case Conflicted():  # no code: it is code 2
            return replace(found, code=2, message="conflict")
        case ChainReported():  # no info: only the transaction
            return replace(found, info=None)
        case SignRequested():  # the bare transaction, and no updates beside it
            bare = replace(found.transaction, text="", wrapped=False, signatures=())
            return replace(found, transaction=bare, updates=None)
        case RequestAnswered() | RequestRefused():  # no request id
            return replace(found, request_id=None)
        case _:
            return found


def has_code_of_its_own(found: NodeInput) -> bool:
    """Whether legacy has a text for each of the codes; what it has none for is an internal error there."""
    return not isinstance(found, RequestRefused) or set(found.codes) <= {1001, 1002, 1003, 1005, 1008, -32601}


FLOWS = {
    "open, update, message, deposit, mutual close": recording("open"),
    "withdraw": corpus("json-rpc__continuous__sc_ws_withdraw"),
    "conflict": recording("conflict"),
    "refused by the peer": recording("refuse"),
    "refused by the node": recording("params"),
    "state, balances": recording("after_sign"),
    "proof": recording("rpc"),
    "leave": recording("d_leave"),
    "complaint": (
        Recorded(
            "made here",
            "initiator",
            "from_node",
            {
                "jsonrpc": "2.0",
                "method": "channels.error",
                "params": {"channel_id": None, "data": {"message": "bad_signature"}},
            },
        ),
    ),
}
"""Every flow of the seed document, and those later legacy nodes had besides."""


def pairs(lines: tuple[Recorded, ...], *, is_seed: bool) -> Iterator[tuple[str, NodeInput, NodeInput]]:
    """The inputs of each frame of a flow, in today's dialect and in legacy's."""
    codec = SEED if is_seed else LATE
    for line in from_node(lines):
        legacy = None if isinstance(line.frame, list) else translate(line.frame, is_seed=is_seed)
        if legacy is None:
            continue
        today = JsonRpc().decode(line.text)
        if has_code_of_its_own(today):
            yield line.source, today, codec.decode(json.dumps(legacy))


@pytest.mark.parametrize("is_seed", [True, False], ids=["seed", "late"])
@pytest.mark.parametrize("flow", FLOWS)
def test_both_dialects_of_one_flow_decode_to_equal_inputs(flow: str, is_seed: bool) -> None:
    """The channel must not behave differently because its node is old."""
    compared = 0
    for source, today, then in pairs(FLOWS[flow], is_seed=is_seed):
        same = without_differences(today, is_seed=is_seed)
        assert without_differences(then, is_seed=is_seed) == same, source
        compared += 1
    assert compared


def test_the_flows_compared_hold_every_input() -> None:
    """An input no flow contains would be compared with nothing."""
    found = {type(today) for flow in FLOWS.values() for _, today, _ in pairs(flow, is_seed=False)}
    assert found == {
        InfoReported,
        SignRequested,
        StateUpdated,
        Conflicted,
        ChainReported,
        MessageReceived,
        ChannelLeft,
        ChannelErrored,
        RequestRefused,
        RequestAnswered,
    }


def test_the_flows_compared_hold_every_signature() -> None:
    """Each of the ten sign requests legacy has, so that none is read as another."""
    asked = {
        today.tag
        for flow in FLOWS.values()
        for _, today, _ in pairs(flow, is_seed=False)
        if isinstance(today, SignRequested)
    }
    assert asked == set(Tag) - SOLO


SOLO = {Tag.CLOSE_SOLO, Tag.SLASH, Tag.SETTLE, Tag.SNAPSHOT_SOLO, Tag.FORCE_PROGRESS}


def test_the_differences_are_differences() -> None:
    """A difference documented but not there would hide a mistake."""
    for flow in FLOWS.values():
        for source, _, then in pairs(flow, is_seed=True):
            match then:
                case Conflicted(code=code):
                    assert code == 2, source
                case ChainReported(info=info):
                    assert info is None, source
                case SignRequested():
                    assert not then.transaction.wrapped, source
                    assert then.transaction.signatures == (), source
                    assert then.updates is None, source
                case RequestAnswered(request_id=request_id) | RequestRefused(request_id=request_id):
                    assert request_id is None, source


# --- reading --------------------------------------------------------------------------------------------


def test_updates_inside_an_old_transaction_are_told() -> None:
    """Off-chain transactions of version 1 hold their updates: there the signer sees what is signed."""
    transfer = Update("OffChainTransfer", 2, ALICE, BOB)
    fields = {
        "channel_id": "ch_" + encoding.encode("ch", b"\x01" * 32)[3:],
        "round": 2,
        "updates": (transfer,),
        "state_hash": b"\x02" * 32,
    }
    text = encoding.encode_legacy("tx", transaction.build(Kind.OFFCHAIN, 1, fields))
    found = SEED.decode(json.dumps({"action": "sign", "tag": "update", "payload": {"tx": text}}))
    assert isinstance(found, SignRequested)
    assert found.updates == (transfer,)


@BOTH
@pytest.mark.parametrize(
    ("action", "tag", "payload", "expected"),
    [
        ("debug", None, {"message": "x"}, InfoReported(event="debug")),
        ("error", None, {"message": "bad_signature"}, ChannelErrored(message="bad_signature")),
        ("leave", None, None, ChannelLeft()),
        ("info", None, {"event": "died", "later": 1}, InfoReported(event="died")),
        ("future", None, None, Unhandled(method="future")),
        ("future", "thing", {}, Unhandled(method="future.thing")),
        ("sign", "future", {}, Unhandled(method="sign.future")),
    ],
)
def test_a_report_is_understood_in_either_profile(
    codec: Legacy, action: str, tag: str | None, payload: object, expected: NodeInput
) -> None:
    """What a frame lacks is absent or null; what we do not know is passed on."""
    parts = {"action": action, "tag": tag, "payload": payload}
    assert codec.decode(json.dumps(parts)) == expected
    assert codec.decode(json.dumps({key: part for key, part in parts.items() if part is not None})) == expected


@pytest.mark.parametrize(
    ("tag", "payload", "expected"),
    [
        ("balances", [{"account": ALICE, "balance": 10**30}], Balances(((ALICE, 10**30),))),
        ("balances", [], Balances(())),
        ("poi", {"poi": "pi_x"}, Proof("pi_x")),
        ("offchain_state", {"signed_tx": "", "half_signed_tx": ""}, OffchainState(None, None)),
        ("contract", {"contract": {}}, OtherAnswer('{"contract":{}}')),
        ("contract_call", "ok", OtherAnswer('"ok"')),
        ("later", [], OtherAnswer("[]")),
    ],
)
def test_an_answer_has_no_number(tag: str, payload: object, expected: Answer) -> None:
    """It belongs to the oldest open question of its kind; only its shape tells the kind."""
    found = LATE.decode(json.dumps({"action": "get", "tag": tag, "payload": payload, "version": 1}))
    assert found == RequestAnswered(request_id=None, answer=expected)
    assert not isinstance(expected, Accepted)


@pytest.mark.parametrize("action", ["dry_run", "calls_pruned"])
def test_answers_to_what_we_never_ask_are_kept_as_text(action: str) -> None:
    """Another client of that role may ask."""
    found = LATE.decode(json.dumps({"action": action, "payload": {"a": 1}}))
    assert found == RequestAnswered(request_id=None, answer=OtherAnswer('{"a":1}'))


@pytest.mark.parametrize(
    ("reason", "codes", "word"),
    [
        ("insufficient_balance", (1001,), "insufficient_balance"),
        ("broken_encoding: accounts, contracts", (1005, 1006), "broken_encoding"),
        ("broken_encoding", (104,), "broken_encoding"),
        ("broken_hexcode", (1009,), "broken_code"),
        ("unhandled", (-32601,), "unhandled"),
        ("conflict", (107,), "conflict"),
        ("unknown_recipient", (-32603,), "unknown_recipient"),
    ],
)
def test_a_reason_becomes_code_and_word(reason: str, codes: tuple[int, ...], word: str) -> None:
    """One table for both dialects; a text it lacks stays as it is."""
    found = LATE.decode(json.dumps({"action": "error", "payload": {"reason": reason}}))
    assert found == RequestRefused(request_id=None, codes=codes, reasons=(word,))


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        '"update"',
        '{"action":7}',
        '{"action":"info"}',
        '{"action":"sign","payload":{}}',
        '{"action":"sign","tag":"update","payload":{}}',
        '{"action":"update","payload":{"tx":"tx$1"}}',
        '{"action":"update","payload":{"state":"tx$1"}}',
        '{"action":"conflict","payload":{"round":"42"}}',
        '{"action":"conflict","payload":{"round":42,"channel_id":"ch$1"}}',
        '{"action":"info","channel_id":"ch_1","payload":{"event":"open"}}',
        '{"action":"get","tag":"balances","payload":[{"account":"ak_1","balance":1.0}]}',
        '{"action":"error","payload":{}}',
        '{"jsonrpc":"2.0","method":"channels.info","params":{"data":{"event":"open"}}}',
        "{'action':'info','payload':{'event':'open'}}",
        '{"action":"info","payload":{"event":"open","n":' + "9" * 5_000 + "}}",
        '{"action":"info","payload":' + "[" * 5_000,
    ],
)
@BOTH
def test_what_is_no_frame_is_one_named_error(codec: Legacy, text: str) -> None:
    """The channel lives on; the seed's own single quotes are no JSON."""
    with pytest.raises(FrameError) as caught:
        codec.decode(text)
    assert text.startswith(caught.value.excerpt[:100])


def test_a_long_frame_that_does_not_fit_is_kept_in_part() -> None:
    """Evidence of a broken frame is its first 1,000 bytes, whatever is broken in it."""
    text = json.dumps({"action": "info", "payload": {"events": "x" * 5_000}})
    with pytest.raises(FrameError, match="event") as caught:
        LATE.decode(text)
    assert caught.value.excerpt == text[:1_000]


def test_no_evidence_holds_a_credential() -> None:
    """Legacy nodes have none; a newer node between us might."""
    secret = encoding.encode("ba", b"\x07" * 32)
    found = LATE.decode(json.dumps({"action": "info", "payload": {"event": "x", "fsm_id": secret}}))
    refused = LATE.decode(json.dumps({"action": "error", "payload": {"reason": "x", "request": {"fsm_id": secret}}}))
    assert isinstance(refused, RequestRefused)
    assert secret not in found.raw + refused.raw + refused.request


# --- writing --------------------------------------------------------------------------------------------

TX = encoding.encode("tx", b"\x01\x02\x03")
OLD = {text: encoding.to_legacy(text) for text in (ALICE, BOB, TX)}
REQUESTS: list[tuple[NodeRequest, dict[str, Any]]] = [
    (
        AskTransfer(ANY_ID, ALICE, BOB, 5),
        {"action": "update", "tag": "new", "payload": {"from": ALICE, "to": BOB, "amount": 5}},
    ),
    (AskDeposit(ANY_ID, 10**27), {"action": "deposit", "payload": {"amount": 10**27}}),
    (AskWithdraw(ANY_ID, 5), {"action": "withdraw", "payload": {"amount": 5}}),
    (AskShutdown(ANY_ID), {"action": "shutdown"}),
    (SendMessage(ANY_ID, BOB, "ak_x"), {"action": "message", "payload": {"to": BOB, "info": "ak_x"}}),
    *((SendSignature(ANY_ID, tag, TX), {"action": tag.value, "payload": {"tx": TX}}) for tag in Tag if tag not in SOLO),
]
QUERIES: list[tuple[NodeRequest, dict[str, Any]]] = [
    (AskState(ANY_ID), {"action": "get", "tag": "offchain_state", "payload": {}}),
    (AskBalances(ANY_ID, (ALICE, BOB)), {"action": "get", "tag": "balances", "payload": {"accounts": [ALICE, BOB]}}),
    (
        AskProof(ANY_ID, (ALICE,)),
        {"action": "get", "tag": "poi", "payload": {"accounts": [ALICE], "contracts": []}},
    ),
    (Leave(ANY_ID), {"action": "leave"}),
]


@pytest.mark.parametrize(("request_", "frame"), REQUESTS + QUERIES)
def test_a_late_node_is_told_in_today_s_spelling(request_: NodeRequest, frame: dict[str, Any]) -> None:
    """`_` and base64, no request id, no tag where there is none."""
    assert json.loads(LATE.encode(request_)) == frame


@pytest.mark.parametrize(("request_", "frame"), REQUESTS)
def test_an_early_node_is_told_in_the_old_spelling(request_: NodeRequest, frame: dict[str, Any]) -> None:
    """`$` and base58 for keys and transactions; a message's text is nobody's key."""
    payload = frame.get("payload", {})
    old = {key: part if key == "info" else OLD.get(part, part) for key, part in payload.items()}
    assert json.loads(SEED.encode(request_)) == frame | ({"payload": old} if payload else {})


@pytest.mark.parametrize(
    ("codec", "request_"),
    [
        *((SEED, request) for request, _ in QUERIES),
        *(
            (codec, request)
            for codec in (SEED, LATE)
            for request in (
                Refuse(ANY_ID, Tag.UPDATE, 4),
                AskHistory(ANY_ID),
                AskDeposit(ANY_ID, 1, fee=1),
                AskWithdraw(ANY_ID, 1, fee=0),
                AskShutdown(ANY_ID, fee=1),
                AskTransfer(ANY_ID, ALICE, BOB, 1, meta=("x",)),
                AskDeposit(ANY_ID, 1, meta=("x",)),
                AskWithdraw(ANY_ID, 1, meta=("x",)),
                *(SendSignature(ANY_ID, tag, TX) for tag in SOLO),
            )
        ),
    ],
)
def test_what_the_dialect_cannot_say_is_refused(codec: Legacy, request_: NodeRequest) -> None:
    """A wish dropped in silence would be believed heard; the caller is told instead."""
    with pytest.raises(UnsupportedInDialect):
        codec.encode(request_)


# --- the address ----------------------------------------------------------------------------------------


def terms(role: Role, dialect: Dialect) -> Terms:
    return Terms(
        name=ChannelName("acme-7"),
        role=role,
        initiator=ALICE,
        responder=BOB,
        initiator_amount=100,
        responder_amount=50,
        network_id="ae_dev",
        dialect=dialect,
        host="node.example",
        port=3015,
        push_amount=3,
        opening={"ttl": "0", "lock_period": "20"},
    )


AMOUNTS = {
    "initiator_amount": "100",
    "responder_amount": "50",
    "push_amount": "3",
    "channel_reserve": "2",
    "lock_period": "20",
    "ttl": "0",
    "port": "3015",
}


def test_an_early_node_is_addressed_by_its_names() -> None:
    """Before 0.21 the parties were named otherwise, and the dialect had no name at all."""
    old = {"initiator": OLD[ALICE], "responder": OLD[BOB]}
    initiator = SEED.query(terms(Role.INITIATOR, Dialect.LEGACY_SEED), None)
    assert initiator == AMOUNTS | old | {"role": "initiator", "host": "node.example"}
    responder = SEED.query(terms(Role.RESPONDER, Dialect.LEGACY_SEED), None)
    assert responder == AMOUNTS | old | {"role": "responder"}


def test_an_early_node_has_nothing_to_resume() -> None:
    """Its FSM dies with the socket: asking to resume would open a second channel."""
    assert not SEED.is_resumable()
    with pytest.raises(UnsupportedInDialect):
        SEED.query(terms(Role.INITIATOR, Dialect.LEGACY_SEED), Resume(ChannelId("ch_x"), offchain_tx=TX))


def test_a_late_node_resumes_by_the_last_state() -> None:
    """Everything the channel was opened with, its id, and the latest co-signed transaction."""
    late = terms(Role.INITIATOR, Dialect.LEGACY_LATE)
    opened = dict(LATE.query(late, None))
    names = {"initiator_id": ALICE, "responder_id": BOB}
    assert opened == AMOUNTS | names | {"protocol": "legacy", "role": "initiator", "host": "node.example"}
    assert LATE.is_resumable()
    resumed = LATE.query(late, Resume(ChannelId("ch_x"), FsmId("ba_x"), TX))
    assert resumed == opened | {"existing_channel_id": "ch_x", "offchain_tx": TX}
    assert "host" not in LATE.query(terms(Role.RESPONDER, Dialect.LEGACY_LATE), None)


def test_today_s_dialect_is_no_profile() -> None:
    """A codec built by mistake would speak the wrong language to a real node."""
    with pytest.raises(ValueError, match="profile"):
        Legacy(Dialect.JSON_RPC)


# --- any bytes ------------------------------------------------------------------------------------------

HEARD = (
    *from_node(corpus("seed")),
    *(
        replace(line, frame=legacy)
        for flow in FLOWS.values()
        for line in from_node(flow)
        if not isinstance(line.frame, list)
        for legacy in [translate(line.frame, is_seed=False)]
        if legacy is not None
    ),
)


@given(st.one_of(st.binary(), st.text()))
@settings(max_examples=300)
@BOTH
def test_any_bytes_give_an_input_or_the_one_error(codec: Legacy, text: str | bytes) -> None:
    """Nothing a socket can carry raises anything else."""
    with pytest.raises(FrameError):
        codec.decode(text)


@given(mutated(one_of_each(HEARD)))
@settings(max_examples=400, deadline=None)
def test_a_damaged_frame_gives_an_input_or_the_one_error(text: str | bytes) -> None:
    """Real frames with parts replaced, lost or flipped: the harder half of any bytes."""
    assert isinstance(outcome(LATE, text), NodeInput | FrameError)
