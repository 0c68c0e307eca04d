"""An accounting consumer: it fills an SQLite file with the books of the bridge, every entry exactly once.

    AMQP_URL=amqp://… python accounting_consumer.py books.sqlite3 [CHANNEL …]
    channel-bridge ledger export --format json | python accounting_consumer.py books.sqlite3 --import
    python accounting_consumer.py books.sqlite3 --balances

An entry's rows and the fact that it was booked are one transaction, and the message is acked after it: killed at any
instant it books nothing twice and loses nothing. What comes again is dropped. A number that was left out ends it with
exit code 1, before anything wrong is written: `--import` fills the gap. Amounts are text: an SQLite integer ends at
9.2 AE. With PostgreSQL make them NUMERIC(78) and open the connection there; nothing else changes.
"""

import asyncio
import json
import os
import sqlite3
import sys
import time
from contextlib import closing

import aio_pika
from aio_pika.exceptions import ChannelInvalidStateError

TABLES = """
CREATE TABLE IF NOT EXISTS entry (
    channel TEXT, entry INTEGER, event_id TEXT UNIQUE, seq INTEGER, at TEXT, kind TEXT, fact_id TEXT, round INTEGER,
    tx_hash TEXT, command_id TEXT, reverses TEXT, sentence TEXT, PRIMARY KEY (channel, entry));
CREATE TABLE IF NOT EXISTS line (
    channel TEXT, entry INTEGER, number INTEGER, account TEXT, party TEXT, debit TEXT, credit TEXT, balance TEXT,
    PRIMARY KEY (channel, entry, number));
CREATE TABLE IF NOT EXISTS balance (channel TEXT, account TEXT, amount TEXT, PRIMARY KEY (channel, account));
"""
FIELDS = ("channel", "entry", "event_id", "seq", "at", "kind", "fact_id", "entry_round", "tx_hash", "command_id")
QUEUE = {  # a queue of one's own: ordered, durable, and when full it drops instead of refusing (that shows as a gap)
    "x-queue-type": "quorum",
    "x-single-active-consumer": True,
    "x-max-length": 100_000,
    "x-overflow": "drop-head",
    "x-expires": 7 * 24 * 3600 * 1000,
}


class Refused(Exception):
    """These books cannot take that entry. A person must look, so nothing is acked."""


def open_books(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=60)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")  # acked means booked, also after a power cut
    db.executescript(TABLES)
    return db


def book(db: sqlite3.Connection, entry: dict) -> bool:
    """One entry, all of it or nothing; False if it was booked before. `entry` is a line of `ledger export`."""
    channel, number = entry["channel"], entry["entry"]
    db.execute("BEGIN IMMEDIATE")
    try:
        is_new = check_place(db, channel, number, entry["event_id"])
        if is_new:
            write(db, entry)
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    return is_new


def check_place(db: sqlite3.Connection, channel: str, number: int, event_id: str) -> bool:
    """Whether it is the next one; False for one that was booked before. Raises Refused for any other."""
    known = db.execute("SELECT event_id FROM entry WHERE channel=? AND entry=?", (channel, number)).fetchone()
    if known is not None and known[0] != event_id:
        raise Refused(f"{channel}: entry {number} came twice, as {known[0]} and as {event_id}")
    if known is not None:
        return False
    (latest,) = db.execute("SELECT coalesce(max(entry), 0) FROM entry WHERE channel=?", (channel,)).fetchone()
    if number != latest + 1:
        raise Refused(f"{channel}: entry {number} came after {latest}; import what is missing from `ledger export`")
    return True


def write(db: sqlite3.Connection, entry: dict) -> None:
    channel, number, lines = entry["channel"], entry["entry"], entry["lines"]
    if sum(int(line["debit"]) - int(line["credit"]) for line in lines):
        raise Refused(f"{channel}: entry {number} does not balance")
    values = (*(entry[name] for name in FIELDS), entry["reverses"], entry["sentence"])
    db.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    for place, line in enumerate(lines):
        key = (channel, line["account"])
        held = db.execute("SELECT amount FROM balance WHERE channel=? AND account=?", key).fetchone()
        amount = int(held[0] if held else 0) + int(line["debit"]) - int(line["credit"])
        if amount != int(line["balance"]):
            raise Refused(f"{channel}: after entry {number} {line['account']} is {amount}, not {line['balance']}")
        db.execute("REPLACE INTO balance VALUES (?, ?, ?)", (*key, str(amount)))
        row = (channel, number, place, *(line[name] for name in ("account", "party", "debit", "credit", "balance")))
        db.execute("INSERT INTO line VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)


def read_message(body: bytes, headers: dict) -> dict:
    """An event `ledger.posted` as a line of the export: the entry, and which event told of it."""
    event = json.loads(body)
    where = {"channel": event["channel"], "seq": event["seq"], "at": event["at"], "event_id": headers["ce-id"]}
    return where | event["data"]


async def consume(db: sqlite3.Connection, channels: list[str], reached: list[str]) -> None:
    prefix, connection = os.environ.get("PREFIX", "channels"), await aio_pika.connect_robust(os.environ["AMQP_URL"])
    async with connection:
        amqp_channel = await connection.channel()
        await amqp_channel.set_qos(prefetch_count=100)
        name = f"{prefix}.client.{connection.url.user or 'guest'}.accounting"
        queue = await amqp_channel.declare_queue(name, durable=True, arguments=QUEUE)
        for channel in channels or ["*"]:
            await queue.bind(f"{prefix}.events", f"{channel}.ledger.posted")
        reached.append(name)
        print(f"reading {name}", flush=True)
        async with queue.iterator() as messages:
            async for message in messages:
                book(db, read_message(message.body, message.headers))
                await message.ack()


def keep_consuming(db: sqlite3.Connection, channels: list[str]) -> None:
    """A broker that was reached once and went away comes back; one that never took us needs a person."""
    reached: list[str] = []
    while True:
        try:
            asyncio.run(consume(db, channels, reached))
        except (ConnectionError, ChannelInvalidStateError) as lost:
            if not reached:
                raise
            print(f"the broker went away: {lost}", flush=True)
            time.sleep(1)


def add_up(db: sqlite3.Connection) -> dict:
    """Channel to how many entries are booked and, account by account, the sum of all lines: to reconcile with."""
    found: dict = {}
    for channel, entries in db.execute("SELECT channel, count(*) FROM entry GROUP BY channel"):
        found[channel] = {"entries": entries, "accounts": {}}
    for channel, account, debit, credit in db.execute("SELECT channel, account, debit, credit FROM line"):
        accounts = found[channel]["accounts"]
        accounts[account] = accounts.get(account, 0) + int(debit) - int(credit)
    return found


def main(path: str, *words: str) -> None:
    with closing(open_books(path)) as db:
        if words == ("--import",):
            booked = sum(book(db, json.loads(line)) for line in sys.stdin)
            print(f"{booked} entries booked")
        elif words == ("--balances",):
            print(json.dumps(add_up(db)))
        else:
            keep_consuming(db, list(words))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Refused as refused:
        sys.exit(f"refused: {refused}")
    except KeyboardInterrupt:
        pass
