"""A signer by hand, for both dialects: AMQP_URL=amqp://… python handwritten_signer.py ACCOUNT KEY_FILE"""

import asyncio
import base64
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import aio_pika
from nacl.signing import SigningKey

account, key = sys.argv[1], SigningKey(bytes.fromhex(Path(sys.argv[2]).read_text()))
prefix, url = os.environ.get("PREFIX", "channels"), os.environ["AMQP_URL"]


def answer(request: dict) -> dict:
    """The place for rules of your own: what they forbid is refused, everything else is signed."""
    if datetime.now(UTC) >= datetime.fromisoformat(request["deadline"]):
        return {"refusal": {"reason": "the deadline has passed"}}
    signature = key.sign(base64.b64decode(request["signing_payload"])).signature
    return {"signature": base64.b64encode(signature).decode()}


async def main() -> None:
    async with await aio_pika.connect(url) as connection, connection.channel(on_return_raises=True) as channel:
        replies = await channel.get_exchange(f"{prefix}.sign-replies", ensure=False)
        requests = await channel.get_queue(f"{prefix}.sign-requests.{account}", ensure=False)
        async with requests.iterator() as deliveries:
            async for delivery in deliveries:
                request = json.loads(delivery.body)
                body = json.dumps({"sign_request_id": request["sign_request_id"], **answer(request)}).encode()
                message = aio_pika.Message(body, user_id=connection.url.user or "guest", delivery_mode=2)
                await replies.publish(message, f"{account}.{request['channel']}")
                await delivery.ack()


asyncio.run(main())
