"""Bad input gets a clear error with a stable code, nothing is lost, and what stands around it runs."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.app.busclient import user_of
from bridge.broker.connection import Connection
from tests.broker.raw import CASES as CASES_OF_PROPERTIES
from tests.broker.raw import Case, RawProperties, entry, publish_raw, short, table, text
from tests.system.house import House, Pair, house

PAIR = Pair("today")


@pytest.fixture
async def home(amqp_url: str, tmp_path: Path) -> AsyncIterator[House]:
    async with house(amqp_url, tmp_path, PAIR) as made:
        await made.opened()
        yield made


def transfer(**changes: Any) -> dict[str, Any]:
    body = {
        "command_id": "bad-1",
        "issued_at": datetime.now(UTC).isoformat(),
        "from": PAIR.account("initiator"),
        "to": PAIR.account("responder"),
        "amount": "5",
    }
    return {name: value for name, value in (body | changes).items() if value is not ...}


def deep(levels: int) -> Any:
    return [deep(levels - 1)] if levels else []


def written(amount: str) -> bytes:
    """A transfer whose amount is that literal, which no JSON writer would write."""
    return json.dumps(transfer(amount=0)).replace('"amount": 0', f'"amount": {amount}').encode()


CASES: list[tuple[str, bytes | dict[str, Any], str]] = [
    ("not JSON", b"{nonsense", "malformed"),
    ("two values", b"{} {}", "malformed"),
    ("not an object", b"[1]", "malformed"),
    ("a wrong type", transfer(meta=5), "invalid_field"),
    ("an unknown field", transfer(colour="red"), "unknown_field"),
    ("a missing field", transfer(to=...), "missing_field"),
    ("a negative amount", transfer(amount=-5), "invalid_amount"),
    ("zero", transfer(amount=0), "invalid_amount"),
    ("a fraction", transfer(amount=1.5), "invalid_amount"),
    ("a boolean", transfer(amount=True), "invalid_amount"),
    (
        "5,000 digits",
        json.dumps(transfer(amount=0)).replace('"amount": 0', '"amount": ' + "9" * 5000).encode(),
        "invalid_amount",
    ),
    ("an exponent", json.dumps(transfer(amount=0)).replace('"amount": 0', '"amount": 1e3').encode(), "invalid_amount"),
    ("a bad address", transfer(to="ak_nobody"), "invalid_address"),
    ("a bad checksum", transfer(to=PAIR.account("responder")[:-1] + "1"), "invalid_address"),
    ("too large", transfer(meta=["x" * 20_000]), "too_large"),
    ("too deep", transfer(meta=deep(40)), "too_deep"),
    ("stale", transfer(issued_at="2020-01-01T00:00:00Z"), "stale_command"),
]


@pytest.mark.parametrize(
    ("body", "code"), [(body, code) for _, body, code in CASES], ids=[name for name, _, _ in CASES]
)
async def test_an_unacceptable_command_is_rejected_and_kept(home: House, body: Any, code: str) -> None:
    """A result with the code, a dead letter with the raw bytes, and the commands before and after run."""
    assert home.client is not None
    before = await home.send(PAIR.initiator, "transfer", **transfer(command_id="before"))
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    await home.client.send_raw(PAIR.initiator, "transfer", raw)
    after = await home.send(PAIR.initiator, "transfer", **transfer(command_id="after"))
    rejected = await home.until(lambda: next((r for r in home.results if r["outcome"] == "rejected"), None))
    assert (rejected["code"], rejected["executed"]) == (code, False)
    assert (await home.outcome(before))["outcome"] == "succeeded"
    assert (await home.outcome(after))["outcome"] == "succeeded"
    letter, headers = await home.until(lambda: next(iter(home.dead_letters), None))
    assert letter == raw
    assert headers["code"] == code


async def test_an_unknown_channel_and_an_unknown_command_are_told_apart(home: House) -> None:
    unknown = await home.run("nobody", "transfer", **transfer(command_id="u-1"))
    assert (unknown["outcome"], unknown["code"]) == ("rejected", "unknown_channel")
    strange = await home.run(PAIR.initiator, "dance", **transfer(command_id="u-2"))
    assert (strange["outcome"], strange["code"]) == ("rejected", "unknown_command")


async def send_with(home: House, body: bytes, **fields: bytes) -> None:
    """As a client in another language would: the properties byte by byte."""
    async with Connection(home.url, "other client") as connection:
        properties = RawProperties(user_id=short(user_of(home.url).encode()), **fields)
        await publish_raw(connection, f"{home.prefix}.commands", f"{PAIR.initiator}.transfer", body, properties)


@pytest.mark.parametrize("case", [case for case in CASES_OF_PROPERTIES if case.is_readable], ids=lambda case: case.name)
async def test_a_command_works_whatever_its_properties_say(home: House, case: Case) -> None:
    """Neither the instant nor an id in Latin-1 means anything to us; the result comes back with what was readable."""
    await send_with(home, json.dumps(transfer(command_id="odd")).encode(), **case.fields)
    assert (await home.outcome("odd"))["outcome"] == "succeeded"


async def test_a_command_with_unreadable_headers_is_rejected_and_kept(home: House) -> None:
    """Nothing is known of such a message, not even whether it came straight; what stands around it runs."""
    before = await home.send(PAIR.initiator, "transfer", **transfer(command_id="before"))
    raw = json.dumps(transfer(command_id="poison")).encode()
    await send_with(home, raw, headers=table(entry(b"caf\xe9", b"S", text(b"x"))))
    after = await home.send(PAIR.initiator, "transfer", **transfer(command_id="after"))
    rejected = await home.outcome("poison")
    assert (rejected["code"], rejected["path"], rejected["executed"]) == ("malformed", "headers", False)
    assert (await home.outcome(before))["outcome"] == "succeeded"
    assert (await home.outcome(after))["outcome"] == "succeeded"
    letter, headers = await home.until(lambda: next(iter(home.dead_letters), None))
    assert (letter, headers["code"], headers["path"]) == (raw, "malformed", "headers")
    assert home.service is not None
    assert [connection.generation for connection in home.service._rabbit.connections] == [1, 1]


async def test_a_repeated_id_gets_the_stored_outcome(home: House) -> None:
    """Idempotency: asked again, the same answer, and nothing is paid twice."""
    body = transfer(command_id="again")
    first = await home.run(PAIR.initiator, "transfer", **body)
    await home.send(PAIR.initiator, "transfer", **body)
    second = await home.until(lambda: next((r for r in home.results if r.get("duplicate")), None))
    assert (second["outcome"], second["round"], second["tx_hash"]) == ("succeeded", first["round"], first["tx_hash"])
    assert len(home.find(PAIR.initiator, "transfer.succeeded")) == 1


async def test_a_repeated_id_with_another_body_is_refused(home: House) -> None:
    """The first command is untouched."""
    body = transfer(command_id="twice")
    await home.run(PAIR.initiator, "transfer", **body)
    await home.send(PAIR.initiator, "transfer", **(body | {"amount": "6"}))
    refused = await home.until(lambda: next((r for r in home.results if r["outcome"] == "rejected"), None))
    assert (refused["command_id"], refused["code"]) == ("twice", "idempotency_conflict")
    assert len(home.find(PAIR.initiator, "transfer.succeeded")) == 1


@pytest.mark.parametrize(
    "text", ["@@ not json", "7", '{"jsonrpc":"2.0"}', '{"jsonrpc":"2.0","method":"channels.info","params":7}']
)
async def test_a_garbage_frame_is_published_and_the_channel_lives_on(home: House, text: str) -> None:
    """The node's slip is a counted, published fact."""
    home.inject(PAIR.initiator, text)
    event = await home.event(PAIR.initiator, "alarm.protocol_violation")
    assert event["raw"]
    result = await home.run(PAIR.initiator, "transfer", **transfer(command_id="after-garbage"))
    assert result["outcome"] == "succeeded"


async def test_a_reply_nobody_asked_for_is_refused_to_its_author(home: House) -> None:
    """A signer learns why his reply went nowhere, and so does the operator."""
    assert home.client is not None
    body = json.dumps({"sign_request_id": "nobody.1", "refusal": {"reason": "no"}}).encode()
    await home.client.publish("sign-replies", f"{PAIR.account('initiator')}.{PAIR.initiator}", body)
    told = await home.until(lambda: next((r for r in home.results if r["outcome"] == "refused"), None))
    assert (told["sign_request_id"], told["code"]) == ("nobody.1", "sign_request_unknown")


async def test_an_unreadable_reply_becomes_a_dead_letter(home: House) -> None:
    """It never blocks the queue."""
    assert home.client is not None
    await home.client.publish("sign-replies", f"{PAIR.account('initiator')}.{PAIR.initiator}", b"@@")
    letter, headers = await home.until(lambda: next(iter(home.dead_letters), None))
    assert (letter, headers["code"]) == (b"@@", "malformed")
    assert (await home.run(PAIR.initiator, "transfer", **transfer(command_id="x")))["outcome"] == "succeeded"
