"""A signer by hand that remembers: AMQP_URL=amqp://… python careful_signer.py ACCOUNT KEY_FILE STATE_FILE MOST_AETTOS

Refuses what is late, what lets its balance fall by more than MOST_AETTOS, what it cannot recognise, and a second
transaction for a round unless the first is declared abandoned. Gives the same answer to the same question, always.
"""

import asyncio
import base64
import json
import os
import sqlite3
import sys
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

import aio_pika
from nacl.signing import SigningKey

account, key = sys.argv[1], SigningKey(bytes.fromhex(Path(sys.argv[2]).read_text()))
most_aettos = int(sys.argv[4])
prefix, url = os.environ.get("PREFIX", "channels"), os.environ["AMQP_URL"]

memory = sqlite3.connect(sys.argv[3], isolation_level=None)
memory.execute("PRAGMA synchronous=FULL")
memory.execute("CREATE TABLE IF NOT EXISTS answer (sign_request_id TEXT PRIMARY KEY, body BLOB NOT NULL)")
memory.execute(
    "CREATE TABLE IF NOT EXISTS signed (channel TEXT, round INTEGER, hash TEXT, UNIQUE (channel, round, hash))"
)


def refuse(code: str, reason: str) -> dict:
    return {"refusal": {"code": code, "reason": reason}}


def hash_of(request: dict) -> str | None:
    """The hash of the transaction whose bytes are to be signed, made anew; None if the payload is of no known form."""
    payload, network = base64.b64decode(request["signing_payload"]), request["network_id"].encode()
    match request["signing_form"]:
        case "network_id+hash" if payload.startswith(network):
            return payload[len(network) :].hex()
        case "network_id+tx" if payload.startswith(network):
            return blake2b(payload[len(network) :], digest_size=32).hexdigest()
        case "tx":
            return blake2b(payload, digest_size=32).hexdigest()
    return None


def lost(request: dict) -> int | None:
    """How much our balance falls, in aettos, or at a close how much less than it we get; None where not known."""
    before, after = request["balances_before"], request["balances_after"]
    if request["decoded"]["kind"] == "channel_close_mutual_tx":
        after = {account: request["decoded"][f"{request['role']}_amount"]}
    return None if before is None or after is None else int(before[account]) - int(after[account])


def judge(request: dict) -> dict:
    """A signature or a refusal. Whatever is signed is in `signed` before this returns."""
    if datetime.now(UTC) >= datetime.fromisoformat(request["deadline"]):
        return refuse("deadline_passed", "the deadline has passed")
    wanted, round_ = hash_of(request), request["decoded"]["round"]
    if wanted is None or wanted != request["decoded"]["hash"]:
        return refuse("unrecognised", "the payload is not that of the transaction shown")
    fall = lost(request)
    if request["cause"] != "opening" and (fall is None or fall > most_aettos):
        return refuse("over_limit", f"our balance may fall by {most_aettos} aettos at most")
    place = (request["channel"], round_)  # a closing transaction has no round, and nothing stands beside it
    signed = memory.execute("SELECT hash FROM signed WHERE channel = ? AND round = ?", place)
    others = {row[0] for row in signed} - {wanted}
    if others - set(request["abandoned"]):
        return refuse("another_signed", "another transaction of this round was signed and is not declared abandoned")
    memory.execute("INSERT OR IGNORE INTO signed VALUES (?, ?, ?)", (*place, wanted))
    signature = key.sign(base64.b64decode(request["signing_payload"])).signature
    replaced = {"replaces": sorted(others)} if others else {}
    return {"signature": base64.b64encode(signature).decode(), **replaced}


def answer(request: dict) -> bytes:
    """The stored answer, or a new one: stored, with what was signed, before anybody can see it."""
    request_id = request["sign_request_id"]
    memory.execute("BEGIN IMMEDIATE")
    known = memory.execute("SELECT body FROM answer WHERE sign_request_id = ?", (request_id,)).fetchone()
    body = known[0] if known else json.dumps({"sign_request_id": request_id, **judge(request)}).encode()
    memory.execute("INSERT OR IGNORE INTO answer VALUES (?, ?)", (request_id, body))
    memory.execute("COMMIT")
    return body


async def main() -> None:
    async with await aio_pika.connect(url) as connection, connection.channel(on_return_raises=True) as channel:
        await channel.set_qos(prefetch_count=1)
        replies = await channel.get_exchange(f"{prefix}.sign-replies", ensure=False)
        requests = await channel.get_queue(f"{prefix}.sign-requests.{account}", ensure=False)
        async with requests.iterator() as deliveries:
            async for delivery in deliveries:
                request = json.loads(delivery.body)
                message = aio_pika.Message(answer(request), user_id=connection.url.user or "guest", delivery_mode=2)
                await replies.publish(message, f"{account}.{request['channel']}")
                await delivery.ack()


if __name__ == "__main__":
    asyncio.run(main())
