"""The audit of a whole house: every kind of record is there, in the order things happened, and the chain holds."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from bridge.app import auditreport
from bridge.channel.terms import Role, SigningForm
from bridge.channel.transaction import Kind
from bridge.journal.auditcheck import Anchor, Verdict
from bridge.sim.fault import Refuse
from bridge.sim.nemesis import carry_out
from bridge.wire import encoding
from bridge.wire import transaction as codec
from bridge.wire.serialization import build
from tests.system.house import NETWORK, House, Pair, house
from tests.system.test_operator import doubtful
from tests.system.test_reattach import pay

PAIR = Pair("today")
Row = Mapping[str, Any]


def rows(home: House) -> list[Row]:
    """As an auditor gets them, while the bridge runs."""
    return [json.loads(line) for line in auditreport.export(journal(home), 0)]


def journal(home: House) -> Path:
    return auditreport.journal_file(home.directory / "data")


def check(home: House, anchor: Anchor | None = None) -> Verdict:
    return auditreport.check(journal(home), None, anchor)


def course(home: House, command_id: str) -> list[tuple[str, str]]:
    return [(row["kind"], row["verdict"]) for row in rows(home) if row["command_id"] == command_id]


def strange_request(home: House) -> str:
    """The node asks for a signature nobody began."""
    channel_id = home.state(PAIR.initiator).channel_id
    inner = build(Kind.OFFCHAIN, 2, {"channel_id": channel_id, "round": 9, "state_hash": bytes(32)})
    payload = codec.signing_payload(inner, NETWORK, SigningForm.NETWORK_HASH)
    signature = SigningKey(PAIR.key("responder")).sign(payload).signature
    data = {"signed_tx": encoding.encode("tx", codec.wrap([signature], inner)), "updates": []}
    params = {"channel_id": channel_id, "data": data}
    return json.dumps({"jsonrpc": "2.0", "method": "channels.sign.update_ack", "params": params})


async def test_a_payment_is_told_from_its_author_to_its_outcome(amqp_url: str, tmp_path: Path) -> None:
    """Both sides, each thing once, and each names the transaction that was signed."""
    async with house(amqp_url, tmp_path, PAIR) as home:
        await home.opened()
        result = await pay(home, PAIR, 5)
        await home.event(PAIR.responder, "transfer.received")
        assert course(home, str(result["command_id"])) == [
            ("command", "accepted"),
            ("policy", "permitted"),
            ("sign_request", "asked"),
            ("forward", "handed_over"),
            ("outcome", "succeeded"),
        ]
        signed = [row for row in rows(home) if row["tx_hash"] == result["tx_hash"]]
        assert [(row["kind"], row["verdict"]) for row in signed if row["channel"] == PAIR.responder] == [
            ("policy", "permitted"),
            ("sign_request", "asked"),
            ("sign_reply", "accepted"),
            ("forward", "handed_over"),
            ("outcome", "cosigned"),
        ]
        authors = {row["kind"]: row["author"] for row in signed if row["channel"] == PAIR.initiator}
        assert set(authors) == {"sign_request", "sign_reply", "forward", "outcome"}
        assert None not in authors.values()
        assert check(home).is_whole


async def test_the_log_of_a_start_has_an_anchor(
    amqp_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever keeps the log elsewhere finds an audit that was cut or written anew, also with its counts mended."""
    caplog.set_level(logging.INFO)
    async with house(amqp_url, tmp_path, PAIR) as home:
        await home.opened()
        before = check(home).head
        await home.stop_bridge()
        caplog.clear()
        await home.start_bridge()
        await pay(home, PAIR, 5)
        [anchor] = [record.anchor for record in caplog.records if record.msg == "audit_head"]  # type: ignore[attr-defined]
        kept = auditreport.read_anchor(anchor)
        assert kept.seq >= before.seq
        assert check(home, kept).is_anchored


async def test_every_kind_of_record_appears_and_the_chain_holds(amqp_url: str, tmp_path: Path) -> None:
    """Good and bad commands and replies, a denial, a strange node, a void signature, an operator, a restart."""
    async with house(amqp_url, tmp_path, PAIR) as home:
        assert home.client is not None
        in_doubt = await doubtful(home, PAIR)
        reason = "the peer says he never signed"
        await home.run(PAIR.initiator, "resolve", target=in_doubt, outcome="failed", reason=reason)
        assert (await pay(home, PAIR, 5))["outcome"] == "succeeded"
        await carry_out(home.node, Refuse(role=Role.RESPONDER, code=2))
        assert (await pay(home, PAIR, 6))["outcome"] == "succeeded"
        costly = await home.run(PAIR.initiator, "deposit", amount="5", fee=str(2 * 10**18))
        assert costly["code"] == "policy_denied"
        await home.client.send_raw(PAIR.initiator, "transfer", b"{nonsense")
        await home.until(lambda: next((r for r in home.results if r["outcome"] == "rejected"), None))
        key = f"{PAIR.account('initiator')}.{PAIR.initiator}"
        await home.client.publish("sign-replies", key, b'{"sign_request_id": "x.1", "refusal": {"reason": "no"}}')
        await home.client.publish("sign-replies", key, b"@@")
        await home.until(lambda: True if len([r for r in home.results if r["outcome"] == "refused"]) == 2 else None)
        home.inject(PAIR.initiator, strange_request(home))
        await home.event(PAIR.initiator, "sign.mismatch")
        anchor = check(home).head
        await home.stop_bridge()
        assert check(home, anchor).is_anchored, "a journal nobody has open is read too"
        await home.start_bridge()
        await pay(home, PAIR, 7)

        told = {(row["kind"], row["verdict"]) for row in rows(home)}
        assert told >= {
            ("command", "accepted"),
            ("command", "refused"),
            ("policy", "permitted"),
            ("policy", "denied"),
            ("check", "refused"),
            ("sign_request", "asked"),
            ("sign_reply", "accepted"),
            ("sign_reply", "refused"),
            ("forward", "handed_over"),
            ("abandonment", "exposed"),
            ("outcome", "succeeded"),
            ("outcome", "in_doubt"),
            ("outcome", "failed"),
            ("outcome", "cosigned"),
            ("operator", "failed"),
        }
        refusals = [row["code"] for row in rows(home) if (row["kind"], row["verdict"]) == ("sign_reply", "refused")]
        assert refusals == ["sign_request_unknown", "malformed"]
        [operator] = [row for row in rows(home) if row["kind"] == "operator"]
        assert (operator["command_id"], bool(operator["author"])) == (in_doubt, True)
        verdict = check(home, anchor)
        assert (verdict.told, verdict.is_anchored) == ((), True)
        assert [row["seq"] for row in rows(home)] == list(range(1, verdict.rows + 1))
