"""Today's dialect, against every frame real nodes and clients exchanged, and against frames no node should send."""

import json
from collections import Counter
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
    History,
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
from bridge.channel.terms import Role, Terms
from bridge.channel.transaction import Kind, Update
from bridge.errors import FrameError
from bridge.wire.dialect import Resume
from bridge.wire.jsonrpc import REPLY_METHODS, JsonRpc
from bridge.wire.strictjson import MAX_FRAME_BYTES
from tests.wire.mutation import mutated, one_of_each, outcome
from tests.wire.recorded import Recorded, everything, from_node, recording, to_node

CODEC = JsonRpc()
SPOKEN = tuple(line for line in everything() if isinstance(line.frame, list) or "action" not in line.frame)
HEARD = from_node(SPOKEN)

REPORTED: dict[str, type[Any]] = {
    "channels.info": InfoReported,
    "channels.update": StateUpdated,
    "channels.conflict": Conflicted,
    "channels.on_chain_tx": ChainReported,
    "channels.message": MessageReceived,
    "channels.leave": ChannelLeft,
    "channels.error": ChannelErrored,
    "channels.debug": InfoReported,
    "channels.system.pong": RequestAnswered,
    "channels.get.balances.reply": RequestAnswered,
    "channels.get.poi.reply": RequestAnswered,
    "channels.get.offchain_state.reply": RequestAnswered,
    "channels.get.contract.reply": RequestAnswered,
    "channels.get.contract_call.reply": RequestAnswered,
    "channels.dry_run.call_contract.reply": RequestAnswered,
    "channels.calls_pruned.reply": RequestAnswered,
    "channels.history.fetch.reply": RequestAnswered,
} | {f"channels.sign.{tag.value}": SignRequested for tag in Tag}
"""Every method of protocol.md C.2 and C.5."""

ALICE, BOB = (recording("open")[0].frame[name] for name in ("initiator_id", "responder_id"))


def kind_of(line: Recorded) -> type[NodeInput]:
    frame = line.frame
    if isinstance(frame, list):
        return Unhandled
    if "method" in frame:
        kind: type[NodeInput] = REPORTED[frame["method"]]
        return kind
    return RequestRefused if "error" in frame else RequestAnswered


def notification(method: str, data: object, channel_id: str | None = None) -> str:
    params = {"channel_id": channel_id, "data": data}
    return json.dumps({"jsonrpc": "2.0", "version": 1, "method": method, "params": params})


def answer(result: object, request_id: object = 7) -> str:
    return json.dumps({"jsonrpc": "2.0", "version": 1, "id": request_id, "channel_id": None, "result": result})


# --- what nodes said ------------------------------------------------------------------------------------


def test_every_frame_a_node_sent_is_understood() -> None:
    """Eleven thousand frames of real nodes: each is the input its method names, with its evidence."""
    kinds: Counter[str] = Counter()
    for line in HEARD:
        found = CODEC.decode(line.text)
        assert type(found) is kind_of(line), line.source
        kinds[type(found).__name__] += 1
    assert sum(kinds.values()) > 10_000
    assert kinds["Unhandled"] == 1, "the one batch, which a client asked for"
    assert set(kinds) == {kind.__name__ for kind in (*REPORTED.values(), RequestRefused, Unhandled)} - {
        "ChannelErrored"
    }, "no recorded node had a complaint of its own"


def test_nothing_of_a_frame_is_lost_or_invented() -> None:
    """The fields of an input are those of the frame, for every report a real node made."""
    for line in HEARD:
        found = CODEC.decode(line.text)
        if isinstance(found, RequestAnswered | RequestRefused | Unhandled):
            continue
        params = line.frame["params"]
        data = params["data"]
        assert found.channel_id == params["channel_id"], line.source
        match found:
            case InfoReported():
                assert (found.event, found.fsm_id) == (data["event"], data.get("fsm_id"))
            case SignRequested():
                assert found.tag == line.frame["method"].removeprefix("channels.sign.")
                assert found.transaction.text == data["signed_tx"]
                assert found.updates is not None
                assert [update.op for update in found.updates] == [entry["op"] for entry in data["updates"]]
            case StateUpdated():
                assert found.transaction.text == data["state"]
            case Conflicted():
                assert [found.round, found.code, found.message] == [
                    data[name] for name in ("round", "error_code", "error_msg")
                ]
            case ChainReported():
                assert [found.transaction.text, found.info] == [data["tx"], data["info"]]
                # Of a generalized account the outermost transaction is the one that authenticates.
                assert found.transaction.kind in {data["type"], Kind.GA_META}
            case MessageReceived():
                told = [data["message"][name] for name in ("from", "to", "info")]
                assert [found.from_account, found.to_account, found.info] == told
            case ChannelLeft(transaction=state):
                assert state is not None
                assert state.text == data["state"]
            case ChannelErrored():
                assert found.message == data["message"]


def test_a_transfer_in_a_sign_request_says_who_pays_whom() -> None:
    """The signer sees the amounts here only: the transaction of today does not hold them."""
    [asked] = [line for line in from_node(recording("open")) if "sign.update_ack" in line.text]
    found = CODEC.decode(asked.text)
    assert isinstance(found, SignRequested)
    entry = asked.frame["params"]["data"]["updates"][0]
    assert found.updates == (Update("OffChainTransfer", entry["amount"], entry["from"], entry["to"]),)
    assert found.transaction.wrapped
    assert len(found.transaction.signatures) == 1


def test_meta_texts_of_an_update_are_kept() -> None:
    """The number of our attempt travels there; losing it would make our own proposal a stranger's."""
    entries = [{"op": "OffChainTransfer", "amount": 1, "from": ALICE, "to": BOB}]
    entries.append({"op": "OffChainMeta", "data": "hello"})
    [asked] = [line for line in from_node(recording("open")) if "sign.update_ack" in line.text]
    signed_tx = asked.frame["params"]["data"]["signed_tx"]
    found = CODEC.decode(notification("channels.sign.update", {"signed_tx": signed_tx, "updates": entries}))
    assert isinstance(found, SignRequested)
    assert found.updates is not None
    assert found.updates[1] == Update("OffChainMeta", data="hello")


def test_the_bare_field_of_older_nodes_is_read() -> None:
    """Before 4.0 the transaction stood in `tx`, and no updates beside it."""
    [asked] = [line for line in from_node(recording("open")) if "sign.update_ack" in line.text]
    text = asked.frame["params"]["data"]["signed_tx"]
    found = CODEC.decode(notification("channels.sign.update", {"tx": text}))
    assert isinstance(found, SignRequested)
    assert (found.transaction.text, found.updates) == (text, None)


def test_a_conflict_without_a_code_is_code_2() -> None:
    """Nodes before 5.0 told the round only."""
    found = CODEC.decode(notification("channels.conflict", {"round": 3}))
    assert found == Conflicted(round=3, code=2, message="conflict")


def test_a_complaint_and_a_debug_line_are_understood() -> None:
    """No recorded node sent them, the protocol knows them."""
    complaint = CODEC.decode(notification("channels.error", {"message": "bad_signature"}))
    assert complaint == ChannelErrored(message="bad_signature")
    assert CODEC.decode(notification("channels.debug", {"message": "x"})) == InfoReported(event="debug")


@pytest.mark.parametrize("method", sorted(REPORTED))
def test_no_method_of_the_protocol_is_unknown(method: str) -> None:
    """With nothing in it a known method is a broken frame, not an unknown one."""
    try:
        found = CODEC.decode(notification(method, {}))
    except FrameError:
        return
    assert not isinstance(found, Unhandled)


@pytest.mark.parametrize(
    "method", ["channels.nope", "channels.sign.nope", "info", "channels.", "", "sign.update", "x" * 5_000]
)
def test_an_unknown_method_is_passed_on(method: str) -> None:
    """Nodes grow. What we do not know becomes an event with its name, never an error."""
    found = CODEC.decode(notification(method, [1, {"a": None}]))
    assert found == Unhandled(method=method[:200])


# --- answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("ok", Accepted()),
        ([], Balances(())),
        ([{"account": ALICE, "balance": 10**30}], Balances(((ALICE, 10**30),))),
        ({"poi": "pi_x"}, Proof("pi_x")),
        ({"trees": "ss_", "calls": "cs_", "signed_tx": "", "half_signed_tx": ""}, OffchainState(None, None)),
        ({"action": "calls_pruned"}, OtherAnswer('{"action":"calls_pruned"}')),
        ("no", OtherAnswer('"no"')),
        (None, OtherAnswer("null")),
        ([{"account": ALICE}], OtherAnswer(json.dumps([{"account": ALICE}], separators=(",", ":")))),
    ],
)
def test_an_answer_is_typed_by_its_shape(result: object, expected: Answer) -> None:
    """An answer does not repeat its question; what fits no question of ours is kept as text."""
    assert CODEC.decode(answer(result)) == RequestAnswered(request_id=RequestId(7), answer=expected)


def test_the_state_answer_holds_both_transactions() -> None:
    """After a reconnect this answer alone says what became of the operation in flight."""
    seen = 0
    for line in HEARD:
        found = CODEC.decode(line.text)
        if isinstance(found, RequestAnswered) and isinstance(found.answer, OffchainState):
            told = line.frame["result"]
            state = found.answer
            assert ("" if state.signed is None else state.signed.text) == told["signed_tx"]
            assert ("" if state.half_signed is None else state.half_signed.text) == told["half_signed_tx"]
            seen += state.half_signed is not None
    assert seen > 3


def test_the_history_answer_holds_the_conflicts_in_order() -> None:
    """Rule 5 reads from it how an operation ended while we were away."""
    [asked, *_] = [line for line in from_node(recording("history_after_reconnect")) if '"report"' in line.text]
    found = CODEC.decode(asked.text)
    assert isinstance(found, RequestAnswered)
    told = [(entry["info"]["error_code"], entry["info"]["round"], entry["time"]) for entry in asked.frame["result"]]
    assert found.answer == History(tuple(told))
    assert told == sorted(told, key=lambda entry: entry[2], reverse=True), "newest first, by times that sort as text"
    assert told


def test_only_conflict_reports_count_in_the_history() -> None:
    """The node's memory also holds what was received and sent."""
    entries = [
        {"type": "receive", "tag": "conflict", "time": "", "info": {"error_code": 9, "round": 1}},
        {"type": "report", "tag": "info", "time": "", "info": {"event": "open"}},
        {"type": "report", "tag": "conflict", "time": "", "info": {"error_code": 3, "round": 4}},
        {"type": "report", "tag": "conflict", "time": "", "info": {}},
    ]
    found = CODEC.decode(answer(entries))
    assert found == RequestAnswered(request_id=RequestId(7), answer=History(((3, 4, ""), (2, None, ""))))


@pytest.mark.parametrize("request_id", [None, "7", {"a": 1}, [7], 7.0, True])
def test_an_answer_without_a_number_is_none_of_ours(request_id: object) -> None:
    """All our requests carry numbers: another client's answer must not be taken for an open question's."""
    found = CODEC.decode(answer("ok", request_id))
    assert found == RequestAnswered(request_id=None, answer=OtherAnswer('"ok"'))


@pytest.mark.parametrize(
    ("error", "codes", "reasons"),
    [
        ({"code": 3, "data": [{"code": 1001, "message": "x"}]}, (1001,), ("insufficient_balance",)),
        ({"code": 3, "data": [{"code": 1005}, {"code": 1006}]}, (1005, 1006), ("broken_encoding",)),
        ({"code": 3, "data": [{"code": 1018}], "request": {"a": 1}}, (1018,), ("not_allowed_now",)),
        ({"code": 3, "data": []}, (3,), ("rejected",)),
        ({"code": -32601, "message": "Method not found"}, (-32601,), ("unhandled",)),
        ({"code": 4711}, (4711,), ("unknown",)),
    ],
)
def test_a_refusal_says_why(error: dict[str, object], codes: tuple[int, ...], reasons: tuple[str, ...]) -> None:
    """The data codes if there are any, else the top code; both with the words both dialects share."""
    found = CODEC.decode(json.dumps({"jsonrpc": "2.0", "id": 7, "channel_id": None, "error": error}))
    assert found == RequestRefused(request_id=RequestId(7), codes=codes, reasons=reasons)
    assert isinstance(found, RequestRefused)
    assert found.request == ('{"a":1}' if "request" in error else "")


# --- what clients said ----------------------------------------------------------------------------------


def request_of(method: str, params: dict[str, Any], request_id: RequestId) -> NodeRequest | None:
    """The neutral request a recorded client frame stands for; None where our vocabulary has no word for it."""
    tags = {reply: tag for tag, reply in REPLY_METHODS.items()}
    match method.removeprefix("channels."), params:
        case word, {"signed_tx": str(signed_tx)} if word in tags and len(params) == 1:
            return SendSignature(request_id, tags[word], signed_tx)
        case word, {"error": int(code)} if word in tags and len(params) == 1:
            return Refuse(request_id, tags[word], code)
        case "update.new", {"from": sender, "to": receiver, "amount": int(amount)}:
            meta = params.get("meta", [])
            is_ours = set(params) <= {"from", "to", "amount", "meta"} and isinstance(meta, list)
            return AskTransfer(request_id, sender, receiver, amount, tuple(meta)) if is_ours else None
        case "deposit" | "withdraw" as word, {"amount": int(amount)} if set(params) <= {"amount", "fee"}:
            ask = AskDeposit if word == "deposit" else AskWithdraw
            return ask(request_id, amount, params.get("fee"))
        case "shutdown", _ if set(params) <= {"fee"}:
            return AskShutdown(request_id, params.get("fee"))
        case "message", {"to": receiver, "info": str(info)}:
            return SendMessage(request_id, receiver, info)
        case "get.offchain_state", {}:
            return AskState(request_id)
        case "get.balances", {"accounts": accounts}:
            return AskBalances(request_id, tuple(accounts))
        case "get.poi", {"accounts": accounts} if len(params) == 1:
            return AskProof(request_id, tuple(accounts))
        case "history.fetch", {"n": int(count), "type": ["rpt"], "tag": ["conflict"]}:
            return AskHistory(request_id, count)
        case "leave", {}:
            return Leave(request_id)
    return None


def test_every_request_is_written_as_real_clients_write_it() -> None:
    """Method and parameters of each of our requests equal those a real node understood."""
    written: Counter[str] = Counter()
    for line in to_node(SPOKEN):
        request_id = RequestId(line.frame["id"] if isinstance(line.frame.get("id"), int) else 1)
        request = request_of(line.frame["method"], line.frame["params"], request_id)
        if request is None:
            continue
        frame = json.loads(CODEC.encode(request))
        expected = {"jsonrpc": "2.0", "method": line.frame["method"], "params": line.frame["params"]}
        assert frame == expected | {"id": request_id}, line.source
        written[type(request).__name__] += 1
    assert set(written) == {kind.__name__ for kind in NodeRequest.__args__}
    assert sum(written.values()) > 3_000


def test_each_sign_request_has_its_reply_method() -> None:
    """Three of fifteen are named otherwise than the request; by the wrong name the signature is lost."""
    replied = {line.frame["method"] for line in to_node(SPOKEN) if "signed_tx" in line.frame["params"]}
    assert {f"channels.{method}" for method in REPLY_METHODS.values()} == replied
    differing = {tag: method for tag, method in REPLY_METHODS.items() if tag.value != method}
    assert differing == {
        Tag.SLASH: "slash_sign",
        Tag.SNAPSHOT_SOLO: "snapshot_solo_sign",
        Tag.FORCE_PROGRESS: "force_progress_sign",
    }


def test_an_amount_is_written_as_a_whole_number() -> None:
    """A node refuses amounts as text, and a float would lose the last coins."""
    text = CODEC.encode(AskDeposit(RequestId(1), 10**27 + 1, fee=10**20 + 1))
    assert '"amount":1000000000000000000000000001,"fee":100000000000000000001' in text


# --- the address ----------------------------------------------------------------------------------------


def terms_of(connect: dict[str, Any], **changes: Any) -> Terms:
    opening = {name: str(connect[name]) for name in ("minimum_depth", "minimum_depth_strategy")}
    return Terms(
        name=ChannelName("acme-7"),
        role=Role(connect["role"]),
        initiator=Account(connect["initiator_id"]),
        responder=Account(connect["responder_id"]),
        initiator_amount=connect["initiator_amount"],
        responder_amount=connect["responder_amount"],
        network_id="ae_dev",
        port=connect["port"],
        opening=opening | changes,
    )


@pytest.mark.parametrize("role", ["initiator", "responder"])
def test_a_channel_is_opened_as_the_real_client_opened_it(role: str) -> None:
    """A missing parameter closes the socket without a word."""
    [connect] = [line.frame for line in recording("open") if line.direction == "connect" and line.who == role]
    written = CODEC.query(terms_of(connect), None)
    assert written == {name: str(value) for name, value in connect.items()}
    assert CODEC.is_resumable()


@pytest.mark.parametrize("role", ["initiator", "responder"])
def test_a_channel_is_resumed_as_the_real_client_resumed_it(role: str) -> None:
    """Credential and meeting place, nothing else: the node keeps the rest."""
    lines = [line for line in everything() if line.direction == "connect" and line.who == role]
    [again, *_] = [line.frame for line in lines if {"existing_fsm_id", "role", "port"} <= set(line.frame)]
    opened = next(line.frame for line in lines if "initiator_amount" in line.frame)
    resume = Resume(ChannelId(again["existing_channel_id"]), FsmId(again["existing_fsm_id"]))
    written = CODEC.query(terms_of(opened | {"port": again["port"]}), resume)
    assert written == {name: str(value) for name, value in again.items()}


def test_the_configuration_s_own_parameters_win() -> None:
    """An operator who names a parameter means it."""
    [connect, *_] = [line.frame for line in recording("open") if line.direction == "connect"]
    written = CODEC.query(terms_of(connect, lock_period="99", timeout_idle="600001"), None)
    assert (written["lock_period"], written["timeout_idle"]) == ("99", "600001")


# --- the secret -----------------------------------------------------------------------------------------


def test_no_evidence_holds_the_credential() -> None:
    """Raw frames are published and stored by others; with the `fsm_id` anybody could take the channel."""
    seen = 0
    for line in HEARD:
        data = line.frame["params"]["data"] if "params" in line.frame else {}
        fsm_id = data.get("fsm_id") if isinstance(data, dict) else None
        if fsm_id is None:
            continue
        found = CODEC.decode(line.text)
        assert fsm_id not in found.raw
        assert '"ba_…"' in found.raw
        assert json.loads(found.raw)["params"]["data"]["event"] == data["event"]
        assert fsm_id not in repr(found)
        seen += 1
    assert seen > 700


def test_an_answer_kept_as_text_is_masked() -> None:
    """What we did not ask for may hold anything."""
    secret = recording("open")[1].frame["params"]["data"]["fsm_id"]
    found = CODEC.decode(answer({"fsm_id": secret, "a": 1}))
    assert found == RequestAnswered(request_id=RequestId(7), answer=OtherAnswer('{"fsm_id":"ba_…","a":1}'))


def test_an_echoed_request_is_masked() -> None:
    """A refused reconnect may repeat the credential that was refused, in any spelling."""
    secret = recording("open")[1].frame["params"]["data"]["fsm_id"]
    request = {"params": {"existing_fsm_id": secret, "note": json.dumps({"fsm_id": secret})}}
    error = {"code": 3, "message": f"bad {secret}", "request": request}
    found = CODEC.decode(json.dumps({"jsonrpc": "2.0", "id": None, "error": error}))
    assert isinstance(found, RequestRefused)
    assert secret not in found.request + found.raw
    assert "existing_fsm_id" in found.request


@pytest.mark.parametrize("cut", range(90, 180, 7))
def test_a_cut_frame_keeps_the_secret(cut: int) -> None:
    """An excerpt of what is no frame is evidence too."""
    line = recording("open")[1]
    secret = line.frame["params"]["data"]["fsm_id"]
    with pytest.raises(FrameError) as caught:
        CODEC.decode(line.text[:cut])
    assert secret[3:9] not in caught.value.excerpt + caught.value.reason + str(caught.value)


# --- what no node should send ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "{}",
        "7",
        "null",
        '{"jsonrpc":"1.0","method":"channels.info","params":{"data":{"event":"open"}}}',
        '{"jsonrpc":"2.0","method":7}',
        '{"jsonrpc":"2.0","method":"channels.info"}',
        '{"jsonrpc":"2.0","method":"channels.info","params":{"channel_id":"ch_broken","data":{"event":"open"}}}',
        '{"jsonrpc":"2.0","method":"channels.update","params":{"data":{"state":"tx_broken"}}}',
        '{"jsonrpc":"2.0","method":"channels.sign.update","params":{"data":{"updates":[]}}}',
        '{"jsonrpc":"2.0","method":"channels.conflict","params":{"data":{"round":"1"}}}',
        '{"jsonrpc":"2.0","method":"channels.conflict","params":{"data":{"round":1.0}}}',
        '{"jsonrpc":"2.0","method":"channels.conflict","params":{"data":{"round":-1}}}',
        '{"jsonrpc":"2.0","method":"channels.conflict","params":{"data":{"round":true}}}',
        '{"jsonrpc":"2.0","id":1,"result":[{"account":"a","balance":1.5}]}',
        '{"jsonrpc":"2.0","id":1,"result":NaN}',
        '{"jsonrpc":"2.0","id":1,"result":1e999}',
        '{"jsonrpc":"2.0","id":1,"result":"\\ud800"}',
        '{"jsonrpc":"2.0","id":1,"result":"ok"} {}',
        '\ufeff{"jsonrpc":"2.0","id":1,"result":"ok"}',
        "\ud800",
        b"\xff\xfe",
        b'{"jsonrpc":"2.0","id":1,"result":"\xff"}',
    ],
)
def test_what_is_no_frame_is_one_named_error(text: str | bytes) -> None:
    """The channel lives on; the text becomes evidence of at most 1,000 bytes."""
    with pytest.raises(FrameError) as caught:
        CODEC.decode(text)
    assert caught.value.reason
    assert "\n" not in caught.value.reason, "one line, for a log and an event"
    assert len(caught.value.excerpt.encode()) <= 1_000


@pytest.mark.parametrize("digits", [101, 4_300, 4_301, 100_000])
def test_an_endless_number_is_one_named_error(digits: int) -> None:
    """Python refuses to read numbers of more than 4,300 digits with an error of its own."""
    with pytest.raises(FrameError, match="digits"):
        CODEC.decode('{"jsonrpc":"2.0","id":1,"result":' + "9" * digits + "}")


def test_a_number_of_a_hundred_digits_is_exact() -> None:
    """Amounts are exact however large."""
    found = CODEC.decode(answer([{"account": ALICE, "balance": 10**99 + 1}]))
    assert isinstance(found, RequestAnswered)
    assert found.answer == Balances(((ALICE, 10**99 + 1),))


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"b":'])
@pytest.mark.parametrize("depth", [65, 1_000, 200_000])
def test_deep_nesting_is_one_named_error(opening: str, depth: int) -> None:
    """A stack that overflows would take all channels of the process with it."""
    with pytest.raises(FrameError, match="nested"):
        CODEC.decode('{"jsonrpc":"2.0","id":1,"result":' + opening * depth)


def test_brackets_in_texts_are_no_nesting() -> None:
    """A message may consist of brackets."""
    sent = {"message": {"from": ALICE, "to": BOB, "info": '[{"' * 500}}
    found = CODEC.decode(notification("channels.message", sent))
    assert isinstance(found, MessageReceived)
    assert found.info == '[{"' * 500


def test_wide_frames_are_not_deep() -> None:
    """Many updates beside each other are no nesting either."""
    found = CODEC.decode(answer([{"n": [{}]} for _ in range(200)]))
    assert isinstance(found, RequestAnswered)


def test_a_frame_beyond_four_mebibytes_is_refused() -> None:
    """What does not fit into an event is not read at all; up to the limit it is."""
    fitting = answer("x" * (MAX_FRAME_BYTES - len(answer(""))))
    assert len(fitting) == MAX_FRAME_BYTES
    assert isinstance(CODEC.decode(fitting), RequestAnswered)
    for text in (fitting + " ", (fitting + " ").encode(), answer("é").replace("\\u00e9", "é" * (2**21))):
        with pytest.raises(FrameError, match="bytes"):
            CODEC.decode(text)


def test_repeated_and_unknown_keys_are_tolerated() -> None:
    """A node is not a client: what it adds must not stop a channel."""
    text = (
        '{"jsonrpc":"2.0","method":"channels.info","later":1,"params":{"data":{"event":"a","event":"open","new":[]}}}'
    )
    assert CODEC.decode(text) == InfoReported(event="open")


def test_a_binary_frame_is_read_like_a_text() -> None:
    """The kind of WebSocket frame is no reason to lose what it says."""
    line = recording("open")[1]
    assert CODEC.decode(line.text.encode()) == CODEC.decode(line.text)


@pytest.mark.parametrize("prefix", ["ch_", "ch$"])
def test_an_endless_id_is_refused_before_it_is_computed(prefix: str) -> None:
    """Reading base58 costs the square of its length: a long one would stop every channel."""
    with pytest.raises(FrameError, match="too long for a channel id"):
        CODEC.decode(notification("channels.info", {"event": "open"}, prefix + "z" * 101))


@pytest.mark.timeout(5)
def test_an_endless_account_stays_text() -> None:
    """The same holds for accounts, which are passed on unread: each of these would cost a second to read."""
    sender = "ak_" + "z" * 190_000
    text = notification("channels.message", {"message": {"from": sender, "to": sender, "info": ""}})
    expected = MessageReceived(from_account=sender, to_account=sender, info="")
    assert [CODEC.decode(text) for _ in range(5)] == [expected] * 5


def test_a_long_frame_that_does_not_fit_is_kept_in_part() -> None:
    """Evidence of a broken frame is its first 1,000 bytes, whatever is broken in it."""
    text = notification("channels.info", {"events": "é" * 5_000})
    with pytest.raises(FrameError, match="event") as caught:
        CODEC.decode(text)
    assert caught.value.excerpt == text[:1_000]


@given(st.one_of(st.binary(), st.text()))
@settings(max_examples=300)
def test_any_bytes_give_an_input_or_the_one_error(text: str | bytes) -> None:
    """Nothing a socket can carry raises anything else."""
    with pytest.raises(FrameError):
        CODEC.decode(text)


@given(mutated(one_of_each(HEARD)))
@settings(max_examples=400, deadline=None)
def test_a_damaged_frame_gives_an_input_or_the_one_error(text: str | bytes) -> None:
    """Real frames with parts replaced, lost or flipped: the harder half of any bytes."""
    assert isinstance(outcome(CODEC, text), NodeInput | FrameError)
