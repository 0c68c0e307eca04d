"""Tells which replies of a signer were not used, and why: AMQP_URL=amqp://… python refused_replies.py

As the user the signer replies as. A line for each, on standard output; the queue holds what comes while nobody reads,
for a day.
"""

import asyncio
import json
import os

import aio_pika

QUEUE = {  # ordered, durable, and when full it drops the oldest instead of refusing
    "x-queue-type": "quorum",
    "x-max-length": 10_000,
    "x-overflow": "drop-head",
    "x-expires": 24 * 3600 * 1000,
}


async def main() -> None:
    prefix = os.environ.get("PREFIX", "channels")
    async with await aio_pika.connect(os.environ["AMQP_URL"]) as connection, connection.channel() as channel:
        user = connection.url.user or "guest"
        await channel.set_qos(prefetch_count=100)
        queue = await channel.declare_queue(f"{prefix}.client.{user}.refused", durable=True, arguments=QUEUE)
        await queue.bind(f"{prefix}.results", f"{user}.*.refused")
        print(f"reading {queue.name}", flush=True)
        async with queue.iterator() as deliveries:
            async for delivery in deliveries:
                told = json.loads(delivery.body)
                request = told["sign_request_id"] or "(no id could be read)"
                print(f"{told['channel']} {request} {told['code']}: {told['sentence']}", flush=True)
                await delivery.ack()


if __name__ == "__main__":
    asyncio.run(main())
