"""`python -m tests.faults.traced CONFIG TRACE`: the real bridge, and before each outside effect a look at the disk.

The journal's file is read by a connection of its own, read-only, at the instant before a frame is sent, a message
published or a delivery acked. SQLite in WAL mode with synchronous=FULL shows a transaction to other connections only
after its fsync has returned, so what is seen there is durable. One line an effect goes to TRACE: its point (F1 to F6)
and whether the write it stands on was there. The bridge's own code runs unchanged.
"""

import asyncio
import json
import os
import re
import sqlite3
import sys
from pathlib import Path
from typing import Any

from bridge.app import config as configuration
from bridge.app import service, telemetry
from bridge.broker.consumer import Delivery
from bridge.broker.publisher import Publisher
from bridge.channel.state import State, decode
from bridge.journal.journal import FILE
from bridge.node.link import Link
from bridge.wire.envelope import Envelope

ATTEMPT = re.compile(r"channel-bridge:(\d+)")


class Witness:
    """Looks at the journal as a stranger would."""

    def __init__(self, file: Path, trace: Path) -> None:
        self._file = file
        self._trace = trace.open("a", buffering=1)
        self._connection: sqlite3.Connection | None = None

    def note(self, point: str, *, was_durable: bool, what: str) -> None:
        word = "ok" if was_durable else "MISSING"
        self._trace.write(f"{point} {word} {what[:100].replace(chr(32), chr(95))}\n")

    def ask(self, question: str, *values: object) -> list[Any]:
        if self._connection is None:
            self._connection = sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, timeout=30)
        return self._connection.execute(question, values).fetchall()

    def has(self, question: str, *values: object) -> bool:
        return bool(self.ask(question, *values))

    def states(self) -> list[State]:
        return [decode(row[0]) for row in self.ask("SELECT state FROM channel WHERE state IS NOT NULL")]

    # --- what each effect stands on -----------------------------------------------------------------------

    def frame(self, text: str) -> None:
        """F2: the attempt. F4: the ledger row of the signature. F6: the credential, before anything else is sent."""
        frame = json.loads(text)
        params = frame.get("params") or {}
        self.note("F6", was_durable=self.has("SELECT 1 FROM channel WHERE fsm_id IS NOT NULL"), what=frame["method"])
        if frame["method"] == "channels.update.new":
            attempt = int(ATTEMPT.findall(json.dumps(params))[-1])
            kept = any(s.operation is not None and s.operation.request_id == attempt for s in self.states())
            self.note("F2", was_durable=kept, what=text)
        if "signed_tx" in params:
            kept = self.has("SELECT 1 FROM ledger WHERE signed_tx=?", params["signed_tx"])
            self.note("F4", was_durable=kept, what=frame["method"])

    def envelope(self, envelope: Envelope) -> None:
        """Everything published stands in the outbox. F3: the open request. F5: the outcome."""
        kept = self.has("SELECT 1 FROM outbox WHERE body=?", envelope.body)
        kind = envelope.exchange.rpartition(".")[2]
        if kind == "sign-requests":
            asked = json.loads(envelope.body)["sign_request_id"]
            opened = [s.open_request for s in self.states()]
            kept = kept and any(o is not None and o.sign_request_id == asked for o in opened)
            self.note("F3", was_durable=kept, what=asked)
        elif kind == "results":
            kept = kept and self.has("SELECT 1 FROM inbox WHERE outcome=?", envelope.body)
            self.note("F5", was_durable=kept, what=envelope.routing_key)
        else:
            self.note("event", was_durable=kept, what=envelope.routing_key)

    def ack(self, delivery: Delivery) -> None:
        """F1: the command is in the inbox. F4: the step that used a reply is stored."""
        body = json.loads(delivery.received.body)
        if "command_id" in body:
            kept = self.has("SELECT 1 FROM inbox WHERE command_id=?", body["command_id"])
            self.note("F1", was_durable=kept, what=body["command_id"])
        elif "sign_request_id" in body:
            opened = [s.open_request for s in self.states()]
            used = not any(o is not None and o.sign_request_id == body["sign_request_id"] for o in opened)
            self.note("F4 ack", was_durable=used, what=body["sign_request_id"])


def watch(witness: Witness) -> None:
    """From here on every effect is looked at before it happens."""
    send, publish, ack = Link.send, Publisher.publish, Delivery.ack

    async def watched_send(self: Link, text: str) -> None:
        witness.frame(text)
        await send(self, text)

    async def watched_publish(self: Publisher, envelope: Envelope) -> None:
        witness.envelope(envelope)
        await publish(self, envelope)

    async def watched_ack(self: Delivery) -> bool:
        witness.ack(self)
        return await ack(self)

    Link.send = watched_send  # type: ignore[method-assign]
    Publisher.publish = watched_publish  # type: ignore[method-assign]
    Delivery.ack = watched_ack  # type: ignore[method-assign]


def main(words: list[str]) -> None:
    path, trace = words
    loaded = configuration.load(Path(path), os.environ)
    telemetry.set_up(loaded.log.level, loaded.log.format)
    watch(Witness(Path(loaded.data_dir) / FILE, Path(trace)))
    asyncio.run(service.serve(loaded))


if __name__ == "__main__":
    main(sys.argv[1:])
